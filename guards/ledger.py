"""At most once: what was begun under which key, and how it ended.

A destructive call that a crash cut off may or may not have happened. Running it again could do it twice,
so its key stays `unknown` until a person says what to do.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Self

from guards.calls import CallRecord, Outcome, PendingCall
from guards.errors import GuardLimitError
from guards.tools import ToolSpec
from guards.verdicts import Action, Check, Finding
from guards.wording import Wording, quoted

__all__ = ["Done", "Ledger", "Standing"]

_UNKNOWN: Final = (Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.UNKNOWN)
"""The tool was started and nothing says how far it came."""


class Standing(StrEnum):
    """What is known of a key.

    `new`: never begun. `running`: begun here, not ended. `done`: ended, see `Ledger.earlier`. `unknown`:
    begun, and cut off by a crash, a time limit or a cancellation. `other`: it belongs to a call with
    another tool or other arguments.
    """

    NEW = "new"
    RUNNING = "running"
    DONE = "done"
    UNKNOWN = "unknown"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Done:
    """How an earlier call with the same key ended.

    Attributes:
        call_id: The call that ran.
        binding: Id of the binding that holds its result, if it was bound.
        error: Its error text, `None` if it succeeded.
        result: JSON value, a copy of the caller's own; `None` also where it is no longer kept.
        kept: Whether `result` is what the tool returned.
    """

    call_id: str
    binding: str | None
    error: str | None
    result: Any
    kept: bool


@dataclass(frozen=True, slots=True)
class _Entry:
    call_id: str
    fingerprint: str
    standing: Standing
    binding: str | None = None
    error: str | None = None
    text: str | None = None


class Ledger:
    """Keys of destructive calls, the oldest finished ones forgotten first. Synchronous, in memory.

    `examine` and `standing` read; `begin` and `finish` write. At most once holds for the newest `limit`
    keys, and across restarts if the snapshot, or the facts, reach the store before the tool runs.
    """

    def __init__(
        self, *, limit: int = 10_000, limit_bytes: int = 8 * 1024 * 1024, wording: Wording | None = None
    ) -> None:
        """Open an empty ledger.

        Args:
            limit: Most keys.
            limit_bytes: Characters of JSON of the results; the oldest are let go first, their keys stay.
            wording: The sentences for the model.

        Raises:
            ValueError: A limit below 1.
        """
        if limit < 1 or limit_bytes < 1:
            raise ValueError(f"limit={limit!r}, limit_bytes={limit_bytes!r}: use 1 or more of each")
        self._limit, self._limit_bytes = limit, limit_bytes
        self._wording = wording or Wording()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._open: dict[str, str] = {}
        self._texts: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @staticmethod
    def key_of(
        call: PendingCall, spec: ToolSpec, *, event_id: str | None = None, idempotency_key: str | None = None
    ) -> str | None:
        """The key under which a call runs at most once; `None` if it is not kept.

        Kept is every call with an explicit key, and every call of a destructive tool. Some models name
        the calls of each turn anew from `call_0`, so a bare call id is the same call only with the
        same arguments in the same turn.

        Args:
            call: The call.
            spec: Its tool.
            event_id: Id of the assistant message's event that lists the call, where there is a log.
            idempotency_key: The host's own key.
        """
        if idempotency_key is not None:
            return f"key:{idempotency_key}"
        if spec.destructive is not True:
            return None
        if event_id is not None:
            return f"event:{event_id}:{call.call_id}"
        return f"call:{call.turn}:{call.fingerprint}:{call.call_id}"

    def standing(self, key: str, fingerprint: str) -> Standing:
        """What is known of the key of a call with this fingerprint."""
        entry = self._entries.get(key)
        if entry is None:
            return Standing.NEW
        return entry.standing if entry.fingerprint == fingerprint else Standing.OTHER

    def examine(self, key: str | None, call: PendingCall, *, approved: bool = False) -> Finding | None:
        """What to do with a call under this key; `None`: run it.

        `done` asks for `replay` of `earlier(key)`, or for `block` if the earlier call failed or its result
        is not kept; `unknown` asks for `confirm`.

        Args:
            key: From `key_of`; `None` is not kept.
            call: The call.
            approved: A person approved this very call, so an unknown end is no obstacle.
        """
        standing = Standing.NEW if key is None else self.standing(key, call.fingerprint)
        if key is None or standing is Standing.NEW or (approved and standing is Standing.UNKNOWN):
            return None
        earlier = self._entries[key]
        evidence = {"call": earlier.call_id, "standing": standing.value}
        values = {"tool": quoted(call.name), "call": _named(earlier)}
        action, code, template = _SAID[standing]
        if standing is Standing.DONE and (earlier.error is not None or earlier.text is None):
            action = Action.BLOCK
            template = "already_failed" if earlier.error is not None else "already_done_not_kept"
            if earlier.error is not None:
                values["error"] = quoted(earlier.error)
        return Finding(Check.PERMISSION, action, code, self._wording.say(template, **values), evidence)

    def begin(self, key: str, call: PendingCall) -> None:
        """The call is let through. To be durable before the tool runs.

        Raises:
            GuardLimitError: Every key of a full ledger is still open; close calls that never came back.
        """
        if key not in self._entries and len(self._entries) >= self._limit:
            self._forget_oldest()
        self._set(key, _Entry(call.call_id, call.fingerprint, Standing.RUNNING))
        self._open[call.call_id] = key

    def finish(self, record: CallRecord) -> None:
        """A call ended; one that was not begun under a key changes nothing.

        A timeout or a cancellation leaves the key `unknown`: the tool may have done its work. A call that
        runs here and never reached its tool (`refused`, `replayed`) gives its key back.
        """
        key = self._open.get(record.call_id)
        if key is None or self._entries[key].fingerprint != record.fingerprint:
            return
        entry = self._entries[key]
        if record.outcome in _UNKNOWN:
            self._set(key, replace(entry, standing=Standing.UNKNOWN))
        elif record.outcome not in (Outcome.REFUSED, Outcome.REPLAYED):
            del self._open[record.call_id]
            self._set(key, _done(entry, record))
            self._trim()
        elif entry.standing is Standing.RUNNING:
            del self._open[record.call_id]
            if entry.call_id == record.call_id:  # Else another call runs under the key.
                self._forget(key)

    def cut_off(self) -> None:
        """Take what runs as `unknown`: the process that ran it is gone, or this one cannot see it end.

        To be called once the state was rebuilt from another process. An outcome that arrives later all
        the same settles the key.
        """
        for key in self._open.values():
            self._set(key, replace(self._entries[key], standing=Standing.UNKNOWN))

    def earlier(self, key: str) -> Done | None:
        """How the finished call with this key ended; `None` if none has."""
        entry = self._entries.get(key)
        if entry is None or entry.standing is not Standing.DONE:
            return None
        kept = entry.text is not None
        result = json.loads(entry.text) if entry.text is not None else None
        return Done(entry.call_id, entry.binding, entry.error, result, kept)

    def snapshot(self) -> dict[str, Any]:
        """JSON, whole."""
        return {"entries": [[key, *_row(entry)] for key, entry in self._entries.items()]}

    @classmethod
    def restore(cls, value: Mapping[str, Any], **settings: Any) -> Self:
        """The inverse of `snapshot`, then `cut_off`; `settings` are those of the constructor."""
        ledger = cls(**settings)
        for key, call_id, fingerprint, standing, binding, error, text in value["entries"]:
            entry = _Entry(str(call_id), str(fingerprint), Standing(standing), binding, error, text)
            ledger._set(str(key), entry)
            if entry.standing in (Standing.RUNNING, Standing.UNKNOWN):
                ledger._open[entry.call_id] = str(key)
        ledger._trim()
        ledger.cut_off()
        return ledger

    def _set(self, key: str, entry: _Entry) -> None:
        self._bytes -= self._texts.pop(key, 0)
        if entry.text is not None:
            self._texts[key] = len(entry.text)
            self._bytes += len(entry.text)
        self._entries[key] = entry

    def _trim(self) -> None:
        while self._bytes > self._limit_bytes:
            key = next(iter(self._texts))
            self._set(key, replace(self._entries[key], text=None))

    def _forget(self, key: str) -> None:
        del self._entries[key]
        self._bytes -= self._texts.pop(key, 0)

    def _forget_oldest(self) -> None:
        for key, entry in self._entries.items():
            if entry.standing is Standing.DONE:
                self._forget(key)
                return
        raise GuardLimitError("the idempotency ledger", len(self._entries) + 1, self._limit, "open keys")


_SAID: Final = {
    Standing.RUNNING: (Action.BLOCK, "permission.running", "still_running"),
    Standing.DONE: (Action.REPLAY, "permission.already_done", "already_done"),
    Standing.UNKNOWN: (Action.CONFIRM, "permission.outcome_unknown", "outcome_unknown"),
    Standing.OTHER: (Action.BLOCK, "permission.key_reused", "key_reused"),
}


def _done(entry: _Entry, record: CallRecord) -> _Entry:
    error = None if record.success else record.error or record.error_kind or "error"
    text = _json(record.result) if error is None else None
    return replace(entry, standing=Standing.DONE, binding=record.binding, error=error, text=text)


def _named(entry: _Entry) -> str:
    return entry.binding.removeprefix("v") if entry.binding else quoted(entry.call_id)


def _row(entry: _Entry) -> list[str | None]:
    return [entry.call_id, entry.fingerprint, entry.standing.value, entry.binding, entry.error, entry.text]


def _json(value: Any) -> str | None:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except ValueError:  # An integer beyond the interpreter's limit on digits has no text.
        return None

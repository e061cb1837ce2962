"""The steps of a guarded call: what is decided about it, and the facts that follow. Synchronous, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from guards.cache import Cached
from guards.calls import CallRecord, Outcome, PendingCall, fingerprint, plain
from guards.checks.permission import Confirmation
from guards.facts import Asked, Began, Fact, Finished, Refused
from guards.ledger import Done
from guards.paths import put
from guards.reading import NEVER_OFFLOADED
from guards.references import Resolution, resolve
from guards.state import GuardState
from guards.tools import ToolSpec
from guards.verdicts import Action, Finding, Verdict, strictest
from guards.wording import Wording

__all__ = ["Steps", "record_of"]


class Steps:
    """Decides on what the state knows; what was decided becomes facts, and they change the state.

    Attributes:
        tools: Specs by name.
        on_fact: Called with each fact, after it has changed the state.
        running: Ids of the calls that began here and have not ended.
    """

    def __init__(
        self,
        state: GuardState,
        tools: Iterable[ToolSpec],
        *,
        wording: Wording,
        shadow: bool,
        clock: Callable[[], datetime],
        timer: Callable[[], float],
        on_fact: Callable[[Fact], None] | None,
    ) -> None:
        self.state = state
        self.tools = {spec.name: spec for spec in tools}
        self.wording = wording
        self.shadow = shadow
        self.clock = clock
        self.timer = timer
        self.on_fact = on_fact
        self.running: set[str] = set()

    def spec_of(self, name: str) -> ToolSpec:
        """The tool's spec; of unknown nature if nobody gave one."""
        return self.tools.get(name) or ToolSpec(name, read_only=True if name in NEVER_OFFLOADED else None)

    def apply(self, fact: Fact) -> None:
        """Change the state by a fact."""
        self.state.apply(fact, self._spec_for(fact))

    def commit(self, fact: Fact) -> None:
        """Change the state by a fact of this guard's own, and tell the host."""
        self.apply(fact)
        if isinstance(fact, Began):
            self.running.add(fact.call.call_id)
        elif isinstance(fact, Finished):
            self.running.discard(fact.record.call_id)
        if self.on_fact is not None:
            self.on_fact(fact)

    def _spec_for(self, fact: Fact) -> ToolSpec:
        match fact:
            case Began() | Asked():
                return self.spec_of(fact.call.name)
            case Finished() | Refused():
                return self.spec_of(fact.record.tool_name)
            case _:
                return _NO_TOOL

    def pending(self, call_id: str, spec: ToolSpec, raw: dict[str, Any]) -> PendingCall:
        """The call with its references resolved; `read_value` takes names, so its own stay."""
        if spec.name in NEVER_OFFLOADED:
            return self.call(call_id, spec, raw, raw)
        found = resolve(raw, self.state.bindings)
        return self.call(call_id, spec, raw, found.arguments, found)

    def call(
        self,
        call_id: str,
        spec: ToolSpec,
        raw: Mapping[str, Any],
        arguments: Mapping[str, Any],
        found: Resolution | None = None,
    ) -> PendingCall:
        """The call, begun now."""
        scope = spec.scope_of(arguments)
        return PendingCall(
            call_id,
            spec.name,
            arguments,
            raw,
            fingerprint(spec.name, arguments),
            self.clock(),
            self.timer(),
            references=found.used if found else (),
            sources=found.sources if found else {},
            turn=self.state.turn,
            epoch=self.state.epochs.current(scope),
            scope=scope,
            read_only=spec.read_only,
        )

    def resumed(self, asked: Confirmation) -> PendingCall:
        """A call that waited, begun now."""
        return self.call(asked.call_id, self.spec_of(asked.name), asked.arguments, asked.arguments)

    def decide(self, call: PendingCall, spec: ToolSpec, idempotency_key: str | None) -> Verdict:
        """Replay it, or let the checks say what becomes of it."""
        state = self.state
        key = state.ledger.key_of(call, spec, idempotency_key=idempotency_key)
        approved = state.permission.confirmations.approved(call)
        known = state.ledger.examine(key, call, approved=approved)
        asked = state.permission.examine(call, spec)
        if asked is not None and asked.action is Action.CONFIRM and known is not None:
            asked = None  # What ran already, or runs, is not asked for again.
        found = _found(asked, known, state.loop.examine(call, spec))
        if not (self.shadow or _stands(found)) and (verdict := self.replayed(call, spec, found)):
            return verdict
        found = _found(*found, state.budget.examine(call, spec), state.grounding.examine(call, spec))
        action = found[0].action if found and not self.shadow else Action.ALLOW
        if action is Action.BLOCK:
            return self.refuse(call, found)
        if action is Action.CONFIRM:
            return self._ask(call, found, idempotency_key)
        if action is Action.REPLAY and key is not None and (done := state.ledger.earlier(key)) is not None:
            return self._replay(call, found, done, found[0].message)
        return self.let(self._repaired(call, spec, found), found, idempotency_key)

    def replayed(self, call: PendingCall, spec: ToolSpec, found: Sequence[Finding] = ()) -> Verdict | None:
        """Replay an earlier result, if one may stand for this call."""
        cached = self.state.cache.find(call, spec, self.state.epochs)
        return None if cached is None else self._replay(call, found, cached, cached.message(self.wording))

    def let(self, call: PendingCall, found: Sequence[Finding], idempotency_key: str | None) -> Verdict:
        """Let the call run: it gets its number."""
        number = self.state.numbers.get(call.call_id, self.state.bindings.next_number)
        self.commit(Began(replace(call, number=number), idempotency_key))
        action = Action.WARN if found and not self.shadow else Action.ALLOW
        return Verdict(
            action,
            call.call_id,
            call.name,
            plain(call.arguments),
            "" if self.shadow else _said(found),
            found[0].reason_code if found else None,
            tuple(found),
            reference=f"$v{number}",
            shadow=self.shadow,
        )

    def refuse(self, call: PendingCall, found: Sequence[Finding | None]) -> Verdict:
        """Do not let it run; in shadow mode let it."""
        verdict = self.judged(call.name, call.arguments, found, call.call_id)
        if self.shadow:
            return self.let(call, verdict.findings, None)
        reason = verdict.reason_code or ""
        self.commit(Refused(record_of(call, Outcome.REFUSED), reason))
        return verdict

    def _ask(self, call: PendingCall, found: Sequence[Finding], idempotency_key: str | None) -> Verdict:
        verdict = self.judged(call.name, call.arguments, found, call.call_id)
        self.commit(Asked(call, found[0].reason_code, idempotency_key))
        return verdict

    def _replay(
        self, call: PendingCall, found: Sequence[Finding], earlier: Cached | Done, message: str
    ) -> Verdict:
        record = replace(
            record_of(call, Outcome.REPLAYED, binding=earlier.binding),
            result=earlier.result,
            replay_of=earlier.call_id,
        )
        self.commit(Finished(record, bindable=False))
        warned = _said([f for f in found if f.message != message])
        return Verdict(
            Action.REPLAY,
            call.call_id,
            call.name,
            plain(call.arguments),
            f"{message} {warned}".rstrip(),
            found[0].reason_code if found else "cache.replay",
            tuple(found),
            reference=f"${earlier.binding}" if earlier.binding else None,
            replayed=earlier.call_id,
            result=earlier.result,
        )

    def judged(
        self,
        name: str,
        arguments: Mapping[str, Any],
        findings: Sequence[Finding | None],
        call_id: str = "",
    ) -> Verdict:
        """A verdict that changes nothing: the strictest of the findings, in the words of those as strict."""
        found = _found(*findings)
        top = found[0] if found else None
        stands = [f for f in found if top is not None and f.action is top.action]
        return Verdict(
            Action.ALLOW if top is None else top.action,
            call_id,
            name,
            plain(arguments),
            _said(stands),
            top.reason_code if top else None,
            found,
            shadow=self.shadow,
        )

    def _repaired(self, call: PendingCall, spec: ToolSpec, found: Sequence[Finding]) -> PendingCall:
        """The call with the proposals of its findings taken: a copied value becomes the bound one."""
        repairs = {path: reference for finding in found for path, reference in finding.repair.items()}
        if not repairs:
            return call
        raw = plain(call.raw_arguments)
        for path, reference in repairs.items():
            put(raw, path, reference)
        return self.pending(call.call_id, spec, raw)


_NO_TOOL: Final = ToolSpec("-")


def record_of(call: PendingCall, outcome: Outcome, *, binding: str | None = None) -> CallRecord:
    """The record of a call that ended so; result and error are not filled in."""
    return CallRecord(
        call.call_id,
        call.name,
        call.arguments,
        outcome,
        call.fingerprint,
        call.started_at,
        attempts=0,
        binding=binding,
        epoch=call.epoch,
        turn=call.turn,
        read_only=call.read_only,
        scope=call.scope,
    )


def _found(*findings: Finding | None) -> tuple[Finding, ...]:
    return strictest([finding for finding in findings if finding is not None])


def _stands(found: Sequence[Finding]) -> bool:
    """Whether something stands against the call that a replay would not heal."""
    return bool(found) and found[0].action in (Action.BLOCK, Action.CONFIRM)


def _said(found: Iterable[Finding]) -> str:
    return " ".join(dict.fromkeys(finding.message for finding in found if finding.message))

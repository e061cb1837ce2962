"""The steps of a guarded call: what is decided about it, and the facts that follow. Synchronous, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from guards.cache import Cached
from guards.calls import CallRecord, Outcome, PendingCall, fingerprint, plain
from guards.checks.permission import Confirmation
from guards.endings import record_of
from guards.errors import GuardLimitError, UnresolvedReferenceError
from guards.facts import Asked, Began, Decided, Fact, Finished, Refused
from guards.ledger import Done
from guards.paths import put
from guards.reading import NEVER_OFFLOADED
from guards.references import Resolution, resolve
from guards.state import GuardState
from guards.tools import ToolSpec
from guards.verdicts import Action, Finding, Verdict, strictest
from guards.wording import Wording

__all__ = ["Steps"]


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
        self.last_finished: CallRecord | None = None

    def spec_of(self, name: str) -> ToolSpec:
        """The tool's spec; of unknown nature if nobody gave one."""
        return self.tools.get(name) or ToolSpec(name, read_only=True if name in NEVER_OFFLOADED else None)

    def apply(self, fact: Fact) -> None:
        """Change the state by a fact; a call that it is about runs elsewhere, or has ended."""
        self.state.apply(fact, self._spec_for(fact))
        if isinstance(fact, Began):
            self.running.discard(fact.call.call_id)
        elif isinstance(fact, Finished):
            self.running.discard(fact.record.call_id)
            self.last_finished = fact.record

    def commit(self, fact: Fact) -> None:
        """Change the state by a fact of this guard's own, and tell the host."""
        self.apply(fact)
        if isinstance(fact, Began):
            self.running.add(fact.call.call_id)
        if self.on_fact is not None:
            self.on_fact(fact)

    def runs_for(self, call: PendingCall) -> float | None:
        """Seconds since a call began; `None` if it began elsewhere, where another timer ran."""
        return max(0.0, self.timer() - call.started_s) if call.call_id in self.running else None

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

    def approved(self, asked: Confirmation) -> Verdict:
        """Let a call run that waited, unless one with its key has run since."""
        call = self._resumed(asked)
        key = self.state.ledger.key_of(call, self.spec_of(asked.name), idempotency_key=asked.idempotency_key)
        known = self.state.ledger.examine(key, call, approved=True)
        self.commit(Decided(asked.call_id, approved=True))
        if known is None:
            return self.let(call, [], asked.idempotency_key)
        return self._settled(call, [known], key) or self.refuse(call, [known])

    def rejected(self, asked: Confirmation, reason: str) -> Verdict:
        """Refuse a call that waited."""
        call = self._resumed(asked)
        self.commit(Decided(asked.call_id, approved=False, reason=reason))
        return self.refuse(call, [self.state.permission.examine(call, self.spec_of(asked.name))])

    def _resumed(self, asked: Confirmation) -> PendingCall:
        """A call that waited, begun now, of the turn in which it was made."""
        call = self.call(asked.call_id, self.spec_of(asked.name), asked.arguments, asked.arguments)
        return replace(call, turn=asked.turn)

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
        if self.shadow:
            return self.let(call, found, idempotency_key)
        action = found[0].action if found else Action.ALLOW
        if action is Action.BLOCK:
            return self.refuse(call, found)
        if action is Action.CONFIRM:
            return self._ask(call, found, idempotency_key)
        return self._settled(call, found, key) or self.let(
            self._repaired(call, spec, found), found, idempotency_key
        )

    def _settled(self, call: PendingCall, found: Sequence[Finding], key: str | None) -> Verdict | None:
        """Replay what ran already under the call's key, if that is what the findings ask for."""
        if key is None or not found or found[0].action is not Action.REPLAY:
            return None
        done = self.state.ledger.earlier(key)
        return None if done is None else self._replay(call, found, done, found[0].message)

    def replayed(self, call: PendingCall, spec: ToolSpec, found: Sequence[Finding] = ()) -> Verdict | None:
        """Replay an earlier result, if one may stand for this call."""
        cached = self.state.cache.find(call, spec, self.state.epochs)
        return None if cached is None else self._replay(call, found, cached, cached.message(self.wording))

    def let(self, call: PendingCall, found: Sequence[Finding], idempotency_key: str | None) -> Verdict:
        """Let the call run: it gets its number."""
        number = self.state.numbers.get(call.call_id) or self._number_of(call.call_id)
        self.commit(Began(replace(call, number=number), idempotency_key))
        return Verdict(
            found[0].action if found and not self.shadow else Action.ALLOW,
            call.call_id,
            call.name,
            plain(call.arguments),
            "" if self.shadow else _said(found),
            found[0].reason_code if found else None,
            tuple(found),
            reference=f"$v{number}",
            shadow=self.shadow,
        )

    def _number_of(self, call_id: str) -> int:
        """The number of a call that was not announced; begun again after a crash it keeps its own."""
        begun = self.state.open.get(call_id)
        number = None if begun is None else begun.number
        return self.state.bindings.next_number if number is None else number

    def unresolved(self, call: PendingCall, finding: Finding) -> Verdict:
        """Refuse a call whose references name nothing; in shadow mode it runs as the model wrote it."""
        return self.let(call, [finding], None) if self.shadow else self.refuse(call, [finding])

    def refuse(self, call: PendingCall, found: Sequence[Finding | None]) -> Verdict:
        """Do not let it run."""
        verdict = self._verdict(call.name, call.arguments, found, call.call_id)
        self.commit(Refused(record_of(call, Outcome.REFUSED), verdict.reason_code or ""))
        return verdict

    def _ask(self, call: PendingCall, found: Sequence[Finding], idempotency_key: str | None) -> Verdict:
        verdict = self._verdict(call.name, call.arguments, found, call.call_id)
        self.commit(Asked(call, found[0].reason_code, idempotency_key))
        return verdict

    def _replay(
        self, call: PendingCall, found: Sequence[Finding], earlier: Cached | Done, message: str
    ) -> Verdict:
        record = record_of(
            call,
            Outcome.REPLAYED,
            binding=earlier.binding,
            result=earlier.result,
            replay_of=earlier.call_id,
        )
        self.commit(Finished(record))
        warned = _said([f for f in found if f.message != message])
        return Verdict(
            Action.REPLAY,
            call.call_id,
            call.name,
            plain(call.arguments),
            f"{message} {warned}".rstrip(),
            found[0].reason_code if found else "cache.replay",
            tuple(found),
            reference=f"${earlier.binding}" if self.state.holds(earlier.binding or "") else None,
            replayed=earlier.call_id,
            result=plain(earlier.result),
        )

    def judged(self, name: str, arguments: Mapping[str, Any], *findings: Finding | None) -> Verdict:
        """A verdict that changes nothing; in shadow mode it allows."""
        verdict = self._verdict(name, arguments, findings)
        return replace(verdict, action=Action.ALLOW, message="") if self.shadow else verdict

    def _verdict(
        self,
        name: str,
        arguments: Mapping[str, Any],
        findings: Sequence[Finding | None],
        call_id: str = "",
    ) -> Verdict:
        """The strictest of the findings, in the words of those as strict."""
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
        """The call with the proposals of its findings taken: a copied value becomes the bound one.

        Where they do not resolve, or would put in too much, it is the call as the model wrote it.
        """
        repairs = {path: reference for finding in found for path, reference in finding.repair.items()}
        if not repairs:
            return call
        raw = plain(call.raw_arguments)
        for path, reference in repairs.items():
            put(raw, path, reference)
        try:
            return self.pending(call.call_id, spec, raw)
        except (UnresolvedReferenceError, GuardLimitError):
            return call


_NO_TOOL: Final = ToolSpec("-")


def _found(*findings: Finding | None) -> tuple[Finding, ...]:
    return strictest([finding for finding in findings if finding is not None])


def _stands(found: Sequence[Finding]) -> bool:
    """Whether something stands against the call that a replay would not heal."""
    return bool(found) and found[0].action in (Action.BLOCK, Action.CONFIRM)


def _said(found: Iterable[Finding]) -> str:
    return " ".join(dict.fromkeys(finding.message for finding in found if finding.message))

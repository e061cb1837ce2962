"""A recorded run through a guard that watches, and through one that replays.

The watching guard is in shadow mode: every call gets the answer that was recorded, and the findings say what
a guard would have done. (One that refuses would leave a recorded agent, which cannot react, without the
answers that the rest of its run builds on.) The replaying guard has only its cache: it gives an earlier
result where law 21 allows, and the recorded answer tells whether that was right.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from guards import (
    Action,
    CallRecord,
    Check,
    Finding,
    GroundingPolicy,
    InvalidArgumentsError,
    LeafProvenance,
    LoopPolicy,
    ToolGuard,
)
from guards.checks.grounding import GroundingCheck
from guards.facts import Began, Fact, Finished, Prompted
from guards.facts import Said as SaidFact

from .declared import is_empty, spec_of
from .recordings import Asked, Call, Ran, Run, Said

__all__ = ["BEGAN", "Replay", "Seen", "Watched", "replays", "watch"]

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_NEVER_S = 1e9
"""A deadline for calls without a recorded answer, which are counted as such, not closed."""


class _Clock:
    """A second a step: the recordings have no times."""

    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> datetime:
        return self.now

    def tick(self) -> None:
        self.now += timedelta(seconds=1)


@dataclass(slots=True)
class Seen:
    """One call, and what the guard saw.

    Attributes:
        run: Its run.
        call: As recorded.
        findings: Of all checks.
        leaves: Where each argument leaf comes from.
        number: `N` of its `$vN`.
        record: How it ended; `None` if no answer was recorded.
        earlier: For a call made before in the run: whether its newest answer was the same as this one.
        asked_before: Whether the run held the same call before.
    """

    run: Run
    call: Call
    findings: tuple[Finding, ...]
    leaves: tuple[LeafProvenance, ...]
    number: int
    record: CallRecord | None = None
    earlier: bool | None = None
    asked_before: bool = False

    @property
    def ungrounded(self) -> bool:
        return any(leaf.ungrounded for leaf in self.leaves)

    @property
    def failed(self) -> bool:
        return self.record is not None and not self.record.success

    @property
    def empty(self) -> bool:
        return self.record is not None and is_empty(str(self.record.result))

    @property
    def loop(self) -> Finding | None:
        return next((finding for finding in self.findings if finding.check is Check.LOOP), None)


@dataclass(slots=True)
class Watched:
    """A run, and what was seen of it.

    Attributes:
        run: The run.
        calls: Its calls in order.
        texts: Findings about what the assistant wrote, with the number of calls before each.
        not_json: Calls whose arguments are no JSON object; they are in no other count.
        requests_after: For each call, how many assistant messages follow its answer: each sends it again.
    """

    run: Run
    calls: list[Seen] = field(default_factory=list[Seen])
    texts: list[tuple[int, Finding]] = field(default_factory=list[tuple[int, Finding]])
    not_json: int = 0
    requests_after: dict[int, int] = field(default_factory=dict[int, int])


class _Watch:
    def __init__(self, run: Run) -> None:
        self.watched = Watched(run)
        self._clock = _Clock()
        self._sources = GroundingCheck(GroundingPolicy())
        self._answers: dict[str, str] = {}
        self._leaves: tuple[LeafProvenance, ...] = ()
        self._number = 0
        self.guard = ToolGuard(
            shadow=True,
            call_deadline_s=_NEVER_S,
            clock=self._clock,
            timer=lambda: 0.0,
            on_fact=self._heard,
        )

    def run(self) -> Watched:
        for step in self.watched.run.steps():
            self._clock.tick()
            match step:
                case Said():
                    self._said(step)
                case Asked():
                    for index in self.watched.requests_after:
                        self.watched.requests_after[index] += 1
                    self.guard.announce([call.call_id for call in step.calls])
                case Ran():
                    self._ran(step)
        return self.watched

    def _said(self, step: Said) -> None:
        if step.role == "assistant":
            verdict = self.guard.assistant_said(step.text)
            self.watched.texts += [(len(self.watched.calls), finding) for finding in verdict.findings]
        elif step.role == "user":
            self.guard.reset_for_new_prompt(step.text)
        else:
            self.guard.system_said(step.text)

    def _ran(self, step: Ran) -> None:
        call = step.call
        self.guard.add_tool(spec_of(call.name))
        try:
            verdict = self.guard.before_call(call.name, call.arguments, call.call_id)
        except InvalidArgumentsError:
            self.watched.not_json += 1
            return
        self.watched.calls.append(Seen(self.watched.run, call, verdict.findings, self._leaves, self._number))
        if step.text is not None:
            self.guard.after_call(call.call_id, **step.ended)
            self.watched.requests_after[call.index] = 0

    def _heard(self, fact: Fact) -> None:
        """The grounding check once more, on its own: a verdict does not say where a value comes from."""
        match fact:
            case Prompted():
                self._sources.user_said(fact.text or "")
            case SaidFact() if fact.origin == "system":
                self._sources.system_said(fact.text)
            case Began():
                self._leaves = self._sources.provenance(fact.call, spec_of(fact.call.name))
                self._number = fact.call.number or 0
            case Finished():
                self._sources.observe(fact.record)
                self._ended(fact.record)
            case _:
                pass

    def _ended(self, record: CallRecord) -> None:
        seen = self.watched.calls[-1]
        seen.record = record
        answer = f"{record.outcome}:{record.result}{record.error or ''}"
        before = self._answers.get(record.fingerprint)
        seen.asked_before = before is not None
        seen.earlier = None if before is None else before == answer
        self._answers[record.fingerprint] = answer


def watch(run: Run) -> Watched:
    """What the guard saw of a run."""
    return _Watch(run).run()


@dataclass(frozen=True, slots=True)
class Replay:
    """A call that the cache would have answered.

    Attributes:
        run: Its run.
        call: As recorded.
        rightly: Whether the recorded answer equals the replayed one; `None` if none was recorded.
    """

    run: Run
    call: Call
    rightly: bool | None


def replays(run: Run) -> list[Replay]:
    """The calls of a run that a guard with nothing but its cache answers itself."""
    clock = _Clock()
    guard = ToolGuard(
        loop=LoopPolicy.off(),
        grounding=GroundingPolicy("off"),
        call_deadline_s=_NEVER_S,
        clock=clock,
        timer=lambda: 0.0,
    )
    found: list[Replay] = []
    for step in run.steps():
        clock.tick()
        if not isinstance(step, Ran):
            continue
        call = step.call
        guard.add_tool(spec_of(call.name))
        try:
            verdict = guard.before_call(call.name, call.arguments, call.call_id)
        except InvalidArgumentsError:
            continue
        if verdict.action is Action.REPLAY:
            right = None if step.text is None else not step.failed and verdict.result == step.text
            found.append(Replay(run, call, right))
        elif step.text is not None:
            guard.after_call(call.call_id, **step.ended)
    return found

"""Loops: repetition without progress.

Progress is a user's message, a new answer to a call that was made before, or a call never made before
that may have changed something. A call that only reads is none, nor is one that was refused. What comes
again without progress is counted; the counts ask for a nudge, then for a block, then for the end of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from guards.calls import CallRecord, Outcome, PendingCall
from guards.checks.cycles import Cycles, Step
from guards.checks.likeness import Wish, wish
from guards.checks.results import Said, said
from guards.checks.streaks import Families, News, Streak, Streaks
from guards.checks.texts import Texts
from guards.checks.thresholds import LoopPolicy
from guards.tools import ToolSpec
from guards.verdicts import Action, Check, Finding
from guards.wording import Wording, quoted

__all__ = ["LoopCheck", "LoopPolicy"]

_DRIFTED: Final = 2.0
"""Patience for errors of different questions, for those that name what was asked for, and for those between
which something progressed: these earn a nudge at most."""

_LEAST_CALLS: Final = 3
"""Different calls in a cycle with changing answers before it is blocked: two may be a poll that flickers."""


@dataclass(frozen=True, slots=True)
class _Case:
    """A repetition: which, how often, how patiently to be judged, and what proves it.

    `at_most` caps the level, 1 being a nudge; `told` is the count that the message names, if another.
    """

    reason: str
    equal: int
    patience: float = 1.0
    at_most: int = 3
    calls: Iterable[tuple[int, str]] = ()
    period: int = 0
    template: str = ""
    told: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class _Asked:
    """The call that is judged: pending, or the last one if it came again."""

    name: str
    fingerprint: str
    patience: float
    wish: Callable[[], Wish | None]


class LoopCheck:
    """Sees repetition without progress. Its memory is bounded; a call costs the same after any history."""

    def __init__(self, policy: LoopPolicy | None = None, wording: Wording | None = None) -> None:
        self.policy = policy or LoopPolicy()
        self._wording = wording or Wording()
        self._calls = 0
        self._last: tuple[str, str] | None = None
        self._forget()

    def _forget(self) -> None:
        self._progress = 0
        self._waiting_at = -1
        self._stale = 0
        self._segmentations = 0
        self._streaks = Streaks(self.policy.memory)
        self._families = Families()
        self._cycles = Cycles()
        self._texts = Texts()

    # What happened

    def user_spoke(self) -> None:
        """The user said something: progress. What the user asks for again is no repetition."""
        self._last = None
        self._forget()

    def assistant_said(self, text: str) -> None:
        """The model wrote text."""
        if self.policy.enabled:
            self._texts.add(text)

    def segmentation_happened(self, reason: str = "") -> None:
        """The context was full, and was cut; the model may have to read again what it forgot.

        Args:
            reason: Why, for the host's own records; not judged.
        """
        del reason
        self._segmentations += 1
        self._stale = 0

    def observe(self, record: CallRecord) -> None:
        """A call ended."""
        if not self.policy.enabled or record.outcome is Outcome.CANCELLED:
            return
        index, self._calls = self._calls, self._calls + 1
        self._last = (record.tool_name, record.fingerprint)
        if record.outcome is Outcome.REFUSED:
            self._refused(index, record)
            return
        heard = self._heard(record)
        streak, news = self._streaks.add(index, record, heard, self._progress)
        kin = self._families.add(index, record, heard, self._progress)
        self._cycles.add(Step(record.fingerprint, streak.key, index, record.call_id))
        self._weigh(index, record, streak, kin, news)

    def _weigh(self, index: int, record: CallRecord, streak: Streak, kin: Streak | None, news: News) -> None:
        if news is News.SAME:
            goes_on = streak.said.goes_on
            self._waiting_at = index if goes_on else self._waiting_at
            self._stale += 1 if goes_on else 2
            return
        self._texts.clear()
        self._segmentations = 0
        ran_well = record.outcome is Outcome.OK and not streak.said.failed
        wrote = record.read_only is not True and ran_well
        if news is News.OTHER or wrote:
            self._stale = 0
            self._progress += 1
            for extended in (streak, kin):
                if extended is not None:
                    extended.mark = self._progress
        else:
            self._stale = max(0, self._stale - 2)

    def _refused(self, index: int, record: CallRecord) -> None:
        """A call that was not run is no progress and no failure: it extends what it would have repeated."""
        self._stale += 2
        family = self._families.get(record.tool_name)
        if family is not None:
            asked = wish(record.arguments)
            group = family.group(asked) if asked else None
            for kin in (family.error, group):
                if kin is not None and kin.equal_calls(self._progress):
                    kin.again(index, record, self._progress)
        known = self._streaks.get(record.fingerprint)
        heard = known.said if known else said(None, error=record.error or "refused")
        streak, _ = self._streaks.add(index, record, heard, self._progress)
        self._cycles.add(Step(record.fingerprint, streak.key, index, record.call_id))

    def _heard(self, record: CallRecord) -> Said:
        known = self._streaks.get(record.fingerprint)
        if record.outcome is Outcome.REPLAYED and known is not None:
            return known.said
        if record.success:
            return said(record.result)
        return said(None, error=record.error or record.error_kind or record.outcome.value)

    # What is to be said about it

    def examine(self, call: PendingCall, spec: ToolSpec) -> Finding | None:
        """Whether the call would go on with a repetition; changes nothing."""
        if not self.policy.enabled or self._quiet(call, spec):
            return None
        asked = _Asked(call.name, call.fingerprint, spec.loop_patience, lambda: wish(call.arguments))
        return self._worst(self._cases(asked), call.name, pending=True)

    def _quiet(self, call: PendingCall, spec: ToolSpec) -> bool:
        """Whether no count is near a threshold: the common case, decided without looking at the cases."""
        least = self.policy.least(spec.loop_patience)
        if max(self._segmentations, self._stale // 2, self._cycles.rounds) >= least:
            return False
        streak = self._streaks.get(call.fingerprint)
        if streak is not None and streak.total >= least:
            return False
        family = self._families.get(call.name)
        return family is None or family.longest() < least

    def check_runaway(self, patience_of: Callable[[str], float] | None = None) -> Finding | None:
        """What there is to say now, without a call: as if the last one, or the last cycle, went on.

        Args:
            patience_of: Patience of a tool, by name; without it, 1 for all.
        """
        if not self.policy.enabled:
            return None
        name, fingerprint = self._last or ("", "")
        patience = patience_of(name) if patience_of and name else 1.0
        cases = [_Case("loop.segmentation", self._segmentations)]
        for likely in dict.fromkeys((fingerprint, self._cycles.next_call() or fingerprint)):
            cases += self._cases(_Asked(name, likely, patience, self._last_wish))
        return self._worst(cases, name, pending=False)

    def examine_text(self) -> Finding | None:
        """Whether the model writes the same over and over, or chants within its last text."""
        if not self.policy.enabled:
            return None
        texts = self._texts
        if not texts.chant:
            case = _Case("loop.monologue", texts.count)
        else:
            # One text that chants is as good as all the equal ones before a nudge.
            equal = max(texts.count, (self.policy.nudge_before or 1) - 1)
            details = {"count": texts.count, "repeats": texts.chant}
            case = _Case("loop.monologue", equal, template="loop_chant", told=texts.chant, details=details)
        return self._worst([case], "", pending=False)

    def _cases(self, asked: _Asked) -> Iterator[_Case]:
        streak = self._streaks.get(asked.fingerprint)
        equal = streak.equal_calls(self._progress) if streak else 0
        known = 3 if equal else 0
        yield _Case("loop.segmentation", self._segmentations, asked.patience, at_most=max(known, 1))
        cycle = self._cycle_case(asked)
        if cycle is not None:
            yield cycle
        if streak is not None:
            yield from self._streak_cases(asked, streak, equal)
        yield from self._kin_cases(asked)
        if cycle is None:
            patience = asked.patience * self.policy.window_factor()
            yield _Case("loop.no_progress", self._stale // 2, patience, at_most=known)

    def _streak_cases(self, asked: _Asked, streak: Streak, equal: int) -> Iterator[_Case]:
        if streak.said.failed:
            patience = asked.patience * _DRIFTED
            yield _Case("loop.same_error", streak.total, patience, at_most=1, calls=streak.calls)
        waiting = streak.said.goes_on or self._waiting_at >= streak.calls[-1][0]
        yield _Case(
            "loop.same_error" if streak.said.failed else "loop.repeat",
            equal,
            asked.patience * (self.policy.waiting_factor if waiting else 1.0),
            at_most=1 if streak.counted else 3,
            calls=streak.calls,
            template="loop_waiting" if waiting else "",
        )

    def _cycle_case(self, asked: _Asked) -> _Case | None:
        cycle = self._cycles.going_on_with(asked.fingerprint)
        if cycle is None:
            return None
        waiting = self._waiting_at >= self._calls - cycle.period
        return _Case(
            "loop.cycle",
            cycle.rounds,
            asked.patience * (self.policy.waiting_factor if waiting else 1.0),
            at_most=3 if cycle.constant or cycle.different >= _LEAST_CALLS else 1,
            calls=cycle.calls,
            period=cycle.period,
        )

    def _kin_cases(self, asked: _Asked) -> Iterator[_Case]:
        family = self._families.get(asked.name)
        if family is None:
            return
        error = family.error
        if error is not None and error.varied and self.policy.level(error.total, asked.patience):
            yield self._error_case(asked, error)
        if any(self.policy.level(g.count, asked.patience) for g in family.groups if g.varied):
            wanted = asked.wish()
            group = family.group(wanted) if wanted else None
            if group is not None and group.varied:
                equal = group.equal_calls(self._progress)
                yield _Case("loop.near_duplicate", equal, asked.patience, calls=group.calls)

    def _error_case(self, asked: _Asked, error: Streak) -> _Case:
        wanted = asked.wish()
        alike = wanted is not None and error.wish is not None and error.wish.like(wanted)
        patience = asked.patience * (self.policy.waiting_factor if error.said.goes_on else 1.0)
        equal = error.equal_calls(self._progress)
        if error.names_item:
            patience *= _DRIFTED
        drifted = self.policy.level(equal, patience * _DRIFTED)
        at_most = 3 if alike or error.names_item else max(1, drifted)
        return _Case("loop.same_error", equal, patience, at_most=at_most, calls=error.calls)

    def _last_wish(self) -> Wish | None:
        if self._last is None:
            return None
        family = self._families.get(self._last[0])
        kin = [k for k in (family.error, *reversed(family.groups)) if k] if family else []
        return next((k.wish for k in kin if k.fingerprint == self._last[1]), None)

    def _worst(self, cases: Iterable[_Case], name: str, *, pending: bool) -> Finding | None:
        worst: _Case | None = None
        level = 0
        for case in cases:
            reached = min(self.policy.level(case.equal, case.patience), case.at_most)
            if reached > level:
                worst, level = case, reached
        return self._finding(worst, level, name, pending=pending) if worst else None

    def _finding(self, case: _Case, level: int, name: str, *, pending: bool) -> Finding:
        calls = list(case.calls)
        template = case.template or case.reason.replace(".", "_")
        count = case.equal if case.told is None else case.told
        what = self._wording.say(template, tool=quoted(name), count=count, period=case.period)
        if level == 3:
            what = self._wording.say("loop_stopped", what=what)
        elif level == 2 and pending:
            what = self._wording.say("loop_blocked", what=what)
        evidence: dict[str, Any] = {"count": case.equal, **case.details}
        evidence |= {"tool": name} if name else {}
        evidence |= {"calls": [c for _, c in calls], "indexes": [i for i, _ in calls]} if calls else {}
        evidence |= {"period": case.period} if case.period else {}
        action = Action.WARN if level == 1 else Action.BLOCK
        return Finding(Check.LOOP, action, case.reason, what, evidence, should_stop=level == 3)

    # Storage

    def snapshot(self) -> dict[str, Any]:
        """JSON, whole; holds parts of answers (256,000 characters at most, and those of 64 tools)."""
        return {
            "calls": self._calls,
            "last": list(self._last) if self._last else None,
            "progress": self._progress,
            "waiting_at": self._waiting_at,
            "stale": self._stale,
            "segmentations": self._segmentations,
            "streaks": self._streaks.snapshot(),
            "families": self._families.snapshot(),
            "cycles": self._cycles.snapshot(),
            "texts": self._texts.snapshot(),
        }

    @classmethod
    def restore(
        cls, value: Mapping[str, Any], policy: LoopPolicy | None = None, wording: Wording | None = None
    ) -> LoopCheck:
        """The inverse of `snapshot`, under any policy."""
        check = cls(policy, wording)
        check._calls, check._progress = int(value["calls"]), int(value["progress"])
        last = value["last"]
        check._last = (str(last[0]), str(last[1])) if last else None
        check._waiting_at, check._stale = int(value["waiting_at"]), int(value["stale"])
        check._segmentations = int(value["segmentations"])
        check._streaks.restore(value["streaks"])
        check._families.restore(value["families"])
        check._cycles.restore(value["cycles"])
        check._texts.restore(value["texts"])
        return check

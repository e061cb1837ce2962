"""`ToolGuard`: what happens around a tool call, in which order. Synchronous, in memory, no I/O.

    before_call   resolve references > replay? > checks > strictest verdict > reserve $vN
    after_call    bind > cache > loop history > budgets > sources

A step decides on what `GuardState` knows, and turns its decision into facts. The facts change the state, here
and in any other process that is given them (`guards.facts`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

from guards.bindings import Binding, BindingManager
from guards.calls import CallRecord, Outcome, PendingCall, parse_arguments, plain
from guards.checks.grounding import GroundingPolicy
from guards.checks.loop import LoopPolicy
from guards.checks.permission import Confirmation, PermissionPolicy
from guards.endings import error_text, finished, outcome_of, text_of
from guards.errors import (
    CallInProgressError,
    GuardLimitError,
    InvalidArgumentsError,
    SnapshotError,
    UnknownCallError,
    UnresolvedReferenceError,
)
from guards.facts import Announced, Bound, Fact, Prompted, Said
from guards.limits import Limits
from guards.previews import preview
from guards.reading import NEVER_OFFLOADED, TokenCounter, clipped, estimate_tokens
from guards.references import Resolution, resolve, to_finding
from guards.running import CallResult, Memory, finish, guarded, run
from guards.state import GuardState
from guards.steps import Steps
from guards.tools import ToolSpec
from guards.verdicts import Action, Check, Finding, Verdict
from guards.wording import Wording, quoted

if TYPE_CHECKING:
    from guards.flights import Flights

__all__ = ["SNAPSHOT_VERSION", "ToolGuard", "ToolStateManager"]

SNAPSHOT_VERSION: Final = 1


class ToolGuard:
    """Guards the tool calls of one conversation or run.

    A bare `ToolGuard()` has no limits, nudges and then blocks loops, warns on arguments that come from
    nowhere, and neither confirms nor replays tools it knows nothing about. One guard belongs to one
    conversation, never to the process, and to one thread at a time.

    Args:
        tools: Specs of the tools; a tool without one is of unknown nature.
        limits: Budgets; `None`: no limit.
        loop: Thresholds of the loop check.
        grounding: What is done about arguments that come from nowhere.
        permissions: Which calls need a person, and which are denied.
        offload_tokens: Tokens of a result above which the model sees a preview of it; `None`: never.
        call_deadline_s: Seconds after which an open call is closed with the outcome `unknown`.
        shadow: Watch only: every verdict allows, its findings say what the guard would have done.
        wording: The sentences that the model reads.
        count_tokens: Tokens of a text; by default a fourth of its characters.
        clock: Aware UTC now.
        timer: Monotonic seconds, for durations.
        on_fact: Called with each fact that changed the guard, in order. It must not raise, and not change
            what it is given.
        memory: Learns from each call that `run` ran, such as a `procedural.ToolMemoryManager`.
        name_results: Tell the model each result's `$vN` below it; for models that are to pass results on.

    Raises:
        ValueError: A number out of range.
    """

    def __init__(
        self,
        tools: Iterable[ToolSpec] = (),
        *,
        limits: Limits | None = None,
        loop: LoopPolicy | None = None,
        grounding: GroundingPolicy | None = None,
        permissions: PermissionPolicy | None = None,
        offload_tokens: int | None = 4000,
        call_deadline_s: float = 3600.0,
        shadow: bool = False,
        wording: Wording | None = None,
        count_tokens: TokenCounter = estimate_tokens,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        timer: Callable[[], float] = time.monotonic,
        on_fact: Callable[[Fact], None] | None = None,
        memory: Memory | None = None,
        name_results: bool = False,
    ) -> None:
        if not call_deadline_s > 0:
            raise ValueError(f"call_deadline_s={call_deadline_s!r}: use seconds above 0")
        if offload_tokens is not None and not offload_tokens >= 0:
            raise ValueError(f"offload_tokens={offload_tokens!r}: use 0 or more, or None for never")
        self.wording = wording or Wording()
        self._state = GuardState(
            limits=limits or Limits(),
            loop=loop or LoopPolicy(),
            grounding=grounding or GroundingPolicy(),
            permissions=permissions or PermissionPolicy(),
            wording=self.wording,
            clock=clock,
        )
        self._steps = Steps(
            self._state,
            tools,
            wording=self.wording,
            shadow=shadow,
            clock=clock,
            timer=timer,
            on_fact=on_fact,
        )
        self._offload_tokens = offload_tokens
        self._deadline_s = call_deadline_s
        self._count_tokens = count_tokens
        self.memory = memory
        self._name_results = name_results
        self._clock = clock

    # Tools, and what was said

    @property
    def last_finished(self) -> CallRecord | None:
        """The call that ended last, `None` before the first."""
        return self._steps.last_finished

    @property
    def shadow(self) -> bool:
        """Whether the guard only watches."""
        return self._steps.shadow

    @cached_property
    def flights(self) -> Flights:
        """Equal calls under way."""
        from guards.flights import Flights  # Needs asyncio, which a synchronous host spares.

        return Flights()

    @property
    def bindings(self) -> BindingManager:
        """The results that `$vN` names."""
        return self._state.bindings

    def add_tool(self, spec: ToolSpec) -> None:
        """Tell the guard what a tool is; a spec of the same name is replaced."""
        self._steps.tools[spec.name] = spec

    def spec_of(self, name: str) -> ToolSpec:
        """The tool's spec; of unknown nature if nobody gave one."""
        return self._steps.spec_of(name)

    def reset_for_new_prompt(
        self, user_text: str | None = None, *, keep_bindings: bool = True, new_run: bool = False
    ) -> None:
        """Start a new prompt: turn budgets and grace begin anew, and the loop check takes it as progress.

        Args:
            user_text: What the user said; its values count as sources of arguments.
            keep_bindings: Whether `$vN` of earlier prompts stay known.
            new_run: Begin the budgets of a run anew too.
        """
        self._steps.commit(Prompted(user_text, keep_bindings, new_run))

    def user_said(self, text: str) -> None:
        """The user said more within the prompt: its values count as sources of arguments."""
        self._steps.commit(Said("user", text))

    def system_said(self, text: str) -> None:
        """The system prompt, or an instruction of the host: its values count as sources of arguments."""
        self._steps.commit(Said("system", text))

    def assistant_said(self, text: str) -> Verdict:
        """The model wrote text; the verdict says whether it says the same over and over."""
        self._steps.commit(Said("assistant", text))
        return self._steps.judged("", {}, self._state.loop.examine_text())

    def announce(self, call_ids: Sequence[str], *, first: int | None = None) -> tuple[str, ...]:
        """Number the calls of an assistant message, in the order in which it lists them.

        Without it a call takes its number in `before_call`, and parallel calls are numbered as they come.

        Args:
            call_ids: Ids of the calls.
            first: The number of the first one, where a store assigned it.

        Returns:
            Their references, such as `$v1`.

        Raises:
            ValueError: `first` is below a number that was given out.
        """
        free = self.bindings.next_number
        first = free if first is None else first
        if first < free:
            raise ValueError(f"first={first!r}: numbers below {free} are given out; use {free} or more")
        self._steps.commit(Announced(tuple(call_ids), first))
        return tuple(f"$v{first + i}" for i in range(len(call_ids)))

    # Around a call

    def before_call(
        self,
        name: str,
        arguments: Mapping[str, Any] | str | bytes | None = None,
        call_id: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Verdict:
        """Say what becomes of a call.

        Args:
            name: The tool's name.
            arguments: A mapping, or the JSON text that the model wrote.
            call_id: The provider's id; `None` makes one. An id may come again once its call has ended.
            idempotency_key: A call with this key runs at most once; `None`: a destructive one goes by its id.

        Returns:
            The verdict. Run the tool where `should_run`, with the verdict's arguments, and report its end to
            `after_call`; otherwise give the model the verdict's message, or the replayed result.

        Raises:
            InvalidArgumentsError: Arguments that are no JSON object; the guard is as it was.
            CallInProgressError: A call with this id runs here.
            GuardLimitError: Ten thousand destructive calls are open; close those that never came back.
        """
        raw = parse_arguments(arguments)
        self.close_overdue()
        call_id = call_id or self._new_id()
        if call_id in self._steps.running:
            raise CallInProgressError(call_id)
        spec = self.spec_of(name)
        try:
            call = self._steps.pending(call_id, spec, raw)
        except (UnresolvedReferenceError, GuardLimitError) as error:
            call = self._steps.call(call_id, spec, raw, raw)
            return self._steps.unresolved(call, to_finding(error, self.wording))
        return self._steps.decide(call, spec, idempotency_key)

    def after_call(
        self,
        call_id: str,
        *,
        result: Any = None,
        error: BaseException | str | None = None,
        outcome: Outcome | None = None,
        attempt_errors: Sequence[str] = (),
        result_tokens: int | None = None,
        cost_usd: Decimal | None = None,
        aliases: Sequence[str] = (),
    ) -> Binding | None:
        """Take the end of a call: bind its result, keep it for replay, remember how it went.

        Args:
            call_id: The verdict's.
            result: Anything; a JSON copy is kept. What has no JSON form is kept as `plain` documents.
            error: The error, if the tool failed; text or the exception.
            outcome: Where `error` does not tell: by itself, none is `ok`, a `TimeoutError` a `timeout`, an
                interruption (`CancelledError`, `KeyboardInterrupt`) `cancelled`, any other `error`.
            attempt_errors: Error kinds of earlier attempts of the same call.
            result_tokens: Tokens of the result, 0 or more; `None`: counted here if a limit needs them.
            cost_usd: What the call cost, 0 or more, if known.
            aliases: Further names for the result.

        Returns:
            The binding; `None` if there is no result to bind. One whose value was too large to keep says so.

        Raises:
            UnknownCallError: No such call is open: it ended already, or never began.
            ValueError: An alias, an outcome or a figure that cannot be; the call is still open.
        """
        call = self._open(call_id)
        if result_tokens is None and error is None and self._state.budget.limits.result_tokens is not None:
            result_tokens = self._count_tokens(text_of(result))
        fact = finished(
            call,
            outcome_of(error) if outcome is None else outcome,
            result=result,
            error=error,
            duration_s=self._steps.runs_for(call),
            attempt_errors=attempt_errors,
            result_tokens=result_tokens,
            cost_usd=cost_usd,
            aliases=aliases,
        )
        self._steps.commit(fact)
        return self.bindings.get(fact.record.binding) if fact.record.binding else None

    def record(
        self,
        name: str,
        arguments: Mapping[str, Any] | str | None,
        *,
        result: Any = None,
        error: BaseException | str | None = None,
        call_id: str | None = None,
        at: datetime | None = None,
    ) -> Binding | None:
        """Take a call that ran outside the guard, without a verdict: it is bound, cached and remembered.

        `at` is when it began, `None`: now. Arguments that are no JSON are kept as none. Returns and raises as
        `after_call`.
        """
        call_id = call_id or self._new_id()
        try:
            raw = parse_arguments(arguments)
        except InvalidArgumentsError:
            raw = {}
        if call_id not in self._state.open:
            call = self._steps.call(call_id, self.spec_of(name), raw, raw)
            self._steps.let(call if at is None else replace(call, started_at=at), [], None)
            self._steps.running.discard(call_id)
        return self.after_call(call_id, result=result, error=error)

    def unreadable(self, name: str, error: InvalidArgumentsError, call_id: str | None = None) -> Verdict:
        """Refuse a call whose arguments are no JSON object; the message tells the model to send them anew.

        Refused even in shadow mode: there is nothing to run it with.
        """
        call = self._steps.call(call_id or self._new_id(), self.spec_of(name), {}, {})
        message = self.wording.say("arguments_unreadable", tool=quoted(name), why=quoted(str(error)))
        finding = Finding(Check.REFERENCES, Action.BLOCK, "references.unreadable", message)
        return self._steps.refuse(call, [finding, self._state.loop.examine(call, self.spec_of(name))])

    def replay_open(self, call_id: str) -> Verdict | None:
        """End an open call with the result that an equal one has brought since; `None` if none has.

        Raises:
            UnknownCallError: No such call is open.
        """
        call = self._open(call_id)
        return self._steps.replayed(call, self.spec_of(call.name))

    def close_overdue(self) -> None:
        """Close the calls that have been open for longer than the deadline, with the outcome `unknown`.

        `before_call` does it too. A call that began here is timed by the timer, so a clock that jumps closes
        none of them; one that began elsewhere, by the clock.
        """
        overdue: list[str] = []
        for call in self._state.open.values():
            if self._open_s(call) >= self._deadline_s:
                overdue.append(call.call_id)
            elif call.call_id in self._steps.running:
                break  # Those behind it began later.
        for call_id in overdue:
            self.after_call(call_id, outcome=Outcome.UNKNOWN)

    def _open_s(self, call: PendingCall) -> float:
        here = self._steps.runs_for(call)
        return (self._clock() - call.started_at).total_seconds() if here is None else here

    def _open(self, call_id: str) -> PendingCall:
        call = self._state.open.get(call_id)
        if call is None:
            raise UnknownCallError(call_id)
        return call

    def _new_id(self) -> str:
        """An id for a call that came without one; nothing else is open, or announced, under it."""
        state, number = self._state, self._state.made + 1
        while (call_id := f"unnamed_{number}") in state.open or call_id in state.numbers:
            number += 1
        return call_id

    def bind_value(
        self, name: str, arguments: Mapping[str, Any], value: Any, *, aliases: Sequence[str] = ()
    ) -> Binding:
        """Bind a value by hand, as if the tool `name` had given it.

        Raises:
            InvalidArgumentsError: Arguments or value have no JSON form.
            GuardLimitError: The value is too large; nothing was bound.
            ValueError: An alias is no name.
        """
        number = self.bindings.next_number
        self._steps.commit(
            Bound(
                number, name, parse_arguments(arguments), self._clock(), plain(value), aliases=tuple(aliases)
            )
        )
        bound = self.bindings.get(f"v{number}")
        assert bound is not None
        return bound

    def resolve(self, arguments: Mapping[str, Any] | str) -> Resolution:
        """The arguments with every reference replaced, and where each leaf came from.

        Raises:
            UnresolvedReferenceError: A reference names nothing; nothing was replaced.
            InvalidArgumentsError: The arguments are no JSON object.
        """
        return resolve(parse_arguments(arguments), self.bindings)

    # A person decides

    @property
    def waiting_calls(self) -> tuple[Confirmation, ...]:
        """The calls that wait for a person, the oldest first."""
        return self._state.permission.confirmations.waiting()

    def approve(self, call_id: str, arguments: Mapping[str, Any] | None = None) -> Verdict:
        """Let a waiting call run, with exactly the arguments that it waits with.

        A person's word goes over budgets, loops and grounding; the call is counted all the same.

        Args:
            call_id: The verdict's.
            arguments: What the person saw; another set than the one that waits is refused.

        Returns:
            The verdict to run it with; report its end to `after_call`, or hand it to `finish`. Where a call
            with the same idempotency key has run since, it replays that one's result.

        Raises:
            UnknownCallError: No call with this id waits.
            InvalidArgumentsError: It waits with other arguments.
        """
        asked = self._state.permission.confirmations.find(call_id, arguments)
        return self._steps.approved(asked)

    def reject(self, call_id: str, reason: str = "") -> Verdict:
        """Refuse a waiting call, and its like for the rest of the turn; the verdict's message says so.

        Raises:
            UnknownCallError: No call with this id waits.
        """
        return self._steps.rejected(self._state.permission.confirmations.get(call_id), reason)

    # What the guard thinks now

    def check_runaway(self) -> Verdict:
        """Whether the run goes round in circles as it stands, before any further call."""
        return self._steps.judged(
            "",
            {},
            self._state.loop.check_runaway(lambda name: self.spec_of(name).loop_patience),
            self._state.loop.examine_text(),
        )

    def check_ungrounded_call(self, name: str, arguments: Mapping[str, Any] | str) -> Verdict:
        """Whether the arguments come from somewhere; changes nothing and reserves nothing."""
        raw = parse_arguments(arguments)
        spec = self.spec_of(name)
        try:
            call = self._steps.pending("", spec, raw)
        except (UnresolvedReferenceError, GuardLimitError) as error:
            return self._steps.judged(name, raw, to_finding(error, self.wording))
        return self._steps.judged(name, call.arguments, self._state.grounding.examine(call, spec))

    @property
    def open_calls(self) -> tuple[PendingCall, ...]:
        """The calls that run, in the order in which they began; copies."""
        calls = self._state.open.values()
        return tuple(
            replace(c, arguments=plain(c.arguments), raw_arguments=plain(c.raw_arguments)) for c in calls
        )

    # Running tools here

    async def run(
        self,
        tool: Callable[..., Any],
        name: str,
        arguments: Mapping[str, Any] | str | None = None,
        *,
        call_id: str | None = None,
        retries: int = 0,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
    ) -> CallResult:
        """Resolve, replay, check, execute, bind, cache and record one call.

        Args:
            tool: The callable, sync (run in a thread) or async; called with the arguments as keywords.
            name: The tool's name.
            arguments: A mapping, or the JSON text that the model wrote.
            call_id: The provider's id.
            retries: Further attempts after a transient error, if the tool is read-only or idempotent.
            timeout_s: Seconds for each attempt; `None`: the spec's, else no limit.
            idempotency_key: See `before_call`.

        Returns:
            How it went; a tool's error, and arguments that are no JSON object, are in it, not raised. Equal
            concurrent calls that may be replayed run once.

        Raises:
            CallInProgressError: A call with this id runs here.
            ValueError: `retries` below 0.
        """
        return await run(
            self,
            tool,
            name,
            arguments,
            call_id=call_id,
            retries=retries,
            timeout_s=timeout_s,
            idempotency_key=idempotency_key,
        )

    async def finish(
        self, tool: Callable[..., Any], verdict: Verdict, *, retries: int = 0, timeout_s: float | None = None
    ) -> CallResult:
        """Do what a verdict says: the second half of `run`, as after `approve`."""
        return await finish(self, tool, verdict, retries=retries, timeout_s=timeout_s)

    def tool(self, function: Callable[..., Any] | None = None, /, **flags: Any) -> Callable[..., Any]:
        """Decorate a function so that each call goes through the guard.

        `@guard.tool` or `@guard.tool(read_only=True, group="discovery")`: the keywords are fields of
        `ToolSpec`. The decorated function, sync or async as before, gives the tool's result, or the guard's
        message as text where the call is blocked or waits for a person; the tool's own errors are raised.
        Arguments without a reference reach it as they were given; a replay gives its result's JSON form.
        """

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            spec = ToolSpec.from_function(function, **flags)
            self.add_tool(spec)
            return guarded(self, spec, function)

        return decorate if function is None else decorate(function)

    def content_of(
        self,
        verdict: Verdict,
        result: Any = None,
        error: BaseException | str | None = None,
        binding: Binding | None = None,
    ) -> str:
        """The text that the model gets as the result of a call.

        A message of the guard stands first. A large result is a preview with its shape and its name;
        `read_value` pages through it.
        """
        body = ""
        if error is not None:
            body = self.wording.say("tool_failed", error=error_text(error, Outcome.ERROR))
        elif verdict.action is Action.REPLAY:
            earlier = self.bindings.get((verdict.reference or "").removeprefix("$"))
            body = self._body(verdict.result, earlier, self.spec_of(verdict.name))
        elif verdict.should_run:
            body = self._body(result, binding, self.spec_of(verdict.name))
            if self._name_results and binding is not None and binding.gone is None:
                body += "\n\n" + self.wording.say("result_named", reference=f"${binding.id}")
        return "\n\n".join(part for part in (verdict.message, body) if part)

    # State

    def snapshot(self) -> dict[str, Any]:
        """The guard's state as JSON, for `restore`; without policies, tools and wording."""
        return {"v": SNAPSHOT_VERSION, **self._state.snapshot()}

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any], tools: Iterable[ToolSpec] = (), **settings: Any) -> Self:
        """A guard with the state of a snapshot. `tools` and `settings` are those of the constructor.

        Raises:
            SnapshotError: It is broken, or written by a newer longsplice.
        """
        guard = cls(tools, **settings)
        guard.load(snapshot)
        return guard

    def load(self, snapshot: Mapping[str, Any]) -> None:
        """Put the state of a snapshot in place of this guard's own.

        Raises:
            SnapshotError: It is broken, or written by a newer longsplice.
        """
        try:
            version = snapshot["v"]
            if version == SNAPSHOT_VERSION:
                self._state.load(snapshot)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise SnapshotError(
                f"snapshot cannot be read ({type(error).__name__}: {error}); begin without it"
            ) from error
        if version != SNAPSHOT_VERSION:
            raise SnapshotError(
                f"snapshot version {version!r}, this longsplice reads {SNAPSHOT_VERSION}; upgrade longsplice"
            )
        self._steps.running.clear()

    def cut_off(self) -> None:
        """Take the calls that began elsewhere and have not ended as cut off: nobody here will see them end.

        To be called once a guard was rebuilt from facts; `load` does it. A destructive one then asks for a
        person before it runs again; an end that arrives later all the same still counts.
        """
        self._state.ledger.cut_off()

    def apply(self, fact: Fact) -> None:
        """Change the state by a fact of a log; `on_fact` is not told."""
        self._steps.apply(fact)

    def _body(self, result: Any, binding: Binding | None, spec: ToolSpec) -> str:
        """The result as text: whole, or where it is large its preview, or its start if it is not kept."""
        above = self._offload_tokens if spec.offload_tokens is None else spec.offload_tokens
        if above is None or spec.name in NEVER_OFFLOADED:
            return text_of(result)
        if binding is not None and binding.gone is None:
            shown = preview(binding, above_tokens=above, count=self._count_tokens, wording=self.wording)
            return text_of(result) if shown is None else shown
        text = text_of(result)
        start = clipped(text, above, self._count_tokens)
        if len(start) == len(text):
            return text
        return self.wording.say("result_cut", tool=quoted(spec.name), size=f"{len(text):,}") + "\n" + start


ToolStateManager = ToolGuard
"""`ToolGuard` under the name that users of an older library know."""

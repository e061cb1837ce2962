"""`guard.run` and `@guard.tool`: execution, retries, time limits, cancellation, single flight."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guards import Action, InvalidArgumentsError, Limits, Outcome, PermissionPolicy, ToolGuard, ToolSpec
from guards import running as running_module
from guards.calls import CallRecord
from guards.facts import Fact, Finished

READ = ToolSpec("read", read_only=True)
PAY = ToolSpec("pay", destructive=True)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other at once."""
    monkeypatch.setattr(running_module, "_FIRST_PAUSE_S", 0.0)


class Run:
    """A guard, and the records of the calls that ended in it."""

    def __init__(self, **settings: Any) -> None:
        self.facts: list[Fact] = []
        self.guard = ToolGuard((READ, PAY), on_fact=self.facts.append, **settings)

    @property
    def records(self) -> list[CallRecord]:
        return [fact.record for fact in self.facts if isinstance(fact, Finished)]


class Tool:
    """An async tool that gives its answers in turn, and raises those that are errors."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[dict[str, Any]] = []
        self.started = asyncio.Event()

    async def __call__(self, **arguments: Any) -> Any:
        self.calls.append(arguments)
        self.started.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Gate:
    """An async tool that waits until it is let go, or has been started `at_once` times."""

    def __init__(self, answer: Any = "done", at_once: int | None = None) -> None:
        self.answer = answer
        self.at_once = at_once
        self.started = asyncio.Event()
        self.opened = asyncio.Event()
        self.runs = 0

    async def __call__(self, **_: Any) -> Any:
        self.runs += 1
        self.started.set()
        if self.runs == self.at_once:
            self.opened.set()
        await self.opened.wait()
        return self.answer


# Running


async def test_a_call_is_run_bound_and_shown() -> None:
    """`run` resolves, runs and binds; the result itself comes back untouched."""
    run = Run()
    run.guard.bind_value("t", {}, 5)
    rows = [{"id": 1}]

    done = await run.guard.run(Tool(rows), "read", {"n": "$v1"}, retries=0)

    assert done.ok
    assert done.result is rows
    assert done.content == '[{"id":1}]'
    assert done.binding is not None
    assert done.binding.id == "v2"
    assert done.verdict.arguments == {"n": 5}


async def test_a_synchronous_tool_runs_in_a_thread() -> None:
    """The loop stays free; a sync callable that gives an awaitable is awaited."""
    guard = ToolGuard()

    async def later() -> str:
        return "later"

    def starts() -> Awaitable[str]:
        return later()

    ran_in = await guard.run(threading.get_ident, "where")
    awaited = await guard.run(starts, "starts")

    assert threading.get_ident() != ran_in.result
    assert awaited.result == "later"


async def test_a_tool_that_raises_is_a_value() -> None:
    """The loop hands the text to the model; the error is kept for the host."""
    run = Run()

    done = await run.guard.run(Tool(ValueError("no such id")), "read", {"path": "a"})

    assert not done.ok
    assert isinstance(done.error, ValueError)
    assert done.content == "The tool failed: ValueError: no such id"
    assert [(record.outcome, record.attempts) for record in run.records] == [(Outcome.ERROR, 1)]


async def test_a_refused_call_does_not_run() -> None:
    """Blocked, waiting for a person or replayed: the tool is left alone."""
    run = Run(permissions=PermissionPolicy(confirm_destructive=True, deny=("rm",)))
    tool = Tool("once")

    denied = await run.guard.run(tool, "rm")
    asked = await run.guard.run(tool, "pay", {"amount": 1}, call_id="c1")
    first = await run.guard.run(tool, "read", {"path": "a"})
    replayed = await run.guard.run(tool, "read", {"path": "a"})

    assert [done.verdict.action for done in (denied, asked, first, replayed)] == [
        "block",
        "confirm",
        "allow",
        "replay",
    ]
    assert len(tool.calls) == 1
    assert (denied.verdict.message, False) == (denied.content, denied.ok)
    assert (replayed.result, replayed.ok) == ("once", True)
    approved = await run.guard.finish(Tool("paid"), run.guard.approve("c1"))
    assert approved.result == "paid"


async def test_an_unknown_reference_is_a_value() -> None:
    """The model is told; nothing runs, whether the tool could be replayed or not."""
    tool = Tool(1)

    done = [await ToolGuard((READ,)).run(tool, name, {"x": "$v9"}) for name in ("read", "pay")]

    assert [one.verdict.reason_code for one in done] == ["references.unknown"] * 2
    assert tool.calls == []


async def test_too_much_to_put_in_is_a_value() -> None:
    """References that stand for more than one call may carry are refused, not raised."""
    guard = ToolGuard((READ,))
    guard.bind_value("t", {}, "x" * (15 * 1024 * 1024))

    done = await guard.run(Tool(1), "read", {"x": ["$v1"] * 5})

    assert done.verdict.action == "block"


@pytest.mark.parametrize("kind", ["generator", "async generator"])
async def test_a_generator_comes_back_unread(kind: str) -> None:
    """It is the caller's to read; there is no binding and no replay."""

    def numbers() -> Iterator[int]:
        yield from range(3)

    async def async_numbers() -> AsyncIterator[int]:
        for i in range(3):
            yield i

    run = Run()
    made: Any = numbers if kind == "generator" else async_numbers
    first = await run.guard.run(made, "read")
    second = await run.guard.run(made, "read")
    read = list(first.result) if kind == "generator" else [i async for i in first.result]

    assert read == [0, 1, 2]
    assert (first.binding, second.verdict.action) == (None, Action.ALLOW)


# Time limits, retries


async def test_a_tool_that_hangs_is_given_up() -> None:
    """Past its time limit the call is over, with a `TimeoutError` and the outcome `timeout`."""
    run = Run()

    done = await run.guard.run(Gate(), "read", timeout_s=0.01)

    assert isinstance(done.error, TimeoutError)
    assert [record.outcome for record in run.records] == [Outcome.TIMEOUT]
    assert run.guard.open_calls == ()


async def test_a_synchronous_tool_that_hangs_is_given_up() -> None:
    """The caller goes on; the thread cannot be stopped, and ends by itself."""
    run = Run()
    let_go = threading.Event()

    done = await run.guard.run(let_go.wait, "read", timeout_s=0.01)
    let_go.set()

    assert isinstance(done.error, TimeoutError)
    assert run.guard.open_calls == ()


async def test_a_synchronous_tool_that_runs_out_of_items_fails() -> None:
    """A stray `StopIteration` is an error like others, not a call that never returns."""
    done = await asyncio.wait_for(ToolGuard().run(lambda: next(iter([])), "next"), 5)

    assert isinstance(done.error, RuntimeError)
    assert done.content == "The tool failed: RuntimeError: the tool raised StopIteration"


async def test_the_spec_limits_the_time_too() -> None:
    """`ToolSpec.timeout_s` stands where `run` gives none."""
    guard = ToolGuard([ToolSpec("slow", timeout_s=0.01)])

    assert isinstance((await guard.run(Gate(), "slow")).error, TimeoutError)


async def test_a_destructive_call_that_timed_out_asks_before_it_runs_again() -> None:
    """Nobody knows how far it came."""
    run = Run()
    gate = Gate()

    await run.guard.run(gate, "pay", {"amount": 1}, call_id="c1", timeout_s=0.01)
    again = await run.guard.run(gate, "pay", {"amount": 1}, call_id="c1")

    assert (again.verdict.action, again.verdict.reason_code) == ("confirm", "permission.outcome_unknown")
    assert gate.runs == 1


async def test_transient_errors_are_tried_again() -> None:
    """Each attempt is recorded with its kind; there is one record, and one call for the loop check."""
    run = Run()
    tool = Tool(ConnectionError("reset"), TimeoutError(), "at last")

    done = await run.guard.run(tool, "read", {"path": "a"}, retries=2)

    assert (done.result, len(tool.calls)) == ("at last", 3)
    assert [(record.outcome, record.attempts, record.attempt_errors) for record in run.records] == [
        (Outcome.OK, 3, ("ConnectionError", "TimeoutError"))
    ]


async def test_attempts_count_as_one_for_the_loop_check() -> None:
    """Five attempts of one call are no repetition; three failed calls are."""
    guard = ToolGuard((READ,))

    actions = [
        (await guard.run(Tool(ConnectionError("reset")), "read", {"path": "a"}, retries=4)).verdict.action
        for _ in range(4)
    ]

    assert actions == ["allow", "allow", "allow", "warn"]


@pytest.mark.parametrize(
    ("name", "error", "attempts"),
    [
        ("read", ConnectionError("reset"), 4),
        ("read", ValueError("bad"), 1),
        ("put", ConnectionError("reset"), 4),
        ("pay", ConnectionError("reset"), 1),
        ("unknown", ConnectionError("reset"), 1),
        ("told", ConnectionError("reset"), 4),
    ],
)
async def test_only_transient_errors_of_repeatable_tools_are_tried_again(
    name: str, error: Exception, attempts: int
) -> None:
    """Read-only, idempotent, or said to be retryable; never where a second run could do harm."""
    specs = (READ, PAY, ToolSpec("put", idempotent=True), ToolSpec("told", retryable=True))
    tool = Tool(error)

    await ToolGuard(specs).run(tool, name, retries=3)

    assert attempts == len(tool.calls)


async def test_retries_below_none_begin_nothing() -> None:
    """The error comes before the call does."""
    run = Run()

    with pytest.raises(ValueError, match="retries=-1"):
        await run.guard.run(Tool(1), "read", retries=-1)
    with pytest.raises(ValueError, match="retries=-1"):
        await run.guard.finish(Tool(1), run.guard.before_call("read"), retries=-1)

    assert run.records == []


def test_pauses_grow_and_are_bounded() -> None:
    """The wait before an attempt doubles, up to five seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running_module, "_FIRST_PAUSE_S", 0.1)
        pauses = [max(running_module._pause(attempt) for _ in range(50)) for attempt in (1, 3, 20)]

    assert pauses[0] <= 0.1
    assert pauses[1] <= 0.4
    assert pauses[2] <= 5.0


# Cancellation


async def cancelled_at(step: int, made: Callable[[], Awaitable[Any]]) -> bool:
    """Cancel a task after so many turns of the loop; whether it was still running."""
    task = asyncio.ensure_future(made())
    for _ in range(step):
        await asyncio.sleep(0)
    was_running = not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return was_running


@pytest.mark.parametrize("name", ["read", "pay"])
async def test_a_call_may_be_cancelled_at_every_await(name: str) -> None:
    """Wherever it is hit, nothing stays open, an equal call can run at once, and the end is recorded."""
    for step in range(40):
        run = Run()

        async def tool() -> str:
            for _ in range(3):
                await asyncio.sleep(0)
            return "done"

        async def flow(run: Run = run, tool: Any = tool) -> None:
            await asyncio.gather(*(run.guard.run(tool, name, {}, call_id=f"c{i}") for i in range(2)))

        was_running = await cancelled_at(step, flow)
        again = await asyncio.wait_for(run.guard.run(tool, name, {}, call_id="new"), 5)

        assert run.guard.open_calls == ()
        assert again.ok
        if not was_running:
            return
    pytest.fail("the calls never came to an end")


async def test_a_cancelled_call_is_recorded_and_the_cancellation_goes_on() -> None:
    """The host's task ends as cancelled; a destructive call then asks before it runs again."""
    run = Run()
    gate = Gate()
    task = asyncio.create_task(run.guard.run(gate, "pay", {"amount": 1}, call_id="c1"))
    await gate.started.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [record.outcome for record in run.records] == [Outcome.CANCELLED]
    assert run.guard.before_call("pay", {"amount": 1}, "c1").should_block


async def test_a_cancelled_pause_between_attempts_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call stays open while the guard waits for the next attempt."""
    monkeypatch.setattr(running_module, "_pause", lambda attempt: 1000.0)
    run = Run()
    tool = Tool(ConnectionError("reset"))
    task = asyncio.create_task(run.guard.run(tool, "read", retries=3))
    await tool.started.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [record.outcome for record in run.records] == [Outcome.CANCELLED]


async def test_a_result_that_comes_after_the_deadline_is_still_the_callers() -> None:
    """The call was closed as unknown meanwhile: the result has no name, and nothing is raised."""
    now = [0.0]
    run = Run(call_deadline_s=10, timer=lambda: now[0])
    gate = Gate("late")
    task = asyncio.create_task(run.guard.run(gate, "read"))
    await gate.started.wait()
    now[0] = 10.0
    run.guard.close_overdue()
    gate.opened.set()

    done = await task

    assert (done.result, done.binding) == ("late", None)
    assert [record.outcome for record in run.records] == [Outcome.UNKNOWN]


# Single flight


async def test_equal_calls_at_once_run_once() -> None:
    """Of five equal calls one runs, the others replay it; order of keys and `1.0` make no other call."""
    run = Run()
    gate = Gate({"rows": [1]})
    calls = [
        asyncio.create_task(run.guard.run(gate, "read", {"a": 1, "b": 2} if i % 2 else '{"b": 2.0, "a": 1}'))
        for i in range(5)
    ]
    await gate.started.wait()
    gate.opened.set()

    done = await asyncio.gather(*calls)

    assert gate.runs == 1
    assert [one.result for one in done] == [{"rows": [1]}] * 5
    assert sum(one.verdict.action is Action.REPLAY for one in done) == 4


@pytest.mark.parametrize(("name", "arguments"), [("read", [{"n": 1}, {"n": 2}]), ("pay", [{}, {}])])
async def test_other_calls_do_not_wait(name: str, arguments: list[dict[str, int]]) -> None:
    """Different arguments, or a tool that is not replayed: all run at once."""
    run = Run()
    gate = Gate(at_once=2)

    done = await asyncio.gather(*(run.guard.run(gate, name, one, timeout_s=5) for one in arguments))

    assert all(one.ok for one in done)


async def test_a_leader_that_is_cancelled_hands_over() -> None:
    """The next in line runs the tool; the rest get its result."""
    run = Run()
    gate = Gate()
    calls = [asyncio.create_task(run.guard.run(gate, "read", {})) for _ in range(3)]
    await gate.started.wait()
    calls[0].cancel()
    gate.opened.set()

    cancelled, second, third = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(cancelled, asyncio.CancelledError)
    assert not isinstance(second, BaseException)
    assert not isinstance(third, BaseException)
    assert [second.result, third.result] == ["done", "done"]
    assert gate.runs == 2


async def test_a_leader_that_fails_hands_over() -> None:
    """Errors are not shared: each of the others tries for itself until one succeeds."""
    run = Run()
    tool = Tool(ValueError("first"), "fine")

    done = await asyncio.gather(*(run.guard.run(tool, "read", {}) for _ in range(3)))

    assert [one.ok for one in done] == [False, True, True]
    assert len(tool.calls) == 2


async def test_shadow_mode_lets_equal_calls_run_side_by_side() -> None:
    """A guard that only watches holds nobody up."""
    run = Run(shadow=True)
    gate = Gate(at_once=2)

    done = await asyncio.gather(*(run.guard.run(gate, "read", {}, timeout_s=5) for _ in range(2)))

    assert [(one.verdict.action, one.ok) for one in done] == [("allow", True)] * 2


# Decorators


def test_a_synchronous_function_stays_one() -> None:
    """It gives its result, resolved references included; an equal call is replayed."""
    guard = ToolGuard()
    calls: list[int] = []

    @guard.tool(read_only=True, group="discovery")
    def double(x: int, *, times: int = 2) -> int:
        """Twice x."""
        calls.append(x)
        return x * times

    guard.bind_value("t", {}, 5)

    assert [double("$v1"), double(5), double(5, times=3)] == [10, 10, 15]
    assert calls == [5, 5]
    assert (double.__name__, double.__doc__) == ("double", "Twice x.")
    spec = guard.spec_of("double")
    assert (spec.read_only, spec.group) == (True, "discovery")


async def test_an_asynchronous_function_stays_one() -> None:
    """Bare or with flags; it runs once for equal calls at once."""
    guard = ToolGuard()
    calls: list[int] = []

    @guard.tool
    async def plain(x: int) -> int:
        return x

    @guard.tool(read_only=True)
    async def double(x: int) -> int:
        calls.append(x)
        await asyncio.sleep(0)
        return 2 * x

    assert await plain(3) == 3
    assert await asyncio.gather(double(2), double(x=2)) == [4, 4]
    assert calls == [2]


async def test_a_decorated_function_raises_its_own_errors() -> None:
    """Sync and async alike, and the guard has recorded them."""
    run = Run()

    @run.guard.tool
    def fails() -> None:
        raise KeyError("x")

    @run.guard.tool
    async def fails_later() -> None:
        raise KeyError("y")

    with pytest.raises(KeyError, match="x"):
        fails()
    with pytest.raises(KeyError, match="y"):
        await fails_later()

    assert [record.error_kind for record in run.records] == ["KeyError"] * 2


async def test_a_refused_decorated_call_gives_the_message() -> None:
    """The model reads why as the tool's answer."""
    guard = ToolGuard(limits=Limits(total=0))

    @guard.tool
    def one() -> int:
        return 1

    @guard.tool
    async def two() -> int:
        return 2

    assert all("Not run" in str(answer) for answer in (one(), await two()))


async def test_a_decorated_function_gets_the_arguments_it_was_given() -> None:
    """A `Path` stays a `Path`: only what a reference put in is a JSON value."""
    guard = ToolGuard()
    guard.bind_value("t", {}, "b.txt")
    got: list[Any] = []

    @guard.tool
    def read(path: Path, other: Path) -> None:
        got.append((path, other))

    @guard.tool
    async def read_later(path: Path, other: Path) -> None:
        got.append((path, other))

    read(Path("a.txt"), "$v1")  # type: ignore[arg-type]
    await read_later(Path("a.txt"), other="$v1")  # type: ignore[arg-type]

    assert [(Path("a.txt"), "b.txt")] * 2 == got


def test_keywords_that_are_gathered_are_arguments() -> None:
    """`**kwargs` are named; `*args` have no names, and are refused."""
    guard = ToolGuard()

    @guard.tool
    def gather(*values: int, **named: int) -> dict[str, int]:
        return named

    assert gather(a=1) == {"a": 1}
    with pytest.raises(InvalidArgumentsError, match="values"):
        gather(1, 2)


def test_an_interrupted_synchronous_call_is_recorded() -> None:
    """Ctrl-C goes on as such, and the call is not left open."""
    run = Run()

    @run.guard.tool
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert [record.outcome for record in run.records] == [Outcome.CANCELLED]


async def test_what_ran_is_remembered_and_nothing_else() -> None:
    """The memory hears of each call that the tool was started for; one that fails costs the call nothing."""
    heard: list[tuple[str, Outcome]] = []

    class Notes:
        async def remember(self, call: CallRecord, /) -> None:
            heard.append((call.tool_name, call.outcome))
            raise RuntimeError("full")

    guard = ToolGuard([ToolSpec("look", read_only=True), ToolSpec("fail")], memory=Notes())

    def look() -> int:
        return 1

    def fail() -> None:
        raise KeyError("gone")

    done = [
        await guard.run(lambda: 1, "look"),
        await guard.run(lambda: 1, "look"),
        await guard.run(fail, "fail"),
    ]

    assert [result.ok for result in done] == [True, True, False]
    assert heard == [("look", Outcome.OK), ("fail", Outcome.ERROR)]


async def test_arguments_that_cannot_be_read_are_an_answer() -> None:
    """Truncated JSON of a model is refused with what to do, until the run is stopped."""
    guard = ToolGuard()
    done = [await guard.run(lambda: 1, "look", '{"a": 1,') for _ in range(9)]

    assert not any(result.ok for result in done)
    assert "one complete JSON object" in done[0].content
    assert done[-1].verdict.should_stop

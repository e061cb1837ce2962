"""A guard that is the fold of its log: durable, the same for every worker, one owner's alone."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards import Action, Limits, Outcome, UnknownCallError, Verdict, get_tool_state
from guards.errors import GuardError
from summarizer import SessionManager
from summarizer.errors import InvalidSetting, SessionErased, StoreUnavailable
from summarizer.events import EventKind
from summarizer.stores import EventStore, MemoryStore
from tests.redis_proxy import proxied
from tests.redis_servers import shared
from tests.summarizer.stores.factories import FACTORIES, Fresh
from tests.summarizer.talk import command, environment, is_valid, soft_only, talk
from tests.summarizer.tools import calls, session, state_of

KINDS = ("memory", "sqlite", "redis")
DURABLE = ("sqlite", "redis")


@pytest.fixture(params=KINDS)
async def fresh(request: pytest.FixtureRequest) -> AsyncIterator[Fresh]:
    async with FACTORIES[request.param]() as made:
        yield made


class Tool:
    """A tool that counts how often it ran."""

    def __init__(self, result: Any = "ok", wait_s: float = 0.0) -> None:
        self.result = result
        self.wait_s = wait_s
        self.runs: list[dict[str, Any]] = []
        self.started = asyncio.Event()

    async def __call__(self, **arguments: Any) -> Any:
        self.runs.append(arguments)
        self.started.set()
        await asyncio.sleep(self.wait_s)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


# Numbers, bindings, cache


async def test_numbers_follow_the_list_of_calls_not_their_completion(fresh: Fresh) -> None:
    """Parallel calls are numbered in the order in which the assistant lists them."""
    manager = session(fresh.store)
    await manager.record(calls(("a", "note", {"x": 1}), ("b", "note", {"x": 2}), ("c", "note", {"x": 3})))
    verdicts = [
        await manager.tools.before_call("note", {"x": x}, i) for i, x in (("c", 3), ("a", 1), ("b", 2))
    ]
    for verdict in verdicts:
        await manager.tools.after_call(verdict.call_id, result=verdict.arguments["x"])

    assert [v.reference for v in verdicts] == ["$v3", "$v1", "$v2"]
    assert [manager.tools.guard.resolve({"y": f"$v{n}"}).arguments["y"] for n in (1, 2, 3)] == [1, 2, 3]
    assert is_valid(await manager.get_messages_for_llm())


async def test_two_workers_never_hand_out_one_number(fresh: Fresh) -> None:
    """Workers that call and bind at once get numbers that all differ, and see each other's values."""
    workers = [session(fresh.store), session(await fresh.second())]

    async def work(manager: SessionManager, name: str) -> list[str]:
        guard = await manager.tools.open(bindings=True)
        given = [guard.bind_value("host", {}, f"{name}-bound").id]
        for turn in range(4):
            done = await manager.tools.run(Tool(f"{name}-{turn}"), "note", {"turn": turn, "by": name})
            assert done.binding is not None
            given.append(done.binding.id)
        return given

    given = await asyncio.gather(*(work(m, n) for m, n in zip(workers, ("one", "two"), strict=True)))
    cold = await session(await fresh.second()).tools.open()

    assert len({number for numbers in given for number in numbers}) == 10
    for name, numbers in zip(("one", "two"), given, strict=True):
        values = [cold.resolve({"x": f"${number}"}).arguments["x"] for number in numbers]
        assert values == [f"{name}-bound", *(f"{name}-{turn}" for turn in range(4))]


async def test_bindings_and_cache_survive_a_restart(fresh: Fresh) -> None:
    """A second, cold instance resolves what the first bound, and replays what the first read."""
    first, tool = session(fresh.store), Tool({"id": "02139", "n": 10**18 + 1, "none": None})
    await first.tools.run(tool, "look", {"q": 1})
    second = session(await fresh.second())
    again = await second.tools.run(tool, "look", {"q": 1})
    used = await second.tools.before_call("note", {"whole": "$v1", "zip": "$v1.id", "n": "$v1.n"})

    assert (again.verdict.action, again.result) == (Action.REPLAY, tool.result)
    assert len(tool.runs) == 1
    assert used.arguments == {"whole": tool.result, "zip": "02139", "n": 10**18 + 1}


async def test_a_write_in_one_worker_withdraws_the_cached_result_in_another(fresh: Fresh) -> None:
    """What was read before another worker's write is read anew."""
    one, two, read = session(fresh.store), session(await fresh.second()), Tool(["o1"])
    await one.tools.run(read, "list_orders")
    replayed = await two.tools.run(read, "list_orders")
    await two.tools.run(Tool(), "order", {"id": "o2"})
    read.result = ["o1", "o2"]
    anew = await one.tools.run(read, "list_orders")

    assert replayed.verdict.action is Action.REPLAY
    assert (anew.verdict.should_run, anew.result) == (True, ["o1", "o2"])


async def test_a_read_that_overlaps_another_workers_write_is_not_replayed(fresh: Fresh) -> None:
    """A result that may be older than a write is replayed by neither worker."""
    reader, writer = session(fresh.store), session(await fresh.second())
    started = await reader.tools.before_call("list_orders")
    await writer.tools.run(Tool(), "order", {"id": "o2"})
    await reader.tools.after_call(started.call_id, result=["o1"])
    actions: list[Action] = []
    for manager in (writer, reader):
        verdict = await manager.tools.before_call("list_orders")
        await manager.tools.after_call(verdict.call_id, error="not this time")
        actions.append(verdict.action)

    assert actions == [Action.ALLOW, Action.ALLOW]


async def test_a_write_that_is_not_yet_in_the_log_spoils_the_read_beside_it(fresh: Fresh) -> None:
    """A worker that has written, and learns only then that another was reading, replays no such result."""
    reader, writer = session(fresh.store), session(await fresh.second())
    await writer.tools.open()
    write = await writer.tools.before_call("order", {"id": "o2"})
    read = await reader.tools.before_call("list_orders")
    await writer.tools.after_call(write.call_id, result="ok")
    await reader.tools.after_call(read.call_id, result=["o1"])

    assert (await writer.tools.before_call("list_orders")).action is Action.ALLOW


async def test_a_bound_value_is_written_when_the_block_is_left(fresh: Fresh) -> None:
    """Leaving `async with` loses no value that was bound last."""
    async with session(fresh.store) as manager:
        binding = (await manager.tools.open(bindings=True)).bind_value("host", {}, [1, 2])
    cold = await session(await fresh.second()).tools.open()

    assert cold.resolve({"x": f"${binding.id}"}).arguments == {"x": [1, 2]}


async def test_a_value_is_bound_by_hand_only_under_a_leased_number(fresh: Fresh) -> None:
    """Without a lease the session's guard refuses, since another worker could have the number."""
    manager = session(fresh.store)
    with pytest.raises(GuardError, match=r"open\(bindings=True\)"):
        manager.tools.guard.bind_value("sqrt", {"x": 16}, 4.0)
    guard = await manager.tools.open(bindings=True)
    binding = guard.bind_value("sqrt", {"x": 16}, 4.0)
    done = await manager.tools.run(Tool(), "note", {"x": f"${binding.id}"})
    cold = await session(await fresh.second()).tools.open()

    assert done.verdict.arguments == {"x": 4.0}
    assert cold.resolve({"x": f"${binding.id}"}).arguments == {"x": 4.0}


async def test_the_guard_follows_into_child_sessions(fresh: Fresh) -> None:
    """Over several children, with and without a snapshot in the log, a cold worker knows every binding."""
    manager = session(fresh.store, policy=soft_only(100_000))
    for child in range(3):
        for turn in range(2 if child == 0 else 30):
            await manager.tools.run(Tool(f"{child}.{turn}"), "note", {"child": child, "turn": turn})
            await talk(manager, 1, 100 * child + turn)
        await manager.segment()
    await talk(manager, 3, 900)
    cold = session(await fresh.second())
    guard = await cold.tools.open()

    assert manager.session_id == "c~3"
    assert guard.resolve({"a": "$v1", "b": "$v3", "c": "$v62"}).arguments == {
        "a": "0.0",
        "b": "1.0",
        "c": "2.29",
    }
    assert state_of(guard) == state_of(await manager.tools.open())
    assert is_valid(await cold.get_messages_for_llm())


async def test_a_cold_worker_folds_from_the_newest_snapshot(fresh: Fresh) -> None:
    """However long the log, the newest snapshot is found, even behind several children."""
    manager = session(fresh.store, policy=soft_only(100_000))
    for turn in range(40):
        await manager.tools.run(Tool(turn), "note", {"turn": turn})
    for number in range(2):
        await talk(manager, 4, 10 * number)
        await manager.segment()
    events = await fresh.store.read(None, "c")
    snapshots = [event.seq for event in events if event.kind is EventKind.GUARD_SNAPSHOT]
    pointers = [e.data.get("guard_seq") for e in events if e.kind is EventKind.SEGMENTED]

    assert snapshots
    assert pointers == [snapshots[-1]] * 2
    assert state_of(await session(await fresh.second()).tools.open()) == state_of(await manager.tools.open())


# State


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["look", "list_orders", "order", "put", "remove", "remove_all", "note", "gone"]),
        st.sampled_from([{}, {"x": 1}, {"x": "$v1"}, {"x": "$v99"}, {"x": "a $v2 b"}]),
        st.sampled_from(["ok", {"n": 1}, ["a", "b"], "error", "cancelled"]),
    )
    | st.sampled_from(["user", "assistant", "used", "segment", "bind", "parallel"]),
    max_size=25,
)


async def act(manager: SessionManager, number: int, action: Any) -> None:
    """One step of a random run."""
    tools = manager.tools
    if action == "user":
        await manager.user_says(f"please do number {number}")
    elif action == "assistant":
        await manager.ai_responds(f"number {number} is done")
    elif action == "used":
        await manager.tool_used("note", {"n": number}, result={"n": number})
    elif action == "segment":
        await manager.segment()
    elif action == "bind":
        (await tools.open(bindings=True)).bind_value("host", {"n": number}, number)
        await tools.open()
    elif action == "parallel":
        await asyncio.gather(*(tools.run(Tool(i, 0.001), "note", {"i": i}) for i in range(3)))
    else:
        name, arguments, result = action
        tool = Tool(ValueError("it failed") if result == "error" else result)
        done = await tools.run(tool, name, arguments)
        if done.verdict.action is Action.CONFIRM:
            decide = tools.approve if number % 2 else tools.reject
            await tools.finish(tool, await decide(done.verdict.call_id))


@settings(max_examples=60, deadline=None)
@given(actions=ACTIONS, workers=st.sampled_from([1, 2]))
def test_a_cold_guard_is_the_warm_one(actions: list[Any], workers: int) -> None:
    """After any run, by one worker or two in turn, a guard folded from the log equals those that made it."""

    async def check() -> None:
        store = MemoryStore()
        warm = [session(store, memory=None, policy=soft_only(100_000)) for _ in range(workers)]
        await warm[0].user_says("please begin with v1")
        for number, action in enumerate(actions):
            await act(warm[number % workers], number, action)
        await warm[0].tools.run(Tool(), "note", {"last": True})
        cold = session(store, memory=None)
        state = state_of(await cold.tools.open())

        for manager in warm:
            assert state_of(await manager.tools.open()) == state
        assert is_valid(await cold.get_messages_for_llm())

    asyncio.run(check())


async def test_workers_that_interleave_at_every_await_agree_on_one_log(fresh: Fresh) -> None:
    """Reads, writes, failures, replays and approvals of three workers at once: the log folds, each result is
    under its own number, and the request is valid.
    """
    workers = [session(fresh.store), session(await fresh.second()), session(fresh.store)]
    steps: list[Any] = [
        ("look", {"x": 1}, "ok"),
        ("order", {"x": 1}, ["a"]),
        ("put", {"x": 2}, "ok"),
        "parallel",
        "used",
        "bind",
        ("note", {"x": "$v1"}, "error"),
        ("remove_all", {"x": 1}, "ok"),
        ("list_orders", {}, ["a"]),
        "user",
    ]

    async def work(offset: int) -> None:
        for number, step in enumerate(steps[3 * offset :] + steps[: 3 * offset]):
            await act(workers[offset], number, step)

    await workers[0].user_says("begin")
    await asyncio.gather(*(work(offset) for offset in range(3)))
    cold = session(await fresh.second())
    guard = await cold.tools.open()
    numbers = [binding.number for binding in guard.bindings]
    others = [(await worker.tools.open()).bindings for worker in workers]

    assert not guard.open_calls
    assert len(numbers) == len(set(numbers)) >= 15
    for bindings in others:
        assert [(b.number, b.call_id, b.json_text) for b in bindings] == [
            (b.number, b.call_id, b.json_text) for b in guard.bindings
        ]
    assert is_valid(await cold.get_messages_for_llm())


async def test_another_owner_sees_nothing(fresh: Fresh) -> None:
    """Another owner's conversation of the same id has a guard and a memory of its own."""
    mine, theirs = session(fresh.store, owner="ann"), session(fresh.store, owner="bob")
    await mine.tools.run(Tool({"secret": 7}), "look", {"q": 1})
    verdict = await theirs.tools.before_call("note", {"x": "$v1.secret"})
    cached = await theirs.tools.before_call("look", {"q": 1})
    memory = theirs.tools.memory
    assert memory is not None
    await memory.load()

    assert (verdict.action, cached.action) == (Action.BLOCK, Action.ALLOW)
    assert memory.get_patterns() == ()


async def test_a_plain_chat_loads_no_guard() -> None:
    """`async with` and turns import neither the guard nor the memory."""
    chat = """
import asyncio, sys
from summarizer import SessionManager
async def main():
    async with SessionManager(store="memory://") as manager:
        await manager.turn("hello", "hi")
        await manager.get_messages_for_llm()
asyncio.run(main())
print([name for name in ("guards.guard", "procedural.memory") if name in sys.modules])
"""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", chat], env=environment(), capture_output=True, check=True
    )

    assert done.stdout == b"[]\n"


async def test_a_session_is_the_current_tool_state_within_its_block() -> None:
    """`async with sm` and `sm.tools.active()` make it so and undo it; nested ones too."""
    async with SessionManager(store="memory://") as one:
        inside = get_tool_state()
        async with SessionManager(store="memory://") as two:
            assert get_tool_state() is two.tools.guard is not inside
        assert get_tool_state() is one.tools.guard is inside
    outside = get_tool_state()
    with one.tools.active() as guard:
        assert get_tool_state() is guard is inside

    assert get_tool_state() is outside is not inside


# A person decides; crashes


def in_a_process(fresh: Fresh, runs: Path, step: str, call_id: str = "call_1") -> Any:
    """What a step says that another process takes; `None` if it was killed."""
    done = subprocess.run(
        command("worker_tool.py", fresh.store.url, runs, step, call_id),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, -9), done.stderr
    return json.loads(done.stdout) if done.stdout else None


@pytest.mark.parametrize("name", DURABLE)
async def test_a_confirmation_outlives_its_process_and_runs_once(name: str, tmp_path: Path) -> None:
    """Asked for in one process, approved in another: exactly that call runs, with its arguments, once."""
    runs = tmp_path / "runs"
    async with FACTORIES[name]() as fresh:
        asked = await asyncio.to_thread(in_a_process, fresh, runs, "ask")
        manager = session(fresh.store)
        [waiting] = await manager.tools.waiting_calls()
        approved = await asyncio.to_thread(in_a_process, fresh, runs, "approve")
        with pytest.raises(UnknownCallError):
            await manager.tools.approve("call_1")
        again = await manager.tools.before_call("remove_all", {"path": "/tmp/x"}, "call_1")

        assert asked == ["confirm", "permission.confirm"]
        assert (waiting.call_id, waiting.name, waiting.arguments) == (
            "call_1",
            "remove_all",
            {"path": "/tmp/x"},
        )
        assert approved == ["allow", {"path": "/tmp/x"}, "removed /tmp/x"]
        assert runs.read_text() == "remove /tmp/x\n"
        assert (again.action, again.result) == (Action.REPLAY, "removed /tmp/x")
        assert is_valid(await manager.get_messages_for_llm())


async def test_a_rejected_call_is_answered_and_cannot_be_approved(fresh: Fresh) -> None:
    """The model reads that it was refused, in its place, and no worker can approve it any more."""
    one, two = session(fresh.store), session(await fresh.second())
    asked = await one.tools.before_call("remove_all", {"path": "/"})
    verdict = await two.tools.reject(asked.call_id, "not the root")
    with pytest.raises(UnknownCallError):
        await one.tools.approve(asked.call_id)
    messages = await one.get_messages_for_llm()

    assert verdict.action is Action.BLOCK
    assert messages[-1]["tool_call_id"] == asked.call_id
    assert "not the root" in messages[-1]["content"]
    assert is_valid(messages)


async def test_two_workers_approve_at_once_and_one_may_run_it(fresh: Fresh) -> None:
    """Of two approvals at the same moment one lets the call run; the other is told that nothing waits."""
    workers = [session(fresh.store), session(await fresh.second())]
    asked = await workers[0].tools.before_call("remove_all", {"path": "/tmp/x"})
    await asyncio.gather(*(worker.tools.open() for worker in workers))
    answers = await asyncio.gather(
        *(worker.tools.approve(asked.call_id) for worker in workers), return_exceptions=True
    )

    assert sorted(type(answer).__name__ for answer in answers) == ["UnknownCallError", "Verdict"]


@pytest.mark.parametrize("first", ["approve", "reject"])
async def test_approved_and_rejected_at_once_the_first_in_the_log_holds(fresh: Fresh, first: str) -> None:
    """The tool runs, or the model reads that it was refused; never both, and every worker agrees."""
    approver, rejecter = session(fresh.store), session(await fresh.second())
    asked = await approver.tools.before_call("remove_all", {"path": "/tmp/x"})
    await asyncio.gather(approver.tools.open(), rejecter.tools.open())
    deciding = [approver.tools.approve(asked.call_id), rejecter.tools.reject(asked.call_id, "not that")]
    if first == "reject":
        deciding.reverse()
    answers = await asyncio.gather(*deciding, return_exceptions=True)
    verdicts = [answer for answer in answers if isinstance(answer, Verdict)]
    tool = Tool("removed")
    if verdicts[0].should_run:
        await approver.tools.finish(tool, verdicts[0])
    again = [
        await worker.tools.before_call("remove_all", {"path": "/tmp/x"}, f"again_{i}")
        for i, worker in enumerate((approver, rejecter, session(await fresh.second())))
    ]
    messages = await session(await fresh.second()).get_messages_for_llm()
    told = next(message["content"] for message in messages if message.get("tool_call_id") == asked.call_id)

    assert sorted(type(answer).__name__ for answer in answers) == ["UnknownCallError", "Verdict"]
    assert told == ("removed" if tool.runs else verdicts[0].message)
    assert {verdict.action for verdict in again} == {"confirm" if tool.runs else "block"}
    assert is_valid(messages)


@pytest.mark.parametrize("key", [None, "order-7"])
async def test_two_workers_begin_a_destructive_call_at_once_and_one_runs_it(
    fresh: Fresh, key: str | None
) -> None:
    """At most once: by call id, and by explicit key."""
    workers, tool = [session(fresh.store), session(await fresh.second())], Tool("removed", 0.05)
    await workers[0].record(calls(("a", "remove", {"path": "x"}), ("b", "remove", {"path": "x"})))
    await asyncio.gather(*(worker.tools.open() for worker in workers))
    ids = ["a", "a" if key is None else "b"]
    done = await asyncio.gather(
        *(
            worker.tools.run(tool, "remove", {"path": "x"}, call_id=call_id, idempotency_key=key)
            for worker, call_id in zip(workers, ids, strict=True)
        )
    )
    cold = await session(await fresh.second()).tools.open()

    assert tool.runs == [{"path": "x"}]
    assert sorted(d.verdict.action for d in done) == ["allow", "block"]
    assert [d.verdict.reason_code for d in done if not d.ok] == ["permission.running"]
    assert not cold.open_calls


@pytest.mark.parametrize("name", DURABLE)
async def test_a_destructive_call_that_was_killed_asks_before_it_runs_again(
    name: str, tmp_path: Path
) -> None:
    """`kill -9` in the middle of the tool: the same call asks a person, and runs only if approved."""
    runs = tmp_path / "runs"
    async with FACTORIES[name]() as fresh:
        await session(fresh.store).record(calls(("call_1", "remove", {"path": "/tmp/x"})))
        killed = await asyncio.to_thread(in_a_process, fresh, runs, "killed")
        asked = await asyncio.to_thread(in_a_process, fresh, runs, "again")
        cold = session(await fresh.second())
        verdict = await cold.tools.approve("call_1")
        done = await cold.tools.finish(Tool("removed"), verdict)
        following = await cold.tools.run(Tool(), "note")

        assert killed is None
        assert asked[:2] == ["confirm", "permission.outcome_unknown"]
        assert runs.read_text() == "remove /tmp/x\n"
        assert (done.content, verdict.reference) == ("removed", "$v1")
        assert following.verdict.reference == "$v2"


async def test_a_call_that_was_killed_and_is_rejected_is_answered(tmp_path: Path) -> None:
    """What a dead worker began, and a person refuses to run again, has its result in the conversation."""
    async with FACTORIES["sqlite"]() as fresh:
        await session(fresh.store).record(calls(("call_1", "remove", {"path": "/tmp/x"})))
        await asyncio.to_thread(in_a_process, fresh, tmp_path / "runs", "killed")
        await asyncio.to_thread(in_a_process, fresh, tmp_path / "runs", "again")
        verdict = await session(await fresh.second()).tools.reject("call_1", "it is gone")
        cold = session(await fresh.second())

        assert (await cold.get_messages_for_llm())[-1]["content"] == verdict.message
        assert (await cold.tools.open()).open_calls == ()
        assert (tmp_path / "runs").read_text() == "remove /tmp/x\n"


@pytest.mark.parametrize("name", DURABLE)
async def test_of_equal_calls_in_two_processes_one_runs(name: str, tmp_path: Path) -> None:
    """Single flight across processes: the tool runs once, the other process is given its result."""
    runs = tmp_path / "runs"
    async with FACTORIES[name]() as fresh:
        await session(fresh.store).tools.open()
        started = [
            await asyncio.create_subprocess_exec(
                *command("worker_tool.py", fresh.store.url, runs, "flight", "-"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment(),
            )
            for _ in range(2)
        ]
        for process in started:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        answers = await asyncio.gather(*(process.communicate(b"go\n") for process in started))
        said = [json.loads(answer[0]) for answer in answers]

        assert runs.read_text() == "look 7\n"
        assert sorted(action for action, _ in said) == ["allow", "replay"]
        assert [result for _, result in said] == [{"q": 7, "n": 5}] * 2


@pytest.mark.parametrize("tool_name", ["look", "put"])
async def test_of_equal_calls_in_two_workers_one_runs(fresh: Fresh, tool_name: str) -> None:
    """Read-only and idempotent tools run once for two workers that call at the same time."""
    workers, tool = [session(fresh.store), session(await fresh.second())], Tool({"n": 1}, 0.1)
    await asyncio.gather(*(worker.tools.open() for worker in workers))
    done = await asyncio.gather(*(worker.tools.run(tool, tool_name, {"x": 1}) for worker in workers))

    assert len(tool.runs) == 1
    assert sorted(d.verdict.action for d in done) == ["allow", "replay"]
    assert [d.result for d in done] == [{"n": 1}] * 2


# Faults


class Failing:
    """A store whose next appends fail: before the write, or after it (its answer is lost)."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.before = self.after = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, *args: Any, **options: Any) -> Any:
        if self.before:
            self.before -= 1
            raise StoreUnavailable("the store is away")
        answer = await self._store.append(*args, **options)
        if self.after:
            self.after -= 1
            raise StoreUnavailable("the answer was lost")
        return answer


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_a_failed_append_held_is_written_later_and_once(when: str) -> None:
    """Results of several calls whose appends failed reach the log, in order, none doubled."""
    inner = MemoryStore()
    store = Failing(inner)
    manager = session(store)  # type: ignore[arg-type]
    verdicts = [await manager.tools.before_call("note", {"x": x}) for x in range(3)]
    for x, verdict in enumerate(verdicts[:2]):
        setattr(store, when, 1)
        with pytest.raises(StoreUnavailable):
            await manager.tools.after_call(verdict.call_id, result=x)
    await manager.tools.after_call(verdicts[2].call_id, result=2)
    cold = session(inner)

    assert state_of(await cold.tools.open()) == state_of(await manager.tools.open())
    messages = await cold.get_messages_for_llm()
    assert [m["content"] for m in messages if m["role"] == "tool"] == ["0", "1", "2"]
    assert is_valid(messages)
    assert len(manager.tools.guard.bindings) == 3


async def test_a_call_that_could_not_be_written_down_does_not_run_and_may_be_made_again() -> None:
    """A destructive call whose beginning is not durable is refused, with its number and key given back."""
    store = Failing(MemoryStore())
    manager, tool = session(store), Tool("removed")  # type: ignore[arg-type]
    await manager.record(calls(("a", "remove", {"path": "x"})))
    await manager.tools.open()
    store.before = 1
    with pytest.raises(StoreUnavailable):
        await manager.tools.run(tool, "remove", {"path": "x"}, call_id="a")
    assert tool.runs == []
    done = await manager.tools.run(tool, "remove", {"path": "x"}, call_id="a")

    assert (done.content, len(tool.runs)) == ("removed", 1)
    assert is_valid(await manager.get_messages_for_llm())


async def test_a_cancelled_call_is_closed_and_the_next_one_runs(fresh: Fresh) -> None:
    """A cancellation inside the tool is recorded as such; the request stays valid."""
    manager = session(fresh.store)
    tool = Tool(wait_s=30)
    task = asyncio.ensure_future(manager.tools.run(tool, "note", {"x": 1}))
    async with asyncio.timeout(10):
        await tool.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    done = await manager.tools.run(Tool("fine"), "note", {"x": 2})
    cold = session(await fresh.second())

    assert done.content == "fine"
    assert not (await cold.tools.open()).open_calls
    assert is_valid(await cold.get_messages_for_llm())


async def test_refused_calls_leave_a_valid_request(fresh: Fresh) -> None:
    """Blocked by budget, by an unknown reference, or waiting for a person: each call has its answer."""
    manager = session(fresh.store, limits=Limits(per_run=1))
    await manager.user_says("go on")
    await manager.tools.run(Tool(), "note", {"x": 1})
    refused = [await manager.tools.run(Tool(), "note", {"x": x}) for x in (2, "$v77")]
    waiting = await manager.tools.run(Tool(), "remove_all", {})
    await manager.user_says("what now?")
    messages = await manager.get_messages_for_llm()

    assert [r.verdict.action for r in refused] == [Action.BLOCK, Action.BLOCK]
    assert not waiting.ok
    assert is_valid(messages)
    assert [m["content"] for m in messages if m["role"] == "tool"][1:3] == [r.content for r in refused]


# Large results


async def test_a_large_result_is_shown_as_a_preview_and_kept_whole(fresh: Fresh) -> None:
    """The request holds a preview, the log the whole; `read_value` pages in, and a reference passes it on."""
    rows = [{"id": f"row-{i}", "text": "word " * 20} for i in range(500)]
    manager = session(fresh.store, offload_tokens=200)
    done = await manager.tools.run(Tool(rows), "look", {"q": 1})
    paged = await manager.tools.read_value({"reference": "v1", "path": "[400].id"})
    cold = session(await fresh.second(), offload_tokens=200)
    passed = await cold.tools.before_call("note", {"rows": "$v1"})
    await cold.tools.after_call(passed.call_id, result="ok")
    shown = [m["content"] for m in await cold.get_messages_for_llm() if m["role"] == "tool"]

    assert len(done.content) < 4000 < len(json.dumps(rows))
    assert shown == [done.content, paged.content, "ok"]
    assert "row-400" in paged.content
    assert passed.arguments == {"rows": rows}


async def test_a_result_larger_than_an_event_costs_its_binding_elsewhere_and_nothing_else() -> None:
    """The call is recorded all the same; to another worker its reference is unknown."""
    store = MemoryStore(max_event_bytes=20_000)
    manager = session(store, offload_tokens=100)
    done = await manager.tools.run(Tool(["word"] * 10_000), "look", {"q": 1})
    following = await manager.tools.run(Tool("small"), "note", {"x": 1})
    cold = session(store, offload_tokens=100)
    guard = await cold.tools.open()
    refused = await cold.tools.before_call("note", {"x": "$v1"})

    assert (done.ok, following.content, refused.action) == (True, "small", Action.BLOCK)
    assert guard.resolve({"x": "$v2"}).arguments == {"x": "small"}
    assert (await cold.tools.before_call("look", {"q": 1})).action is Action.ALLOW


class Repeating(Failing):
    """A store that repeats a write whose answer was lost, after something else was written."""

    meanwhile: Any = None

    async def append(self, *args: Any, **options: Any) -> Any:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
            await super().append(*args, **options)
        return await super().append(*args, **options)


async def test_a_race_is_seen_though_the_answer_to_the_write_was_lost() -> None:
    """Who began a call first is read from the log, though the repeated write's answer does not tell."""
    inner = MemoryStore()
    store = Repeating(inner)
    first, late, tool = session(inner), session(store), Tool("removed")  # type: ignore[arg-type]
    await first.record(calls(("a", "remove", {"path": "x"})))
    await late.tools.open()

    async def meanwhile() -> None:
        await first.tools.before_call("remove", {"path": "x"}, "a")

    store.meanwhile = meanwhile
    done = await late.tools.run(tool, "remove", {"path": "x"}, call_id="a")

    assert (done.verdict.reason_code, tool.runs) == ("permission.running", [])


# Memory


async def test_every_finished_call_becomes_one_trace(fresh: Fresh) -> None:
    """Guarded calls and those recorded by hand count once, though two workers fold one log."""
    one, two = session(fresh.store), session(await fresh.second())
    await one.tools.run(Tool(), "note", {"x": 1})
    await two.tools.run(Tool(ValueError("no such row")), "note", {"x": 2})
    await one.tool_used("calculator", {"op": "add"}, result={"result": 8}, idempotency_key="k")
    await two.tool_used("calculator", {"op": "add"}, result={"result": 8}, idempotency_key="k")
    await one.tools.run(Tool(5), "look", {"q": 1})
    await two.tools.run(Tool(5), "look", {"q": 1})
    cold = session(await fresh.second())
    guard, memory = await cold.tools.open(), cold.tools.memory
    assert memory is not None
    await memory.load()

    assert {p.tool_name: p.calls for p in memory.get_patterns()} == {"note": 2, "calculator": 1, "look": 1}
    assert guard.resolve({"x": "$v3.result"}).arguments == {"x": 8}
    hints = await cold.tools.hints("note", max_tokens=200)
    assert "note" in hints
    assert "1 of 2" in hints


async def test_a_memory_that_fails_costs_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """The call ends well, and the log says what was lost, without content."""
    from procedural import InMemoryTraceStore, ToolMemoryManager, TraceStoreError

    class Broken(InMemoryTraceStore):
        async def append(self, scope: Any, traces: Any) -> Any:
            raise TraceStoreError("the traces are away")

    manager = session(MemoryStore(), memory=ToolMemoryManager(store=Broken()))
    done = await manager.tools.run(Tool("fine"), "note", {"secret": "s3cret"})
    await manager.tool_used("calculator", {"x": "s3cret"}, result=1)

    assert done.content == "fine"
    assert [r.getMessage() for r in caplog.records].count("trace.write_failed") == 2
    assert "s3cret" not in caplog.text


async def test_memory_is_switched_off_by_choice() -> None:
    """Without memory nothing is remembered, and hints are empty."""
    manager = session(MemoryStore(), memory=None)
    await manager.tools.run(Tool(), "note")

    assert (manager.tools.memory, await manager.tools.hints()) == (None, "")


async def test_the_guard_is_configured_before_its_first_call() -> None:
    """Later changes would make workers differ: they are refused."""
    manager = session(MemoryStore())
    await manager.tools.open()
    with pytest.raises(InvalidSetting, match="before its first call"):
        manager.tools.configure(limits=Limits())


# Symptoms


async def test_a_lease_beside_a_snapshot_is_of_its_worker_alone() -> None:
    """A cold worker that begins from a snapshot does not take the numbers leased in the same write."""
    store = MemoryStore()
    first = session(store, memory=None)
    for turn in range(70):
        await first.user_says(f"turn {turn}")
        if turn == 0:
            await first.tools.open()
    mine = await first.tools.open(bindings=True)
    second = session(store, memory=None)
    theirs = await second.tools.open()
    events = await store.read(None, "c")

    assert any(event.kind is EventKind.GUARD_SNAPSHOT for event in events)
    assert (mine.bindings.leased, theirs.bindings.leased) == (16, 0)


async def test_a_cancelled_call_is_not_answered_with_null(fresh: Fresh) -> None:
    """The model reads that the call was cancelled, and that it may have taken effect."""
    manager = session(fresh.store)
    verdict = await manager.tools.before_call("note", {"x": 1})
    await manager.tools.after_call(verdict.call_id, outcome=Outcome.CANCELLED)
    [content] = [m["content"] for m in await manager.get_messages_for_llm() if m["role"] == "tool"]

    assert "cancelled; it may have taken effect" in content


async def test_a_call_closed_by_the_deadline_is_answered_when_its_tool_ends() -> None:
    """The guard has closed it as unknown; the log still gets its answer."""
    manager = SessionManager("c", store=MemoryStore())
    manager.tools.configure(call_deadline_s=0.01)
    tool = Tool("late", wait_s=0.1)
    task = asyncio.ensure_future(manager.tools.run(tool, "note", {"x": 1}))
    await tool.started.wait()
    await asyncio.sleep(0.02)
    await manager.tools.run(Tool("other"), "note", {"x": 2})
    await task
    contents = [m["content"] for m in await manager.get_messages_for_llm() if m["role"] == "tool"]

    assert sorted(contents) == ["late", "other"]


async def test_the_guard_inside_takes_no_number_behind_the_back_of_the_log() -> None:
    """Synchronous calls that no message lists are refused, with the way to make them."""
    manager = session(MemoryStore())
    guard = await manager.tools.open()
    with pytest.raises(GuardError, match=r"await sm\.tools\.before_call"):
        guard.before_call("note", {"x": 1})
    with pytest.raises(GuardError, match="tool_used"):
        guard.record("note", {"x": 1}, result=1)
    with pytest.raises(GuardError, match="assistant message"):
        guard.announce(["a"])

    assert guard.bindings.next_number == 1


async def test_an_id_that_a_provider_uses_each_turn_loses_no_trace() -> None:
    """`call_0` of the second turn is another call than that of the first."""
    manager = session(MemoryStore())
    for turn in range(3):
        await manager.record(calls(("call_0", "note", {"turn": turn})))
        await manager.tool_used("note", {"turn": turn}, result=turn, tool_call_id="call_0")
    memory = manager.tools.memory
    assert memory is not None

    assert [pattern.calls for pattern in memory.get_patterns()] == [3]


async def test_a_hosts_memory_that_raises_anything_costs_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """The tool ran: its result is given, though the memory broke in a way of its own."""
    from procedural import InMemoryTraceStore, ToolMemoryManager

    class Odd(InMemoryTraceStore):
        async def append(self, scope: Any, traces: Any) -> Any:
            raise ZeroDivisionError

    manager = session(MemoryStore(), memory=ToolMemoryManager(store=Odd()))
    done = await manager.tools.run(Tool("fine"), "note")

    assert done.content == "fine"
    assert "trace.write_failed" in [record.getMessage() for record in caplog.records]


async def test_an_erased_conversation_leaves_no_trace() -> None:
    """A call whose result the store refuses, since the conversation was erased, is not remembered."""
    from procedural import ToolMemoryManager

    store, memory = MemoryStore(), ToolMemoryManager()
    manager = session(store, memory=memory)
    verdict = await manager.tools.before_call("note", {"x": 1})
    await store.erase(None, "c")
    with pytest.raises(SessionErased):
        await manager.tools.after_call(verdict.call_id, result="secret")

    assert memory.get_patterns() == ()


@pytest.mark.parametrize(
    "result", ["a\udc80b", {"x": "a\udc80b"}, ValueError("\udc80"), ValueError("x" * 10**7)]
)
async def test_a_result_whose_text_cannot_be_stored_is_recorded_all_the_same(
    fresh: Fresh, result: Any
) -> None:
    """Lone surrogates are replaced, and the text of an error is bounded."""
    manager = session(fresh.store)
    done = await manager.tools.run(Tool(result), "note")
    cold = session(await fresh.second())
    [content] = [m["content"] for m in await cold.get_messages_for_llm() if m["role"] == "tool"]

    assert content == done.content
    assert len(content) < 3_000
    assert not (await cold.tools.open()).open_calls


async def test_arguments_that_cannot_be_stored_are_recorded_all_the_same(fresh: Fresh) -> None:
    """A call that no message lists runs with what it was given; its message has U+FFFD in its place."""

    def length(q: str) -> int:
        return len(q)

    manager = session(fresh.store)
    done = await manager.tools.run(length, "note", {"q": "a\udc80"})
    cold = session(await fresh.second())

    assert done.result == 2
    assert "a\ufffd" in str(await cold.get_messages_for_llm())


async def test_a_call_recorded_before_the_guard_is_opened_has_its_goal() -> None:
    """The goal is what the user said last, though the guard has not read the log."""
    from procedural import ToolMemoryManager

    goals: list[str | None] = []

    class Told(ToolMemoryManager):
        async def record(self, *args: Any, **options: Any) -> Any:
            goals.append(options["goal"])
            return await super().record(*args, **options)

    manager = session(MemoryStore(), memory=Told())
    await manager.user_says("find the invoice")
    await manager.tool_used("note", {"x": 1}, result=1)

    assert goals == ["find the invoice"]


# Cost


@pytest.mark.parametrize(("tool_name", "trips"), [("note", 2), ("remove", 3), ("look", 3)])
async def test_a_call_costs_the_documented_round_trips(tool_name: str, trips: int) -> None:
    """Two for a call whose message is in the log, one more where its beginning is written down."""
    async with proxied(shared("valkey").port) as proxy, FACTORIES["redis"]() as fresh:
        url = fresh.store.url.replace(f":{shared('valkey').port}/", f":{proxy.port}/")
        manager = session(url, memory=None)
        await manager.record(calls(*((f"c{i}", tool_name, {"i": i}) for i in range(3))))
        await manager.tools.run(Tool(), tool_name, {"i": 0}, call_id="c0")
        proxy.reset()
        await manager.tools.run(Tool(), tool_name, {"i": 1}, call_id="c1")

        assert proxy.trips == trips
        await manager.store.close()

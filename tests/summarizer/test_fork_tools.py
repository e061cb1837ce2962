"""The guard of a fork: it knows the calls before the fork, and none after it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from guards import Action, PermissionPolicy, ToolSpec
from summarizer import SessionManager
from summarizer.events import EventKind
from tests.summarizer.stores.factories import FACTORIES, Fresh
from tests.summarizer.talk import soft_only, talk
from tests.summarizer.tools import SPECS, session, state_of


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def fresh(request: pytest.FixtureRequest) -> AsyncIterator[Fresh]:
    async with FACTORIES[request.param]() as made:
        yield made


class Tool:
    """A tool that counts how often it ran."""

    def __init__(self, result: Any = "ok") -> None:
        self.result = result
        self.runs = 0

    async def __call__(self, **_: Any) -> Any:
        self.runs += 1
        return self.result


def guarded(fork: SessionManager) -> SessionManager:
    """The fork with the specs of these tests."""
    fork.tools.configure(SPECS)
    return fork


async def several_segments(fresh: Fresh, **settings: Any) -> SessionManager:
    """Calls in the first segments; the open one holds none of them."""
    sm = session(fresh.store, policy=soft_only(), summarizer="extractive", segmentation="inline", **settings)
    await sm.tools.run(Tool("gone"), "remove", {"id": 7}, idempotency_key="seven")
    await sm.tools.run(Tool({"code": "K-1"}), "look", {"q": 1})
    await talk(sm, 30)
    assert len(await sm.get_session_chain()) > 2
    return sm


async def test_a_fork_knows_the_calls_before_it(fresh: Fresh) -> None:
    """References resolve, results are replayed, and a destructive call that ran does not run again."""
    sm = await several_segments(fresh)
    fork = guarded(await sm.fork())
    look, remove = Tool("anew"), Tool("again")
    read = await fork.tools.run(look, "look", {"q": 1})
    used = await fork.tools.before_call("note", {"code": "$v2.code"})
    removed = await fork.tools.run(remove, "remove", {"id": 7}, idempotency_key="seven")

    assert used.arguments == {"code": "K-1"}
    assert (read.verdict.action, read.result, look.runs) == (Action.REPLAY, {"code": "K-1"}, 0)
    assert (removed.verdict.should_run, remove.runs) == (False, 0)


async def test_numbers_go_on_behind_the_fork(fresh: Fresh) -> None:
    """The fork and the conversation each go on from the same number."""
    sm = await several_segments(fresh)
    fork = guarded(await sm.fork())
    mine, theirs = [await one.tools.run(Tool(), "note", {"n": 1}) for one in (fork, sm)]

    assert mine.binding is not None
    assert theirs.binding is not None
    assert mine.binding.id == theirs.binding.id == "v3"


async def test_a_fork_does_not_know_the_calls_behind_it(fresh: Fresh) -> None:
    """What ran after the place never happened there."""
    sm = session(fresh.store)
    await sm.user_says("Look.")
    await sm.tools.run(Tool("one"), "note", {"n": 1})
    place = (await sm.read())[-1].seq
    await sm.tools.run(Tool("two"), "note", {"n": 2})
    fork = guarded(await sm.fork(at=place))
    guard = await fork.tools.open()

    assert guard.resolve({"x": "$v1"}).arguments == {"x": "one"}
    assert not (await fork.tools.before_call("note", {"x": "$v2"})).should_run


async def test_the_guard_of_a_fork_needs_no_ancestor(fresh: Fresh) -> None:
    """Its state is the ancestor's at the place, and is the same once that is erased."""
    sm = await several_segments(fresh)
    fork = await sm.fork()
    expected = state_of(await session(await fresh.second()).tools.open())
    await fresh.store.erase(None, "c", keep_forks=True)
    cold = session(await fresh.second(), fork.session_id)

    assert state_of(await cold.tools.open()) == expected


async def test_a_snapshot_is_written_only_where_it_is_needed(fresh: Fresh) -> None:
    """Not where the fork copies the whole log, and not where no tool was used before what it copies."""
    sm = await several_segments(fresh)
    first = (await sm.segments())[0]
    chat = session(fresh.store, "chat", policy=soft_only(), summarizer="extractive", segmentation="inline")
    await talk(chat, 30)
    kinds = [
        [event.kind for event in await fork.read()]
        for fork in (await sm.fork(), await sm.fork(at=first.end_seq), await chat.fork())
    ]

    assert [of_one.count(EventKind.GUARD_SNAPSHOT) for of_one in kinds] == [1, 0, 0]


async def test_a_call_that_is_under_way_is_open_in_the_fork() -> None:
    """It began before the fork and its end is not known there: one that may run once is not run again."""
    async with FACTORIES["memory"]() as fresh:
        sm = session(fresh.store)
        verdict = await sm.tools.before_call("remove", {"id": 7}, idempotency_key="seven")
        fork = guarded(await sm.fork())
        await sm.tools.after_call(verdict.call_id, result="gone")
        tool = Tool()
        again = await fork.tools.run(tool, "remove", {"id": 7}, idempotency_key="seven")

        assert (again.verdict.action is Action.ALLOW, tool.runs) == (False, 0)


async def test_a_forks_guard_is_configured_as_its_brothers():
    """What needs a person in a conversation needs one in its fork, and in a sibling."""
    sm = SessionManager("c", store="memory://")
    sm.tools.configure(
        [ToolSpec("wipe", destructive=True)], permissions=PermissionPolicy(confirm_destructive=True)
    )
    await sm.user_says("Wipe it.")

    for other in (await sm.fork(), sm.sibling("d")):
        done = await other.tools.run(lambda: "wiped", "wipe", {})
        assert done.verdict.action == "confirm"

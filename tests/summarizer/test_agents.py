"""Sessions for agent runtimes: a free state that is never lost, foreign or half saved."""

import asyncio
from datetime import timedelta

import pytest

from summarizer import InvalidSetting, SessionExists, SessionNotFound, StoreError, open_store
from summarizer.agents import Sessions
from summarizer.state import StateConflict
from tests.summarizer.stores.factories import FACTORIES
from tests.summarizer.talk import fresh


@pytest.mark.parametrize("name", list(FACTORIES))
async def test_a_session_is_found_again_as_it_was_saved(name):
    """State, times and messages are the same for a cold instance, over child sessions too."""
    async with fresh(name) as made:
        sessions = Sessions(made.store, token_threshold=100, segmentation="inline")
        session = await sessions.create("s", owner="ana", state={"step": 1, "seen": []})
        for i in range(10):
            await session.manager.turn(f"What about the harbour number {i}?", f"It has {i} cranes.")
        session.state["seen"].append({"crane": None})
        await sessions.save(session)
        again = await Sessions(await made.second()).get("s", owner="ana")

        assert again is not None
        assert again.state == {"step": 1, "seen": [{"crane": None}]}
        assert (again.version, again.created_at, again.owner) == (2, session.created_at, "ana")
        assert again.updated_at >= session.updated_at > session.created_at
        assert len(await again.manager.get_session_chain()) > 1


@pytest.mark.parametrize("name", list(FACTORIES))
async def test_changes_at_once_are_all_there(name):
    """Workers that change one session's state at once, and write to its log meanwhile, lose nothing."""
    async with fresh(name) as made:
        await Sessions(made.store).create("s", state={"done": []})

        async def work(number):
            sessions = Sessions(made.store)
            await sessions.update("s", lambda state: state["done"].append(number))
            session = await sessions.get("s")
            await session.manager.user_says(f"worker {number}")

        await asyncio.gather(*(work(number) for number in range(8)))
        session = await Sessions(await made.second()).get("s")

        assert sorted(session.state["done"]) == list(range(8))
        assert (session.version, len(await session.manager.get_conversation())) == (9, 8)


async def test_a_save_over_another_version_is_refused():
    """The later of two savers is told, and what the first saved stands."""
    sessions = Sessions("memory://")
    await sessions.create("s")
    one, two = await sessions.get("s"), await sessions.get("s")
    one.state["by"], two.state["by"] = "one", "two"
    await sessions.save(one)

    with pytest.raises(StateConflict, match="you have version 1, the store has 2"):
        await sessions.save(two)
    assert (await sessions.get("s")).state == {"by": "one"}


async def test_a_session_is_its_owners():
    """Another owner's session is a missing one, and its id is free."""
    sessions = Sessions("memory://")
    await sessions.create("s", owner="ana", state={"secret": 1})

    assert await sessions.get("s", owner="ben") is None
    assert await sessions.get("s") is None
    assert (await sessions.get_or_create("s", owner="ben")).state == {}
    assert (await sessions.get("s", owner="ana")).state == {"secret": 1}


async def test_what_is_not_saved_is_nobody_elses():
    """A state that was changed and not saved stays with who changed it, nested values too."""
    sessions = Sessions("memory://")
    first = await sessions.create("s", state={"list": [1]})
    first.state["list"].append(2)

    assert (await sessions.get("s")).state == {"list": [1]}


async def test_a_session_is_made_once():
    """`create` refuses an id that is there, tracked without a state too; of workers at once one makes it."""
    sessions = Sessions("memory://")
    made = await asyncio.gather(*(sessions.get_or_create("s", state={"by": n}) for n in range(5)))
    tracked = await sessions.get_or_create("t")
    await tracked.manager.user_says("hello")

    assert {session.state["by"] for session in made} == {made[0].state["by"]}
    for taken in ("s", "t"):
        with pytest.raises(SessionExists):
            await sessions.create(taken)
    assert (await sessions.create()).session_id != (await sessions.create()).session_id


@pytest.mark.parametrize("name", list(FACTORIES))
async def test_a_session_that_nobody_used_expires(name):
    """After its idle time it is absent and its id is free; one that was used meanwhile is there."""
    async with fresh(name) as made:
        sessions = Sessions(made.store, expires_after=timedelta(seconds=0.6))
        await sessions.create("idle", owner="ana", state={"old": True})
        used = await sessions.create("used", owner="ana")
        for _ in range(3):
            await asyncio.sleep(0.25)
            await used.manager.user_says("still here")

        assert await sessions.get("idle", owner="ana") is None
        assert (await sessions.get("used", owner="ana")) is not None
        assert (await sessions.create("idle", owner="ana")).state == {}


async def test_bad_input_is_named():
    """A state that JSON would change, a session that is not there, a time that is none."""
    sessions = Sessions("memory://")
    session = await sessions.create("s", state={"kept": 1})
    for wrong in ({"a": {1, 2}}, {1: "a"}, {"a": (1,)}, {"a": float("nan")}, {"a": "\ud800"}):
        session.state = wrong
        with pytest.raises(InvalidSetting, match="the state"):
            await sessions.save(session)

    assert (await sessions.get("s")).state == {"kept": 1}
    with pytest.raises(SessionNotFound):
        await sessions.update("nobody", lambda state: None)
    with pytest.raises(InvalidSetting, match="expires_after"):
        Sessions("memory://", expires_after=timedelta(0))
    assert await sessions.delete("s") is True
    assert await sessions.delete("s") is False
    assert await sessions.get("s") is None


async def test_a_store_that_fails_is_no_absence():
    """A session that cannot be read raises."""
    sessions = Sessions(open_store("redis://127.0.0.1:1/0"))

    with pytest.raises(StoreError):
        await sessions.get("s")

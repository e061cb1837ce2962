"""The contract of beginnings and forks, over every store."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from summarizer.errors import InvalidSetting, SessionErased, SessionExists, SessionNotFound, ValueTooLarge
from summarizer.events import EventKind
from summarizer.stores import ANY_OWNER, Beginning, Erased, EventStore, Fork, Head, Segment
from summarizer.stores.protocol import Owner
from tests.summarizer.stores.contract import (
    AT,
    answer,
    handed_over,
    let_pass,
    message,
    note,
    proven,
    started,
    texts,
)
from tests.summarizer.stores.factories import Fresh


async def beginning(
    store: EventStore, name: str, *, first: int, last: int, owner: Owner = None, **changes: Any
) -> Beginning:
    """What a fork of the conversation `c` begins with: its events `[first, last]`, and a seed."""
    events = await store.read(owner, "c", after_seq=first - 1, until_seq=last)
    before = await store.read(owner, "c", after_seq=first - 2, until_seq=first - 1)
    start = before[0].cumulative_tokens if before else 0
    head = Head(
        name,
        start_seq=first,
        last_seq=last,
        total_tokens=events[-1].cumulative_tokens if events else start,
        start_tokens=start,
        seed_tokens=7,
        opened_seq=last,
        opened_turns=1,
        message_seq=last,
        report={"tokens": 9, "model": "m", "ratio": 1.25, "samples": 1, "index": 0},
        report_total=start,
        counters=(await store.load(owner, "c")).head.counters,
        first_seq=first,
    )
    chain = (Segment(name, None, 0, first, None, start, AT, {"seed": "S"}),)
    return replace(Beginning(head, chain, events, "c", last), **changes)


async def forked(
    store: EventStore, name: str, *, first: int = 2, last: int = 3, owner: Owner = None, **changes: Any
) -> Head:
    """A fork of the conversation `c`."""
    begun = await beginning(store, name, first=first, last=last, owner=owner, **changes)
    return await store.create(owner, name, {"n": name}, beginning=begun)


async def test_a_fork_begins_with_what_it_was_given(fresh_store: Fresh) -> None:
    """Head, seed, settings, chain and events are there, under the seqs, ids and totals of the ancestor."""
    store = fresh_store.store
    await started(store, count=4)
    head = await forked(store, "f")
    second = await fresh_store.second()
    loaded = await second.load(None, "f")
    (segment,) = await second.segments(None, "f", summaries=True)

    assert (loaded.head, loaded.settings, loaded.summary) == (head, {"n": "f"}, {"seed": "S"})
    assert list(loaded.events) == list(await second.read(None, "c", after_seq=1, until_seq=3))
    assert texts(await proven(fresh_store, root="f")) == ["m2", "m3"]
    assert segment == Segment("f", None, 0, 2, None, 3, AT, {"seed": "S"})
    assert await second.read(None, "f", until_seq=2) == loaded.events[:1]


async def test_a_fork_goes_on_by_itself(fresh_store: Fresh) -> None:
    """Appends, repeats and hand-overs join the copied events; the ancestor does not see them."""
    store = fresh_store.store
    await started(store, count=2)
    shared = [message("shared", event_id="shared")]
    await store.append(None, "c", shared)
    before = await store.load(None, "c")
    await forked(store, "f", first=2, last=3)
    repeated = await store.append(None, "f", shared)
    written = await store.append(None, "f", [message("own", tokens=5)], after_seq=2)
    head = await handed_over(store, cut=3, root="f")

    assert answer(repeated) == (3, 3, True)
    assert (written.first_seq, texts(written.others)) == (4, ["shared"])
    assert (written.head.total_tokens, written.head.report) == (14, {**(repeated.head.report or {})})
    assert (head.session_id, head.start_seq, head.start_tokens, head.first_seq) == ("f~1", 4, 9, 2)
    assert texts(await proven(fresh_store, root="f")) == ["m2", "shared", "own"]
    assert await (await fresh_store.second()).load(None, "c") == before


async def test_a_fork_may_begin_with_its_seed_alone(fresh_store: Fresh) -> None:
    """No event is copied: the next one follows the fork's seq."""
    store = fresh_store.store
    await started(store, count=4)
    await forked(store, "f", first=4, last=3)
    loaded = await (await fresh_store.second()).load(None, "f")

    assert (loaded.events, loaded.summary, loaded.head.segment_tokens) == ((), {"seed": "S"}, 0)
    assert (await store.append(None, "f", [message("next")])).first_seq == 4
    assert texts(await proven(fresh_store, root="f")) == ["next"]


async def test_a_conversation_knows_its_forks(fresh_store: Fresh) -> None:
    """By seq, then by id; a fork of a fork is the fork's; another owner's is a missing one."""
    store = fresh_store.store
    await started(store, count=4)
    for name, last in (("b", 3), ("a", 3), ("z", 2)):
        await forked(store, name, last=last)
    begun = await beginning(store, "deep", first=2, last=2, ancestor="a")
    await store.create(None, "deep", {}, beginning=begun)
    second = await fresh_store.second()

    assert await second.forks(None, "c") == (Fork("z", 2), Fork("a", 3), Fork("b", 3))
    assert await second.forks(None, "a") == (Fork("deep", 2),)
    assert await second.forks(None, "deep") == ()
    for owner, name in (("x", "c"), (None, "nobody")):
        with pytest.raises(SessionNotFound):
            await second.forks(owner, name)


async def test_erasing_takes_the_forks_along(fresh_store: Fresh) -> None:
    """With their own forks; what was copied counts where it lies, and no id takes writes."""
    store = fresh_store.store
    await started(store, count=4)
    await started(store, root="other", count=1)
    await forked(store, "f")
    begun = await beginning(store, "deep", first=2, last=2, ancestor="f")
    await store.create(None, "deep", {}, beginning=begun)
    await handed_over(store, cut=2, root="f")

    assert await store.erase(None, "c") == Erased(3, 4, 4 + 3 + 1)
    assert [row.conversation_id for row in await (await fresh_store.second()).list(None)] == ["other"]
    for name in ("c", "f", "deep"):
        with pytest.raises(SessionErased):
            await store.append(None, name, [message("x")])
    assert await store.erase(None, "c") == Erased()


async def test_erasing_may_keep_the_forks(fresh_store: Fresh) -> None:
    """They stand on their own, and are no forks of what takes the id later."""
    store = fresh_store.store
    await started(store, count=4)
    await forked(store, "f")

    assert await store.erase(None, "c", keep_forks=True) == Erased(1, 1, 4)
    assert texts(await proven(fresh_store, root="f")) == ["m2", "m3"]
    await let_pass(fresh_store, 24 * 3600 + 60)
    await started(store, count=1)
    assert await store.forks(None, "c") == ()
    assert await store.erase(None, "c") == Erased(1, 1, 1)
    assert await store.erase(None, "f") == Erased(1, 1, 2)


async def test_a_fork_that_is_gone_is_forgotten(fresh_store: Fresh) -> None:
    """Erased or expired: its ancestor no longer names it, and another under its id is no fork."""
    store = fresh_store.store
    await started(store, count=4)
    await forked(store, "f")
    await forked(store, "g")
    await store.erase(None, "f")

    assert await store.forks(None, "c") == (Fork("g", 3),)
    await let_pass(fresh_store, 1.2)
    await store.append(None, "c", [message("again")])
    assert await store.expire(ANY_OWNER, idle_s=1) == Erased(1, 1, 2)
    assert await store.forks(None, "c") == ()
    await started(store, root="g")
    assert await store.forks(None, "c") == ()
    assert await store.erase(None, "c") == Erased(1, 1, 5)


async def test_an_owner_is_erased_with_all_forks(fresh_store: Fresh) -> None:
    """Each conversation counts once, and another owner's forks stay."""
    store = fresh_store.store
    for owner in ("x", "y"):
        await started(store, owner, count=3)
        await forked(store, "f", owner=owner)

    assert await store.erase("x") == Erased(2, 2, 5)
    assert await (await fresh_store.second()).forks("y", "c") == (Fork("f", 3),)


async def test_retention_of_the_ancestor_leaves_a_fork_whole(fresh_store: Fresh) -> None:
    """A fork holds what it copied."""
    store = fresh_store.store
    await started(store, count=4)
    await forked(store, "f")
    await handed_over(store, cut=4)
    await store.retain(None, "c", before_index=1)

    assert texts(await proven(fresh_store, root="f")) == ["m2", "m3"]
    assert await store.forks(None, "c") == (Fork("f", 3),)


async def test_a_fork_needs_its_ancestor(fresh_store: Fresh) -> None:
    """One that is missing, another owner's, or erased: nothing is made."""
    store = fresh_store.store
    await started(store, count=3)
    begun = await beginning(store, "f", first=2, last=3)
    with pytest.raises(SessionNotFound):
        await store.create("x", "f", {}, beginning=begun)
    await store.erase(None, "c")
    with pytest.raises(SessionErased):
        await store.create(None, "f", {}, beginning=begun)

    assert await (await fresh_store.second()).list(ANY_OWNER) == ()


async def test_an_id_that_is_taken_stays_what_it_was(fresh_store: Fresh) -> None:
    """A second fork under one id is refused, and the first one is whole."""
    store = fresh_store.store
    await started(store, count=4)
    await forked(store, "f", last=2)
    with pytest.raises(SessionExists):
        await forked(store, "f", last=3)

    assert texts(await proven(fresh_store, root="f")) == ["m2"]
    assert await store.forks(None, "c") == (Fork("f", 2),)


async def test_many_fork_at_once(fresh_store: Fresh) -> None:
    """Each gets a fork of its own; of those who want one id, one does."""
    stores = [fresh_store.store, await fresh_store.second()]
    await started(stores[0], count=4)
    begun = await beginning(stores[0], "same", first=2, last=3)
    outcomes = await asyncio.gather(
        *(forked(stores[i % 2], f"f{i}") for i in range(8)),
        *(stores[i % 2].create(None, "same", {}, beginning=begun) for i in range(4)),
        return_exceptions=True,
    )

    assert sorted(type(one).__name__ for one in outcomes) == ["Head"] * 9 + ["SessionExists"] * 3
    assert len(await stores[1].forks(None, "c")) == 9


async def test_erasing_and_forking_race(fresh_store: Fresh) -> None:
    """Whoever is first: in the end neither the conversation nor a fork of it is there."""
    stores = [fresh_store.store, await fresh_store.second()]
    for i in range(6):
        await stores[0].create("x", f"c{i}", {})
        await stores[0].append("x", f"c{i}", [message()])
        head = replace((await stores[0].load("x", f"c{i}")).head, conversation_id=f"f{i}")
        chain = (Segment(f"f{i}", None, 0, 1, None, 0, AT),)
        begun = Beginning(head, chain, await stores[0].read("x", f"c{i}"), f"c{i}", 1)
        made, gone = await asyncio.gather(
            stores[i % 2].create("x", f"f{i}", {}, beginning=begun),
            stores[1 - i % 2].erase("x", f"c{i}"),
            return_exceptions=True,
        )

        assert isinstance(made, Head | SessionErased | SessionNotFound)
        assert isinstance(gone, Erased)
    assert await stores[0].list("x") == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"events": ()},
        {"segments": ()},
        {"head": Head("other")},
        {"segments": (Segment("f", None, 0, 1, None, 0, AT),)},
        {"segments": (Segment("f", None, 0, 2, 3, 0, AT),)},
    ],
)
async def test_a_beginning_that_disagrees_is_refused(fresh_store: Fresh, changes: dict[str, Any]) -> None:
    """Head, chain and events must belong together; nothing is made."""
    store = fresh_store.store
    await started(store, count=4)
    with pytest.raises(InvalidSetting):
        await forked(store, "f", **changes)

    assert [row.conversation_id for row in await store.list(ANY_OWNER)] == ["c"]
    assert await store.forks(None, "c") == ()


async def test_a_beginning_obeys_the_size_limit(fresh_store: Fresh) -> None:
    """An event that no append would take makes no conversation."""
    store = fresh_store.store
    await started(store, count=1)
    begun = await beginning(store, "f", first=1, last=1)
    large = replace(begun, events=(message("x" * 20_000_000).placed(1, 3),))
    with pytest.raises(ValueTooLarge):
        await store.create(None, "f", {}, beginning=large)

    with pytest.raises(SessionNotFound):
        await store.load(None, "f")
    assert await store.forks(None, "c") == ()


async def test_a_whole_chain_is_put_back(fresh_store: Fresh) -> None:
    """An import: several sessions, their seeds, and many events at once."""
    store = fresh_store.store
    await started(store)
    for start in range(0, 2400, 800):
        await store.append(None, "c", [message(f"m{start + i}") for i in range(800)])
    await handed_over(store, cut=500)
    await handed_over(store, cut=1500, index=1)
    loaded = await store.load(None, "c")
    events, chain = await store.read(None, "c"), await store.segments(None, "c", summaries=True)
    renamed = tuple(replace(s, session_id=s.session_id.replace("c", "d")) for s in chain)
    head = replace(loaded.head, conversation_id="d", fence=0)
    await store.create(None, "d", {"k": 1}, beginning=Beginning(head, renamed, events))
    second = await fresh_store.second()
    copy = await second.load(None, "d")

    assert (copy.head, copy.events, copy.summary) == (head, loaded.events, loaded.summary)
    assert await proven(fresh_store, root="d") == events
    assert [replace(s, parent_id=None) for s in await second.segments(None, "d", summaries=True)] == [
        replace(s, parent_id=None) for s in renamed
    ]
    assert await second.forks(None, "c") == ()
    assert (await store.append(None, "d", [note(EventKind.NOTE)])).first_seq == 2403

"""Pages over every store: there for any worker, under the same ids; and what is gone is said."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from summarizer import SessionNotFound
from summarizer.events import Event, EventKind, decode_event
from summarizer.memory import Level, Page, PageNotFound, PageType
from summarizer.session_memory.facts import SNAPSHOT_EVERY, Mark, Marks, made_page
from summarizer.stores import MemoryStore
from summarizer.units import memory_seqs
from tests.summarizer.histories import event
from tests.summarizer.session_memory.logged import paged, parcels
from tests.summarizer.stores.factories import FACTORIES, Fresh

GOLDEN = Path(__file__).parents[1] / "golden" / "events_v1.json"


@pytest.fixture(params=list(FACTORIES))
async def fresh(request: pytest.FixtureRequest) -> AsyncIterator[Fresh]:
    async with FACTORIES[request.param]() as made:
        yield made


async def test_another_worker_sees_the_same_pages(fresh: Fresh) -> None:
    """Text, id, pin, importance and place in the working set; across segments too."""
    sm = paged(fresh.store)
    code = await sm.vm.create_page("The gate code is 4711.", page_type=PageType.CLAIM, pinned=True)
    order = await sm.vm.create_page({"order": "ORD-17", "price": 12.5}, page_type=PageType.ARTIFACT)
    await sm.vm.set_importance(order, 0.9)
    await parcels(sm, 20)
    await sm.vm.add_to_working_set("e4-5", Level.REDUCED)
    before = await sm.context(1500)
    again = paged(await fresh.second())

    assert (code.id, order.id) == ("p1", "p2")
    assert await again.vm.pages() == await sm.vm.pages()
    assert (await again.context(1500)).messages == before.messages

    assert (await sm.segment()).status == "segmented"
    await parcels(sm, 3, 20)
    third = paged(await fresh.second())

    assert [page.id for page in await third.vm.pages()] == ["p1", "p2", "e4-5"]
    assert (await third.context(1500)).messages == (await sm.context(1500)).messages
    assert (await third.vm.page("p2")).importance == 0.9
    assert {"s1", "p1"} <= third.vm.shown.keys()


async def test_pages_cross_segments_and_snapshots(fresh: Fresh) -> None:
    """A cold worker reads what the newest opening names, whatever lies between."""
    sm = paged(fresh.store)
    made = [await sm.vm.create_page(f"Fact {n}: F-{n}.") for n in range(SNAPSHOT_EVERY + 5)]
    await sm.vm.forget(made[3])
    await sm.vm.pin(made[4])
    for n in range(3):
        await parcels(sm, 8, 8 * n)
        assert (await sm.segment()).status == "segmented"
    made.append(await sm.vm.create_page("The last one."))
    again = paged(await fresh.second())
    opening = [e for e in (await again.store.load(None, "talk")).events if e.kind is EventKind.SEGMENTED][-1]
    expected = [page.id for page in made if page not in (made[3], made[4])]

    assert len(opening.data["memory"]) <= SNAPSHOT_EVERY
    assert sorted(page.id for page in await again.vm.pages()) == sorted([*expected, made[4].id])
    assert (await again.vm.page(made[4].id)).pinned
    assert "Fact 60" in await again.vm.handle_tool_call("page_fault", {"page_id": made[60].id})
    with pytest.raises(PageNotFound):
        await again.vm.page(made[3].id)


async def test_workers_that_create_pages_at_once_lose_nothing(fresh: Fresh) -> None:
    """Every page is there, each under an id of its own."""
    first, second = paged(fresh.store), paged(await fresh.second())
    await first.user_says("Hello.")
    made = await asyncio.gather(
        *(
            vm.create_page(f"{name} {n}")
            for n in range(20)
            for name, vm in (("a", first.vm), ("b", second.vm))
        )
    )
    third = paged(await fresh.second())
    pages = await third.vm.pages()

    assert len({page.id for page in made}) == 40
    assert {page.id: page.text for page in made} == {page.id: page.text for page in pages}


async def test_faults_are_answered_to_the_byte(fresh: Fresh) -> None:
    """By any worker, from any segment: a turn, one message, a page of the host's."""
    sm = paged(fresh.store)
    text = 'Tab\t, "quotes", \r\n two lines \u2028 and <VM:RULES>'
    await sm.turn("Remember this.", text)
    await parcels(sm, 10)
    await sm.segment()
    await parcels(sm, 1, 10)
    page = await sm.vm.create_page(text)
    again = paged(await fresh.second())

    async def read(page_id: str) -> str:
        answer = await again.vm.handle_tool_call("page_fault", {"page_id": page_id})
        return json.loads(answer.split("\n", 1)[1])["text"]

    assert await read("r2") == text
    assert await read(page.id) == text
    turn = (await read("e1-2")).replace("\n  ", "\n").replace("\u2028  ", "\u2028")
    assert turn == f"1 user: Remember this.\n2 assistant: {text}"


async def test_pages_that_are_gone_are_answered_in_words(fresh: Fresh) -> None:
    """Never there, forgotten, removed by retention, or erased with the conversation."""
    sm = paged(fresh.store)
    old = await sm.vm.create_page("Old.")
    await parcels(sm, 10)
    await sm.segment()
    kept = await sm.vm.create_page("Kept.")
    await sm.vm.forget(kept)
    await sm.store.retain(None, "talk", before_index=1)

    async def told(page_id: str) -> str:
        return await sm.vm.handle_tool_call("page_fault", {"page_id": page_id})

    assert "removed from this conversation's log" in await told(old.id)
    assert "removed from this conversation's log" in await told("e2-3")
    assert "taken out of this memory" in await told(kept.id)
    for page_id in ("p999999", "nonsense", "e5-4", "e1-999999", "x" * 300):
        assert (await told(page_id)).startswith("No page has the id")
    assert await sm.vm.pages() == []

    await sm.store.erase(None, "talk")

    assert "This conversation was removed" in await told("e2-3")
    with pytest.raises(SessionNotFound):
        await paged(await fresh.second()).vm.handle_tool_call("search_pages", {"query": "x"})


async def test_what_retention_removed_is_shown_no_more() -> None:
    """By the worker that had it at hand as by any other, in the conversation and in a fork of it."""
    store = MemoryStore()
    sm = paged(store)
    await sm.vm.create_page("The gate code is 4711.", pinned=True)
    await parcels(sm, 12)
    await sm.segment()
    await parcels(sm, 2, 12)
    fork = await sm.fork()
    for manager in (sm, fork):
        assert "4711" in str((await manager.context(4000)).messages)
        assert (await manager.vm.page("e6-7")).text
    await store.retain(None, "talk", before_index=1)

    for manager in (sm, fork):
        context = await manager.context(4000)
        assert "4711" not in str(context.messages)
        assert context.messages == (await paged(store, manager.session_id).context(4000)).messages
        with pytest.raises(PageNotFound):
            await manager.vm.page("e6-7")


async def test_search_reaches_every_segment(fresh: Fresh) -> None:
    """What no context loads is found through recall, and what the host made through its own words."""
    sm = paged(fresh.store)
    await parcels(sm, 12)
    await sm.segment()
    await parcels(sm, 12, 12)
    page = await sm.vm.create_page("Depot D-14 closes at noon.")
    await sm.user_says("What of parcel P-2 in D-14?")
    again = paged(await fresh.second())
    answer = await again.vm.handle_tool_call("search_pages", {"query": "depot D-14"})
    found = [json.loads(line)["page"] for line in answer.splitlines()[1:]]

    assert {page.id, "e5-6"} <= set(found)
    assert not any("What of parcel P-2 in" in line for line in answer.splitlines())


class Counting(MemoryStore):
    """Counts the events that reads bring."""

    def __init__(self) -> None:
        super().__init__()
        self.brought = 0

    async def read(self, *given: Any, **more: Any) -> tuple[Event, ...]:
        events = await super().read(*given, **more)
        self.brought += len(events)
        return events


@pytest.mark.parametrize("segments", [2, 12])
async def test_a_cold_context_reads_little_at_any_length(segments: int) -> None:
    """The open segment, and of what lies before it only what the host marked."""
    store = Counting()
    sm = paged(store)
    await sm.vm.create_page("The gate code is 4711.", pinned=True)
    for n in range(segments):
        await parcels(sm, 10, 10 * n)
        await sm.segment()
    await parcels(sm, 3, 500)
    store.brought = 0
    context = await paged(store).context(1500)

    assert "The gate code is 4711." in context.messages[2]["content"]
    assert store.brought <= 3


async def test_a_fork_has_the_pages_of_its_ancestor() -> None:
    """By the same ids, up to where it was forked; what either makes afterwards is its own."""
    sm = paged(MemoryStore())
    page = await sm.vm.create_page("The gate code is 4711.", pinned=True)
    await parcels(sm, 12)
    await sm.segment()
    await parcels(sm, 2, 12)
    fork = await sm.fork()
    await fork.vm.create_page("In the fork.")
    await sm.vm.create_page("In the trunk.")

    assert [page.text for page in await fork.vm.pages()] == [page.text, "In the fork."]
    assert [page.text for page in await sm.vm.pages()] == [page.text, "In the trunk."]
    assert "Parcel P-2 weighs 6 kg" in (await fork.vm.page("e6-7")).text
    assert "Parcel P-2 weighs 6 kg" in await fork.vm.handle_tool_call("search_pages", {"query": "P-2 weighs"})


def test_an_opening_names_what_a_cold_reader_needs() -> None:
    """The newest snapshot, facts that it does not hold, and what the opening before named."""

    def record(seq: int, kind: EventKind, **data: Any) -> Event:
        return replace(event(seq, None, kind), data=data)

    events = [
        record(20, EventKind.MEMORY),
        record(21, EventKind.SEGMENTED, memory=[3, 5, 18]),
        record(22, EventKind.MEMORY),
    ]
    snapshot = record(23, EventKind.MEMORY_SNAPSHOT, through=20)

    assert memory_seqs(events) == [3, 5, 18, 20, 22]
    assert memory_seqs([*events, snapshot, record(25, EventKind.MEMORY)]) == [22, 23, 25]
    assert memory_seqs([]) == []


async def test_stored_facts_are_read_for_ever() -> None:
    """The golden bodies of the events' test make a page and its marks."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    made, marked, snapshot = (
        decode_event(golden[name], "e", seq, 0)
        for name, seq in (("memory.fact made", 1), ("memory.fact", 69), ("memory.snapshot", 71))
    )
    page, whole, cold = made_page(made), Marks(), Marks()
    whole.fold([made, marked], 69)
    cold.fold([snapshot], 71)

    assert page == Page("p1", "The gate code is 4711.", PageType.CLAIM, importance=0.9)
    assert whole.listed() == {
        "p1": Mark(pinned=True, used_seq=1),
        "e3-9": Mark(used_seq=69, level=Level.REDUCED),
    }
    assert cold.listed() == {"p1": Mark(pinned=True, used_seq=1)}
    assert (cold.seq, cold.changed_seq) == (71, 68)


async def test_another_log_under_the_same_id_has_pages_of_its_own() -> None:
    """When a conversation has expired and begins anew, nothing of the old one is served."""
    store = MemoryStore()
    sm = paged(store)
    await sm.vm.create_page("The old one.", pinned=True)
    await sm.user_says("Hello.")
    await sm.context(2000)
    await store.expire(None, idle_s=-1)
    other = paged(store)
    await other.vm.create_page("The new one.", pinned=True)
    context = await sm.context(2000)

    assert [page.text for page in await sm.vm.pages()] == ["The new one."]
    assert "The old one." not in str(context.messages)
    assert "The new one." in str(context.messages)

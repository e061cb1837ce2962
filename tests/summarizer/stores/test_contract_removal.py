"""The contract of listing and removing, over every store."""

from typing import Any

import pytest

from summarizer.errors import SessionErased, SessionNotFound
from summarizer.events import EventKind
from summarizer.stores import ANY_OWNER, ConversationRow, Erased, EventStore
from summarizer.stores.protocol import Owner
from tests.summarizer.stores.contract import (
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


async def paged(store: EventStore, owner: Any, limit: int) -> list[ConversationRow]:
    """All pages of a listing."""
    rows: list[ConversationRow] = []
    while page := await store.list(owner, limit=limit, after=rows[-1] if rows else None):
        rows += page
    return rows


async def test_lists_are_newest_first(fresh_store: Fresh) -> None:
    """An owner's conversations by creation, newest first; others' are not among them."""
    store = fresh_store.store
    for name in ("a", "b", "c"):
        await started(store, "x", name)
        await let_pass(fresh_store, 0.01)
    await started(store, "y", "d")
    await started(store, None, "e")
    second = await fresh_store.second()

    assert [(r.conversation_id, r.owner) for r in await second.list("x")] == [
        ("c", "x"),
        ("b", "x"),
        ("a", "x"),
    ]
    assert [r.conversation_id for r in await second.list(None)] == ["e"]
    assert sorted(r.conversation_id for r in await second.list(ANY_OWNER)) == ["a", "b", "c", "d", "e"]
    assert await second.list("nobody") == ()


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
async def test_pages_join_without_gap_or_repeat(fresh_store: Fresh, limit: int) -> None:
    """Page by page gives the listing, also where many were created in one moment and owners share an id."""
    store = fresh_store.store
    owners: list[Owner] = [None, "", "x", "ü"]
    for owner in owners:
        for name in ("b", "a"):
            await started(store, owner, name)
    whole = await store.list(ANY_OWNER)

    assert len(whole) == 8
    assert await paged(await fresh_store.second(), ANY_OWNER, limit) == list(whole)
    for owner in owners:
        assert await paged(store, owner, limit) == [row for row in whole if row.owner == owner]


async def test_retain_removes_closed_segments(fresh_store: Fresh) -> None:
    """Events before the segment go; seqs, totals, segments and summaries stay."""
    store = fresh_store.store
    await started(store, count=3)
    await handed_over(store, cut=2)
    before = await handed_over(store, cut=4, index=1)

    assert await store.retain(None, "c", before_index=0) == 0
    assert await store.retain(None, "c", before_index=-1) == 0
    assert await store.retain(None, "c", before_index=1) == 2
    assert await store.retain(None, "c", before_index=1) == 0
    assert [e.seq for e in await proven(fresh_store)] == [3, 4, 5]
    assert await store.retain(None, "c", before_index=99) == 2
    loaded = await (await fresh_store.second()).load(None, "c")
    assert [e.seq for e in await proven(fresh_store)] == [5]
    assert (loaded.head.first_seq, loaded.head.last_seq) == (5, 5)
    assert (loaded.head.total_tokens, loaded.head.counters) == (before.total_tokens, before.counters)
    assert len(await store.segments(None, "c", summaries=True)) == 3
    assert (await store.append(None, "c", [message("next")])).first_seq == 6


async def test_retain_keeps_ids_of_the_open_segment(fresh_store: Fresh) -> None:
    """What is left after `retain` still answers a repeat."""
    store = fresh_store.store
    kept = [message("kept")]
    await started(store, count=2)
    await store.append(None, "c", kept)
    await handed_over(store, cut=2)
    await store.retain(None, "c", before_index=1)

    assert answer(await store.append(None, "c", kept)) == (3, 3, True)


async def test_an_erased_conversation_is_gone(fresh_store: Fresh) -> None:
    """Reads find nothing; writes say that it was erased; counts are reported; a repeat gives zeros."""
    store, second = fresh_store.store, await fresh_store.second()
    await started(store, "x", "c", count=3)
    await started(store, "x", "d", count=1)
    await handed_over(store, cut=2, owner="x")

    assert await store.erase("y", "c") == Erased()
    assert await store.erase("x", "c") == Erased(1, 2, 4)
    assert await store.erase("x", "c") == Erased()
    for reader in (store, second):
        reads: list[Any] = [reader.load("x", "c"), reader.load("x", "c", after_seq=4), reader.read("x", "c")]
        reads += [reader.segments("x", "c")]
        for call in reads:
            with pytest.raises(SessionNotFound):
                await call
        writes: list[Any] = [
            reader.append("x", "c", [message("x")]),
            reader.append("x", "c~1", [message("x")]),
            reader.claim("x", "c", index=1, lease_s=1),
            reader.renew("x", "c", fence=1, lease_s=1),
            reader.create("x", "c", {}),
            reader.retain("x", "c", before_index=1),
            reader.segment(
                "x",
                "c",
                index=1,
                cut=3,
                summary={},
                seed_tokens=0,
                fence=1,
                events=[note(EventKind.SEGMENTED)],
            ),
        ]
        for call in writes:
            with pytest.raises(SessionErased):
                await call
        await reader.release("x", "c", fence=1)
    assert [row.conversation_id for row in await second.list("x")] == ["d"]
    assert texts(await proven(fresh_store, "x", "d")) == ["m1"]


async def test_a_childs_id_erases_the_chain(fresh_store: Fresh) -> None:
    """Whichever id of the chain is held, the conversation is erased."""
    store = fresh_store.store
    await started(store, count=2)
    await handed_over(store, cut=1)

    assert await store.erase(None, "c~1") == Erased(1, 2, 3)
    with pytest.raises(SessionErased):
        await store.append(None, "c", [message("x")])


async def test_all_of_an_owner_is_erased(fresh_store: Fresh) -> None:
    """Without an id everything of the owner goes, and nothing of another; `None` is an owner like others."""
    store = fresh_store.store
    for owner in (None, "x", "y"):
        for name in ("a", "b"):
            await started(store, owner, name, count=2)

    assert await store.erase(None) == Erased(2, 2, 4)
    assert await store.erase("x") == Erased(2, 2, 4)
    assert [(r.conversation_id, r.owner) for r in await (await fresh_store.second()).list(ANY_OWNER)] == [
        (r.conversation_id, "y") for r in await store.list("y")
    ]
    with pytest.raises(SessionErased):
        await store.append("x", "b", [message("x")])


async def test_a_tombstone_lasts_a_day(fresh_store: Fresh) -> None:
    """After 24 hours the id is free again, and what was erased stays erased."""
    store = fresh_store.store
    await started(store, count=2)
    await store.erase(None, "c")
    await let_pass(fresh_store, 24 * 3600 - 60)
    with pytest.raises(SessionErased):
        await store.create(None, "c", {})
    await let_pass(fresh_store, 120)
    with pytest.raises(SessionNotFound):
        await store.append(None, "c", [message("x")])
    await started(store, count=1)

    assert texts(await proven(fresh_store)) == ["m1"]


async def test_idle_conversations_expire(fresh_store: Fresh) -> None:
    """What nothing was written to for so long goes, without a tombstone; what was written to stays."""
    store = fresh_store.store
    await started(store, "x", "old", count=2)
    await started(store, "x", "busy", count=1)
    await started(store, "y", "old", count=1)
    await let_pass(fresh_store, 1.2)
    await store.append("x", "busy", [message("again")])
    await store.load("x", "old")

    assert await store.expire("x", idle_s=1000) == Erased()
    assert await store.expire("x", idle_s=1) == Erased(1, 1, 2)
    assert await store.expire("x", idle_s=1) == Erased()
    with pytest.raises(SessionNotFound):
        await store.append("x", "old", [message("x")])
    assert texts(await proven(fresh_store, "x", "busy")) == ["m1", "again"]
    assert await store.expire(ANY_OWNER, idle_s=1) == Erased(1, 1, 1)
    assert [r.conversation_id for r in await (await fresh_store.second()).list(ANY_OWNER)] == ["busy"]
    assert (await store.create("x", "old", {})).last_seq == 0

"""The contract of claims and segments, over every store."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from summarizer.errors import PartialBatch, StaleFence, StoreConflict
from summarizer.events import EventKind
from summarizer.stores import EventStore, Head
from tests.summarizer.stores.contract import handed_over, let_pass, message, note, proven, started, texts
from tests.summarizer.stores.factories import Fresh


def segmenting(store: EventStore, **changes: Any) -> Any:
    """A call of `segment` with good arguments, but for the changes."""
    call: dict[str, Any] = {"index": 0, "cut": 2, "summary": {"s": 1}, "seed_tokens": 5, "fence": 1}
    return store.segment(None, "c", **{**call, "events": [note(EventKind.SEGMENTED)], **changes})


async def test_one_of_many_claimants_wins(fresh_store: Fresh) -> None:
    """Of 64 who claim at once, one gets a fence, and the rest learn who holds it."""
    await started(fresh_store.store, count=1)
    stores = [fresh_store.store, await fresh_store.second()] * 32
    claims = await asyncio.gather(*(s.claim(None, "c", index=0, lease_s=60) for s in stores))

    assert sorted(c.fence or 0 for c in claims) == [0] * 63 + [1]
    assert {c.head.fence for c in claims if c.fence is None} == {1}
    assert all(0 < c.head.lease_s <= 60 for c in claims)


async def test_fences_only_grow(fresh_store: Fresh) -> None:
    """A released or preempted lease can be claimed again, under a larger number."""
    store = fresh_store.store
    await started(store)
    first = await store.claim(None, "c", index=0, lease_s=60)
    await store.release(None, "c", fence=1)
    second = await store.claim(None, "c", index=0, lease_s=60)
    refused = await store.claim(None, "c", index=0, lease_s=60)
    preempted = await store.claim(None, "c", index=0, lease_s=60, preempt=True)

    assert [c.fence for c in (first, second, refused, preempted)] == [1, 2, None, 3]
    assert (await (await fresh_store.second()).load(None, "c")).head.fence == 3


async def test_a_lease_runs_out(fresh_store: Fresh) -> None:
    """A holder that says nothing for the lease's time loses it; the head shows what is left."""
    store = fresh_store.store
    await started(store)
    await store.claim(None, "c", index=0, lease_s=0.5)

    assert (await store.claim(None, "c", index=0, lease_s=1)).fence is None
    await let_pass(fresh_store, 0.7)
    assert (await (await fresh_store.second()).load(None, "c")).head.lease_s == 0
    assert (await store.load(None, "c", after_seq=0)).head.lease_s == 0
    assert (await store.claim(None, "c", index=0, lease_s=1)).fence == 2


async def test_a_renewed_lease_lasts(fresh_store: Fresh) -> None:
    """`renew` counts from now; a stale fence renews nothing."""
    store = fresh_store.store
    await started(store)
    await store.claim(None, "c", index=0, lease_s=0.5)

    assert await store.renew(None, "c", fence=1, lease_s=60) is True
    await let_pass(fresh_store, 0.7)
    assert (await store.claim(None, "c", index=0, lease_s=1)).fence is None
    assert await store.renew(None, "c", fence=2, lease_s=60) is False
    await store.claim(None, "c", index=0, lease_s=60, preempt=True)
    assert await store.renew(None, "c", fence=1, lease_s=0.1) is False
    assert (await store.load(None, "c")).head.lease_s > 1


async def test_a_stale_release_does_nothing(fresh_store: Fresh) -> None:
    """Only the newest holder can give the lease back; a missing conversation is no error."""
    store = fresh_store.store
    await started(store)
    await store.claim(None, "c", index=0, lease_s=60)
    await store.claim(None, "c", index=0, lease_s=60, preempt=True)
    await store.release(None, "c", fence=1)
    await store.release(None, "missing", fence=1)

    assert (await store.claim(None, "c", index=0, lease_s=60)).fence is None


async def test_a_claim_names_the_tip(fresh_store: Fresh) -> None:
    """A claim on a session that is no longer the tip gets no fence, preempting or not."""
    store = fresh_store.store
    await started(store, count=2)
    await handed_over(store, cut=1)

    assert (await store.claim(None, "c", index=0, lease_s=60)).fence is None
    assert (await store.claim(None, "c", index=0, lease_s=60, preempt=True)).fence is None
    assert (await store.claim(None, "c", index=1, lease_s=60)).fence == 2


async def test_segment_moves_the_boundary(fresh_store: Fresh) -> None:
    """The child opens after the cut, with the summary; the log is whole, and the lease is gone."""
    store = fresh_store.store
    await started(store, count=3)
    head = await handed_over(store, cut=2)
    second = await fresh_store.second()
    loaded = await second.load(None, "c")
    segments = await second.segments(None, "c", summaries=True)

    assert head == loaded.head
    assert head == Head(
        "c",
        index=1,
        start_seq=3,
        last_seq=4,
        total_tokens=9,
        start_tokens=6,
        seed_tokens=7,
        opened_seq=4,
        opened_turns=3,
        message_seq=3,
        counters=head.counters,
        fence=1,
    )
    assert (head.session_id, head.segment_tokens) == ("c~1", 3)
    assert loaded.summary == {"narrative": "up to 2"}
    assert [e.seq for e in loaded.events] == [3, 4]
    assert texts(await proven(fresh_store)) == ["m1", "m2", "m3"]
    assert [
        (s.session_id, s.parent_id, s.index, s.start_seq, s.end_seq, s.start_tokens) for s in segments
    ] == [
        ("c", None, 0, 1, 2, 0),
        ("c~1", "c", 1, 3, None, 6),
    ]
    assert [s.summary for s in segments] == [None, {"narrative": "up to 2"}]
    assert [s.summary for s in await second.segments(None, "c")] == [None, None]
    assert segments[0].opened_at <= segments[1].opened_at
    assert segments[1].opened_at.utcoffset() is not None


async def test_writes_to_any_id_reach_the_tip(fresh_store: Fresh) -> None:
    """Root and every child's id write to and load the tip."""
    store = fresh_store.store
    await started(store, count=2)
    await handed_over(store, cut=1)
    await handed_over(store, cut=2, index=1)
    for held in ("c", "c~1", "c~2"):
        written = await store.append(None, held, [message(held)])

        assert written.head.session_id == "c~2"
        assert (await store.load(None, held)).head == written.head
    assert texts(await proven(fresh_store)) == ["m1", "m2", "c", "c~1", "c~2"]


async def test_the_chain_partitions_the_log(fresh_store: Fresh) -> None:
    """Whatever the cuts, from nothing to everything of the range, the ranges join without gap or overlap."""
    store = fresh_store.store
    await started(store, count=3)
    cuts = [3, 3, 5, 4]
    for index, cut in enumerate(cuts[:3]):
        await handed_over(store, cut=cut, index=index)
    segments = await (await fresh_store.second()).segments(None, "c")

    assert [(s.start_seq, s.end_seq) for s in segments] == [(1, 3), (4, 3), (4, 5), (6, None)]
    assert segments[-1].start_tokens == (await proven(fresh_store))[4].cumulative_tokens


async def test_a_summary_is_loaded_once(fresh_store: Fresh) -> None:
    """A reader that knew the log before the opening gets the summary; one that knows the opening does not."""
    store = fresh_store.store
    await started(store, count=2)
    head = await handed_over(store, cut=1)
    before = await store.load(None, "c", after_seq=head.opened_seq - 1)
    after = await store.load(None, "c", after_seq=head.opened_seq)

    assert before.summary == {"narrative": "up to 1"}
    assert [e.seq for e in before.events] == [3]
    assert (after.summary, after.events) == (None, ())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"fence": 0}, StaleFence),
        ({"fence": 2}, StaleFence),
        ({"index": 1}, StoreConflict),
        ({"cut": -1}, StoreConflict),
        ({"cut": 4}, StoreConflict),
    ],
)
async def test_a_bad_hand_over_writes_nothing(
    fresh_store: Fresh, changes: dict[str, int], error: type[Exception]
) -> None:
    """A stale fence, a session that is not the tip, a cut outside its range: the log is as it was."""
    store = fresh_store.store
    await started(store, count=3)
    await store.claim(None, "c", index=0, lease_s=60)
    with pytest.raises(error):
        await segmenting(store, **changes)
    head = (await (await fresh_store.second()).load(None, "c")).head

    assert (head.index, head.last_seq, head.start_seq) == (0, 3, 1)
    assert texts(await proven(fresh_store)) == ["m1", "m2", "m3"]
    assert (await segmenting(store)).index == 1


async def test_a_taken_over_holder_is_refused(fresh_store: Fresh) -> None:
    """Who was preempted finds his fence stale, even if his lease would still run."""
    store = fresh_store.store
    await started(store, count=3)
    await store.claim(None, "c", index=0, lease_s=60)
    await store.claim(None, "c", index=0, lease_s=60, preempt=True)
    with pytest.raises(StaleFence):
        await segmenting(store, fence=1)

    assert (await segmenting(store, fence=2)).index == 1


async def test_one_of_many_hand_overs_wins(fresh_store: Fresh) -> None:
    """Of those who hand over with one fence, one opens the child, and the rest get a conflict."""
    await started(fresh_store.store, count=3)
    await fresh_store.store.claim(None, "c", index=0, lease_s=60)
    stores = [fresh_store.store, await fresh_store.second()] * 5
    outcomes = await asyncio.gather(*(segmenting(s) for s in stores), return_exceptions=True)

    assert sorted(type(o).__name__ for o in outcomes) == ["Head"] + ["StoreConflict"] * 9
    assert len(await fresh_store.store.segments(None, "c")) == 2
    assert len(await proven(fresh_store)) == 4


async def test_a_hand_over_takes_fresh_events(fresh_store: Fresh) -> None:
    """Event ids that are in the log already cannot open a child."""
    store = fresh_store.store
    known = message("known")
    await started(store, count=3)
    await store.append(None, "c", [known])
    await store.claim(None, "c", index=0, lease_s=60)
    with pytest.raises(PartialBatch):
        await segmenting(store, events=[note(EventKind.SEGMENTED), known])

    assert (await store.load(None, "c")).head.index == 0
    assert len(await proven(fresh_store)) == 4


async def test_a_repeated_hand_over_answers_with_the_head(fresh_store: Fresh) -> None:
    """Who did not hear that it was done may ask again, even after others went on: one child opens."""
    store, events = fresh_store.store, [note(EventKind.SEGMENTED), message("behind", role="assistant")]
    await started(store, count=3)
    await store.claim(None, "c", index=0, lease_s=60)
    first = await segmenting(store, events=events)
    at_once = await segmenting(await fresh_store.second(), events=events)
    await store.append(None, "c", [message("later")])
    claimed = await store.claim(None, "c", index=1, lease_s=60)
    repeated = await segmenting(store, events=events)

    assert at_once == first
    assert replace(repeated, lease_s=0.0) == replace(claimed.head, lease_s=0.0)
    assert 0 < repeated.lease_s <= 60
    assert texts(await proven(fresh_store)) == ["m1", "m2", "m3", "behind", "later"]
    assert [s.end_seq for s in await store.segments(None, "c")] == [2, None]


async def test_a_hand_over_known_in_part_is_refused(fresh_store: Fresh) -> None:
    """A repeat with one event more is no repeat: `PartialBatch`, before fence and tip are looked at."""
    store, first = fresh_store.store, note(EventKind.SEGMENTED)
    await started(store, count=3)
    await store.claim(None, "c", index=0, lease_s=60)
    await segmenting(store, events=[first])
    with pytest.raises(PartialBatch):
        await segmenting(store, events=[first, message("more")], fence=7)

    assert len(await proven(fresh_store)) == 4


async def test_appends_and_hand_overs_interleave(fresh_store: Fresh) -> None:
    """A hand-over between appends of others keeps every event, each in one segment."""
    stores = [fresh_store.store, await fresh_store.second()]
    await started(stores[0], count=2)

    async def write(name: int) -> None:
        for _ in range(10):
            await stores[name % 2].append(None, "c", [message("x")])

    async def segment() -> None:
        for index in range(5):
            head = (await stores[1].load(None, "c")).head
            await handed_over(stores[1], cut=head.last_seq - 1, index=index)

    await asyncio.gather(*(write(name) for name in range(4)), segment())
    events = await proven(fresh_store)
    segments = await stores[0].segments(None, "c")

    assert len(events) == 2 + 40 + 5
    assert [s.start_seq for s in segments[1:]] == [(s.end_seq or 0) + 1 for s in segments[:-1]]
    assert [s.start_tokens for s in segments[1:]] == [
        events[s.start_seq - 2].cumulative_tokens for s in segments[1:]
    ]

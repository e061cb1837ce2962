"""The contract of the log, over every store: creating, appending, loading, reading."""

import asyncio
import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from summarizer.errors import (
    InvalidSetting,
    PartialBatch,
    SessionExists,
    SessionNotFound,
    StoreConflict,
    ValueTooLarge,
)
from summarizer.events import EventKind, encode_event
from summarizer.stores import Head
from tests.summarizer.stores.contract import (
    answer,
    batches_are_whole,
    handed_over,
    in_another_process,
    message,
    note,
    proven,
    shared_url,
    started,
    texts,
)
from tests.summarizer.stores.factories import Fresh


async def test_create_makes_an_empty_conversation(fresh_store: Fresh) -> None:
    """A new conversation has an empty log, its settings, and one open session."""
    head = await fresh_store.store.create(None, "c", {"model": "m", "n": [1, None]})
    loaded = await (await fresh_store.second()).load(None, "c")

    assert head == Head("c")
    assert (loaded.head, loaded.settings, loaded.summary, loaded.events) == (
        head,
        {"model": "m", "n": [1, None]},
        None,
        (),
    )


async def test_create_refuses_a_taken_id(fresh_store: Fresh) -> None:
    """An id that is taken is `SessionExists`, and nothing is changed."""
    await started(fresh_store.store, count=2)
    with pytest.raises(SessionExists):
        await fresh_store.store.create(None, "c", {"other": True})

    assert texts(await proven(fresh_store)) == ["m1", "m2"]
    assert (await fresh_store.store.load(None, "c")).settings == {"system_prompt": "be kind"}


async def test_create_refuses_a_childs_id(fresh_store: Fresh) -> None:
    """Only segmentation opens children."""
    with pytest.raises(SessionNotFound):
        await fresh_store.store.create(None, "c~1", {})
    with pytest.raises(InvalidSetting):
        await fresh_store.store.create(None, "c~x", {})


async def test_of_many_creators_one_wins(fresh_store: Fresh) -> None:
    """However many create one id at once, one succeeds."""
    stores = [fresh_store.store, await fresh_store.second()]
    made = await asyncio.gather(*(s.create(None, "c", {}) for s in stores * 4), return_exceptions=True)

    assert sorted(type(m).__name__ for m in made) == ["Head"] + ["SessionExists"] * 7


async def test_append_assigns_places_and_totals(fresh_store: Fresh) -> None:
    """Seqs are consecutive from 1, and every event carries the tokens up to itself."""
    store = fresh_store.store
    await started(store)
    first = await store.append(None, "c", [message("a", tokens=5), message("b", role="assistant", tokens=7)])
    second = await store.append(None, "c", [message("d", tokens=11)])
    events = await proven(fresh_store)

    assert [answer(first), answer(second)] == [(1, 2, False), (3, 3, False)]
    assert [(e.seq, e.tokens, e.cumulative_tokens) for e in events] == [(1, 5, 5), (2, 7, 12), (3, 11, 23)]
    assert second.head == (await (await fresh_store.second()).load(None, "c")).head
    assert (second.head.counters.messages, second.head.counters.user_messages) == (3, 2)


async def test_events_come_back_as_they_were(fresh_store: Fresh) -> None:
    """What is read equals what was appended, but for its place."""
    batch = [
        message(
            "null \x00, emoji 🧵, tags </event>, 'quotes' \"and\" \\",
            cost_pico=10**15,
            usage={"input_tokens": 4},
        ),
        message("", role="assistant", model=None, metadata={"ключ": [1.5, {"x": None}], "": True}),
        note(EventKind.SKIPPED, reason="gain"),
        message("reported", role="assistant", report={"tokens": 9, "model": "m", "ratio": 1.1, "samples": 2}),
        note(EventKind.SETTINGS, settings={"threshold": 0.75}),
    ]
    await started(fresh_store.store)
    written = await fresh_store.store.append(None, "c", batch)
    events = await proven(fresh_store)
    loaded = await (await fresh_store.second()).load(None, "c")

    assert [replace(e, seq=0, cumulative_tokens=0) for e in events] == batch
    assert loaded.events == events
    assert loaded.settings == {"threshold": 0.75}
    assert loaded.head == written.head
    assert (loaded.head.settings_seq, loaded.head.skipped_seq, loaded.head.message_seq) == (5, 3, 4)
    assert loaded.head.report == {"tokens": 9, "model": "m", "ratio": 1.1, "samples": 2}
    assert loaded.head.report_total == loaded.head.total_tokens


async def test_a_large_message_is_kept(fresh_store: Fresh) -> None:
    """Ten megabytes in one message come back to the character."""
    text = "0123456789" * 1_000_000
    await started(fresh_store.store)
    await fresh_store.store.append(None, "c", [message(text)])

    assert texts(await proven(fresh_store)) == [text]


@pytest.mark.parametrize("text", ["x" * 17_000_000, "🧵" * 4_300_000], ids=["ascii", "emoji"])
async def test_an_event_above_the_limit_is_refused(fresh_store: Fresh, text: str) -> None:
    """The limit counts bytes; a batch with one event above it is refused whole."""
    await started(fresh_store.store, count=1)
    with pytest.raises(ValueTooLarge, match="16777216"):
        await fresh_store.store.append(None, "c", [message("small"), message(text)])

    assert texts(await proven(fresh_store)) == ["m1"]


async def test_a_repeated_batch_answers_with_its_seqs(fresh_store: Fresh) -> None:
    """A batch that is in the log writes nothing and gives its original seqs, whatever `expect` says."""
    store = fresh_store.store
    batch = [message("a"), message("b")]
    await started(store)
    await store.append(None, "c", batch)
    later = await store.append(None, "c", [message("d")])
    for again in (store, await fresh_store.second()):
        repeated = await again.append(None, "c", batch, expect=0)

        assert answer(repeated) == (1, 2, True)
        assert repeated.head == later.head
    assert texts(await proven(fresh_store)) == ["a", "b", "d"]


async def test_a_repeat_is_known_after_segmentation(fresh_store: Fresh) -> None:
    """An id is remembered when its event lies in a closed session."""
    store = fresh_store.store
    batch = [message("a")]
    await started(store)
    await store.append(None, "c", batch)
    await handed_over(store, cut=1)

    assert answer(await store.append(None, "c~1", batch)) == (1, 1, True)


async def test_a_repeat_at_the_same_time_is_written_once(fresh_store: Fresh) -> None:
    """Callers that append one batch at once all get the same seqs, and one of them wrote it."""
    batch = [message("a"), message("b")]
    await started(fresh_store.store)
    stores = [fresh_store.store, await fresh_store.second()] * 5
    written = await asyncio.gather(*(s.append(None, "c", batch) for s in stores))

    assert {(w.first_seq, w.last_seq) for w in written} == {(1, 2)}
    assert sorted(w.duplicate for w in written) == [False] + [True] * 9
    assert texts(await proven(fresh_store)) == ["a", "b"]


async def test_a_batch_known_in_part_is_refused(fresh_store: Fresh) -> None:
    """Some ids known, known in another order, or known apart: `PartialBatch`, and nothing is written."""
    store = fresh_store.store
    a, b, c = message("a"), message("b"), message("c")
    await started(store)
    await store.append(None, "c", [a, b])
    await store.append(None, "c", [c])
    for batch in ([a, message("x")], [message("x"), b], [b, a], [a, c], [a, b, message("x")]):
        with pytest.raises(PartialBatch):
            await store.append(None, "c", batch)

    assert texts(await proven(fresh_store)) == ["a", "b", "c"]


async def test_an_impossible_batch_is_refused(fresh_store: Fresh) -> None:
    """No events, or one id twice: `InvalidSetting`, and nothing is written."""
    await started(fresh_store.store)
    with pytest.raises(InvalidSetting):
        await fresh_store.store.append(None, "c", [])
    with pytest.raises(InvalidSetting):
        await fresh_store.store.append(None, "c", [message("a", event_id="e"), message("b", event_id="e")])

    assert await proven(fresh_store) == ()


async def test_expect_guards_the_end_of_the_log(fresh_store: Fresh) -> None:
    """A wrong `expect` is `StoreConflict` and writes nothing; a right one passes."""
    store = fresh_store.store
    await started(store, count=2)
    for wrong in (0, 1, 3):
        with pytest.raises(StoreConflict):
            await store.append(None, "c", [message("x")], expect=wrong)
    await store.append(None, "c", [message("m3")], expect=2)

    assert texts(await proven(fresh_store)) == ["m1", "m2", "m3"]


async def test_of_many_who_expect_the_same_one_wins(fresh_store: Fresh) -> None:
    """Compare-and-set: of appends with one `expect`, one is written."""
    await started(fresh_store.store, count=1)
    stores = [fresh_store.store, await fresh_store.second()] * 5
    outcomes = await asyncio.gather(
        *(s.append(None, "c", [message("x")], expect=1) for s in stores), return_exceptions=True
    )

    assert sorted(type(o).__name__ for o in outcomes) == ["Appended"] + ["StoreConflict"] * 9
    assert texts(await proven(fresh_store)) == ["m1", "x"]


async def test_append_also_returns_what_others_wrote(fresh_store: Fresh) -> None:
    """`after_seq` gives everything since, in order, without the own batch."""
    store, other = fresh_store.store, await fresh_store.second()
    await started(store, count=2)
    await other.append(None, "c", [message("theirs")])
    mine = [message("mine")]
    written = await store.append(None, "c", mine, after_seq=1)
    await other.append(None, "c", [message("later")])
    repeated = await store.append(None, "c", mine, after_seq=2)
    known = await store.append(None, "c", mine, after_seq=3)
    quiet = await store.append(None, "c", [message("end")], after_seq=5)

    assert [(e.seq, e.message and e.message.text) for e in written.others] == [(2, "m2"), (3, "theirs")]
    assert [(e.seq, e.message and e.message.text) for e in repeated.others] == [(3, "theirs"), (5, "later")]
    assert [e.seq for e in known.others] == [5]
    assert quiet.others == ()
    assert (await store.append(None, "c", [message("z")])).others == ()


async def test_load_after_a_seq_gives_only_news(fresh_store: Fresh) -> None:
    """Events after the seq; settings and summary only if they are newer."""
    store, other = fresh_store.store, await fresh_store.second()
    await started(store, count=3)
    for reader in (store, other):
        loaded = await reader.load(None, "c", after_seq=2)

        assert (loaded.settings, loaded.summary, texts(loaded.events)) == (None, None, ["m3"])
    await other.append(None, "c", [note(EventKind.SETTINGS, settings={"n": 2})])
    unchanged = await store.load(None, "c", after_seq=4)
    changed = await store.load(None, "c", after_seq=3)

    assert (unchanged.settings, unchanged.events, unchanged.head.last_seq) == (None, (), 4)
    assert (changed.settings, len(changed.events)) == ({"n": 2}, 1)


async def test_an_unchanged_load_sees_other_writers(fresh_store: Fresh) -> None:
    """However often nothing was new, the next load sees what another instance wrote in between."""
    store, other = fresh_store.store, await fresh_store.second()
    await started(store)
    for seq in range(1, 6):
        await other.append(None, "c", [message(f"m{seq}")])
        news = await store.load(None, "c", after_seq=seq - 1)
        again = await store.load(None, "c", after_seq=seq)

        assert texts(news.events) == [f"m{seq}"]
        assert (again.events, again.head.last_seq) == ((), seq)
    await other.claim(None, "c", index=0, lease_s=60)

    assert (await store.load(None, "c", after_seq=5)).head.fence == 1


async def test_read_gives_any_range(fresh_store: Fresh) -> None:
    """`(after_seq, until_seq]`, at most `limit`, over all segments, whichever id of the chain is held."""
    store = fresh_store.store
    await started(store, count=5)
    await handed_over(store, cut=3)
    second = await fresh_store.second()

    assert [e.seq for e in await second.read(None, "c")] == [1, 2, 3, 4, 5, 6]
    assert [e.seq for e in await second.read(None, "c~1", after_seq=1, until_seq=4)] == [2, 3, 4]
    assert [e.seq for e in await second.read(None, "c", after_seq=1, limit=2)] == [2, 3]
    assert [e.seq for e in await second.read(None, "c", limit=0)] == []
    assert [e.seq for e in await second.read(None, "c", after_seq=6)] == []
    assert [e.seq for e in await second.read(None, "c", until_seq=0)] == []
    assert len(await second.read(None, "c", until_seq=10**12)) == 6


@pytest.mark.parametrize("root", ["missing", "c~1", "c~9"])
async def test_a_missing_session_is_not_found(fresh_store: Fresh, root: str) -> None:
    """No call but `create` makes a session; an index beyond the tip is as missing as an unknown root."""
    store = fresh_store.store
    await started(store, count=1)
    calls: list[Any] = [
        store.append(None, root, [message("x")]),
        store.load(None, root),
        store.load(None, root, after_seq=99),
        store.read(None, root),
        store.segments(None, root),
        store.claim(None, root, index=0, lease_s=1),
        store.renew(None, root, fence=0, lease_s=1),
        store.retain(None, root, before_index=1),
    ]
    for call in calls:
        with pytest.raises(SessionNotFound, match=root):
            await call

    assert texts(await proven(fresh_store)) == ["m1"]
    assert [row.conversation_id for row in await store.list(None)] == ["c"]


@pytest.mark.parametrize("owner", ["x", "-", "=", "=x", "None", "x\x00c", ""])
async def test_another_owners_id_is_a_missing_one(fresh_store: Fresh, owner: str) -> None:
    """The key is (owner, root): one id under two owners is two conversations, and `None` is no wildcard."""
    store = fresh_store.store
    await started(store, None, "c", count=1)
    with pytest.raises(SessionNotFound):
        await store.load(owner, "c")
    with pytest.raises(SessionNotFound):
        await store.append(owner, "c", [message("x")])
    await store.create(owner, "c", {"whose": owner})
    await store.append(owner, "c", [message("theirs")])

    assert texts(await proven(fresh_store, None)) == ["m1"]
    assert texts(await proven(fresh_store, owner)) == ["theirs"]
    assert [(row.conversation_id, row.owner) for row in await store.list(owner)] == [("c", owner)]
    assert [row.owner for row in await store.list(None)] == [None]


async def test_writers_interleave_whole_batches(fresh_store: Fresh) -> None:
    """Tasks that write through two instances lose nothing, and no batch is torn."""
    stores = [fresh_store.store, await fresh_store.second()]
    await started(stores[0])

    async def write(name: int) -> None:
        for number in range(8):
            size = 1 + (name + number) % 3
            batch = [message("x", event_id=f"w{name}.{number}.{i}.{size}") for i in range(size)]
            await stores[name % 2].append(None, "c", batch)

    await asyncio.gather(*(write(name) for name in range(10)))
    events = await proven(fresh_store)

    assert len(events) == sum(1 + (name + number) % 3 for name in range(10) for number in range(8))
    assert batches_are_whole(events)


async def test_processes_write_one_conversation(fresh_store: Fresh) -> None:
    """Writers in several processes lose nothing; order is total, totals are exact, batches whole."""
    url = shared_url(fresh_store)
    await started(fresh_store.store)
    acked = await asyncio.gather(
        *(in_another_process("worker_append.py", url, "c", f"p{i}", 4, 12) for i in range(4))
    )
    events = await proven(fresh_store)

    assert sorted(e.event_id for e in events) == sorted(event_id for ids in acked for event_id in ids)
    assert batches_are_whole(events)


async def test_another_process_reads_the_same(fresh_store: Fresh) -> None:
    """Every write of this process is there for another: log, head, settings, segments, summary."""
    url, store = shared_url(fresh_store), fresh_store.store
    await started(store, None, "c", count=4)
    await started(store, "owner", "c", count=2)
    await store.append("owner", "c", [note(EventKind.SETTINGS, settings={"ü": "🧵"})])
    await handed_over(store, cut=3)
    await store.retain(None, "c", before_index=1)
    found = await in_another_process("worker_read.py", url, json.dumps([[None, "c"], ["owner", "c"]]))

    for owner, theirs in zip((None, "owner"), found, strict=True):
        loaded = await store.load(owner, "c")
        log = await store.read(owner, "c")
        chain = await store.segments(owner, "c", summaries=True)
        assert theirs == {
            "head": {**asdict(loaded.head), "lease_s": 0, "counters": list(loaded.head.counters)},
            "settings": loaded.settings,
            "summary": loaded.summary,
            "open": [e.event_id for e in loaded.events],
            "log": [[e.seq, e.cumulative_tokens, e.event_id, encode_event(e)] for e in log],
            "segments": [[s.session_id, s.parent_id, s.start_seq, s.end_seq, s.summary] for s in chain],
        }


async def test_a_closed_store_opens_anew(fresh_store: Fresh) -> None:
    """`close` waits for writes under way and may be called twice; the next call opens the store again."""
    store = fresh_store.store
    await started(store)
    writes = [asyncio.ensure_future(store.append(None, "c", [message(f"m{i}")])) for i in range(5)]
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    await asyncio.gather(*writes)

    assert len(await proven(fresh_store)) == 5
    assert len((await store.load(None, "c")).events) == 5

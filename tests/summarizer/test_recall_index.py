"""The index of recall: when it is made, what becomes of it, and what it owns up to not holding."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from summarizer import InvalidSetting, Message, SessionManager, SessionNotFound
from summarizer.events import Event, EventKind, Origin, new_event_id
from summarizer.recall import Gap, index, resident
from summarizer.stores import EventStore, MemoryStore, SQLiteStore
from tests.summarizer.histories import AT
from tests.summarizer.stores.factories import FACTORIES, Fresh
from tests.summarizer.test_recall import filled, filled_more


@pytest.fixture(params=list(FACTORIES))
async def fresh(request: pytest.FixtureRequest) -> AsyncIterator[Fresh]:
    async with FACTORIES[request.param]() as made:
        yield made


def indexed_through(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT through FROM recall_marks WHERE conversation > 0").fetchone()
    return 0 if row is None else row[0]


def counted_reads(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many events each read of the store brings from now on."""
    read, brought = store.read, list[int]()

    async def counting(*given, **named):
        events = await read(*given, **named)
        brought.append(len(events))
        return events

    monkeypatch.setattr(store, "read", counting)
    return brought


async def test_the_first_query_does_not_wait_for_a_long_index(tmp_path: Path, monkeypatch) -> None:
    """Segmentation indexes what it seals, so that the first query reads what is newer and what it found."""
    path = tmp_path / "log.db"
    store = SQLiteStore(path)
    manager = await filled(store, 500)
    outcome = await manager.segment()
    at_seal = indexed_through(path)
    events = (await store.load(None, "talk")).head.last_seq
    brought = counted_reads(store, monkeypatch)

    hits = await SessionManager("talk", store=store).recall("north gate", 1)

    assert at_seal == outcome.cut
    assert hits[0].seq == 1
    assert sum(brought) < 300 < events
    await store.close()


async def test_a_segmentation_in_the_background_indexes_too(tmp_path: Path) -> None:
    """Whoever seals indexes, without being asked; `settle` waits for it."""
    path = tmp_path / "log.db"
    store = SQLiteStore(path)
    manager = SessionManager("talk", store=store, token_threshold=400)
    for n in range(60):
        await manager.turn(f"What of parcel {n}?", f"Parcel {n} is on its way to the depot.")
        await manager.settle()

    chain = await manager.segments()

    assert len(chain) > 2
    assert indexed_through(path) == chain[-1].start_seq - 1
    await store.close()


async def test_a_seal_takes_up_a_long_past_in_steps(tmp_path: Path, monkeypatch) -> None:
    """What an import left behind does not hold up a segmentation: each indexes a bounded part of it."""
    monkeypatch.setattr(index, "_AT_SEAL", 200)
    monkeypatch.setattr(index, "_AT_ONCE", 100)
    path = tmp_path / "log.db"
    store = SQLiteStore(path)
    manager = await filled(store, 300)

    await manager.segment()
    first = indexed_through(path)
    await filled_more(store, 200, "More.")
    await manager.segment()

    assert (first, indexed_through(path)) == (200, 400)
    assert (await manager.recall("AB-7731"))[0].seq == 1
    await store.close()


async def test_a_segmentation_stands_whatever_becomes_of_its_index(tmp_path: Path, monkeypatch) -> None:
    """An index that cannot be written is left to the next query, and a log line says so."""
    store = SQLiteStore(tmp_path / "log.db")
    manager = await filled(store, 300)

    async def failing(_self) -> None:
        raise InvalidSetting("no FTS5")

    monkeypatch.setattr(index.Index, "seal", failing)
    with structlog.testing.capture_logs() as logged:
        outcome = await manager.segment()

    assert outcome.status == "segmented"
    assert "recall.index_failed" in {line["event"] for line in logged}
    await store.close()


async def test_an_index_of_older_rules_is_made_anew(tmp_path: Path, monkeypatch) -> None:
    """Words made by other rules are not mixed with ours: the whole index is made again."""
    path = tmp_path / "log.db"
    store = SQLiteStore(path)
    manager = await filled(store, 300)
    monkeypatch.setattr(index, "WORDS_VERSION", 1)
    await manager.recall("gate")
    with closing(sqlite3.connect(path)) as connection:
        (old,) = connection.execute("SELECT secret FROM recall_marks WHERE conversation > 0").fetchone()
    monkeypatch.undo()

    hits = await manager.recall("AB-7731")

    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT secret, words FROM recall_marks WHERE conversation > 0"
        new, version = connection.execute(query).fetchone()
    assert hits[0].seq == 1
    assert new != old
    assert version == index.WORDS_VERSION == 3
    await store.close()


@pytest.mark.parametrize("table", ["data", "idx", "config"])
async def test_damaged_pages_of_the_index_leave_the_log_whole(table: str, tmp_path: Path) -> None:
    """Where the disk garbled the index, it is made anew, said so, and no other page is touched."""
    path = tmp_path / "log.db"
    store = SQLiteStore(path)
    before = await (await filled(store, 300)).recall("north gate")
    events = await store.read(None, "talk")
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        named = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        (page,) = connection.execute(named, (f"recall_postings_{table}",)).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)

    again = SQLiteStore(path)
    with structlog.testing.capture_logs() as logged:
        after = await SessionManager("talk", store=again).recall("north gate")
        await filled_more(again, 300, "More.")
        later = await SessionManager("talk", store=again).recall("north gate")

    assert before == after
    assert [hit.seq for hit in before] == [hit.seq for hit in later]
    assert events == (await again.read(None, "talk"))[: len(events)]
    assert [line["event"] for line in logged if line["log_level"] == "warning"] == ["recall.index_rebuilt"]
    await again.close()


@pytest.mark.parametrize(("fails", "reason_code"), [("find", "index_failed"), ("add", "out_of_time")])
async def test_an_index_that_is_damaged_time_and_again_owns_up(fails, reason_code, monkeypatch) -> None:
    """Where no index will stand, the open end is searched, and the rest is named as not searched."""
    store = MemoryStore()
    manager = await filled(store, 300)

    async def broken(*_given):
        return None

    monkeypatch.setattr(resident.ResidentPostings, fails, broken)
    hits = await manager.recall("AB-7731")
    told = await manager.handle_recall({"query": "AB-7731"})

    last = (await store.load(None, "talk")).head.last_seq
    assert hits == ()
    assert hits.gaps == (Gap("words", reason_code, last - index.SCANNED),)
    assert f"up to {last - index.SCANNED} could not be searched" in told


@pytest.mark.parametrize("kind", ["memory", "redis"])
@pytest.mark.parametrize("removed", ["erase", "erase_all", "expire", "retain"])
async def test_an_erased_conversation_leaves_the_process(kind: str, removed: str) -> None:
    """An index in memory goes with what it was made from, where the removal went through this store."""
    if kind not in FACTORIES:
        pytest.skip(f"no {kind} here")
    async with FACTORIES[kind]() as fresh:
        store = fresh.store
        manager = await filled(store, 200)
        await manager.recall("gate")
        await manager.segment()
        held = len(resident.shelf_of(store))
        match removed:
            case "erase":
                await store.erase(None, "talk")
            case "erase_all":
                await store.erase(None)
            case "expire":
                await store.expire(None, idle_s=-1)
            case _:
                await store.retain(None, "talk", before_index=1)

        assert (held, len(resident.shelf_of(store))) == (1, 0)
        if removed == "retain":
            assert await manager.recall("AB-7731") == ()
        else:
            with pytest.raises(SessionNotFound):
                await manager.recall("gate")


async def test_what_a_full_index_let_go_of_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that could not reach back to the beginning says how far; a model is told so too."""
    monkeypatch.setattr(resident, "MOST_OF_ONE", 200_000)
    monkeypatch.setattr(index, "_AT_ONCE", 100)
    manager = await filled(MemoryStore(), 0)
    texts = [" ".join(f"w{n * 50 + k}" for k in range(50)) for n in range(900)]
    await append_texts(manager.store, texts)

    oldest, newest = await manager.recall("AB-7731"), await manager.recall("w44000")
    nothing = await manager.handle_recall({"query": "AB-7731"})
    something = await manager.handle_recall({"query": "w44000"})

    (gap,) = oldest.gaps
    assert oldest == ()
    assert (gap.way, gap.reason_code) == ("words", "index_full")
    assert 3 <= gap.through < 900
    assert len(newest) == 1
    assert newest.gaps == oldest.gaps
    for told in (nothing, something):
        assert f"up to {gap.through} could not be searched" in told
    assert len(something.splitlines()) == 4


async def append_texts(store: EventStore, texts: list[str]) -> None:
    events = [
        Event(EventKind.MESSAGE, new_event_id(), AT, Origin.USER, 50, Message("user", text)) for text in texts
    ]
    await store.append(None, "talk", events)


async def test_stores_that_find_an_index_damaged_at_once_agree(tmp_path: Path) -> None:
    """Each may make it anew; none fails, and both find the same."""
    path = tmp_path / "log.db"
    store = SQLiteStore(path)
    await (await filled(store, 600)).recall("gate")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE recall_postings_data SET block = x'00'")
        connection.commit()

    managers = [SessionManager("talk", store=s) for s in (store, SQLiteStore(path), SQLiteStore(path))]
    found = await asyncio.gather(*(manager.recall("AB-7731") for manager in managers))

    assert [[hit.seq for hit in hits] for hits in found] == [[1]] * 3
    for manager in managers:
        await manager.store.close()


@pytest.mark.parametrize("wrong", ["5", 5.0, True, None, 299, -1])
async def test_a_room_that_is_no_number_is_named(wrong) -> None:
    """`handle_recall` names what the host passed and what it takes."""
    manager = await filled(MemoryStore(), 0)

    with pytest.raises(InvalidSetting, match=r"max_tokens=.*whole number from 300"):
        await manager.handle_recall({"query": "gate"}, max_tokens=wrong)


async def test_a_context_does_not_wait_until_a_long_log_is_indexed(fresh: Fresh, monkeypatch) -> None:
    """Unasked, a bounded part is indexed at a time; what was not searched is logged, and found later."""
    search = sys.modules["summarizer.recall.search"]
    monkeypatch.setattr(search, "_UNASKED_EVENTS", 200)
    monkeypatch.setattr(index, "_AT_ONCE", 100)
    manager = await filled(fresh.store, 0)
    await filled_more(fresh.store, 400, "So it is.")
    await filled_more(fresh.store, 300, "The lighthouse keeper is called Ottoline.")
    await manager.user_says("What is the lighthouse keeper called, and the door code of the north gate?")

    with structlog.testing.capture_logs() as logged:
        first = await manager.context(900, recall=True)
        second = await manager.context(900, recall=True)
        third = await manager.context(900, recall=True)

    asked = await SessionManager("talk", store=await fresh.second()).recall("lighthouse keeper", 1)
    assert ("AB-7731" in str(first.messages), "Ottoline" in str(first.messages)) == (True, False)
    assert "Ottoline" in str(third.messages)
    assert second.tokens <= 900
    behind = [line for line in logged if line["event"] == "recall.index_behind"]
    assert [(line["after"], line["through"]) for line in behind] == [(200, 579), (400, 579)]
    assert "Ottoline" in asked[0].text


async def segmented(store: EventStore, segments: int) -> SessionManager:
    """A conversation in closed segments of some 200 events."""
    manager = await filled(store, 1)
    for n in range(segments):
        await filled_more(store, 200, f"The lighthouse of part {n} is white.")
        await manager.segment()
    return manager


async def test_each_retention_makes_the_whole_index_anew(fresh: Fresh, monkeypatch) -> None:
    """The index loses what was cut and no more, so that a long log is not indexed again after every cut."""
    manager = await segmented(fresh.store, 6)
    await manager.recall("gate")
    await fresh.store.retain(None, "talk", before_index=1)
    brought = counted_reads(fresh.store, monkeypatch)

    gone, there = await manager.recall("AB-7731"), await manager.recall('"lighthouse of part 4"')

    assert (gone, gone.gaps) == ((), ())
    assert there[0].text == "The lighthouse of part 4 is white."
    assert sum(brought) < 300


async def test_a_sliding_retention_lets_go_of_the_key(tmp_path: Path) -> None:
    """Where more was cut than stays, by however many cuts, the key that tells of removed words is no more."""
    store = SQLiteStore(tmp_path / "log.db")
    manager = await segmented(store, 6)
    await manager.recall("gate")
    keys: list[bytes] = []
    for cut in range(5):
        await store.retain(None, "talk", before_index=cut)
        with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
            query = "SELECT secret FROM recall_marks WHERE conversation > 0"
            keys += [key for (key,) in connection.execute(query)]

    hits = await manager.recall('"lighthouse of part 5"')
    await store.close()

    assert 1 <= len(keys) < 5
    assert len(hits) == 1
    assert keys[0] not in (tmp_path / "log.db").read_bytes()

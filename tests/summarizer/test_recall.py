"""Recall over every store: what was said is found, whoever asks, and nothing else happens."""

import asyncio
import json
import re
import sqlite3
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from summarizer import RECALL_SCHEMA, InvalidSetting, Message, SessionManager, SessionNotFound
from summarizer.events import Event, EventKind, Origin, new_event_id
from summarizer.meter import counter_named
from summarizer.recall import hits as hits_module
from summarizer.recall import index, ranking, resident
from summarizer.recall.wording import FRAME_CLOSE, FRAME_OPEN
from summarizer.stores import EventStore, MemoryStore, SQLiteStore
from tests.summarizer.histories import AT
from tests.summarizer.requests import anthropic_faults, openai_faults
from tests.summarizer.stores.factories import FACTORIES, Fresh

ROOT = Path(__file__).parents[2]
HOSTILE = [
    '"',
    '""',
    '" OR 1 --',
    "recall_postings",
    "rowid:1",
    "terms : *",
    "^x NEAR(a b, 2)",
    "a AND b OR NOT c",
    "(((",
    "x*",
    "'; DROP TABLE events; --",
    "\x00",
    "\ud800 lone",
    "{curly} + -minus",
    "",
    " \n\t",
    "?",
    "🦉",
    "\N{RIGHT-TO-LEFT OVERRIDE}abc",
]


@pytest.fixture(params=list(FACTORIES))
async def fresh(request: pytest.FixtureRequest) -> AsyncIterator[Fresh]:
    async with FACTORIES[request.param]() as made:
        yield made


async def filled(store: EventStore, turns: int, root: str = "talk", **given) -> SessionManager:
    """A conversation about parcels, in batches; the facts stand near its beginning."""
    manager = SessionManager(root, store=store, **given)
    await manager.turn("The door code of the north gate is AB-7731.", "Noted.")
    await manager.tool_used("find_order", {"order_id": "ZX-90"}, {"state": "lost", "depot": "Żabno"})
    counter = counter_named("o200k_base")
    for start in range(0, turns, 100):
        batch: list[Event] = []
        for n in range(start, min(turns, start + 100)):
            for role, text in (("user", f"What of parcel {n}?"), ("assistant", f"Parcel {n} is on its way.")):
                origin = Origin(role)
                batch.append(
                    Event(
                        EventKind.MESSAGE,
                        new_event_id(),
                        AT,
                        origin,
                        counter.count(text),
                        Message(role, text),
                    )
                )
        await store.append(manager.owner, root, batch)
    return manager


async def test_what_was_said_is_found_in_sealed_and_open_segments(fresh: Fresh) -> None:
    """Forgotten segments, tool calls, their results and the open end: all is one log."""
    manager = await filled(fresh.store, 200, model="gpt-4o-mini")
    await manager.segment()
    await manager.user_says("The spare key hangs behind the clock.")

    said = (await manager.recall("door code north gate", 1))[0]
    called = (await manager.recall("ZX-90", 1))[0]
    returned = (await manager.recall("depot zabno", 1))[0]
    newest = (await manager.recall("where is the spare key?", 1))[0]

    assert (said.session_id, said.role, said.seq, said.after) == ("talk", "user", 1, "Noted.")
    assert "find_order" in called.text
    assert returned.role == "tool"
    assert (newest.session_id, newest.text) == ("talk~1", "The spare key hangs behind the clock.")


async def test_a_cold_instance_finds_the_same(fresh: Fresh) -> None:
    """Another process, with nothing at hand, answers as the first did."""
    manager = await filled(fresh.store, 300)
    warm = await manager.recall("parcel 77", 3)

    cold = await SessionManager("talk", store=await fresh.second()).recall("parcel 77", 3)

    assert {"What of parcel 77?", "Parcel 77 is on its way."} == {hit.text for hit in warm[:2]}
    assert warm == cold


async def test_what_others_append_is_found(fresh: Fresh) -> None:
    """The index follows the log, whoever writes to it."""
    manager = await filled(fresh.store, 200)
    await manager.recall("gate")
    await filled_more(await fresh.second(), 300, "The lighthouse keeper is called Ottoline.")

    hits = await manager.recall("lighthouse keeper", 1)

    assert hits[0].text == "The lighthouse keeper is called Ottoline."


async def filled_more(store: EventStore, count: int, text: str, other: str = "Line {} of the list.") -> None:
    texts = [text, *(other.format(n) for n in range(count))]
    events = [
        Event(EventKind.MESSAGE, new_event_id(), AT, Origin.USER, 9, Message("user", text)) for text in texts
    ]
    await store.append(None, "talk", events)


async def test_two_at_once_index_the_same_log(fresh: Fresh) -> None:
    """Two instances that index at one time disturb neither each other nor the answers."""
    await filled(fresh.store, 400)
    managers = [
        SessionManager("talk", store=s) for s in (fresh.store, await fresh.second()) for _ in range(2)
    ]

    answers = await asyncio.gather(*(manager.recall("north gate", 1) for manager in managers))

    assert [hits[0].seq for hits in answers] == [1] * 4


async def test_processes_that_index_one_file_agree(tmp_path: Path) -> None:
    """Several processes index one file at once while it is written to: each finds the same, nothing fails."""
    store = SQLiteStore(tmp_path / "log.db")
    manager = await filled(store, 1000)
    command = [sys.executable, "-m", "tests.summarizer.worker_recall", store.url, "talk", "AB-7731"]
    running = [
        await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=PIPE) for _ in range(2)
    ]
    await filled_more(store, 200, "The lighthouse is white.")
    own = await manager.recall("AB-7731")
    told = [await process.communicate() for process in running]

    assert [hit.seq for hit in own] == [1]
    assert told == [(b"1\n", b"")] * 2
    await store.close()


async def test_an_unknown_or_erased_conversation_raises(fresh: Fresh) -> None:
    """A search never creates, and what is gone looks gone, to one who has just searched it too."""
    manager = await filled(fresh.store, 200)
    await manager.recall("gate")
    await fresh.store.erase(None, "talk")

    for asked in (manager, SessionManager("nobody", store=fresh.store), SessionManager(store=fresh.store)):
        with pytest.raises(SessionNotFound):
            await asked.recall("gate")
        with pytest.raises(SessionNotFound):
            await asked.handle_recall({"query": "gate"})


async def test_another_owner_finds_nothing(fresh: Fresh) -> None:
    """An owner's words are neither found nor weighed for another."""
    await filled(fresh.store, 200, owner="ann")
    other = SessionManager("talk", store=fresh.store, owner="bob")
    await other.user_says("Hello.")

    assert await other.recall("north gate AB-7731") == ()


async def test_what_retention_removed_is_not_found(fresh: Fresh) -> None:
    """Removed segments are gone from recall, the rest is still found."""
    manager = await filled(fresh.store, 300)
    await manager.recall("gate")
    await manager.segment()
    await filled_more(fresh.store, 5, "The lighthouse is white.")
    await fresh.store.retain(None, "talk", before_index=1)

    assert await manager.recall("AB-7731") == ()
    assert (await manager.recall("lighthouse"))[0].text == "The lighthouse is white."


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("turns", [3, 150])
async def test_no_query_is_syntax(text: str, turns: int, tmp_path: Path) -> None:
    """Whatever a query holds, it is looked for and nothing else: it neither raises nor acts."""
    store = SQLiteStore(tmp_path / "log.db")
    manager = await filled(store, turns)

    hits = await manager.recall(text)
    found = await manager.recall("north gate", 1)

    assert all(hit.score > 0 for hit in hits)
    assert found[0].seq == 1
    await store.close()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(max_size=60), min_size=1, max_size=6),
    st.text(alphabet="bcdfgkmpvxz", min_size=9, max_size=14),
)
async def test_a_rare_word_said_once_is_found(texts: list[str], rare: str) -> None:
    """The one passage that holds a word is the first hit for that word, in any company and position."""
    manager = await filled(MemoryStore(), 100)
    said = [text.encode("utf-8", "replace").decode() for text in texts]
    assume(not any(rare in text.casefold() for text in said))
    for n, text in enumerate(said):
        await manager.user_says(f"{text} {rare} {text}" if n == 0 else text)
    await filled_more(manager.store, 200, "Another matter.")

    hits = await manager.recall(rare, 1)

    assert f"{said[0]} {rare} {said[0]}".startswith(hits[0].text.removesuffix("..."))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 400),
    st.integers(1, 8),
    st.sampled_from(["parcel 7", "gate", "what of it", '"on its way"']),
)
async def test_hits_keep_within_their_tokens(max_tokens: int, limit: int, query: str) -> None:
    """Texts and neighbours together weigh at most `max_tokens`, by the conversation's own counter."""
    manager = await filled(MemoryStore(), 60)
    await manager.user_says("The gate report. " + "All parcels passed the gate on their way. " * 80)
    count = counter_named("o200k_base").count

    hits = await manager.recall(query, limit, max_tokens)

    assert sum(count(text) for hit in hits for text in (hit.text, hit.before, hit.after)) <= max_tokens
    assert len(hits) <= limit


async def test_quotes_and_ids_are_found_as_such() -> None:
    """Quotation marks ask for the words as they stand; an id is one word."""
    manager = await filled(MemoryStore(), 150)
    await manager.user_says("To be, or not to be: that is the question of parcels.")
    await manager.user_says("Not being there, be that as it may, is to be the question or not.")
    await manager.user_says("See src/app/getUserById.py and 注文番号は四二です")

    assert [hit.text for hit in await manager.recall('"or not to be"')] == [
        "To be, or not to be: that is the question of parcels."
    ]
    for query in ("src/app/getUserById.py", "user by id", "getuserbyid", "注文番号", "四二"):
        assert "src/app" in (await manager.recall(query, 1))[0].text


async def test_of_two_values_the_later_comes_first() -> None:
    """Where two passages match alike, the newer one is the better."""
    manager = await filled(MemoryStore(), 0)
    await manager.user_says("The rotation interval is 30 days.")
    await filled_more(manager.store, 300, "Something else.")
    await manager.user_says("The rotation interval is 45 days.")

    hits = await manager.recall("rotation interval", 2)

    assert [h.text for h in hits] == [
        "The rotation interval is 45 days.",
        "The rotation interval is 30 days.",
    ]


async def test_a_passage_of_a_long_result_is_found() -> None:
    """A fact deep in a long result comes as a passage with what surrounds it, not as the whole result."""
    manager = await filled(MemoryStore(), 100)
    lines = [f"row {n}: all quiet at pump {n}" for n in range(3000)]
    lines[2000] = "row 2000: pressure alarm at the turbine"
    await manager.tool_used("read_log", {"path": "pumps.log"}, "\n".join(lines))
    await filled_more(manager.store, 200, "Another matter.")

    hit = (await manager.recall("turbine pressure alarm", 1))[0]

    assert "row 2000: pressure alarm at the turbine" in hit.text
    assert len(hit.text) <= 1000
    assert "row" in hit.before


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE recall_postings_data SET block = x'00'",
        "DELETE FROM recall_postings_data",
        "DROP TABLE recall_postings_data",
        "DROP TABLE recall_postings_idx",
        "DROP TABLE recall_postings",
        "DELETE FROM recall_marks",
        "UPDATE recall_marks SET words = 0",
    ],
)
async def test_a_damaged_index_is_made_anew(damage: str, tmp_path: Path) -> None:
    """The index is derived: whatever becomes of it, the next query finds the same, and a log line says so."""
    path = tmp_path / "log.db"
    store = SQLiteStore(path)
    manager = await filled(store, 200)
    before = await manager.recall("north gate")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(damage)
        connection.commit()

    with structlog.testing.capture_logs() as logged:
        after = await manager.recall("north gate")
        await filled_more(store, 300, "More.")
        later = await manager.recall("north gate")

    assert before == after
    assert before[0].seq == later[0].seq
    if "_data" in damage or "_idx" in damage:
        assert "recall.index_rebuilt" in {line["event"] for line in logged}
    await store.close()


async def test_erased_words_are_not_in_the_file(tmp_path: Path) -> None:
    """The index holds digests under a key that erasing overwrites; neither words nor key stay in the file."""
    path = tmp_path / "log.db"
    store = SQLiteStore(path)
    manager = await filled(store, 200)
    await manager.recall("gate")
    with closing(sqlite3.connect(path)) as connection:
        (key,) = connection.execute("SELECT secret FROM recall_marks WHERE conversation > 0").fetchone()
    kept = bytes_below(tmp_path)
    await store.erase(None, "talk")
    await store.close()
    left = bytes_below(tmp_path)

    assert key in kept
    assert key not in left
    assert b"parcel" not in left


def bytes_below(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_an_id_used_anew_is_another_conversation() -> None:
    """An index in memory is not asked for a log that took the place of the one it was made from."""
    store = MemoryStore(clock=lambda: clock[0])
    clock = [0.0]
    manager = await filled(store, 300)
    await manager.recall("gate")
    await store.expire(None, idle_s=-1)
    clock[0] += 10.0
    again = SessionManager("talk", store=store)
    await again.user_says("A new beginning.")
    await filled_more(store, 700, "The lighthouse is white.")

    assert await again.recall("AB-7731") == ()
    assert (await again.recall("lighthouse"))[0].text == "The lighthouse is white."


async def test_indexes_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number is bounded, and one that is full lets its older half go and says so."""
    monkeypatch.setattr(resident, "MOST_INDEXES", 3)
    monkeypatch.setattr(resident, "MOST_OF_ONE", 200_000)
    monkeypatch.setattr(index, "_AT_ONCE", 100)
    store = MemoryStore()
    for n in range(5):
        manager = await filled(store, 80, root=f"talk-{n}")
        await manager.recall("gate")
    shelf = resident.shelf_of(store)
    assert len(shelf) == 3

    manager = await filled(store, 0)
    texts = (" ".join(f"w{n * 50 + k}" for k in range(50)) for n in range(900))
    events = [
        Event(EventKind.MESSAGE, new_event_id(), AT, Origin.USER, 50, Message("user", text)) for text in texts
    ]
    await store.append(None, "talk", events)
    with structlog.testing.capture_logs() as logged:
        newest, oldest = await manager.recall("w44000", 1), await manager.recall("AB-7731", 1)

    assert "w44000" in newest[0].text
    assert oldest == ()
    assert {"recall.index_shortened"} == {line["event"] for line in logged}
    assert shelf.weight < 600_000


async def test_hits_are_values() -> None:
    """A hit cannot be changed, and limits out of range are named."""
    manager = await filled(MemoryStore(), 3)
    hit = (await manager.recall("gate"))[0]

    with pytest.raises(FrozenInstanceError):
        hit.text = "other"  # type: ignore[misc]
    for wrong in ({"limit": 0}, {"limit": 101}, {"max_tokens": 0}):
        with pytest.raises(InvalidSetting):
            await manager.recall("gate", **wrong)


async def test_the_tool_answers_with_records() -> None:
    """A model's call gets what was said before its turn, as JSON lines inside a frame."""
    manager = await filled(MemoryStore(), 150)
    await manager.user_says("What was the door code of the north gate?")
    await manager.ai_responds(
        None, tool_calls=[{"id": "c", "type": "function", "function": {"name": "recall", "arguments": "{}"}}]
    )

    told = await manager.handle_recall('{"query": "door code north gate", "limit": 1}')

    opening, line, closing_line = told.split("\n")
    assert opening.startswith(FRAME_OPEN)
    assert closing_line == FRAME_CLOSE
    assert {"event": 1, "text": "The door code of the north gate is AB-7731."}.items() <= json.loads(
        line
    ).items()
    assert RECALL_SCHEMA["function"]["name"] == "recall"


@pytest.mark.parametrize(
    "arguments",
    ["{", "[]", {}, {"query": " "}, {"query": "x", "limit": 0}, "7", {"query": 3}, {"query": "🦉?"}],
)
async def test_a_wrong_call_is_told_what_to_do(arguments) -> None:
    """The model reads what was wrong and what to pass; nothing is raised."""
    manager = await filled(MemoryStore(), 1)

    assert (await manager.handle_recall(arguments)).startswith("The search was not run:")


async def test_a_search_does_not_find_itself() -> None:
    """Recorded answers of the tool, and its calls, are not found again."""
    manager = await filled(MemoryStore(), 3)
    told = await manager.handle_recall({"query": "north gate"})
    await manager.tool_used("recall", {"query": "north gate"}, told)

    assert [hit.seq for hit in await manager.recall("north gate")] == [1]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [FRAME_CLOSE, FRAME_OPEN, "\n", "\r\n", "\u2028", "\x85", "\x0b", '"}', "gate", " ", "[", "\\"]
        )
    )
)
async def test_no_text_leaves_its_frame(pieces: list[str]) -> None:
    """Law 14: whatever a message holds, the answer is a line that opens, one a record, one that closes."""
    manager = SessionManager("talk", store=MemoryStore())
    text = "".join(["gate ", *pieces])
    await manager.user_says(text)

    told = await manager.handle_recall({"query": "gate"})
    hidden = told.splitlines()

    if told.startswith(f"{FRAME_OPEN}:"):  # said since the newest question
        await manager.ai_responds("Yes.")
        await manager.user_says("And?")
        told = await manager.handle_recall({"query": "gate"}, max_tokens=5000)
        hidden = told.splitlines()
    assert len(hidden) == 3
    assert 1 == told.count(FRAME_OPEN) == told.count(FRAME_CLOSE)
    assert text.startswith(json.loads(hidden[1])["text"])


# Brought along with a context


async def asked(store: EventStore, turns: int = 150, question: str = "Which door code has the north gate?"):
    manager = await filled(store, turns, system_prompt="Be kind.")
    await manager.user_says(question)
    return manager


async def test_a_context_brings_what_bears_on_the_question(fresh: Fresh) -> None:
    """What the window no longer shows and the question asks for stands in a record at the end."""
    manager = await asked(fresh.store)

    plain = await manager.context(600)
    context = await manager.context(600, recall=True)

    assert "AB-7731" not in json.dumps(plain.messages)
    assert context.recalled == (1,)
    assert "AB-7731" in context.messages[-1]["content"]
    assert context.messages[-1]["role"] == "user"
    assert context.messages == await manager.get_messages_for_llm(600, recall=True)
    assert context.tokens == sum(context.parts.values()) <= 600 == context.budget


async def test_the_record_is_sent_and_not_recorded() -> None:
    """Law 11: it leaves no trace in the log, and the messages before it are those of a context without."""
    manager = await asked(MemoryStore())
    before = await manager.read(include_all_segments=True)

    context = await manager.context(600, recall=True)
    again = await manager.context(450)

    assert before == await manager.read(include_all_segments=True)
    assert again.messages == context.messages[:-1]


async def test_what_is_shown_does_not_crowd_out_what_is_not() -> None:
    """However often the newest turns speak of the matter, the old fact is brought."""
    manager = await filled(MemoryStore(), 250)
    await filled_more(manager.store, 99, "The list begins.", "The north gate code, line {}.")
    await filled_more(manager.store, 99, "The list ends.")
    await manager.user_says("The north gate code?")

    context = await manager.context(4000, recall=True)

    assert context.recalled == (1,)
    assert "AB-7731" in context.messages[-1]["content"]


async def test_nothing_is_brought_where_nothing_bears() -> None:
    """A question of which the log knows nothing gets no record, and so does what is shown anyway."""
    manager = await asked(MemoryStore(), question="Sing about quantum umbrellas.")
    shown = await asked(MemoryStore(), turns=3)

    assert (await manager.context(600, recall=True)).recalled == ()
    assert (await shown.context(recall=True)).recalled == ()


@settings(max_examples=30, deadline=None)
@given(st.integers(100, 1500), st.sampled_from(["text", "call", "answered"]), st.booleans())
async def test_every_context_is_valid_and_within_its_budget(
    budget: int, ending: str, segmented: bool
) -> None:
    """Laws 15 and 16: with recall as without, for any budget, inside a tool round too."""
    manager = await filled(MemoryStore(), 60, system_prompt="Be kind.")
    if segmented:
        await manager.segment()
    await manager.user_says("Which door code has the north gate, and what of parcel 7?")
    if ending == "call":
        call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        await manager.ai_responds(None, tool_calls=[call])
    elif ending == "answered":
        await manager.tool_used("look", {}, "nothing")

    context = await manager.context(budget, recall=True)

    assert context.tokens <= budget
    assert openai_faults(context.messages) == []
    assert anthropic_faults(context.messages) == []


async def test_the_window_before_a_record_moves_as_steadily_as_without() -> None:
    """Law 11: turn after turn, the messages before the record keep their beginning but for a few steps."""
    manager = await filled(MemoryStore(), 40)
    starts: list[str] = []
    for n in range(30):
        await manager.user_says(f"Which door code has the north gate, try {n}?")
        context = await manager.context(900, recall=True)
        starts.append(context.messages[0]["content"])
        await manager.ai_responds("AB-7731.")

    assert len(set(starts)) <= 6


@pytest.mark.parametrize("query", ["what is my invoice number?", '"invoice number"'])
async def test_one_long_result_does_not_crowd_out_what_others_said(query: str) -> None:
    """Candidates are events, however many passages of one of them match."""
    manager = await filled(MemoryStore(), 0)
    await manager.user_says("My invoice number is QX-9.")
    rows = "\n".join(f"{n} checked invoice number field" for n in range(2500))
    await manager.tool_used("read", {}, rows)
    await filled_more(manager.store, 150, "Another matter.")

    hits = await manager.recall(query)

    assert "My invoice number is QX-9." in [hit.text for hit in hits]
    assert "tool" in [hit.role for hit in hits]


async def test_a_quote_reads_a_long_result_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quoted phrase costs time in proportion to a result's length, not to its square."""
    manager = await filled(MemoryStore(), 0)
    text = "\n".join(f"{n} checked invoice number field" for n in range(2000))
    await manager.tool_used("read", {}, text)
    read: list[int] = []
    squeezed = ranking.squeezed
    monkeypatch.setattr(ranking, "squeezed", lambda text: read.append(len(text)) or squeezed(text))

    await manager.recall('"invoice number field"')

    assert 0 < sum(read) < 3 * len(text)


async def test_what_retention_removed_does_not_crowd_out_what_stayed(fresh: Fresh) -> None:
    """Removed events that match better take no place among the candidates."""
    manager = await filled(fresh.store, 0)
    await filled_more(fresh.store, 300, "First.", "The invoice alpha beta gamma {}.")
    await filled_more(fresh.store, 200, "Second.")
    await manager.segment()
    await filled_more(fresh.store, 300, "The invoice for beta moved to Monday.", "Sunny again {}.")
    query = "invoice alpha beta gamma"
    before = await manager.recall(query, 100)
    await fresh.store.retain(None, "talk", before_index=1)

    after = await manager.recall(query)

    assert len(before) > 50
    assert [hit.text for hit in after] == ["The invoice for beta moved to Monday."]


def test_hits_are_weighed_once_each() -> None:
    """The work of keeping many hits within their tokens grows with their number, not its square."""
    hits = [hits_module.RecallHit(n, "s", "user", AT, "word " * 40, 1.0) for n in range(1, 101)]
    weighed: list[int] = []

    def weigh(some: Sequence[hits_module.RecallHit]) -> int:
        weighed.append(len(some))
        return sum(len(hit.text) for hit in some)

    kept = hits_module.fit(hits, 100, 100 * 200 - 50, weigh, ("word",))

    assert len(kept) == 100
    assert sum(len(hit.text) for hit in kept) <= 100 * 200 - 50
    assert sum(weighed) <= 2 * len(hits) + 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"query": None},
        {"query": 7},
        {"limit": "5"},
        {"limit": 2.5},
        {"limit": True},
        {"max_tokens": "9"},
        {"max_tokens": 2.5},
        {"max_tokens": True},
    ],
)
async def test_what_is_no_text_or_no_whole_number_is_named(wrong) -> None:
    """A wrong type is the host's mistake and said so, not an error from within."""
    manager = await filled(MemoryStore(), 0)
    ((name, value),) = wrong.items()

    for asked in (manager, await manager.fork()):
        with pytest.raises(InvalidSetting, match=re.escape(f"{name}={value!r}")):
            await asked.recall(**{"query": "gate", **wrong})

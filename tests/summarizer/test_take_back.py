"""Messages that are taken back, conversations that begin anew, notes, and usage by itself."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from summarizer import InvalidSetting, SessionManager, StoreError, ToolCall
from summarizer.context.policies import KeepLast
from summarizer.errors import StoreConflict
from summarizer.events import Event, EventKind, Origin
from summarizer.messages import Message
from summarizer.standing import standing
from summarizer.stores import open_store
from summarizer.summary import ExtractiveSummarizer, Summary, SummaryRequest


def cold(path: Path, session_id: str = "chat", **settings: object) -> SessionManager:
    """A worker that knows nothing yet: a store of its own on the same file."""
    return SessionManager(session_id, store=open_store(f"sqlite:///{path}/log.db"), **settings)  # type: ignore[arg-type]


async def texts(sm: SessionManager) -> list[str]:
    return [str(message["content"]) for message in await sm.get_messages_for_llm()]


async def test_what_is_taken_back_is_shown_to_nobody(tmp_path: Path) -> None:
    """A message that was taken back is in no context, policy's view or summary; the log keeps it."""
    sm, other = cold(tmp_path), cold(tmp_path)
    for text in ("one", "two", "three"):
        await sm.user_says(text)
        await sm.ai_responds(text.upper())
    await texts(other)
    events = await sm.open_segment()
    await sm.take_back([events[-1].seq, events[-2].seq], expect=events[-1].seq)

    assert (
        await texts(sm) == await texts(other) == await texts(cold(tmp_path)) == ["one", "ONE", "two", "TWO"]
    )
    windowed = await other.get_messages_for_llm(policies=KeepLast(turns=1))
    assert [message["content"] for message in windowed] == ["two", "TWO"]
    assert len(await other.get_conversation()) == 6
    await other.user_says("four " * 300)
    await other.ai_responds("FOUR")
    await other.segment()
    assert "three" not in str(await texts(sm)).lower()


async def test_another_message_may_take_its_place(tmp_path: Path) -> None:
    """What is recorded instead stands where the newest message stood, in one batch."""
    sm = cold(tmp_path)
    await sm.user_says("hi")
    await sm.ai_responds("wrong")
    newest = (await sm.open_segment())[-1].seq
    said = {"role": "assistant", "content": "right"}
    await sm.take_back([newest], instead=[said], data=[{"metadata": {"by": "me"}}], expect=newest)

    assert await texts(cold(tmp_path)) == ["hi", "right"]
    assert (await sm.read())[-1].data == {"metadata": {"by": "me"}}


async def test_nothing_is_taken_back_behind_anothers_back(tmp_path: Path) -> None:
    """If somebody wrote in between, nothing is written."""
    sm, other = cold(tmp_path), cold(tmp_path)
    await sm.user_says("hi")
    newest = (await sm.open_segment())[-1].seq
    await other.ai_responds("hello")

    with pytest.raises(StoreConflict) as raised:
        await sm.take_back([newest], expect=newest)
    assert isinstance(raised.value, StoreError)
    assert await texts(sm) == ["hi", "hello"]


async def test_numbers_of_calls_stay_taken(tmp_path: Path) -> None:
    """`$vN` is the same for a worker that saw a call before it was taken back, and one that did not."""
    sm = cold(tmp_path)
    call = ToolCall("a", "get", "{}")
    await sm.tools.open()
    await sm.record(Message("assistant", None, (call,)).to_wire())
    newest = (await sm.open_segment())[-1].seq
    await sm.take_back([newest], expect=newest)
    other = cold(tmp_path)
    done = await other.tools.run(lambda: 1, "get", call_id="b")
    again = await sm.tools.run(lambda: 2, "put", call_id="c")

    assert (done.verdict.reference, again.verdict.reference) == ("$v2", "$v3")


async def test_clear_begins_anew(tmp_path: Path) -> None:
    """After `clear` contexts are empty for every worker, and no later summary knows what was said before."""
    sm, other = cold(tmp_path), cold(tmp_path)
    await sm.user_says("My order is O-1001.")
    await sm.ai_responds("Noted.")
    await sm.segment()
    await sm.user_says("And O-1002.")
    await texts(other)
    await sm.clear()
    await sm.clear()
    empty = await texts(other)
    await other.user_says("Good morning. " * 100)
    await other.ai_responds("Good morning!")
    await other.segment()

    assert empty == []
    assert "O-100" not in str(await texts(cold(tmp_path)))
    assert len(await sm.get_conversation()) == 5
    assert [segment.index for segment in await sm.segments()] == [0, 1, 2, 3]


async def test_a_note_is_in_no_context(tmp_path: Path) -> None:
    """A note is a record of the host's own, which other workers read."""
    sm = cold(tmp_path)
    await sm.user_says("hi")
    await sm.note({"mood": "good"})
    events = await cold(tmp_path).read(include_all_segments=True, after_seq=1)

    assert [(event.kind, event.data) for event in events] == [(EventKind.NOTE, {"mood": "good"})]
    assert await texts(sm) == ["hi"]


async def test_usage_by_itself_is_counted_once(tmp_path: Path) -> None:
    """Usage that is reported beside its message completes it: the call is billed once, and covered."""
    sm = cold(tmp_path, model="gpt-4o-mini")
    await sm.user_says("hi")
    await sm.report_usage({"prompt_tokens": 100, "completion_tokens": 10}, model="gpt-4o-mini")
    await sm.ai_responds("hello")
    stats = await cold(tmp_path).get_stats()

    assert (stats.billed_tokens, stats.ai_messages, stats.cost_coverage) == (110, 1, 1.0)
    assert stats.cost_usd is not None


def test_standing_leaves_a_log_without_notes_as_it_is() -> None:
    """Nothing taken back, nothing changed."""
    assert standing([]) == []


@pytest.mark.parametrize("wrong", [9, 0, -1, True, "1", 1.5])
async def test_only_events_that_were_seen_are_taken_back(wrong: object) -> None:
    """A seq that no event has is refused, and the conversation can still be read by every worker."""
    sm = SessionManager("chat", store=open_store("memory://"))
    await sm.user_says("hi")
    with pytest.raises(InvalidSetting, match="the log you have seen has events 1 to 1"):
        await sm.take_back([wrong], expect=1)  # type: ignore[list-item]

    assert await texts(SessionManager("chat", store=sm.store)) == ["hi"]


@pytest.mark.parametrize("told", [[1], [7], "all", None, ["x", 1.5, True, 0]])
async def test_a_hosts_note_takes_nothing_back(told: object, tmp_path: Path) -> None:
    """The key of the log's own notes is refused, and a log that holds it otherwise can still be read."""
    sm = cold(tmp_path)
    await sm.user_says("hi")
    with pytest.raises(InvalidSetting, match="taken_back"):
        await sm.note({"taken_back": told})
    foreign = Event(EventKind.NOTE, "foreign", datetime.now(UTC), Origin.SYSTEM, data={"taken_back": told})
    await sm.store.append(None, "chat", [foreign])

    assert await texts(cold(tmp_path)) == ([] if told == [1] else ["hi"])


async def test_nothing_is_taken_back_of_a_conversation_that_is_gone() -> None:
    """Where the log was erased or has expired, its successor is not written to."""
    sm = SessionManager("chat", store=open_store("memory://"))
    await sm.user_says("hi")
    await sm.store.expire(None, idle_s=0)
    with pytest.raises(StoreConflict):
        await sm.take_back([1], expect=1)

    assert await sm.get_conversation() == []


@pytest.mark.parametrize("closed", [False, True], ids=["open segment", "closed segments"])
@pytest.mark.parametrize("later", [False, True], ids=["at once", "two children later"])
async def test_recall_does_not_bring_it_back(closed: bool, later: bool, tmp_path: Path) -> None:
    """Neither a hit nor beside one, neither for the host nor in a context, warm or cold, in a fork or not."""
    sm = cold(tmp_path)
    await sm.turn("The codeword of the harbour is zanzibar", "I keep that zanzibar in mind.")
    await sm.turn("The harbour has cranes", "Cranes, noted.")
    if closed:
        await sm.segment()
    await sm.recall("zanzibar")
    await sm.take_back([1, 2], expect=(await sm.open_segment())[-1].seq)
    for i in range(4 if later else 0):
        await sm.turn(f"Tell me a story, the {i}th", f"Once upon a time there were {i} sailors.")
        if i % 2:
            await sm.segment()
    await sm.user_says("What is the codeword of the harbour with the cranes, zanzibar?")
    fork = await sm.fork()

    for one in (sm, cold(tmp_path), fork, cold(tmp_path, fork.session_id)):
        found = await one.recall("codeword zanzibar harbour cranes", limit=20)
        assert "in mind" not in str(found)
        assert "is zanzibar" not in str(found)
        assert "is zanzibar" not in str((await one.context(recall=True)).messages)
        assert "in mind" not in str((await one.context(recall=True)).messages)


async def test_a_summary_under_way_is_given_up(tmp_path: Path) -> None:
    """What was taken back while a summary of it was written is in no seed, also not as an offer."""
    sm, other = cold(tmp_path), cold(tmp_path)
    asked, may_answer = asyncio.Event(), asyncio.Event()

    class Slow:
        name = "slow"

        async def summarize(self, request: SummaryRequest) -> Summary:
            asked.set()
            await may_answer.wait()
            return await ExtractiveSummarizer().summarize(request)

    slow = cold(tmp_path, summarizer=Slow())
    for i in range(6):
        await sm.turn(f"My order is O-{1000 + i}, remember. " * 5, f"Noted: order O-{1000 + i}. " * 5)
    flight = asyncio.create_task(slow.segment())
    await asyncio.wait_for(asked.wait(), 5)
    newest = (await other.open_segment())[-1].seq
    await other.take_back([1, 2], expect=newest)
    may_answer.set()
    outcome = await flight
    await other.segment()

    assert outcome.status == "elsewhere"
    shown = str(await texts(cold(tmp_path)))
    assert "O-1000" not in shown
    assert "O-1001" in shown


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ({"at": 4}, ["one", "ONE", "two", "TWO"]),
        ({"before": 5}, ["one", "ONE", "two", "TWO"]),
        ({"at": 5}, ["one", "ONE"]),
        ({"before": 6}, ["one", "ONE"]),
        ({"turns": 2}, ["one", "ONE", "three", "THREE"]),
        ({"turns": -1}, ["one", "ONE"]),
        ({"turns": -2}, []),
    ],
)
async def test_a_fork_begins_with_what_stood_at_its_place(place: dict[str, int], shown: list[str]) -> None:
    """Before the message was taken back a fork has it, behind it not; turns that are gone do not count."""
    sm = SessionManager("chat", store=open_store("memory://"))
    await sm.turn("one", "ONE")
    await sm.turn("two", "TWO")
    await sm.take_back([3, 4], expect=4)
    await sm.turn("three", "THREE")

    assert await texts(await sm.fork(**place)) == shown


async def test_what_was_taken_back_fills_no_segment(tmp_path: Path) -> None:
    """Messages that are said and taken back again and again make no child due."""
    sm = cold(tmp_path, token_threshold=200, segmentation="inline")
    await sm.turn("hello there", "hi, what do you want?")
    before = (await sm.get_stats()).context_tokens
    for _ in range(20):
        await sm.user_says("a long message that will be taken back " * 3)
        newest = (await sm.open_segment())[-1].seq
        await sm.take_back([newest], expect=newest)

    assert {event.kind for event in await sm.read()} == {EventKind.MESSAGE, EventKind.NOTE}
    assert (await cold(tmp_path).get_stats()).context_tokens == before


async def test_pages_do_not_show_what_was_taken_back(tmp_path: Path) -> None:
    """Also a page that was looked at before, of a closed segment too."""
    sm = cold(tmp_path, enable_vm=True)
    for i in range(6):
        await sm.turn(f"question {i} about ships", f"answer {i} about the harbour")
    assert "question 1" in (await sm.vm.page("e3-6")).text
    await sm.take_back([3, 4], expect=(await sm.open_segment())[-1].seq)
    open_page = await sm.vm.page("e3-6")
    await sm.segment()
    closed_page = await cold(tmp_path, enable_vm=True).vm.page("e3-6")

    assert "question 1" not in open_page.text + closed_page.text
    assert "question 2" in open_page.text
    assert "question 2" in closed_page.text

"""Messages that are taken back, conversations that begin anew, notes, and usage by itself."""

from pathlib import Path

import pytest

from summarizer import SessionManager, StoreError, ToolCall
from summarizer.context.policies import KeepLast
from summarizer.errors import StoreConflict
from summarizer.events import EventKind
from summarizer.messages import Message
from summarizer.standing import standing
from summarizer.stores import open_store


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

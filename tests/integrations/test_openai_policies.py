"""Policies that shorten a history before its limits cut it: the last turns, and notes on what is older."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.integrations.openai_agents import LastTurns, LocalCompactionSession, SummaryPolicy
from summarizer.integrations.openai_agents.items import pair
from summarizer.summary import LlmSummarizer
from summarizer.summary.llm import ModelReply
from summarizer.testing import ScriptedModel
from tests.integrations.openai_histories import (
    Item,
    ListSession,
    Scripted,
    histories,
    said,
    shown,
    talk,
    user,
)


async def test_a_policy_makes_the_history_shorter_before_the_limits_cut() -> None:
    """Sync or async; asked only when something is over a limit, and never for a `limit`."""
    asked: list[int] = []

    class Odd:
        async def compact(self, items: list[Item]) -> list[Item]:
            asked.append(len(items))
            return [user("short"), *items[-4:]]

    fitting = await shown(talk(3), window_size=50, policy=Odd())
    limited = await shown(talk(30), 8, window_size=50, policy=Odd())
    view = await shown(talk(30), window_size=50, policy=Odd())

    assert (fitting, limited) == (talk(3), talk(30)[-8:])
    assert view == [user("short"), *talk(30)[-4:]]
    assert asked == [120]


@pytest.mark.parametrize("answer", [RuntimeError("down"), None, "text"])
async def test_a_policy_that_fails_costs_no_turn(answer: object, caplog: pytest.LogCaptureFixture) -> None:
    """The limits cut the history itself, and a line says what failed."""

    class Broken:
        def compact(self, items: list[Item]) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

    view = await shown(talk(30), window_size=8, policy=Broken())

    assert view == talk(30)[-8:]
    assert "history.policy_failed" in caplog.text


async def test_the_last_turns_with_pinned_roles() -> None:
    """What stays of older turns are the roles that are pinned and the newest summary."""
    notes = {"type": "compaction", "encrypted_content": "E"}
    items = [user("0"), {"role": "developer", "content": "d"}, said("r"), notes, *talk(3)]

    assert LastTurns(2).compact(items) == [items[1], notes, *talk(3)[4:]]
    assert LastTurns(1, pinned_roles=()).compact(items) == [notes, *talk(3)[8:]]
    assert LastTurns(9).compact(items) == items
    with pytest.raises(ValueError, match="turns=0"):
        LastTurns(0)


async def test_notes_stand_for_what_is_older() -> None:
    """The first item is a user's message with the model's text; the newest turns follow as they were."""
    policy = SummaryPolicy(Scripted(), keep_turns=2)
    items = [{"role": "system", "content": "be brief"}, *talk(12)]

    view = await shown(items, window_size=20, policy=policy)

    assert view[0] == items[0]
    assert view[1]["role"] == "user"
    assert view[1]["content"].startswith("[Notes on the earlier part of this conversation, items 1-")
    assert "They spoke 1 times about orders" in view[1]["content"]
    assert view[2:] == items[-8:]


async def test_no_prefix_is_summarized_twice() -> None:
    """The same history costs one call; a longer one is read on from where the last notes ended."""
    model = Scripted()
    policy = SummaryPolicy(model, keep_turns=2, gather_turns=1)
    inner = ListSession(talk(10))
    session = LocalCompactionSession(inner, window_size=30, policy=policy)

    first = await session.get_items()
    assert await session.get_items() == first
    assert len(model.given) == 1
    inner.items = talk(11)
    grown = await session.get_items()
    assert (grown[0], len(model.given)) == (first[0], 1)
    inner.items = talk(12)
    again = await session.get_items()
    assert again[0] != first[0]
    assert len(model.given) == 2
    assert not any("question 7" in text for text in model.given[1])
    assert any("question 8" in text for text in model.given[1])


async def test_reads_at_once_ask_the_model_once() -> None:
    """Workers of one process that read one history together share its notes."""
    model = Scripted()
    policy = SummaryPolicy(model, keep_turns=2)

    views = await asyncio.gather(*(policy.compact(talk(10)) for _ in range(5)))

    assert views == [views[0]] * 5
    assert len(model.given) == 1


async def test_notes_are_found_again_by_another_process() -> None:
    """With a mapping of the caller's, a new policy asks no model for what was summarized before."""
    kept: dict[str, str] = {}
    model = Scripted()

    first = await SummaryPolicy(Scripted(), keep_turns=2, known=kept).compact(talk(10))
    later = await SummaryPolicy(model, keep_turns=2, known=json.loads(json.dumps(kept))).compact(talk(10))

    assert later == first
    assert model.given == []


async def test_rules_write_the_notes_when_the_model_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A failing model, or one whose answer is no summary, costs no turn."""
    view = await SummaryPolicy(Scripted(broken=True), keep_turns=2).compact(talk(10))

    assert view[0]["content"].startswith("[Notes on the earlier part")
    assert "question 0" in view[0]["content"]
    assert view[1:] == talk(10)[-8:]


async def test_what_no_model_has_read_is_read_later() -> None:
    """Where rules had to write the notes, the next model call is given what they stand for too."""
    down, kept = Scripted(broken=True), dict[str, str]()
    await SummaryPolicy(down, keep_turns=2, known=kept).compact(talk(10))
    model = Scripted()

    await SummaryPolicy(model, keep_turns=2, gather_turns=0, known=kept).compact(talk(12))

    assert [text for text in model.given[0] if text.startswith("question")] == [
        f"question {n}" for n in range(10)
    ]


async def test_a_models_notes_are_checked() -> None:
    """A summary by a model stands; an answer that is a chat reply does not, and the next model is asked."""
    good = json.dumps({"narrative": "The user asked after ten questions in turn.", "operations": []})

    def reply(text: str) -> ModelReply:
        return ModelReply(text, None, "m", None, "stop")

    async with (
        ScriptedModel(["Sure! How can I help?"] * 2, reply_factory=reply) as first,
        ScriptedModel([good], reply_factory=reply) as second,
    ):
        models = {"m1": first, "m2": second}
        writer = LlmSummarizer(list(models), model_factory=models.__getitem__, backoff_s=0.001)
        view = await SummaryPolicy(writer, keep_turns=2).compact(talk(10))

    assert "The user asked after ten questions in turn." in view[0]["content"]
    assert view[1:] == talk(10)[-8:]


async def test_a_providers_summary_stays_in_front_of_the_notes() -> None:
    """What a compaction item stands for is not read again, and it is not put into words."""
    model = Scripted()
    sealed = {"type": "compaction", "encrypted_content": "E"}

    view = await SummaryPolicy(model, keep_turns=1).compact([user("old"), sealed, *talk(4)])

    assert view[0] == sealed
    assert view[1]["content"].startswith("[Notes")
    assert view[2:] == talk(4)[-4:]
    assert not any("old" in text for text in model.given[0])


@given(histories(max_turns=8), st.integers(1, 3))
async def test_ready_policies_leave_sound_histories(items: list[Item], turns: int) -> None:
    """Whatever the history holds, what they give has no orphan and ends as the history does."""
    for policy in (LastTurns(turns), SummaryPolicy("extractive", keep_turns=turns)):
        view = await shown(items, policy=policy)
        assert not pair(view).orphans
        assert view[-1:] == items[-1:]

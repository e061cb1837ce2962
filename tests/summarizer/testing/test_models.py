"""The scripted model."""

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from summarizer.testing import Hang, ScriptedModel, ScriptedReply, ScriptMismatch, UnexpectedCall


@dataclass(frozen=True)
class Request:
    """What the summary room asks, as far as a script sees it."""

    messages: list[dict[str, Any]]
    response_schema: dict[str, Any] | None = None
    max_output_tokens: int = 100


HELLO = Request([{"role": "user", "content": "hello"}])


async def test_steps_are_played_in_order_and_requests_kept() -> None:
    """Texts, replies, functions and coroutine functions each give their text."""

    async def later(request: Request) -> str:
        return request.messages[0]["content"].upper()

    steps = ["one", ScriptedReply("two", usage=7), lambda request: request.messages[0]["content"], later]
    async with ScriptedModel(steps) as model:
        replies = [await model.complete(HELLO) for _ in steps]

    assert [reply.text for reply in replies] == ["one", "two", "hello", "HELLO"]
    assert [reply.usage for reply in replies] == [None, 7, None, None]
    assert model.requests == [HELLO] * 4


async def test_a_reply_has_the_attributes_of_a_model_reply() -> None:
    """What was not said is unknown, not zero."""
    reply = await ScriptedModel(["text"]).complete(HELLO)

    assert (reply.text, reply.usage, reply.model) == ("text", None, "scripted")
    assert (reply.cost_usd, reply.finish_reason) == (None, "stop")
    assert ScriptedReply("x", cost_usd=Decimal("0.1")).cost_usd == Decimal("0.1")


@pytest.mark.parametrize("step", [TimeoutError("late"), TimeoutError, lambda _: TimeoutError("late")])
async def test_an_error_step_is_raised(step: Any) -> None:
    """An error is raised whether it is given as instance, class or by a function."""
    async with ScriptedModel([step]) as model:
        with pytest.raises(TimeoutError):
            await model.complete(HELLO)


async def test_the_reply_factory_makes_replies_of_texts() -> None:
    """A host's own reply class can be had without wrapping each step."""
    model = ScriptedModel(["a"], reply_factory=lambda text: (text, "mine"))

    assert await model.complete(HELLO) == ("a", "mine")


async def test_the_answer_plays_after_the_steps() -> None:
    """`answer` serves any number of calls, and none is required."""
    async with ScriptedModel(["first"], answer=lambda _: "again") as model:
        texts = [(await model.complete(HELLO)).text for _ in range(3)]

    assert texts == ["first", "again", "again"]


async def test_an_unexpected_call_raises_and_is_remembered() -> None:
    """A caller that survives the error does not hide it from the test."""
    model = ScriptedModel([])
    with pytest.raises(UnexpectedCall, match=r"complete\(\) number 1"):
        await model.complete(HELLO)

    with pytest.raises(ScriptMismatch, match="1 unexpected calls"):
        model.assert_done()


async def test_an_unused_step_fails_at_the_end() -> None:
    """Leaving the block with steps unused raises, and names the next one."""
    with pytest.raises(ScriptMismatch, match="2 of 3 steps unused, next: 'two'"):
        async with ScriptedModel(["one", "two", "three"]) as model:
            await model.complete(HELLO)


async def test_a_failing_block_keeps_its_own_error() -> None:
    """The check at the end does not replace what went wrong in the block."""
    with pytest.raises(KeyError):
        async with ScriptedModel(["unused"]):
            raise KeyError("mine")


async def test_a_hang_answers_after_its_release() -> None:
    """A test can act while the model is being asked."""
    hang = Hang(then="late")
    async with ScriptedModel([hang]) as model:
        call = asyncio.create_task(model.complete(HELLO))
        await hang.started.wait()

        assert not call.done()

        hang.release()

        assert (await call).text == "late"


async def test_a_hang_ends_with_its_caller() -> None:
    """A deadline of the caller ends a call that nobody releases."""
    async with ScriptedModel([Hang()]) as model:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(model.complete(HELLO), 0.01)


def test_a_plain_string_is_no_list_of_steps() -> None:
    """A text in place of the list would be played letter by letter; it is refused."""
    with pytest.raises(TypeError, match=r"\['hello'\]"):
        ScriptedModel("hello")


async def test_a_step_of_no_use_is_named() -> None:
    """What a function gave that is no reply stands in the error."""
    with pytest.raises(TypeError, match="12"):
        await ScriptedModel([lambda _: 12]).complete(HELLO)

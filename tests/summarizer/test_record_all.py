"""Several messages in one batch, and the seqs by which a context names its events."""

import asyncio

import pytest

from summarizer import InvalidMessage, InvalidSetting, PartialBatch, SessionManager
from summarizer.context.policies import KeepLast
from summarizer.errors import SessionNotFound
from tests.summarizer.stores.factories import FACTORIES
from tests.summarizer.talk import fresh, soft_only, talk

CALLING = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
}
TURN = [
    {"role": "user", "content": "look"},
    CALLING,
    {"role": "tool", "tool_call_id": "c1", "content": "a crane"},
    {"role": "assistant", "content": "There is a crane."},
]


@pytest.mark.parametrize("name", list(FACTORIES))
async def test_a_batch_is_written_as_one(name):
    """Batches of writers at once lie beside each other, whole; a cold instance reads them with their data."""
    async with fresh(name) as made:
        managers = [SessionManager("c", store=made.store) for _ in range(4)]
        await managers[0].record_all(TURN[:1], data=[{"native": {"x": [1]}}], tokens=[7])
        await asyncio.gather(*(sm.record_all(TURN, usage={"prompt_tokens": 9}) for sm in managers))
        events = await SessionManager("c", store=await made.second()).open_segment()

        roles = [event.message.role for event in events if event.message]
        assert roles == ["user", *["user", "assistant", "tool", "assistant"] * 4]
        assert (events[0].data["native"], events[0].tokens) == ({"x": [1]}, 7)
        assert [e.data["usage"]["input_tokens"] for e in events if "usage" in e.data] == [9] * 4


@pytest.mark.parametrize("name", list(FACTORIES))
async def test_keys_of_each_message_tell_what_is_recorded(name):
    """The same list again writes nothing; one of which only a part is recorded is an error."""
    async with fresh(name) as made:
        sm = SessionManager("c", store=made.store)
        keys = ["k1", "k2", "k3", "k4"]
        await sm.record_all(TURN, idempotency_key=keys)
        await SessionManager("c", store=await made.second()).record_all(TURN, idempotency_key=keys)
        with pytest.raises(PartialBatch):
            await sm.record_all([*TURN, TURN[0]], idempotency_key=[*keys, "k5"])

        assert len(await sm.get_conversation()) == 4


async def test_a_batch_that_cannot_be_kept_leaves_the_log_as_it_was():
    """One bad message, or a list of another length, writes none of them."""
    sm = SessionManager("c", store="memory://")
    await sm.record_all([])
    with pytest.raises(InvalidMessage):
        await sm.record_all([TURN[0], {"role": "nobody", "content": "x"}])
    with pytest.raises(InvalidSetting, match="tokens has 1 entries for 4 messages"):
        await sm.record_all(TURN, tokens=[1])
    with pytest.raises(InvalidSetting, match="no assistant message"):
        await sm.record_all(TURN[:1], usage={"prompt_tokens": 1})

    with pytest.raises(SessionNotFound):
        await sm.open_segment()


async def test_a_result_without_a_call_is_kept():
    """A batch keeps what `record` refuses, and the context shows it as a note."""
    sm = SessionManager("c", store="memory://")
    await sm.record_all([TURN[0], {"role": "tool", "tool_call_id": "lost", "content": "found"}])

    messages = await sm.get_messages_for_llm()

    assert "found" in messages[1]["content"]
    assert messages[1]["role"] == "user"


@pytest.mark.parametrize(
    "options", [{}, {"recall": True}, {"policies": KeepLast(turns=3)}, {"max_tokens": 700}]
)
@pytest.mark.parametrize("paged", [False, True])
async def test_each_message_of_a_context_names_its_event(options, paged):
    """Where a seq is given, the message is that event's; system prompt, seed and records have none."""
    sm = SessionManager(
        store="memory://",
        system_prompt="Be kind.",
        policy=soft_only(300),
        segmentation="inline",
        enable_vm=paged,
    )
    await talk(sm, 20)
    await sm.record_all(TURN)

    context = await sm.context(**options)
    events = {event.seq: event.message for event in await sm.open_segment(seen=True)}

    assert len(context.seqs) == len(context.messages)
    named = [(seq, wire) for seq, wire in zip(context.seqs, context.messages, strict=True) if seq]
    assert [wire for _, wire in named] == [events[seq].to_wire() for seq, _ in named]
    assert len(named) >= 4
    assert context.seqs[:2] == (0, 0)


async def test_a_sibling_has_the_arguments_of_its_brother():
    """Another conversation's manager takes over store, owner and policy, and not the prompt."""
    sm = SessionManager("c", store="memory://", owner="ana", system_prompt="Be kind.", token_threshold=50)
    other = sm.sibling("d")
    await other.user_says("hello")

    assert (other.store, other.owner) == (sm.store, "ana")
    assert await other.get_messages_for_llm() == [{"role": "user", "content": "hello"}]
    with pytest.raises(SessionNotFound):
        await sm.sibling("e", create=False).user_says("hello")

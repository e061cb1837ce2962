"""Marks for the provider's cache: few, where they are accepted, and found again by the next request."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.context import Frame, build_context
from summarizer.context.blocks import PENDING
from summarizer.context.breakpoints import (
    MOST_BREAKPOINTS,
    breakpoints,
    check_cache_control,
    with_breakpoints,
)
from summarizer.errors import InvalidSetting
from tests.summarizer.histories import (
    answering,
    assistant,
    calling,
    count,
    events_of,
    histories,
    history,
    steps,
    user,
)
from tests.summarizer.prompt_cache import PromptCache, blocks_of, marked_blocks, unmarked
from tests.summarizer.requests import anthropic_faults, openai_faults

PROMPT = "You answer questions about the weather."
SEED = "Notes on the earlier part of this conversation: the user lives in Oslo."
FRAMES = (
    Frame(PROMPT, count(PROMPT), 0, SEED, count(SEED)),
    Frame(PROMPT, count(PROMPT)),
    Frame(None, 0, 0, SEED, count(SEED)),
    Frame(),
)
frames = st.sampled_from(FRAMES)


def view(events, frame=FRAMES[0], budget=None):
    return build_context(events, session_id="s", frame=frame, budget=budget, count=count)


def head_of(frame):
    return range(bool(frame.system_prompt) + bool(frame.seed))


def marked(events, frame=FRAMES[0]):
    """The request for these events, as a manager that marks would send it."""
    messages = view(events, frame).messages
    return with_breakpoints(messages, breakpoints(messages, head_of(frame)))


def roles(messages):
    return [m["role"] for m, at in zip(messages, _marks(messages), strict=True) if at]


def _marks(messages):
    return ['"cache_control"' in json.dumps(message) for message in messages]


@given(histories(), frames, st.booleans())
def test_marks_change_nothing_but_themselves(events, frame, hour):
    """Content stays the same to the byte, at most four messages are marked, and every dialect takes it."""
    messages = view(events, frame).messages
    before = json.dumps(messages)

    sent = with_breakpoints(messages, breakpoints(messages, head_of(frame)), "1h" if hour else True)

    assert json.dumps(messages) == before
    assert unmarked(sent) == [
        {k: v for k, v in m.items() if k != "cache_control"} for m in json.loads(before)
    ]
    assert json.dumps(sent).count('"cache_control"') <= MOST_BREAKPOINTS
    assert openai_faults(sent) == []
    assert [f for f in anthropic_faults(sent) if frame.seed] == []
    kind = {"type": "ephemeral", "ttl": "1h"} if hour else {"type": "ephemeral"}
    for message in sent:
        parts = message["content"] if isinstance(message["content"], list) else []
        for bearer in (message, *parts):
            assert bearer.get("cache_control", kind) == kind


@given(histories(), frames)
def test_no_mark_stands_where_a_provider_would_refuse_it(events, frame):
    """Not on empty text, not on calls, not on system messages of the tail, not beside reasoning."""
    sent = marked(events, frame)

    for i, message in enumerate(sent):
        if not _marks(sent)[i]:
            continue
        assert message["role"] in ("user", "assistant", "tool", "system")
        assert message["role"] != "system" or i == 0
        assert message["role"] == "tool" or not {"tool_calls", "function_call"} & message.keys()
        if message["role"] != "tool":
            last = message["content"][-1]
            assert last["type"] == "image_url" or last["text"].strip()


@given(st.lists(steps, max_size=24), frames)
def test_each_request_reads_all_that_the_one_before_it_marked(drawn, frame):
    """The law: with a request before each answer, and no view change between, nothing is paid for twice.

    What a request reads reaches at least to the last mark of the request before it, however many blocks
    were added between the two.
    """
    events = history(drawn)
    cache, last = PromptCache(), 0
    for k, new in enumerate(events):
        if new.message is None or new.message.role != "assistant":
            continue
        sent = marked(events[:k], frame)
        read = cache.send(sent)

        assert read >= last
        last = marked_blocks(sent)


@given(st.lists(steps, max_size=24), frames)
def test_a_marked_request_leaves_only_the_newest_messages_out(drawn, frame):
    """The last mark stands at the last message that may bear one and is there to stay."""
    sent = marked(history(drawn), frame)
    marks = [i for i, at in enumerate(_marks(sent)) if at]

    for message in sent[marks[-1] + 1 if marks else 0 :]:
        if message["content"] == PENDING:
            break
        assert (
            message["role"] in ("system", "function")
            or not message["content"]
            or message.keys() - {"role", "content", "name"}
        )


@given(st.lists(st.integers(0, 30), min_size=2, max_size=6), frames)
def test_a_round_of_any_width_is_found_again(widths, frame):
    """Thirty calls at once are 61 blocks, three times the provider's look-back, and lose nothing."""
    messages = [user("Look at all of them.")]
    cache, last = PromptCache(), 0
    for turn, width in enumerate(widths):
        sent = marked(events_of(messages), frame)
        read = cache.send(sent)

        assert read >= last
        last = marked_blocks(sent)
        assert last == len(blocks_of(sent))
        keys = [f"call_{turn}_{i}" for i in range(width)]
        if keys:
            messages += [calling(*keys), *(answering(key) for key in keys)]
        else:
            messages += [assistant(), user()]


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6))
def test_turns_recorded_whole_are_found_again(widths):
    """A host that asks for the context, sends it with its question, and records the turn afterwards.

    Its request ends behind our last mark; the next one marks the same place again.
    """
    messages = []
    cache, last = PromptCache(), 0
    for turn, width in enumerate(widths):
        sent = marked(events_of(messages))
        read = cache.send([*sent, user(f"Question {turn}")])

        assert read >= last
        last = marked_blocks(sent)
        keys = [f"call_{turn}_{i}" for i in range(width)]
        messages += [user(f"Question {turn}"), calling(*keys)]
        messages += [*(answering(key) for key in keys), assistant(f"Answer {turn}.")]


def share_read(width, choose):
    """Of the characters of 60 requests, each a round of so many calls longer: what came from the cache."""
    messages = [{"role": "system", "content": PROMPT}, user("Go.")]
    cache, read, whole = PromptCache(), 0, 0
    for turn in range(60):
        said = [len(text) for text, _ in blocks_of(messages)]
        read += sum(said[: cache.send(with_breakpoints(messages, choose(messages)))])
        whole += sum(said)
        keys = [f"call_{turn}_{i}" for i in range(width)]
        messages += [calling(*keys), *(answering(key, "12 degrees. " * 20) for key in keys)]
    return round(read / whole, 3)


@pytest.mark.parametrize(("width", "ends_alone"), [(1, 0.967), (15, 0.0)])
def test_marks_on_the_ends_alone_lose_wide_rounds(width, ends_alone):
    """The figures of `docs/prompt-cache.md`: system prompt and newest message alone, and these marks."""
    assert share_read(width, lambda messages: (0, len(messages) - 1)) == ends_alone
    assert share_read(width, lambda messages: breakpoints(messages, (0,))) == 0.967


def test_the_head_is_found_after_the_window_moved():
    """A view change leaves system prompt and seed warm: they have marks of their own."""
    turns = [m for i in range(30) for m in (user(f"Question {i}?"), assistant(f"Answer {i}. " * 6))]
    cache = PromptCache()
    for k in (40, 60):
        context = view(events_of(turns[:k]), budget=300)
        sent = with_breakpoints(context.messages, breakpoints(context.messages, (0, 1)))
        read = cache.send(sent)

    assert read == 2


def test_marks_stand_on_system_prompt_seed_and_the_last_two_requests():
    """Four in all: what stays for ever, what stays for the segment, and the two newest ends."""
    talk = [user("a"), assistant("b"), user("c"), calling("x"), answering("x")]
    sent = marked(events_of(talk))

    assert _marks(sent) == [True, True, False, False, True, False, True]
    assert roles(sent) == ["system", "user", "user", "tool"]
    assert sent[0]["content"] == [{"type": "text", "text": PROMPT, "cache_control": {"type": "ephemeral"}}]
    assert sent[6] == {**answering("x"), "cache_control": {"type": "ephemeral"}}


def test_spare_marks_go_to_the_turn_before():
    """Without a seed, the end of the last whole turn is marked too."""
    sent = marked(events_of([user("a"), assistant("b"), user("c"), calling("x"), answering("x")]), FRAMES[1])

    assert _marks(sent) == [True, False, True, True, False, True]


def test_the_volatile_end_is_never_marked():
    """What stands in one request alone would be written to the cache and never read."""
    messages = [*view(events_of([user("a"), assistant("b"), user("c")])).messages, user("recalled")]

    assert breakpoints(messages, (0, 1), volatile=1) == (0, 1, 2, 4)


def test_a_result_that_is_awaited_is_not_marked():
    """Its stand-in changes, and with it all that comes behind."""
    sent = marked(events_of([user("a"), calling("x", "y"), answering("x")]))

    assert roles(sent) == ["system", "user", "user", "tool"]
    assert not _marks(sent)[-1]


@pytest.mark.parametrize("wrong", [None, "2h", 1, 0, "ephemeral"])
def test_another_lifetime_is_refused(wrong):
    """Providers take 5 minutes or an hour."""
    with pytest.raises(InvalidSetting, match="cache_control"):
        check_cache_control(wrong)


def test_an_empty_request_has_no_marks():
    """Nothing to mark, nothing raised."""
    assert breakpoints([]) == ()
    assert with_breakpoints([], ()) == []

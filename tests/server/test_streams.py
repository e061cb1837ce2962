"""The stream's reader: bytes come out as they went in, and a copy of them is understood."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from summarizer.server.streams import StreamReader, completion_events


def frame(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'model': 'm', 'choices': [choice], **more}, ensure_ascii=False)}\n\n".encode()


USAGE = b'data: {"model": "m", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}\n\n'
DONE = b"data: [DONE]\n\n"
CALL = [
    frame(
        {
            "tool_calls": [
                {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
            ]
        }
    ),
    frame({"tool_calls": [{"index": 0, "function": {"arguments": '{"a": '}}]}),
    frame(
        {
            "tool_calls": [
                {"index": 1, "id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}}
            ]
        }
    ),
    frame({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
]
TALK = [
    b": hello\r\n\r\n",
    frame({"role": "assistant", "content": ""}),
    frame({"content": "Grüße, "}),
    frame({"reasoning_content": "hm"}),
    frame({"content": "日本 🎉"}),
    *CALL,
    b"event: ping\ndata: not json\n\n",
    frame({}, "tool_calls"),
    USAGE,
    DONE,
]
STREAM = b"".join(TALK)


def fed(reader: StreamReader, data: bytes, cuts: list[int]) -> bytes:
    """What comes out of a reader that gets `data` cut at these places."""
    out, ends = b"", [*sorted(c % (len(data) + 1) for c in cuts), len(data)]
    start = 0
    for end in ends:
        passed = reader.feed(data[start:end])
        out += passed.now + passed.held
        start = end
    return out + reader.rest()


@given(st.lists(st.integers(0, len(STREAM)), max_size=40))
def test_a_stream_is_the_same_wherever_it_is_split(cuts: list[int]) -> None:
    """Split anywhere, inside characters too, the bytes are those of the upstream and the message the same."""
    reader = StreamReader(strip_usage=False)

    assert fed(reader, STREAM, cuts) == STREAM
    assert reader.whole
    assert reader.answer.usage == {"prompt_tokens": 3, "completion_tokens": 5}
    assert reader.answer.message(whole=True) == {
        "role": "assistant",
        "content": "Grüße, 日本 🎉",
        "reasoning_content": "hm",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
            {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }


@given(st.lists(st.integers(0, len(STREAM)), max_size=40))
def test_usage_that_the_client_did_not_ask_for_is_taken_out(cuts: list[int]) -> None:
    """One frame is missing, and every other byte is there."""
    reader = StreamReader(strip_usage=True)

    assert fed(reader, STREAM, cuts) == STREAM.replace(USAGE, b"")
    assert reader.answer.usage == {"prompt_tokens": 3, "completion_tokens": 5}


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10), st.booleans())
def test_any_bytes_pass(data: bytes, cuts: list[int], strip: bool) -> None:
    """What is no stream at all passes too."""
    assert fed(StreamReader(strip_usage=strip), data, cuts) == data


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "index",
                    "tool_calls",
                    "function",
                    "arguments",
                    "name",
                    "id",
                    "content",
                    "usage",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=4), st.booleans())
def test_no_chunk_is_too_strange(values: list[Any], strip: bool) -> None:
    """Whatever JSON an upstream sends, its stream goes on."""
    reader = StreamReader(strip_usage=strip)
    for value in values:
        reader.feed(f"data: {json.dumps(value)}\n\n".encode())
        reader.feed(f"data: {json.dumps({'choices': [{'delta': value}]})}\n\n".encode())
    for whole in (True, False):
        json.dumps(reader.answer.response(whole=whole))


def test_the_end_is_held_back_until_the_answer_is_recorded() -> None:
    """Text passes at once; `[DONE]` is given apart."""
    reader = StreamReader(strip_usage=False)
    passed = reader.feed(frame({"content": "hi"}, "stop") + DONE)

    assert passed.now == frame({"content": "hi"}, "stop")
    assert passed.held == DONE


def test_an_answer_that_was_cut_has_no_calls() -> None:
    """Nobody knows whether the arguments of a call are whole."""
    reader = StreamReader(strip_usage=False)
    reader.feed(frame({"content": "I will look. "}) + b"".join(CALL))

    assert not reader.whole
    assert reader.answer.message(whole=False) == {"role": "assistant", "content": "I will look. "}
    assert StreamReader(strip_usage=False).answer.message(whole=False) is None


def test_an_error_in_the_stream_is_no_answer() -> None:
    """Some servers put an error where a chunk should be."""
    reader = StreamReader(strip_usage=False)
    reader.feed(frame({"content": "I"}) + b'data: {"error": {"message": "overloaded"}}\n\n' + DONE)

    assert not reader.whole


def test_other_choices_are_not_mixed_in() -> None:
    """Only the first choice is the answer."""
    reader = StreamReader(strip_usage=False)
    reader.feed(
        b'data: {"choices": [{"index": 1, "delta": {"content": "B"}}]}\n\n' + frame({"content": "A"}, "stop")
    )

    assert reader.answer.message(whole=True) == {"role": "assistant", "content": "A"}


def test_a_completion_of_ours_reads_back_from_its_stream() -> None:
    """What we stream ourselves is a stream like any other."""
    completion = {
        "id": "x",
        "model": "m",
        "choices": [{"message": {"content": "words"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0},
    }
    reader = StreamReader(strip_usage=False)
    reader.feed(completion_events(completion, usage=True))

    assert reader.done
    assert reader.answer.message(whole=True) == {"role": "assistant", "content": "words"}

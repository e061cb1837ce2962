"""The transcript as records, and its chunks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from summarizer.summary.record import SummaryRequest
from summarizer.summary.transcript import Chunk, Record, chunk_records, dump_line, records_of

MakeRequest = Callable[..., SummaryRequest]


def count(text: str) -> int:
    return (len(text) + 3) // 4


def record(seq: int, text: str, *, role: str = "user") -> Record:
    return Record(seq, {"seq": seq, "role": role, "text": text}, follows=role == "tool")


def told(chunks: Sequence[Chunk]) -> dict[int, str]:
    """Each event's text, its parts joined."""
    texts: dict[int, str] = {}
    for chunk in chunks:
        for part in chunk.records:
            texts[part.seq] = texts.get(part.seq, "") + part.text
    return texts


def test_a_record_shows_seq_role_text_calls_and_what_else_was_attached(summary_request: MakeRequest) -> None:
    """Calls stand with their arguments, results with their tool's name, images by their kind."""
    call = {"id": "c1", "type": "function", "function": {"name": "get_order", "arguments": '{"id": "W1"}'}}
    image: list[dict[str, Any]] = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    request = summary_request(
        [
            {"role": "user", "content": image},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "shipped"},
        ]
    )

    assert [dict(r.fields) for r in records_of(request.events)] == [
        {"seq": 1, "role": "user", "text": "look", "attached": ["image_url"]},
        {"seq": 2, "role": "assistant", "text": "", "calls": ['get_order {"id": "W1"}']},
        {"seq": 3, "role": "tool", "name": "get_order", "text": "shipped"},
    ]


def test_secrets_do_not_reach_the_transcript(summary_request: MakeRequest) -> None:
    """Keys are blacked out before a model or a log of its provider sees them."""
    key = "sk-" + "a1B2" * 8
    (shown,) = records_of(summary_request([("user", f"use {key} please")]).events)

    assert key not in shown.line
    assert "[redacted]" in shown.line


@given(st.text(alphabet=st.sampled_from('<>"\\\n aé'), max_size=60))
def test_no_text_can_write_a_frame_line(text: str) -> None:
    """A line of the transcript is one line, has no frame mark in it, and reads back as it was."""
    line = dump_line({"text": text})

    assert "<<<" not in line
    assert "\n" not in line
    assert json.loads(line) == {"text": text}


@given(
    st.lists(st.tuples(st.text(max_size=400), st.sampled_from(["user", "assistant", "tool"])), max_size=12),
    st.integers(min_value=64, max_value=400),
)
def test_chunks_hold_everything_in_order_and_none_is_too_large(
    texts: list[tuple[str, str]], limit: int
) -> None:
    """Nothing is left out, whatever the window: the chunks' texts joined are the transcript's."""
    records = [record(seq, text, role=role) for seq, (text, role) in enumerate(texts, 1)]
    chunks = chunk_records(records, limit, count)

    assert told(chunks) == {r.seq: r.text for r in records}
    assert all(chunk.tokens <= limit for chunk in chunks)
    assert [r.seq for chunk in chunks for r in chunk.records] == sorted(
        r.seq for chunk in chunks for r in chunk.records
    )


def test_a_record_larger_than_a_chunk_is_split_into_marked_parts() -> None:
    """Each part says which one of how many it is."""
    chunks = chunk_records([record(7, "word " * 400)], 100, count)
    parts = [r for chunk in chunks for r in chunk.records]

    assert [part.fields["part"] for part in parts] == [f"{i}/{len(parts)}" for i in range(1, len(parts) + 1)]
    assert [part.part for part in parts] == [(i,) for i in range(1, len(parts) + 1)]


def test_a_part_that_is_split_again_says_of_what() -> None:
    """Only the very first part begins its event, and nothing is lost on the way."""
    record_ = record(7, "word " * 400)
    chunks = chunk_records([record_], 200, count)
    again = [smaller for chunk in chunks for smaller in chunk_records(chunk.records, 80, count)]
    parts = [part for chunk in again for part in chunk.records]

    assert parts[1].fields["part"].endswith(f" of 1/{len(chunks)}")
    assert [part.begins for part in parts] == [True] + [False] * (len(parts) - 1)
    assert sorted(parts, key=lambda part: part.part) == parts
    assert told(again) == {7: record_.text}


def test_a_chunk_begins_with_what_answers_nothing() -> None:
    """A tool's result is read together with its call where the window allows it."""
    records = [
        record(seq, "x" * 150, role=role)
        for seq, role in enumerate(["user", "assistant", "tool", "user", "assistant", "tool"], 1)
    ]
    chunks = chunk_records(records, 260, count)

    assert [[r.seq for r in chunk.records] for chunk in chunks] == [[1, 2, 3, 4], [5, 6]]

"""Events: what is stored, and what a batch adds."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.errors import SchemaTooNew
from summarizer.events import (
    EVENT_SCHEMA,
    Counters,
    Event,
    EventKind,
    Origin,
    batch_effects,
    decode_event,
    encode_event,
    keyed_ids,
    new_event_id,
)
from summarizer.messages import Message
from tests.summarizer.histories import AT, calling, histories

GOLDEN = Path(__file__).parent / "golden" / "events_v1.json"
USAGE = {"input_tokens": 90, "output_tokens": 10, "cache_read_tokens": 40}
CALLS = [
    {"model": "m", "usage": {"input_tokens": 50, "output_tokens": 5}, "cost_pico": 70, "duration_s": 0.5}
]
ANSWER = calling("call_1", text="Grüße 🌍") | {"reasoning_content": "Hm."}
REPORT = {"tokens": 100, "model": "m", "ratio": 1.1, "samples": 2, "index": 0}

SAMPLES = {
    "message.user": Event(EventKind.MESSAGE, "e", AT, Origin.USER, 3, Message("user", "Hi \x00 there")),
    "message.parts": Event(
        EventKind.MESSAGE,
        "e",
        AT,
        Origin.IMPORTED,
        3,
        Message("user", ({"type": "text", "text": "Hi"},), name="ann"),
        {"metadata": {"channel": "web"}},
    ),
    "message.assistant": Event(
        EventKind.MESSAGE,
        "e",
        AT,
        Origin.ASSISTANT,
        12,
        Message.from_wire(ANSWER),
        {"model": "m", "usage": USAGE, "cost_pico": 1200, "report": REPORT},
    ),
    "message.tool": Event(
        EventKind.MESSAGE,
        "e",
        AT,
        Origin.TOOL,
        2,
        Message("tool", "", tool_call_id="call_1"),
        {"tool": {"name": "f"}},
    ),
    "usage": Event(EventKind.USAGE, "e", AT, Origin.SYSTEM, data={"usage": USAGE, "completes": True}),
    "settings": Event(EventKind.SETTINGS, "e", AT, Origin.SYSTEM, data={"settings": {"v": 1, "model": None}}),
    "segment.created": Event(
        EventKind.SEGMENTED, "e", AT, Origin.SYSTEM, data={"index": 1, "cut": 8, "model_calls": CALLS}
    ),
    "segment.skipped": Event(
        EventKind.SKIPPED, "e", AT, Origin.SYSTEM, data={"reason_code": "no_gain", "trigger": "tokens"}
    ),
    "summary.rejected": Event(
        EventKind.SUMMARY_REJECTED, "e", AT, Origin.SYSTEM, data={"model_calls": CALLS}
    ),
    "summary.offered": Event(
        EventKind.SUMMARY_OFFERED, "e", AT, Origin.SYSTEM, data={"summary": {"v": 1}, "model_calls": CALLS}
    ),
    "view.changed": Event(EventKind.VIEW_CHANGED, "e", AT, Origin.SYSTEM, data={"boundary": 7}),
    "guard.facts": Event(
        EventKind.GUARD,
        "e",
        AT,
        Origin.SYSTEM,
        data={"v": 1, "by": "w", "facts": [{"fact": "decided", "call_id": "call_1", "approved": True}]},
    ),
    "guard.snapshot": Event(
        EventKind.GUARD_SNAPSHOT,
        "e",
        AT,
        Origin.SYSTEM,
        data={"v": 1, "guard": {"v": 1}, "number": 3, "through": 9, "with": ["x"], "calls": []},
    ),
    "memory.fact made": Event(
        EventKind.MEMORY,
        "e",
        AT,
        Origin.SYSTEM,
        data={
            "v": 1,
            "made": {
                "text": "The gate code is 4711.",
                "type": "claim",
                "modality": "text",
                "importance": 0.9,
                "origin": "imported",
            },
            "mark": {"pinned": True},
        },
    ),
    "memory.fact": Event(
        EventKind.MEMORY,
        "e",
        AT,
        Origin.SYSTEM,
        data={"v": 1, "page": "e3-9", "mark": {"used": True, "level": 1}},
    ),
    "memory.snapshot": Event(
        EventKind.MEMORY_SNAPSHOT,
        "e",
        AT,
        Origin.SYSTEM,
        data={"v": 1, "through": 70, "changed": 68, "marks": {"p1": {"pinned": True, "used_seq": 1}}},
    ),
    "note": Event(EventKind.NOTE, "e", AT, Origin.USER, 1, data={"text": "Remember."}),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_stored_body_of_schema_1_stays(name):
    """A body of schema 1 is written the same for ever, and read for ever.

    If a body must change, raise EVENT_SCHEMA, add an upcaster, and keep this file.
    """
    stored = json.loads(GOLDEN.read_text(encoding="utf-8"))[name]

    assert encode_event(SAMPLES[name]) == stored
    assert decode_event(stored, "e", 0, 0) == SAMPLES[name]


def test_the_golden_file_knows_every_kind():
    """Each kind of event has a stored sample."""
    assert {event.kind for event in SAMPLES.values()} == set(EventKind)


@given(histories(), st.text())
def test_a_plain_body_is_written_as_any_other(events, text):
    """The short way to write a text message gives the same bytes as the long one."""
    plain = [replace(event, message=Message("user", text)) for event in events if not event.data]

    for event in (*events, *plain):
        body = {"v": EVENT_SCHEMA, "kind": event.kind, "at": event.at.isoformat(), "origin": event.origin}
        body |= {"tokens": event.tokens} if event.tokens else {}
        body |= {"message": event.message.to_wire()} if event.message is not None else {}
        body |= {"data": event.data} if event.data else {}
        assert encode_event(event) == json.dumps(body, ensure_ascii=False, separators=(",", ":"))


@given(histories())
def test_an_event_survives_its_store(events):
    """What is decoded is what was encoded; a store keeps id, seq and total beside the body."""
    for event in events:
        assert decode_event(encode_event(event), event.event_id, event.seq, event.cumulative_tokens) == event
        assert decode_event(encode_event(event).encode(), "x", 1, 2) == replace(
            event, event_id="x", seq=1, cumulative_tokens=2
        )


def test_a_newer_schema_is_refused():
    """A body of a newer longsplice is not guessed at."""
    body = json.loads(encode_event(SAMPLES["message.user"])) | {"v": EVENT_SCHEMA + 1}

    with pytest.raises(SchemaTooNew, match="upgrade"):
        decode_event(json.dumps(body), "e", 1, 1)


events_of_any_kind = st.lists(st.sampled_from(list(SAMPLES.values())), max_size=8)


@given(events_of_any_kind, events_of_any_kind)
def test_effects_add_up(first, second):
    """Law 2: the effects of two batches together are those of one: totals can be kept, or recomputed."""
    a, b, both = batch_effects(first), batch_effects(second), batch_effects([*first, *second])

    assert both.counters == a.counters.plus(b.counters)
    assert both.counters.minus(b.counters) == a.counters
    assert both.tokens == a.tokens + b.tokens
    assert both.settings == (a.settings if b.settings is None else b.settings)
    assert both.report == (a.report if b.report is None else b.report)
    assert both.message_offset == (
        b.message_offset + len(first) if b.message_offset >= 0 else a.message_offset
    )
    assert both.skipped_offset == (
        b.skipped_offset + len(first) if b.skipped_offset >= 0 else a.skipped_offset
    )


def test_an_empty_batch_has_no_effect():
    """Nothing comes of nothing."""
    effects = batch_effects([])

    assert (effects.counters, effects.tokens, effects.message_offset) == (Counters(), (), -1)


def test_each_kind_counts_what_it_is():
    """Messages, calls, reported usage and our own spending stand apart."""
    counters = {name: batch_effects([event]).counters for name, event in SAMPLES.items()}
    summary = Counters(
        summary_calls=1,
        summary_priced_calls=1,
        summary_input_tokens=50,
        summary_output_tokens=5,
        summary_cost_pico=70,
    )

    assert counters["message.user"] == Counters(messages=1, user_messages=1)
    assert counters["message.tool"] == Counters(tool_messages=1)
    assert counters["message.assistant"] == Counters(
        messages=1,
        assistant_messages=1,
        tool_calls=1,
        billed_calls=1,
        priced_calls=1,
        input_tokens=90,
        output_tokens=10,
        cache_read_tokens=40,
        cost_pico=1200,
    )
    assert counters["usage"] == Counters(
        billed_calls=1, unbilled_calls=-1, input_tokens=90, output_tokens=10, cache_read_tokens=40
    )
    for name in ("segment.created", "summary.rejected", "summary.offered"):
        assert counters[name] == summary
    for name in ("settings", "segment.skipped", "view.changed", "note"):
        assert counters[name] == Counters()


def test_usage_that_comes_later_settles_the_answer():
    """An answer without usage is unbilled until its usage is recorded."""
    answer = Event(EventKind.MESSAGE, "e", AT, Origin.ASSISTANT, 1, Message("assistant", "Hi"))

    assert batch_effects([answer]).counters.unbilled_calls == 1
    assert batch_effects([answer, SAMPLES["usage"]]).counters.unbilled_calls == 0


def test_a_call_that_was_made_up_is_no_message():
    """It counts as a call, and nobody is billed for it."""
    made_up = replace(SAMPLES["message.assistant"], data={"synthetic": True})

    assert batch_effects([made_up]).counters == Counters(tool_calls=1)


def test_a_call_repeated_in_the_older_field_counts_once():
    """Servers that send both forms send one call."""
    wire = ANSWER | {"function_call": {"name": "f", "arguments": "{}"}}
    event = replace(SAMPLES["message.assistant"], message=Message.from_wire(wire))

    assert batch_effects([event]).counters.tool_calls == 1


def test_new_ids_sort_by_time():
    """Ids made later sort later, so they land at the end of a store's index."""
    ids = []
    for _ in range(5):
        ids.append(new_event_id())
        time.sleep(0.002)

    assert ids == sorted(ids)


def test_new_ids_are_unique_and_plain():
    """No two are the same, and none holds a character that a provider refuses in a tool call's id."""
    ids = {new_event_id() for _ in range(10_000)}

    assert len(ids) == 10_000
    assert all(
        len(i) == 19
        and set(i) <= set("-_0123456789") | set(map(chr, range(65, 91))) | set(map(chr, range(97, 123)))
        for i in ids
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_makes_ids_of_its_own():
    """Randomness that was drawn before a fork is not used on both sides of it."""
    script = """
import os
from summarizer.events import new_event_id
new_event_id()
if child := os.fork():
    os.waitpid(child, 0)
print(new_event_id()[7:], flush=True)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert len(set(done.stdout.split())) == 2


def test_keyed_ids_follow_from_the_key():
    """The same key gives the same ids, another key others; any text is a key."""
    assert [keyed_ids("k")(i) for i in range(3)] == [keyed_ids("k")(i) for i in range(3)]
    assert len({keyed_ids(key)(i) for key in ("k", "l", "\ud800") for i in range(3)}) == 9

"""What segmentations saved, added up from the log."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from summarizer.economy import Savings, carried_record, savings_of
from summarizer.events import Event, EventKind, Origin
from summarizer.messages import Message

AT = datetime(2026, 11, 21, tzinfo=UTC)
PRICES = {"input": 3e6, "output": 15e6, "read": 3e5, "write": 3.75e6}
EXPECTED = {
    "saving_pico": 5_000_000_000,
    "cache": "warm",
    "lifetime_s": 300,
    "prices_pico": PRICES,
    "model": "a-model",
    "before": 10_000,
    "after": 4_000,
    "fixed": 1_000,
    "ratio": 1.0,
}


def opened(seq=1, *, calls=(), savings=None, writer="extractive", **expected):
    """The record of a child's opening."""
    data = {"model_calls": list(calls), "writer": writer, "rejections": [], "expected": EXPECTED | expected}
    return Event(EventKind.SEGMENTED, f"s{seq}", AT, Origin.SYSTEM, data=data | (savings or {}), seq=seq)


def asked(seq, tokens=100, after_s=0):
    at = AT + timedelta(seconds=after_s)
    return Event(EventKind.MESSAGE, f"u{seq}", at, Origin.USER, tokens, Message("user", "?"), seq=seq)


def answered(seq, *, read, written, model="a-model", tokens=0):
    """An answer with its usage: a prompt of what was read and what was written."""
    usage = {
        "input_tokens": read + written,
        "output_tokens": 50,
        "cache_read_tokens": read,
        "cache_creation_tokens": written,
    }
    data = {"usage": usage, "model": model}
    return Event(
        EventKind.MESSAGE, f"a{seq}", AT, Origin.ASSISTANT, tokens, Message("assistant", "!"), data, seq=seq
    )


def usd(savings):
    return round(float(savings.saved_pico) / 1e12, 9)


def test_without_a_segmentation_nothing_is_saved_and_nothing_known():
    """A log without an opening has no savings, not even of 0."""
    assert savings_of([asked(1), answered(2, read=0, written=100)]) == Savings()
    assert Savings().realized is None
    assert Savings().expected is None
    assert carried_record([asked(1)]) == {}


def test_the_first_call_pays_for_the_rewriting():
    """In a warm cache the first call would have read all but the question; it wrote seed and tail instead."""
    first = savings_of([opened(), asked(2, tokens=100), answered(3, read=1_000, written=3_100)])
    would_have = (10_100 - 100) * 0.3 + 100 * 3.75
    did = 1_000 * 0.3 + 3_100 * 3.75

    assert usd(first) == pytest.approx((would_have - did) / 1e6)


@pytest.mark.parametrize(
    ("read", "changed", "rate"),
    [(4_000, {}, 0.3), (1_000, {}, 3.75), (0, {}, 3.75), (0, {"cache": "none"}, 3.0)],
)
def test_a_later_call_saves_what_was_removed_at_the_rate_of_its_own_prefix(read, changed, rate):
    """What was removed stood where the seed stands: read where the call read beyond the fixed prefix."""
    start = [opened(**changed), asked(2), answered(3, read=1_000, written=3_100)]
    one = savings_of(start)
    two = savings_of([*start, asked(4), answered(5, read=read, written=4_300 - read)])

    assert usd(two) - usd(one) == pytest.approx(6_000 * rate / 1e6)


def test_a_first_call_after_a_pause_would_have_written_everything():
    """If the cache has died since, the first call saved the writing of what was removed."""
    saved = savings_of([opened(), asked(2, after_s=301), answered(3, read=0, written=4_100)])

    assert usd(saved) == pytest.approx(6_000 * 3.75 / 1e6)


def test_a_call_under_way_when_the_child_opened_saved_nothing():
    """An answer to the long prompt is known and counts 0; the next call is the first one."""
    late = [opened(), answered(2, read=10_000, written=100)]
    saved = savings_of([*late, asked(3, tokens=100), answered(4, read=1_000, written=3_100)])
    plain = savings_of([opened(), asked(3, tokens=100), answered(4, read=1_000, written=3_100)])

    assert savings_of(late).saved_pico == 0
    assert saved.saved_pico == plain.saved_pico
    assert saved.known_calls == 2


@pytest.mark.parametrize(
    ("named", "known"),
    [
        ("a-model", 1),
        ("a-model-2026-01-02", 1),
        ("someone/a-model@20260102", 1),
        ("a-model-mini", 0),
        ("b-model", 0),
    ],
)
def test_another_models_call_is_unknown(named, known):
    """Prices are of one model; a dated name of it, or the provider before it, is the same one."""
    saved = savings_of([opened(), asked(2), answered(3, read=1_000, written=3_100, model=named)])

    assert (saved.known_calls, saved.unknown_calls) == (known, 1 - known)


def test_what_the_summary_cost_is_deducted_and_unknown_stays_unknown():
    """Realized is known only if every call and every summary is."""
    start = [asked(2), answered(3, read=1_000, written=3_100)]
    priced = savings_of([opened(calls=[{"cost_pico": 1_000_000_000}]), *start])
    unpriced = savings_of([opened(calls=[{"cost_pico": None}]), *start])
    own = savings_of([opened(writer="custom"), *start])
    free = savings_of([opened(), *start])

    assert priced.realized == free.realized - Decimal("0.001")
    assert unpriced.realized is None
    assert own.realized is None
    assert unpriced.estimated == free.realized
    assert savings_of([opened(saving_pico=None), *start]).expected is None


def test_sums_are_carried_without_loss_or_double_counting():
    """Closing a segment at any point and going on gives the same sums as counting it through."""
    first = [opened(), asked(2), answered(3, read=1_000, written=3_100)]
    more = [asked(4), answered(5, read=4_000, written=300), asked(6), answered(7, read=4_300, written=300)]
    whole = savings_of([*first, *more])
    for seen in (3, 5, 7):
        closed = [event for event in [*first, *more] if event.seq <= seen]
        record = carried_record(closed)
        child = [event for event in more if event.seq > 3] + [opened(8, savings=record)]
        after = savings_of(child)

        assert after.saved_pico == whole.saved_pico
        assert after.known_calls == whole.known_calls
        assert after.segmentations == 2
        assert Savings.from_dict(after.to_dict()) == after

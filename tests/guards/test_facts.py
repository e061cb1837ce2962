"""Facts as JSON: what one process writes, another reads as the same."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards import Outcome, SnapshotError
from guards.facts import (
    Announced,
    Asked,
    Began,
    Bound,
    Decided,
    Fact,
    Finished,
    Prompted,
    Refused,
    Said,
    Segmented,
    fact_from_dict,
    fact_to_dict,
)
from tests.guards.calls import NOON, finished, pending

CALL = pending("read", {"path": "a"})
FULL = pending(
    "read",
    {"path": "a"},
    number=3,
    references=("v1",),
    sources={"$.path": "$v1"},
    turn=2,
    epoch=4,
    scope="file:a",
    read_only=True,
    started_s=1.5,
)
RECORD = finished(CALL, {"rows": [1, None]}, binding="v1")
PRICED = replace(
    RECORD, outcome=Outcome.TIMEOUT, cost_usd=Decimal("0.10"), attempts=3, attempt_errors=("ConnectionError",)
)
FACTS: list[Fact] = [
    Prompted(),
    Prompted("do it", keep_bindings=False),
    Said("user", ""),
    Said("system", "text"),
    Segmented(),
    Segmented("full"),
    Announced((), 1),
    Announced(("a", "b"), 7),
    Began(CALL),
    Began(FULL, "key"),
    Finished(RECORD),
    Finished(PRICED, exact=False, aliases=("order",)),
    Refused(replace(RECORD, outcome=Outcome.REFUSED, attempts=0), "loop.repeat"),
    Asked(CALL, "permission.confirm"),
    Asked(FULL, "permission.confirm", "key"),
    Decided("c1", approved=True),
    Decided("c1", approved=False, reason="no"),
    Bound(1, "t", {}, NOON),
    Bound(2, "t", {"x": 1}, NOON, {"a": [0, False, ""]}, aliases=("order",)),
]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_a_fact_survives_json(fact: Fact) -> None:
    """Written and read it is equal, whatever of it is at its default."""
    assert fact_from_dict(json.loads(json.dumps(fact_to_dict(fact)))) == fact


def test_the_stored_form() -> None:
    """Old logs are read for good: this text does not change."""
    assert fact_to_dict(Began(FULL, "key")) == {
        "fact": "began",
        "call": {
            "call_id": "c1",
            "name": "read",
            "arguments": {"path": "a"},
            "raw_arguments": {"path": "a"},
            "fingerprint": CALL.fingerprint,
            "started_at": "2026-01-02T12:00:00+00:00",
            "started_s": 1.5,
            "number": 3,
            "references": ["v1"],
            "sources": {"$.path": "$v1"},
            "turn": 2,
            "epoch": 4,
            "scope": "file:a",
            "read_only": True,
        },
        "idempotency_key": "key",
    }
    assert fact_to_dict(Prompted()) == {"fact": "prompted"}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_any_result_survives(result: Any) -> None:
    """`0`, `false`, empty text and `null` stay what they are."""
    read = fact_from_dict(json.loads(json.dumps(fact_to_dict(Finished(replace(RECORD, result=result))))))

    assert isinstance(read, Finished)
    assert json.dumps(read.record.result) == json.dumps(result)


def test_what_a_newer_version_adds_is_left_out() -> None:
    """Unknown keys do not keep an older worker from reading."""
    assert fact_from_dict({"fact": "said", "origin": "user", "text": "x", "mood": "good"}) == Said(
        "user", "x"
    )


def test_a_missing_price_is_no_price() -> None:
    """`null` is unknown, also where a reader expects text."""
    row = fact_to_dict(Finished(RECORD))
    row["record"] |= {"cost_usd": None}

    assert fact_from_dict(row) == Finished(RECORD)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"fact": "unheard"},
        {"fact": ["said"]},
        {"fact": "said", "origin": "user"},
        {"fact": "began"},
        {"fact": "began", "call": []},
        {"fact": "finished", "record": {"call_id": "c1"}},
        {"fact": "finished", "record": fact_to_dict(Finished(RECORD))["record"] | {"outcome": "fine"}},
        {"fact": "finished", "record": fact_to_dict(Finished(RECORD))["record"] | {"cost_usd": "cheap"}},
        {"fact": "began", "call": fact_to_dict(Began(CALL))["call"] | {"started_at": "2026-01-02T12:00:00"}},
        {"fact": "announced", "call_ids": 5, "first": 1},
    ],
)
def test_what_is_no_fact_is_a_snapshot_error(value: Any) -> None:
    """A broken row, or one of a newer version, is named and not half read."""
    with pytest.raises(SnapshotError, match="fact cannot be read"):
        fact_from_dict(value)


def test_times_keep_their_instant() -> None:
    """An offset other than UTC is read as the same moment."""
    row = fact_to_dict(Bound(1, "t", {}, NOON)) | {"at": "2026-01-02T13:00:00+01:00"}
    read = fact_from_dict(row)

    assert isinstance(read, Bound)
    assert read.at == NOON == datetime(2026, 1, 2, 12, tzinfo=UTC)

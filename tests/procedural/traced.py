"""Traces and texts for the property tests of `procedural`."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st

from procedural import Change, Correction, Trace

START = datetime(2026, 3, 1, tzinfo=UTC)

names = st.sampled_from(["search", "book", "fetch_page"])
changes = st.builds(
    Change,
    path=st.sampled_from(["city", "items[].id"]),
    kind=st.sampled_from(["added", "retyped"]),
    after=st.sampled_from(["<int>", "metric"]),
)
corrections = st.none() | st.builds(
    Correction, st.sampled_from(["not found: no N", "timeout: "]), st.lists(changes, max_size=1).map(tuple)
)


@st.composite
def traces(draw: st.DrawFn, most: int = 12, days: int = 200) -> list[Trace]:
    """Traces of a few tools, each with its own id."""
    count = draw(st.integers(0, most))
    return [draw(one(number, days)) for number in range(count)]


@st.composite
def one(draw: st.DrawFn, number: int, days: int) -> Trace:
    success = draw(st.booleans())
    return Trace(
        trace_id=f"t{number:04}",
        tool_name=draw(names),
        at=START + timedelta(days=draw(st.integers(0, days)), seconds=number),
        success=success,
        owner="ann",
        session_id=draw(st.sampled_from([None, "s1", "s2"])),
        goal_words=draw(st.sampled_from([(), ("trip", "plan")])),
        forms={"city": draw(st.sampled_from(["word", "int"]))},
        choices=draw(st.sampled_from([{}, {"unit": "metric"}])),
        error_class=None if success else "not found",
        error=None if success else draw(st.sampled_from(["no N", None])),
        result_shape="list" if success else None,
        duration_s=draw(st.none() | st.floats(0, 1e7)),
        result_tokens=draw(st.none() | st.integers(0, 10**6)),
        cost_usd=draw(st.none() | st.decimals(0, 9, places=4).map(Decimal)),
        repeated=draw(st.booleans()),
        hinted=draw(st.sampled_from([None, True, False])),
        previous=draw(st.sampled_from([(), ("login",), ("login", "search")])),
        correction=draw(corrections),
    )

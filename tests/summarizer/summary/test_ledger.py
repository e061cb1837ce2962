"""The ledger between generations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from summarizer.events import Event, EventKind, Origin
from summarizer.messages import Message
from summarizer.meter import counter_named
from summarizer.summary.extraction import extract_rules
from summarizer.summary.ledger import fit, ledger_budget, merge
from summarizer.summary.record import Entry, EntryKind, EntryStatus

AT = datetime(2026, 11, 21, tzinfo=UTC)
ORIGINS = {"user": Origin.USER, "assistant": Origin.ASSISTANT, "system": Origin.SYSTEM}
COUNTER = counter_named("utf8/4")


def merged(
    previous: Sequence[Entry], *said: tuple[str, str], first: int, next_entry: int = 50
) -> tuple[Entry, ...]:
    """The ledger after some messages."""
    events = [
        Event(EventKind.MESSAGE, f"e{seq}", AT, ORIGINS[role], 1, Message(role, text), seq=seq)
        for seq, (role, text) in enumerate(said, first)
    ]
    return merge(previous, extract_rules(events, opening=first == 1), next_entry).entries


def entry(
    number: int, kind: EntryKind, text: str, key: str | None = None, origin: Origin = Origin.USER
) -> Entry:
    """An entry whose source is its own number."""
    return Entry(f"e{number}", kind, text, (number,), origin, key=key)


def test_entries_that_nothing_concerns_stay() -> None:
    """An entry that no new event mentions is the same object in the next generation."""
    old = (entry(1, EntryKind.CONSTRAINT, "Never fly."), entry(2, EntryKind.FACT, "zip=60621", "|zip"))
    new = merged(old, ("user", "Hello"), ("assistant", "Hi"), first=10)

    assert all(after is before for after, before in zip(new, old, strict=False))


def test_a_newer_value_replaces_the_older_one_of_its_key() -> None:
    """One value per key stays, under a new id."""
    old = (entry(2, EntryKind.FACT, "order number=W1000", "|order number"),)
    new = merged(old, ("user", "Sorry, my order number is W2000."), first=10)
    facts = [e for e in new if e.kind is EntryKind.FACT]

    assert [e.text for e in facts] == ["order number=W2000"]
    assert facts[0].id != "e2"


def test_repeated_constraints_stay_one() -> None:
    """A constraint said again is no second entry, and keeps its first source."""
    first = merged((), ("user", "Never call me."), ("assistant", "ok"), first=1)
    again = merged(first, ("user", "NEVER CALL ME!"), first=3, next_entry=90)
    kept = [e for e in again if e.kind is EntryKind.CONSTRAINT]

    assert [(e.id, e.sources[0]) for e in kept if e.text == "Never call me."] == [(first[0].id, 1)]
    assert len(kept) == 1


def test_answered_requests_become_past_ones() -> None:
    """An open request is closed by the assistant's answer, and stays word for word as a request."""
    old = merged(
        (), ("user", "Hi"), ("assistant", "Hello"), ("user", "Where is my blue suitcase, please?"), first=1
    )
    new = merged(old, ("assistant", "At the gate."), first=4, next_entry=80)

    assert [e.text for e in old if e.kind is EntryKind.OPEN] == ["Where is my blue suitcase, please?"]
    assert [e.text for e in new if e.kind is EntryKind.OPEN] == []
    assert "Where is my blue suitcase, please?" in [e.text for e in new if e.kind is EntryKind.OBJECTIVE]


def test_mentions_raise_a_value() -> None:
    """A value that the user names again gains that event as a source."""
    old = (entry(2, EntryKind.FACT, "order_id=W1000", "order_id=W1000|", Origin.TOOL),)
    new = merged(old, ("user", "What about W1000?"), first=10)

    assert new[0].sources == (2, 10)


def test_priorities() -> None:
    """The newest request comes first, then constraints, newest and oldest by turns, then open questions."""
    ledger = [
        entry(1, EntryKind.OBJECTIVE, "Plan the long trip to Rome.", "objective"),
        *(entry(i, EntryKind.CONSTRAINT, f"Rule {i} must be kept by all means.") for i in range(2, 30)),
        entry(30, EntryKind.OPEN, "Find the hotel.", "open@30"),
        entry(31, EntryKind.OPEN, "Assistant waits for: which hotel?", "awaiting@31"),
    ]
    counts = [len(fit(ledger, budget, COUNTER).entries) for budget in (0, 14, 40, 4000)]

    assert [e.id for e in fit(ledger, 0, COUNTER).entries] == ["e30"]
    assert [e.id for e in fit(ledger, 20, COUNTER).entries] == ["e29", "e30"]
    assert [e.id for e in fit(ledger, 40, COUNTER).entries] == ["e2", "e28", "e29", "e30"]
    assert counts == sorted(counts)
    assert fit(ledger, 4000, COUNTER).omitted == 0


def test_rules_come_before_wishes() -> None:
    """Where room is short, a model's note stays first, then what binds for good, then newer wishes."""
    noted = replace(entry(1, EntryKind.CONSTRAINT, "Boats make me sick."), writer="model")
    ledger = [
        noted,
        entry(2, EntryKind.CONSTRAINT, "Never book a night train."),
        *(entry(i, EntryKind.CONSTRAINT, f"I don't want insurance for trip {i}.") for i in range(3, 30)),
    ]

    assert [e.id for e in fit(ledger, 16, COUNTER).entries] == ["e1", "e2"]
    assert [e.id for e in fit(ledger, 28, COUNTER).entries] == ["e1", "e2", "e29"]


def test_what_a_model_noted_comes_before_what_rules_found() -> None:
    """A model chose it among all that was said; values in great number do not push it out."""
    noted = replace(entry(1, EntryKind.FACT, "The boiler is Ann's."), writer="model")
    ledger = [
        noted,
        *(entry(i, EntryKind.FACT, f"order_id=W{i}", f"order_id=W{i}|") for i in range(1000, 1300)),
    ]

    assert noted in fit(ledger, 30, COUNTER).entries


def test_values_that_only_the_assistant_said_come_last() -> None:
    """Nobody took them up, so what the user told goes first; once somebody does, they are values as any."""
    told = entry(1, EntryKind.FACT, "The boiler is Ann's.")
    said = [
        entry(i, EntryKind.FACT, f"study=B{i}", f"study=B{i}|", Origin.ASSISTANT) for i in range(1000, 1300)
    ]
    taken_up = replace(said[0], sources=(1000, 1400))

    assert told in fit([told, *said], 12, COUNTER).entries
    assert taken_up in fit([told, *said[1:], taken_up], 20, COUNTER).entries


def test_old_and_new_statements_stay_by_turns() -> None:
    """Rules cannot tell which statement will matter, so neither the oldest nor the newest take all room."""
    told = [entry(i, EntryKind.FACT, f"Room {i} is painted white.") for i in range(1, 41)]
    kept = [e.sources[0] for e in fit(told, 60, COUNTER).entries]

    assert {1, 2, 39, 40} <= set(kept)
    assert len(kept) < 20


def test_an_old_statement_never_stands_without_the_newer_one_on_its_subject() -> None:
    """The newer may correct the older, so room for one of them goes to the newer."""
    told = [entry(i, EntryKind.FACT, f"Room {i} is painted white.") for i in range(2, 41)]
    told = [entry(1, EntryKind.FACT, "The regatta is on Friday."), *told]
    told.insert(20, entry(50, EntryKind.FACT, "The regatta was moved to Monday."))
    sizes = [
        {e.sources[0] for e in fit(told, budget, COUNTER).entries} & {1, 50} for budget in range(0, 300, 5)
    ]

    assert {1, 50} in sizes
    assert {1} not in sizes


def test_no_kind_starves() -> None:
    """A thousand constraints leave room for values."""
    ledger = [entry(i, EntryKind.CONSTRAINT, f"Rule {i} must be kept by all means.") for i in range(1, 1000)]
    ledger += [entry(i, EntryKind.FACT, f"order_id=W{i}", f"order_id=W{i}|") for i in range(1000, 1300)]
    kinds = [e.kind for e in fit(ledger, 500, COUNTER).entries]

    assert kinds.count(EntryKind.FACT) >= 15
    assert kinds.count(EntryKind.CONSTRAINT) >= 20


def test_retired_entries_are_dropped_and_not_counted() -> None:
    """What is retired did not fall out of the budget."""
    gone = Entry("e1", EntryKind.FACT, "a=1", (1,), Origin.TOOL, EntryStatus.RETIRED)

    assert fit([gone], 100, COUNTER) == fit([], 100, COUNTER)


ENTRIES = st.lists(
    st.builds(
        entry,
        st.integers(1, 500),
        st.sampled_from(EntryKind),
        st.text("ab c=,|", min_size=1, max_size=60),
        st.one_of(st.none(), st.text("ab=|", max_size=10)),
        st.sampled_from(Origin),
    ),
    max_size=40,
    unique_by=lambda e: e.id,
)


@given(ENTRIES, st.integers(0, 300))
def test_fitting_twice_is_fitting_once(ledger: list[Entry], budget: int) -> None:
    """Fitting keeps a part of the ledger in its order, counts the rest, and is deterministic."""
    found = fit(ledger, budget, COUNTER)

    assert found == fit(ledger, budget, COUNTER)
    assert [e for e in ledger if e in found.entries] == list(found.entries)
    assert len(found.entries) + found.omitted == len(ledger)


def test_the_ledger_outlives_a_narrow_seed() -> None:
    """The ledger keeps at least 1,024 tokens, so that one small seed drops nothing for good."""
    assert [ledger_budget(budget) for budget in (0, 500, 1000, 8000)] == [1024, 1024, 2000, 16000]

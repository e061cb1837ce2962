"""What every `TraceStore` promises; an engine's suite runs these over its own store."""

import dataclasses

from procedural import Checkpoint, InMemoryTraceStore, Scope, Trace
from tests.procedural.traced import START


def trace(number: int, owner: str | None = "ann") -> Trace:
    """A trace with its own id."""
    return Trace(f"t{number}", "fetch", START, success=True, owner=owner)


async def test_traces_are_numbered_without_gaps_and_read_in_order() -> None:
    """The first is 1; `after` and `limit` page through."""
    store, scope = InMemoryTraceStore(), Scope("ann")
    first = await store.append(scope, [trace(1), trace(2)])
    second = await store.append(scope, [trace(3)])
    page = await store.read(scope, 1, limit=1)

    assert (first.last_seq, second.last_seq, first.log_id) == (2, 3, second.log_id)
    assert [(seq, one.trace_id) for seq, one in page.traces] == [(2, "t2")]
    assert page.last_seq == 3


async def test_a_trace_is_written_once() -> None:
    """Twice in a batch or in two, one id takes one number; `added` says which were new."""
    store, scope = InMemoryTraceStore(), Scope("ann")
    first = await store.append(scope, [trace(1), trace(1)])
    second = await store.append(scope, [trace(1), trace(2)])

    assert (first.added, first.last_seq) == (frozenset({"t1"}), 1)
    assert (second.added, second.last_seq) == (frozenset({"t2"}), 2)


async def test_what_is_read_is_what_was_written() -> None:
    """Every field."""
    store, scope = InMemoryTraceStore(), Scope("ann")
    whole = dataclasses.replace(trace(1), forms={"a": "int"}, choices={"b": "x"}, previous=("login",))
    await store.append(scope, [whole])

    assert (await store.read(scope)).traces == ((1, whole),)


async def test_a_checkpoint_only_moves_forward_and_belongs_to_its_log() -> None:
    """A late writer cannot set it back, and nobody can bring one into another log."""
    store, scope = InMemoryTraceStore(), Scope("ann")
    log_id = (await store.append(scope, [trace(n) for n in range(5)])).log_id
    saved = [
        await store.save(scope, Checkpoint(log_id, through, {"fetch": {"n": through}}))
        for through in (2, 4, 3, 4)
    ]
    foreign = await store.save(scope, Checkpoint("another", 5, {}))
    page = await store.read(scope)

    assert (saved, foreign) == ([True, True, False, False], False)
    assert page.checkpoint == Checkpoint(log_id, 4, {"fetch": {"n": 4}})
    assert [seq for seq, _ in page.traces] == [5]


async def test_scopes_are_apart() -> None:
    """Owners, sessions, the unowned, the empty name and the shared log are different logs."""
    store = InMemoryTraceStore()
    scopes = [Scope("ann"), Scope("ann", "s"), Scope("bob"), Scope(), Scope(""), Scope(shared=True)]
    for number, scope in enumerate(scopes):
        await store.append(scope, [trace(number)])

    assert [len((await store.read(scope)).traces) for scope in scopes] == [1] * 6
    assert len({scope.parts for scope in scopes}) == 6


async def test_an_unknown_log_is_empty_and_is_not_made_by_reading() -> None:
    """No traces yet is no error."""
    store = InMemoryTraceStore()
    page = await store.read(Scope("nobody"))

    assert (page.log_id, page.last_seq, page.traces) == ("", 0, ())
    assert not await store.save(Scope("nobody"), Checkpoint("", 1, {}))


async def test_erasing_takes_all_of_one_owner() -> None:
    """Each session, and the owner's part of the shared log, whose numbers stay and whose id changes."""
    store, shared = InMemoryTraceStore(), Scope(shared=True)
    for scope in (Scope("ann"), Scope("ann", "s1"), Scope("bob")):
        await store.append(scope, [trace(1)])
    before = await store.append(shared, [trace(1, "ann"), trace(2, "bob")])
    await store.save(shared, Checkpoint(before.log_id, 2, {}))
    removed = await store.erase("ann")
    page = await store.read(shared)

    assert removed == 3
    assert [(seq, one.owner) for seq, one in page.traces] == [(2, "bob")]
    assert (page.checkpoint, page.last_seq) == (None, 2)
    assert page.log_id != before.log_id
    assert [(await store.read(Scope("ann"))).traces, len((await store.read(Scope("bob"))).traces)] == [(), 1]
    assert (await store.append(Scope("ann"), [trace(1)])).added == {"t1"}

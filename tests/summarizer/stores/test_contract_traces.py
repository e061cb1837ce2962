"""The contract of the traces of tool calls, over every store: `procedural.TraceStore`."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procedural import (
    Change,
    Checkpoint,
    Correction,
    InMemoryTraceStore,
    Page,
    Scope,
    ToolMemoryManager,
    Trace,
    TraceStore,
)
from procedural.store import Appended
from summarizer.errors import InvalidSetting
from summarizer.stores import Erased, MemoryStore, open_trace_store
from tests.summarizer.stores.contract import in_another_process, shared_url, started
from tests.summarizer.stores.factories import FACTORIES, Fresh

AT = datetime(2026, 11, 2, 3, 4, 5, 678901, tzinfo=UTC)
ANN, BOB, SHARED = Scope("ann"), Scope("bob"), Scope(shared=True)


class Opened:
    """The traces of a fresh store, and those of a cold instance."""

    def __init__(self, fresh: Fresh) -> None:
        self.fresh = fresh
        self.traces = open_trace_store(fresh.store)

    async def second(self) -> TraceStore:
        return open_trace_store(await self.fresh.second())


@pytest.fixture
def opened(fresh_store: Fresh) -> Opened:
    return Opened(fresh_store)


def trace(trace_id: str, owner: str | None = "ann", **fields: Any) -> Trace:
    return Trace(trace_id, "search", AT, success=True, owner=owner, **fields)


def batch(*ids: str, owner: str | None = "ann") -> list[Trace]:
    return [trace(one, owner) for one in ids]


def ids(page: Page) -> list[tuple[int, str]]:
    return [(seq, one.trace_id) for seq, one in page.traces]


async def proven(opened: Opened, scope: Scope = ANN) -> list[tuple[int, str]]:
    """All traces of a log as a cold instance reads them, page by page."""
    store = await opened.second()
    page = await store.read(scope, 0, 7)
    found = ids(page)
    while len(page.traces) == 7:
        page = await store.read(scope, found[-1][0], 7)
        found += ids(page)
    return found


async def test_no_log_is_an_empty_page(opened: Opened) -> None:
    """What was never written is no error: no log, no checkpoint, no traces."""
    assert await opened.traces.read(ANN) == Page("", 0, None, ())
    assert await opened.traces.read(ANN, 5) == Page("", 0, None, ())


async def test_traces_are_numbered_from_one(opened: Opened) -> None:
    """Appends number on without a gap, under the one `log_id` that the first made."""
    first = await opened.traces.append(ANN, batch("a", "b"))
    second = await (await opened.second()).append(ANN, batch("c"))
    page = await (await opened.second()).read(ANN)

    assert (first.last_seq, first.added) == (2, {"a", "b"})
    assert second == Appended(first.log_id, 3, frozenset({"c"}))
    assert (page.log_id, page.last_seq, page.checkpoint) == (first.log_id, 3, None)
    assert ids(page) == [(1, "a"), (2, "b"), (3, "c")]


async def test_a_trace_comes_back_as_it_was(opened: Opened) -> None:
    """Every field survives, with text of any script and names of any characters."""
    whole = Trace(
        trace_id="\x00 \ud800 🧵" * 40,
        tool_name="søk\n",
        at=AT,
        success=False,
        owner="ann",
        session_id="s\x00~2",
        goal_words=("billig", "再见"),
        forms={"q": "<text>", "n[]": "<int>"},
        choices={"unit": "°C"},
        error_class="timeout",
        error='a "quoted" {text}',
        result_shape="{a: int}",
        duration_s=0.1,
        result_tokens=2**40,
        cost_usd=Decimal("0.00000012"),
        hinted=False,
        previous=("x", "y"),
        correction=Correction("other: no", (Change("q", "retyped", "<int>", "<text>"),)),
    )
    scope = Scope("ann", whole.session_id)
    done = await opened.traces.append(scope, [whole])
    page = await (await opened.second()).read(scope)

    assert done.added == {whole.trace_id}
    assert page.traces == ((1, whole),)


async def test_a_known_trace_is_left_out(opened: Opened) -> None:
    """An id that the log knows, or that stands twice in the batch, is written once and takes no number."""
    await opened.traces.append(ANN, batch("a", "b"))
    done = await (await opened.second()).append(ANN, batch("b", "c", "c", "a", "d"))
    again = await opened.traces.append(ANN, batch("c", "d"))

    assert (done.last_seq, done.added) == (4, {"c", "d"})
    assert (again.last_seq, again.added) == (4, frozenset())
    assert await proven(opened) == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]


async def test_scopes_keep_apart(opened: Opened) -> None:
    """Owner, session and the shared log are logs of their own, however alike their names are."""
    scopes = [
        Scope(),
        Scope(""),
        Scope("="),
        Scope("a", "bc"),
        Scope("ab", "c"),
        Scope("a\x00b", "c"),
        Scope("a", "\x00bc"),
        Scope(None, "c"),
        Scope(None, ""),
        Scope("\ud83d\ude00"),
        Scope("😀"),
        Scope("shared"),
        SHARED,
    ]
    for number, scope in enumerate(scopes):
        await opened.traces.append(scope, [trace(f"t{number}", scope.owner)])

    assert [await proven(opened, scope) for scope in scopes] == [[(1, f"t{n}")] for n in range(len(scopes))]
    assert len({(await opened.traces.read(scope)).log_id for scope in scopes}) == len(scopes)


async def test_pages_join(opened: Opened) -> None:
    """`after` and `limit` cut the log into pages without gap or repeat."""
    await opened.traces.append(ANN, batch(*(f"t{n}" for n in range(10))))
    store = await opened.second()

    assert [seq for seq, _ in ids(await store.read(ANN, 0, 4))] == [1, 2, 3, 4]
    assert [seq for seq, _ in ids(await store.read(ANN, 4, 4))] == [5, 6, 7, 8]
    assert [seq for seq, _ in ids(await store.read(ANN, 8, 4))] == [9, 10]
    assert ids(await store.read(ANN, 10, 4)) == ids(await store.read(ANN, 99)) == []
    assert ids(await store.read(ANN, 0, 0)) == []
    assert (await store.read(ANN, 99)).last_seq == 10


async def test_a_checkpoint_is_compared_and_set(opened: Opened) -> None:
    """It is kept if it is of this log and reaches further; else nothing changes and the answer is no."""
    log_id = (await opened.traces.append(ANN, batch("a", "b", "c"))).log_id
    cold = await opened.second()
    answers = [
        await opened.traces.save(BOB, Checkpoint(log_id, 1, {})),
        await opened.traces.save(ANN, Checkpoint("other", 1, {})),
        await opened.traces.save(ANN, Checkpoint(log_id, 2, {"søk": {"n": 2}})),
        await cold.save(ANN, Checkpoint(log_id, 2, {"n": "same"})),
        await cold.save(ANN, Checkpoint(log_id, 1, {"n": "less"})),
    ]
    page = await (await opened.second()).read(ANN)

    assert answers == [False, False, True, False, False]
    assert page.checkpoint == Checkpoint(log_id, 2, {"søk": {"n": 2}})
    assert ids(page) == [(3, "c")]
    assert (await cold.read(ANN, 0)).checkpoint is None
    assert await cold.save(ANN, Checkpoint(log_id, 3, {})) is True
    assert (await opened.traces.read(ANN)).checkpoint == Checkpoint(log_id, 3, {})


async def test_of_racing_checkpoints_the_farthest_stays(opened: Opened) -> None:
    """However saves interleave, what is kept reaches furthest."""
    log_id = (await opened.traces.append(ANN, batch(*(f"t{n}" for n in range(9))))).log_id
    stores = [opened.traces, await opened.second()]
    order = [3, 9, 1, 7, 2, 8, 4, 6, 5]
    kept = await asyncio.gather(
        *(stores[n % 2].save(ANN, Checkpoint(log_id, n, {"through": n})) for n in order)
    )

    assert kept[1] is True
    assert (await (await opened.second()).read(ANN)).checkpoint == Checkpoint(log_id, 9, {"through": 9})


async def test_racing_appends_lose_nothing(opened: Opened) -> None:
    """Tasks over two instances: every trace once, numbers without a gap, batches whole and in order."""
    stores = [opened.traces, await opened.second()]
    claimed: list[str] = []

    async def write(task: int, store: TraceStore) -> None:
        for number in range(6):
            ours = [f"{task}.{number}.{part}" for part in range(3)]
            done = await store.append(ANN, batch(*ours, f"common.{number}"))
            claimed.extend(done.added)

    await asyncio.gather(*(write(task, stores[task % 2]) for task in range(8)))
    found = await proven(opened)
    order = [trace_id for _, trace_id in found]

    assert [seq for seq, _ in found] == list(range(1, 8 * 6 * 3 + 6 + 1))
    assert sorted(claimed) == sorted(order)
    for task in range(8):
        ours = [one for one in order if one.startswith(f"{task}.")]
        assert ours == sorted(ours)
        places = [order.index(f"{task}.{number}.0") for number in range(6)]
        assert all(order[at + 2] == f"{order[at][:-1]}2" for at in places)


async def test_processes_write_one_log(opened: Opened) -> None:
    """Processes lose nothing; what they were answered for is there though they ended without closing."""
    url = shared_url(opened.fresh)
    told = await asyncio.gather(
        *(in_another_process("worker_traces.py", url, f"p{n}", 3, 5) for n in range(3))
    )
    found = await proven(opened, Scope(None))

    assert [seq for seq, _ in found] == list(range(1, 3 * 3 * 5 + 5 + 1))
    assert sorted(one for added in told for one in added) == sorted(trace_id for _, trace_id in found)


async def test_racing_first_appends_make_one_log(opened: Opened) -> None:
    """The log has one `log_id`, whoever makes it."""
    stores = [opened.traces, await opened.second()]
    done = await asyncio.gather(*(stores[n % 2].append(ANN, batch(f"t{n}")) for n in range(6)))

    assert len({one.log_id for one in done}) == 1
    assert sorted(one.last_seq for one in done) == [1, 2, 3, 4, 5, 6]


async def test_an_owner_is_erased_alone(opened: Opened) -> None:
    """All logs of the owner go, of every session; another's and the unowned stay; the count is told."""
    store = opened.traces
    for scope in (ANN, Scope("ann", "s1"), Scope("ann", "s2"), BOB, Scope("bob", "s1"), Scope()):
        await store.append(scope, batch("a", "b", owner=scope.owner))
    before = (await store.read(ANN)).log_id
    await store.save(ANN, Checkpoint(before, 2, {"x": 1}))

    assert await (await opened.second()).erase("ann") == 6
    assert await store.erase("ann") == 0
    for scope in (ANN, Scope("ann", "s1"), Scope("ann", "s2")):
        assert await store.read(scope) == Page("", 0, None, ())
    assert [len(await proven(opened, one)) for one in (BOB, Scope("bob", "s1"), Scope())] == [2, 2, 2]
    assert await store.save(ANN, Checkpoint(before, 9, {"x": 1})) is False
    anew = await store.append(ANN, batch("a"))
    assert (anew.last_seq, anew.added) == (1, {"a"})
    assert anew.log_id != before
    assert await store.erase(None) == 2
    assert await proven(opened, Scope()) == []


async def test_an_owner_is_erased_from_the_shared_log(opened: Opened) -> None:
    """The owner's traces go; the others keep their numbers under a new `log_id`, without a checkpoint."""
    store = opened.traces
    log_id = (await store.append(SHARED, [trace("a1"), trace("b1", "bob"), trace("a2")])).log_id
    await store.append(SHARED, [trace("n1", None), trace("b2", "bob"), trace("a3")])
    await store.save(SHARED, Checkpoint(log_id, 4, {"x": 1}))

    assert await store.erase("nobody") == 0
    assert (await store.read(SHARED)).log_id == log_id
    assert await (await opened.second()).erase("ann") == 3
    page = await (await opened.second()).read(SHARED)
    assert ids(page) == [(2, "b1"), (4, "n1"), (5, "b2")]
    assert (page.last_seq, page.checkpoint) == (6, None)
    assert page.log_id != log_id
    assert await store.save(SHARED, Checkpoint(log_id, 9, {"x": 1})) is False
    anew = await store.append(SHARED, [trace("a1"), trace("b1", "bob")])
    assert anew == Appended(page.log_id, 7, frozenset({"a1"}))
    assert await store.erase(None) == 1
    assert await proven(opened, SHARED) == [(2, "b1"), (5, "b2"), (7, "a1")]


async def test_much_is_erased_whole(opened: Opened) -> None:
    """More logs and traces than one step removes are gone all the same."""
    store = opened.traces
    for number in range(0, 2400, 600):
        await store.append(SHARED, batch(*(f"t{n}" for n in range(number, number + 600))))
    await asyncio.gather(*(store.append(Scope("ann", f"s{n}"), batch("t")) for n in range(230)))

    assert await store.erase("ann") == 2630
    assert (await store.read(SHARED)).traces == ()
    assert await store.read(Scope("ann", "s0")) == Page("", 0, None, ())


async def test_traces_are_erased_with_their_owner(fresh_store: Fresh) -> None:
    """`EventStore.erase` of an owner removes and counts the traces too; of one conversation it does not."""
    store, traces = fresh_store.store, open_trace_store(fresh_store.store)
    await started(store, "ann", "c", count=2)
    await traces.append(ANN, batch("a", "b"))
    await traces.append(SHARED, [trace("a"), trace("b", "bob")])
    await traces.append(BOB, batch("x", owner="bob"))
    cold = await fresh_store.second()

    assert await cold.erase("ann", "c") == Erased(1, 1, 2)
    assert await cold.erase("ann") == Erased(traces=3)
    assert await store.erase("ann") == Erased()
    assert ids(await traces.read(ANN)) == []
    assert ids(await traces.read(SHARED)) == [(2, "b")]
    assert ids(await traces.read(BOB)) == [(1, "x")]


@pytest.mark.parametrize("checkpoint_every", [4, 500])
async def test_another_instance_learns(opened: Opened, checkpoint_every: int) -> None:
    """After `load` a manager on another instance has the first one's patterns, checkpoint or not."""
    first = ToolMemoryManager(
        store=opened.traces, owner="ann", checkpoint_every=checkpoint_every, clock=lambda: AT
    )
    for number in range(10):
        await first.record("search", {"q": "x", "n": number}, {"hits": 3}, duration_s=0.2)
    await first.record("search", {"q": "x"}, error="not found")
    second = ToolMemoryManager(store=await opened.second(), owner="ann", clock=lambda: AT)
    before = second.get_patterns()
    await second.load()

    assert (before, [pattern.calls for pattern in second.get_patterns()]) == ((), [11])
    assert second.get_patterns() == first.get_patterns()
    await second.erase()
    await first.load()
    assert first.get_patterns() == ()


CALLS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "append", "read", "read", "save", "erase"]),
        st.integers(0, 4),
        st.lists(st.integers(0, 9), max_size=4),
        st.integers(0, 6),
    ),
    max_size=25,
)


SCOPES = [ANN, BOB, Scope("ann", "s"), Scope(), SHARED]


async def take(store: TraceStore, step: tuple[str, int, list[int], int]) -> Any:
    """Run one step; the answer without the `log_id`, which differs, but whether it is still the same."""
    call, who, numbers, small = step
    scope = SCOPES[who]
    now = (await store.read(scope, 0, 0)).log_id
    if call == "append":
        traces = [trace(f"t{n}", ("ann", "bob", None)[n % 3]) for n in numbers]
        done = await store.append(scope, traces)
        return done.last_seq, done.added, done.log_id == now
    if call == "save":
        log_id = now if now and small else "other"
        return await store.save(scope, Checkpoint(log_id, small, {"n": numbers}))
    if call == "erase":
        return await store.erase(scope.owner), (await store.read(scope, 0, 0)).log_id == now
    page = await store.read(scope, None if small > 4 else small, small + 1)
    kept = page.checkpoint and (page.checkpoint.through_seq, page.checkpoint.sums)
    return page.last_seq, kept, ids(page), page.log_id == now


@pytest.mark.parametrize("name", list(FACTORIES))
def test_every_store_answers_as_memory_does(name: str) -> None:
    """Whatever is called in whatever order, the answers are those of `InMemoryTraceStore`."""

    async def compare(steps: list[tuple[str, int, list[int], int]]) -> None:
        async with FACTORIES[name]() as fresh:
            traces, model = open_trace_store(fresh.store), InMemoryTraceStore()
            for step in steps:
                expected = await take(model, step)

                assert expected == await take(traces, step), step
            cold = open_trace_store(await fresh.second())
            for scope in SCOPES:
                assert ids(await cold.read(scope, 0)) == ids(await model.read(scope, 0))

    @settings(max_examples=30, deadline=None)
    @given(CALLS)
    def law(steps: list[tuple[str, int, list[int], int]]) -> None:
        asyncio.run(compare(steps))

    law()


async def test_a_url_opens_the_traces_beside_the_log(tmp_path: Any) -> None:
    """The trace store of a URL reads what the event store of that URL erases."""
    url = f"sqlite:///{tmp_path}/log.db"
    traces = open_trace_store(url)
    await traces.append(ANN, batch("a"))
    named = MemoryStore()

    assert isinstance(open_trace_store("memory://"), InMemoryTraceStore)
    assert open_trace_store(named) is open_trace_store(named)
    assert ids(await open_trace_store(url).read(ANN)) == [(1, "a")]
    with pytest.raises(InvalidSetting, match="unknown store scheme 'ftp'"):
        open_trace_store("ftp://x")
    with pytest.raises(InvalidSetting, match="object keeps no traces"):
        open_trace_store(object())  # type: ignore[arg-type]

"""`before_call` and `after_call` with every check on, at 10 to 100,000 calls of history, beside two peers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from cProfile import Profile
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from statistics import median
from types import CodeType
from typing import Any

from guards import GroundingPolicy, Limits, LoopPolicy, PermissionPolicy, ToolGuard, ToolSpec

from .harness import Figure, Result, percentile

_LENGTHS = (10, 1_000, 100_000)
_QUICK_LENGTHS = (10, 100)
_MANY = 1 << 40
_LEAVES = 1_000
_RESULT_CHARACTERS = 10_000
_MIB = 1024 * 1024

_TOOLS = (
    ToolSpec("get_order", read_only=True, group="discovery", scope="order:{order_id}"),
    ToolSpec("update_order", read_only=False, group="execution", scope="order:{order_id}"),
    ToolSpec("find_orders", read_only=True, group="discovery"),
)


def _guard() -> ToolGuard:
    """A guard with every check on, and limits that nothing here reaches."""
    limits = Limits(
        total=_MANY,
        per_run=_MANY,
        per_turn=_MANY,
        per_tool=_MANY,
        per_group={"discovery": _MANY, "execution": _MANY},
        wall_s=1e9,
        result_tokens=_MANY,
    )
    return ToolGuard(
        _TOOLS,
        limits=limits,
        loop=LoopPolicy(),
        grounding=GroundingPolicy("warn"),
        permissions=PermissionPolicy(),
    )


_PARTS = {
    "arguments, references, fingerprint": ("parse_arguments", "Steps.pending"),
    "loop check": ("LoopCheck.examine", "LoopCheck.observe"),
    "grounding": ("GroundingCheck.examine", "GroundingCheck.observe"),
    "budgets": ("BudgetCheck.examine", "BudgetCheck.began", "BudgetCheck.observe"),
    "bindings and cache": ("BindingManager.bind", "ResultCache.find", "ResultCache.put"),
    "permission and idempotency": ("PermissionCheck.examine", "Ledger.examine", "Ledger.key_of"),
}
"""Functions that do each part of a call; none of them calls another one here."""

Way = Callable[[], object]


class _Agent:
    """A guard that has seen a number of calls: orders are looked up, then updated with what was found."""

    def __init__(self, calls: int) -> None:
        self.guard = _guard()
        self.guard.system_said("You help with orders. Refunds are paid within 5 days.")
        self._numbers = count(1_000_000)
        self._last = "W1000000"
        self.guard.reset_for_new_prompt("Please look up my orders, W1000000 to W9999999, and pay 25 back.")
        for _ in range(calls // 2):
            self.look_up()
            self.update()

    def _ran(self, name: str, arguments: str, result: Any) -> None:
        verdict = self.guard.before_call(name, arguments)
        assert verdict.should_run, verdict.message
        self.guard.after_call(verdict.call_id, result=result, result_tokens=30)

    def look_up(self) -> None:
        """The next order is found: two arguments, a result of four leaves."""
        arguments = json.dumps({"query": "the order after this one", "after": self._last})
        number = next(self._numbers)
        self._last = f"W{number}"
        found = {"order_id": self._last, "status": "pending", "total": 40 + number % 900, "items": [number]}
        self._ran("find_orders", arguments, found)

    def update(self) -> None:
        """An order that was found is changed: three arguments, each from somewhere."""
        arguments = json.dumps({"order_id": self._last, "status": "refunded", "amount": 25})
        self._ran("update_order", arguments, {"ok": True, "order_id": self._last, "refund": 25})

    def by_reference(self) -> None:
        """The same, with the id passed on as `$vN`."""
        number = self.guard.bindings.next_number - 1
        arguments = f'{{"order_id": "$v{number}.order_id", "status": "refunded", "amount": 25}}'
        self._ran("update_order", arguments, {"ok": True, "order_id": self._last, "refund": 25})

    def invented(self) -> None:
        """An order that nobody mentioned: the check looks everywhere, warns and proposes."""
        arguments = json.dumps({"order_id": f"Z{next(self._numbers)}", "status": "refunded", "amount": 25})
        self._ran("update_order", arguments, {"ok": True, "refund": 25})

    def replayed(self) -> None:
        """The same question again, answered by the cache."""
        verdict = self.guard.before_call("get_order", '{"order_id": "W1000000"}')
        if verdict.should_run:
            self.guard.after_call(verdict.call_id, result={"order_id": "W1000000", "status": "pending"})
        elif verdict.result is None:
            # A loop on the cache, which the guard is right to stop; a user's message ends it.
            self.guard.reset_for_new_prompt("Look once more.")


async def run(*, quick: bool = False) -> Result:
    """Measure small calls at each length of history, then references, sources and the peers."""
    lengths, samples = (_QUICK_LENGTHS, 20) if quick else (_LENGTHS, 1_000)
    figures = [*_histories(lengths, samples), *_resolving(5 if quick else 200), *_sources(quick=quick)]
    peers, notes = _peers(samples)
    notes.append("a call is `before_call` with its JSON text and `after_call`; every check and limit is on")
    notes.append("the peers check and record the same calls; neither resolves, binds, caches or grounds")
    return Result("guard_calls", [*figures, *peers], notes)


def _histories(lengths: tuple[int, ...], samples: int) -> list[Figure]:
    agents = {length: _Agent(length) for length in lengths}
    names = ("look_up", "update", "by_reference", "invented", "replayed")
    ways = {(length, name): getattr(agent, name) for length, agent in agents.items() for name in names}
    # The shortest history must stay short, so it begins anew for every handful of calls.
    times: dict[tuple[int, str], list[float]] = {key: [] for key in ways}
    for turn in range(samples):
        if turn % 5 == 0:
            fresh = _Agent(lengths[0])
            ways |= {(lengths[0], name): getattr(fresh, name) for name in names}
        for key, way in ways.items():
            times[key].append(_timed(way))
    figures: list[Figure] = []
    for length in lengths:
        spent = [t for name in ("look_up", "update") for t in times[length, name]]
        figures.append(Figure(f"a call at {length:,} of history", median(spent) * 1e6, "us", at_most=200))
        figures.append(Figure("  p99", percentile(spent, 0.99) * 1e6, "us"))
    last = lengths[-1]
    first = median(times[lengths[0], "look_up"] + times[lengths[0], "update"])
    grown = median(times[last, "look_up"] + times[last, "update"])
    figures.append(Figure(f"a call at {last:,} over {lengths[0]:,}", grown / first, at_most=1.25))
    figures += _shares(agents[last], samples)
    return figures + [
        Figure(f"a call {name.replace('_', ' ')}, at {last:,}", median(times[last, name]) * 1e6, "us")
        for name in names[2:]
    ]


def _shares(agent: _Agent, rounds: int) -> list[Figure]:
    """Where the time of a call goes, as cProfile sees it."""
    profile = Profile()
    for _ in range(rounds):
        profile.runcall(agent.look_up)
        profile.runcall(agent.update)
    spent = {
        row.code.co_qualname: row.totaltime for row in profile.getstats() if isinstance(row.code, CodeType)
    }
    whole = spent["ToolGuard.before_call"] + spent["ToolGuard.after_call"]
    shares = {name: sum(spent[part] for part in parts) / whole for name, parts in _PARTS.items()}
    shares["the rest: order of steps, records, verdict"] = 1 - sum(shares.values())
    return [Figure(f"share of {name}", share * 100, "%") for name, share in shares.items()]


def _resolving(rounds: int) -> list[Figure]:
    guard = ToolGuard()
    guard.bind_value("list_rows", {}, {"rows": [{"id": f"R{i}", "n": i} for i in range(_LEAVES)]})
    arguments = {"rows": [f"$v1.rows[{i}].id" for i in range(_LEAVES)]}
    plain = {"rows": [f"R{i}" for i in range(_LEAVES)]}
    return [
        Figure(
            f"resolving {_LEAVES:,} references", _median(lambda: guard.resolve(arguments), rounds) * 1e3, "ms"
        ),
        Figure(
            f"resolving {_LEAVES:,} plain leaves", _median(lambda: guard.resolve(plain), rounds) * 1e3, "ms"
        ),
    ]


def _sources(*, quick: bool) -> list[Figure]:
    """Where an argument comes from, in 10 MB of results and in 100 KB."""
    figures: list[Figure] = []
    for megabytes in (0.1, 0.2) if quick else (0.1, 10):
        guard = _guard()
        results = int(megabytes * 1e6 / _RESULT_CHARACTERS)
        start = time.perf_counter()
        for i in range(results):
            guard.record("find_orders", {"query": f"page {i}"}, result=_page(i))
        indexed = time.perf_counter() - start
        label = f"in {megabytes:g} MB of results"
        figures.append(Figure(f"indexing, {label}", indexed / megabytes * 1e3, "ms/MB"))
        for name, order in (("there", _order(results // 2, 5)), ("not there", "W999-00-7")):
            arguments = {"order_id": order, "status": "refunded"}
            look = partial(guard.check_ungrounded_call, "update_order", arguments)
            spent = _median(look, 20 if quick else 500)
            figures.append(Figure(f"an id that is {name}, {label}", spent * 1e6, "us"))
    return figures


def _order(page: int, row: int) -> str:
    return f"W{page * 7919 % 100_003:06}-{row}"


def _page(page: int) -> str:
    rows: list[str] = []
    size = 0
    for row in count():
        if size >= _RESULT_CHARACTERS:
            return f"[{','.join(rows)}]"
        text = json.dumps({"order_id": _order(page, row), "status": "pending", "total": page * 100 + row})
        rows.append(text)
        size += len(text)
    raise AssertionError


def _peers(samples: int) -> tuple[list[Figure], list[str]]:
    figures: list[Figure] = []
    notes: list[str] = []
    for package, module, make in (
        ("agent-loop-guard", "loop_guard", _loop_guard),
        ("chuk-tool-processor", "chuk_tool_processor", _chuk),
    ):
        if find_spec(module) is None:
            notes.append(f"peer left out: pip install {package}")
            continue
        way = make()
        for _ in range(20):
            way()
        figures.append(Figure(f"peer {package}: a call", _median(way, samples) * 1e6, "us"))
    return figures, notes


def _loop_guard() -> Way:
    guard = import_module("loop_guard").LoopGuard()
    numbers = count(1_000_000)

    def call() -> None:
        order = f"W{next(numbers)}"
        result = {"ok": True, "order_id": order, "refund": 25}
        guard.check(
            "update_order", {"order_id": order, "status": "refunded", "amount": 25}, json.dumps(result)
        )

    return call


def _chuk() -> Way:
    """Its guards for budgets, placeholders, saturation and lineage, in its own chain."""
    guards = import_module("chuk_tool_processor.guards")
    budget = guards.BudgetGuard(
        guards.BudgetGuardConfig(discovery_budget=_MANY, execution_budget=_MANY, total_budget=_MANY)
    )
    per_tool = guards.PerToolGuard(guards.PerToolGuardConfig(default_limit=_MANY))
    runaway = guards.RunawayGuard()
    chain = guards.GuardChain([
        ("unresolved", guards.UnresolvedReferenceGuard()),
        ("budget", budget),
        ("per_tool", per_tool),
        ("runaway", runaway),
        ("provenance", guards.ProvenanceGuard()),
    ])  # fmt: skip
    numbers = count(1_000_000)

    def call() -> None:
        order = f"W{next(numbers)}"
        arguments = {"order_id": order, "status": "refunded", "amount": 25}
        result = {"ok": True, "order_id": order, "refund": 25}
        assert chain.check_all("update_order", arguments).allowed
        chain.check_output_all("update_order", arguments, result)
        budget.record_call("update_order")
        per_tool.record_call("update_order")
        runaway.record_result(result)

    return call


def _timed(way: Way) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def _median(way: Way, rounds: int) -> float:
    return median(_timed(way) for _ in range(rounds))

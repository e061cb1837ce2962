"""What procedural memory would have learned from the runs, one after another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from procedural import Fix, ToolMemoryManager, Trace

from .watching import BEGAN, Watched

__all__ = ["Attempted", "Learned", "learn"]


@dataclass(frozen=True, slots=True)
class Attempted:
    """A call that tried again after a failure, as the memory reads it.

    Attributes:
        run_id: Its run.
        index: Its place among the run's calls.
        trace: The call.
    """

    run_id: str
    index: int
    trace: Trace


@dataclass(slots=True)
class Learned:
    """What came of all runs.

    Attributes:
        errors: Failed calls.
        seen_before: Those with the same tool and message, values aside, as a failure in an earlier run.
        fix_known: Those for which a fix was known by then.
        attempts: Calls that the memory takes for a second try.
        fixes: Fixes by origin and tool, at the end.
    """

    errors: int = 0
    seen_before: int = 0
    fix_known: int = 0
    attempts: list[Attempted] = field(default_factory=list[Attempted])
    fixes: list[tuple[str, str, Fix]] = field(default_factory=list[tuple[str, str, Fix]])


async def learn(runs: Iterable[Watched]) -> Learned:
    """Remember every finished call, in the order of the runs; one memory for each source and domain."""
    learned = Learned()
    memories: dict[str, ToolMemoryManager] = {}
    errors: dict[str, set[tuple[str, str]]] = {}
    for watched in runs:
        origin = watched.run.origin
        memory = memories.get(origin)
        if memory is None:
            # The recordings have no times: the guard's clock is the memory's, and nothing counts as old.
            memory = memories[origin] = ToolMemoryManager(owner=origin, clock=lambda: BEGAN)
        known = errors.setdefault(origin, set())
        new: set[tuple[str, str]] = set()
        for seen in watched.calls:
            if seen.record is None:
                continue
            trace = await memory.remember(seen.record, session_id=watched.run.run_id)
            if trace.correction is not None:
                learned.attempts.append(Attempted(watched.run.run_id, seen.call.index, trace))
            if not trace.success:
                _count_error(learned, memory, trace, known, new)
        known |= new
    for origin, memory in memories.items():
        learned.fixes += [(origin, p.tool_name, fix) for p in memory.get_patterns() for fix in p.fixes]
    return learned


def _count_error(
    learned: Learned,
    memory: ToolMemoryManager,
    trace: Trace,
    known: set[tuple[str, str]],
    new: set[tuple[str, str]],
) -> None:
    key = (trace.tool_name, trace.error_key)
    new.add(key)
    learned.errors += 1
    learned.seen_before += key in known
    fixes = (fix for pattern in memory.get_patterns(trace.tool_name) for fix in pattern.fixes)
    learned.fix_known += any(f"{fix.error_class}: {fix.error_text}" == trace.error_key for fix in fixes)

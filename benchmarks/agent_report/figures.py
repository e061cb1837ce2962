"""The report's figures and the lists beside them, from what was watched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from guards import Action, Finding
from procedural import Change

from ..harness import Figure
from .declared import spec_of
from .learning import Learned
from .saving import previewed, references
from .watching import Replay, Seen, Watched

__all__ = ["figures_of", "lists_of"]

_PREVIEWS = (1000, 4000)
_RETRIED_WITHIN = 3


def figures_of(runs: Sequence[Watched], replayed: Sequence[Replay], learned: Learned) -> list[Figure]:
    """Every number of the report."""
    calls = [seen for watched in runs for seen in watched.calls]
    return [
        Figure("runs", len(runs), ""),
        Figure("calls", len(calls), ""),
        Figure("calls whose arguments are no JSON", sum(watched.not_json for watched in runs), ""),
        *_duplicates(calls, replayed),
        *_provenance(calls),
        *_ungrounded(calls, runs),
        *_loops(runs),
        *_savings(runs),
        *_learning(runs, learned),
    ]


def lists_of(
    runs: Sequence[Watched], replayed: Sequence[Replay], learned: Learned
) -> dict[str, list[dict[str, Any]]]:
    """What is to be looked at by hand, each with its run and the place of the call in it."""
    return {
        "loops": [row for watched in runs for row in _loop_rows(watched)],
        "replays that differ from the recording": [
            {"run": r.run.run_id, "call": r.call.index, "tool": r.call.name}
            for r in replayed
            if r.rightly is False
        ],
        "ungrounded calls": [_ungrounded_row(s) for watched in runs for s in watched.calls if s.ungrounded],
        "second tries": [
            {
                "run": a.run_id,
                "call": a.index,
                "tool": a.trace.tool_name,
                "worked": a.trace.success,
                "error": a.trace.correction.error,
                "changes": _changes(a.trace.correction.changes),
            }
            for a in learned.attempts
            if a.trace.correction is not None
        ],
        "fixes": [
            {
                "from": origin,
                "tool": tool,
                "error": f"{fix.error_class}: {fix.error_text}",
                "changes": _changes(fix.changes),
                "worked": f"{fix.rate.successes} of {fix.rate.calls}",
                "runs": fix.sessions,
            }
            for origin, tool, fix in learned.fixes
        ],
    }


def _duplicates(calls: Sequence[Seen], replayed: Sequence[Replay]) -> list[Figure]:
    again = [seen for seen in calls if seen.asked_before]
    reads = [seen for seen in again if spec_of(seen.call.name).read_only]
    right = Counter(replay.rightly for replay in replayed)
    return [
        Figure("duplicate calls", len(again), ""),
        _share("duplicate calls, of all calls", len(again), len(calls)),
        Figure("duplicate calls: answered as before", sum(seen.earlier is True for seen in again), ""),
        Figure("duplicate calls: answered otherwise", sum(seen.earlier is False for seen in again), ""),
        Figure("duplicate calls of read-only tools", len(reads), ""),
        Figure(
            "duplicate calls of read-only tools: answered otherwise",
            sum(s.earlier is False for s in reads),
            "",
        ),
        Figure("calls replayed by the cache", len(replayed), ""),
        Figure("calls replayed rightly", right[True], ""),
        Figure("calls replayed wrongly", right[False], "", at_most=0),
    ]


def _provenance(calls: Sequence[Seen]) -> list[Figure]:
    leaves = [leaf for seen in calls for leaf in seen.leaves]
    kinds = Counter(leaf.provenance.kind.value for leaf in leaves)
    asked = [leaf for leaf in leaves if leaf.needs_source]
    nowhere = sum(leaf.ungrounded for leaf in asked)
    return [
        Figure("argument leaves", len(leaves), ""),
        *(_share(f"argument leaves: from {kind}", count, len(leaves)) for kind, count in kinds.most_common()),
        Figure("argument leaves that need a source", len(asked), ""),
        _share("argument leaves that need a source: from nowhere", nowhere, len(asked)),
    ]


def _ungrounded(calls: Sequence[Seen], runs: Sequence[Watched]) -> list[Figure]:
    found = [
        _share(
            "calls with an ungrounded argument, of all calls", sum(s.ungrounded for s in calls), len(calls)
        )
    ]
    for name, chosen in (
        ("ungrounded calls", [s for s in calls if s.ungrounded]),
        ("grounded calls", [s for s in calls if not s.ungrounded]),
    ):
        found += [
            _share(f"{name} that failed", sum(s.failed for s in chosen), len(chosen)),
            _share(
                f"{name} that failed or found nothing",
                sum(s.failed or s.empty for s in chosen),
                len(chosen),
            ),
        ]
    good = [watched for watched in runs if watched.run.reward == 1]
    holding = sum(any(seen.ungrounded for seen in watched.calls) for watched in good)
    return [*found, _share("successful runs that hold an ungrounded call", holding, len(good))]


def _loops(runs: Sequence[Watched]) -> list[Figure]:
    found: list[Figure] = []
    for level in ("warn", "block", "stop"):
        calls = sum(_level(f) == level for watched in runs for _, f in _loop_findings(watched))
        among = sum(any(_level(f) == level for _, f in _loop_findings(watched)) for watched in runs)
        found += [
            Figure(f"loop findings: {level}", calls, ""),
            Figure(f"loop findings: {level}, runs", among, ""),
        ]
    return found


def _savings(runs: Sequence[Watched]) -> list[Figure]:
    spared = [references(watched) for watched in runs]
    results = sum(_result_tokens(seen) for watched in runs for seen in watched.calls)
    values, written = sum(s.values for s in spared), sum(s.argument_tokens for s in spared)
    found = [
        Figure("argument values", values, ""),
        _share("argument values: equal to a bound value or its part", sum(s.copied for s in spared), values),
        _share("argument values: longer than their $vN", sum(s.shortened for s in spared), values),
        Figure("tokens of arguments", written, ""),
        _share("tokens of arguments: spared by references", sum(s.saved_tokens for s in spared), written),
        Figure("tokens of results", results, ""),
    ]
    for limit in _PREVIEWS:
        each = [previewed(watched, limit) for watched in runs]
        found += [
            Figure(f"results above {limit:,} tokens", sum(many for many, _, _ in each), ""),
            _share(
                f"tokens of results: spared by previews above {limit:,}",
                sum(once for _, once, _ in each),
                results,
            ),
            Figure(
                f"tokens spared in all later requests, above {limit:,}",
                sum(sent for _, _, sent in each),
                "tokens",
            ),
        ]
    return found


def _learning(runs: Sequence[Watched], learned: Learned) -> list[Figure]:
    worked = sum(attempt.trace.success for attempt in learned.attempts)
    return [
        Figure("failed calls", learned.errors, ""),
        _share("failed calls: error seen in an earlier run", learned.seen_before, learned.errors),
        _share(
            f"failed calls: the tool worked within {_RETRIED_WITHIN} calls", _recovered(runs), learned.errors
        ),
        _share("failed calls: a fix was known by then", learned.fix_known, learned.errors),
        Figure("second tries", len(learned.attempts), ""),
        Figure("second tries that worked", worked, ""),
        Figure("fixes learned", len(learned.fixes), ""),
    ]


def _recovered(runs: Sequence[Watched]) -> int:
    found = 0
    for watched in runs:
        for i, seen in enumerate(watched.calls):
            after = watched.calls[i + 1 : i + 1 + _RETRIED_WITHIN]
            same = (s for s in after if s.call.name == seen.call.name and s.record is not None)
            found += seen.failed and any(not s.failed for s in same)
    return found


def _loop_findings(watched: Watched) -> list[tuple[int, Finding]]:
    found = [(seen.call.index, seen.loop) for seen in watched.calls]
    return [(index, finding) for index, finding in (*found, *watched.texts) if finding is not None]


def _loop_rows(watched: Watched) -> list[dict[str, Any]]:
    """A row for each kind of finding of a run: where it came first, and how often it came."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    seen_at = {seen.call.index: seen for seen in watched.calls}
    for index, finding in _loop_findings(watched):
        key = (_level(finding), finding.reason_code)
        row = rows.get(key)
        if row is None:
            seen = None if finding.reason_code == "loop.monologue" else seen_at.get(index)
            row = rows[key] = {
                "run": watched.run.run_id,
                "call": index,
                "action": key[0],
                "reason": key[1],
                "tool": seen.call.name if seen else "",
                "equal": finding.evidence.get("count"),
                "answer": ""
                if seen is None
                else {True: "as before", False: "other", None: "first"}[seen.earlier],
                "calls": 0,
            }
        row["calls"] += 1
    return list(rows.values())


def _ungrounded_row(seen: Seen) -> dict[str, Any]:
    paths = [leaf.path for leaf in seen.leaves if leaf.ungrounded]
    end = "failed" if seen.failed else "empty" if seen.empty else "ok"
    return {
        "run": seen.run.run_id,
        "call": seen.call.index,
        "tool": seen.call.name,
        "paths": " ".join(paths),
        "end": end,
    }


def _level(finding: Finding) -> str:
    if finding.should_stop:
        return "stop"
    return "block" if finding.action is Action.BLOCK else "warn"


def _changes(changes: Iterable[Change]) -> str:
    shown = [f"{c.path} {c.kind} {c.before or '-'} to {c.after or '-'}" for c in changes]
    return "; ".join(shown) or "the same call once more"


def _result_tokens(seen: Seen) -> int:
    return 0 if seen.record is None else -(-len(str(seen.record.result or seen.record.error or "")) // 4)


def _share(name: str, part: int, whole: int) -> Figure:
    return Figure(name, 100 * part / whole if whole else None, "%")

"""A memory as JSON values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..errors import InvalidSetting, SchemaTooNew
from .metrics import VMMetrics
from .pages import Level, Page
from .paging import Paging
from .renditions import Renditions
from .residence import Residence
from .table import PageTable
from .working_set import Resident

__all__ = ["check_snapshot", "fill_from", "snapshot_of"]

_SCHEMA: Final = 1
"""Version of the snapshot's shape. Keys that an older reader may ignore do not change it."""


def snapshot_of(
    session_id: str, table: PageTable, renditions: Renditions, residence: Residence, paging: Paging
) -> dict[str, Any]:
    """All that is not derived."""
    return {
        "schema": _SCHEMA,
        "session_id": session_id,
        "turn": residence.turn,
        "made": table.made,
        "pages": [page.to_json() for page in table],
        "residents": [
            {"page_id": r.page_id, "level": int(r.level), "used_turn": r.used_turn, "order": r.order}
            for r in residence.set
        ],
        "abstracts": dict(renditions.abstracts),
        "left_at": dict(residence.left_at),
        "pending": {page_id: int(level) for page_id, level in paging.pending.items()},
        "served": {"faults": paging.faults, "searches": paging.searches},
        "metrics": residence.metrics.to_json(),
    }


def check_snapshot(snapshot: Mapping[str, Any]) -> None:
    """See that this version can read it.

    Raises:
        SchemaTooNew: A newer longsplice made it.
        InvalidSetting: Not a snapshot.
    """
    schema = snapshot.get("schema")
    if not isinstance(schema, int) or not isinstance(snapshot.get("session_id"), str):
        raise InvalidSetting(
            f"a value with keys {sorted(snapshot)!r} is no snapshot of a memory; use snapshot()"
        )
    if schema > _SCHEMA:
        raise SchemaTooNew("the memory's snapshot", schema, _SCHEMA)


def fill_from(
    snapshot: Mapping[str, Any],
    table: PageTable,
    renditions: Renditions,
    residence: Residence,
    paging: Paging,
) -> None:
    """Put what a snapshot holds into parts that are empty. Tokens are counted anew.

    Raises:
        InvalidSetting: It is damaged; the parts are of no use then.
    """
    try:
        _fill(snapshot, table, renditions, residence, paging)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidSetting(
            f"the memory's snapshot is damaged ({type(error).__name__}); make the pages anew"
        ) from error


def _fill(
    snapshot: Mapping[str, Any],
    table: PageTable,
    renditions: Renditions,
    residence: Residence,
    paging: Paging,
) -> None:
    for stored in snapshot["pages"]:
        table.add(Page.from_json(stored))
    table.made = snapshot["made"]
    renditions.abstracts.update(snapshot["abstracts"])
    residence.turn = snapshot["turn"]
    residence.left_at.update(snapshot["left_at"])
    residence.metrics = VMMetrics(**snapshot["metrics"])
    for stored in snapshot["residents"]:
        level = Level(stored["level"])
        tokens = renditions.at(table.get(stored["page_id"]), level).tokens
        residence.set.load(Resident(stored["page_id"], level, tokens, stored["used_turn"], stored["order"]))
    paging.pending.update({page_id: Level(level) for page_id, level in snapshot["pending"].items()})
    paging.faults, paging.searches = snapshot["served"]["faults"], snapshot["served"]["searches"]

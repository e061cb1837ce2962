"""What is not shown: a short list, the pages that bear on the current question first. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, Final

from ..meter import TokenCounter
from .pages import Page
from .renditions import Renditions, json_line, weigh
from .table import PageTable

__all__ = ["manifest_head", "manifest_lines", "most_relevant"]

_MOST_LISTED: Final = 50
_END: Final = "]}"
_LARGEST: Final = 10**9


def most_relevant(table: PageTable, scores: Mapping[str, float], shown: Container[str]) -> Iterator[Page]:
    """Pages that are not shown, those most worth listing first, at most 50.

    Args:
        table: All pages.
        scores: Pages that bear on the current question, best first.
        shown: Ids of the pages that stand in the prompt.
    """
    bearing = (table.get(page_id) for page_id in scores)
    others = (page for page in table.by_worth() if page.id not in scores)
    absent = (page for page in chain(bearing, others) if page.id not in shown)
    return islice(absent, _MOST_LISTED)


def manifest_head(counter: TokenCounter) -> int:
    """Upper bound on the tokens of a manifest that lists nothing."""
    return (
        weigh(json_line({"not_shown": _LARGEST}), counter)
        + weigh('"pages":[', counter)
        + weigh(_END, counter)
    )


def manifest_lines(
    pages: Iterable[Page],
    total: int,
    room: int,
    renditions: Renditions,
    counter: TokenCounter,
    **more: object,
) -> tuple[str, int]:
    """The manifest as JSON, a page a line, and the tokens of its list, at most `room`.

    Args:
        pages: In the order in which to list them.
        total: How many are not shown, listed here or not.
        room: Most tokens of the list.
        renditions: Where hints come from.
        counter: Whose tokens.
        more: Further fields, behind the count.
    """
    head = json_line({"not_shown": total, **more})[:-1]
    listed: list[str] = []
    used = 0
    for page in pages:
        line = json_line(_entry(page, renditions)) + ","
        tokens = weigh(line, counter)
        if used + tokens > room:
            break
        used += tokens
        listed.append(line)
    if not listed:
        return f'{head},"pages":[]}}', 0
    listed[-1] = listed[-1].removesuffix(",")
    return "\n".join([f'{head},"pages":[', *listed, _END]), used


def _entry(page: Page, renditions: Renditions) -> dict[str, Any]:
    return {
        "page": page.id,
        "type": page.type.value,
        "from": page.origin.value,
        "characters": len(page.text),
        "hint": renditions.hint(page),
    }

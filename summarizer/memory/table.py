"""All pages of a memory, by id, with the index of their words. No I/O."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import replace

from ..errors import InvalidSetting
from .pages import Page, PageNotFound
from .relevance import PageIndex

__all__ = ["PageTable"]

_Rank = tuple[bool, float, int, str]
"""Not pinned, less importance, older: sorted last. The number is that of the page's making, negative."""


class PageTable:
    """Pages in the order in which they were made.

    Attributes:
        index: Searches their texts.
        made: How many were ever made; numbers new ids.
    """

    def __init__(self) -> None:
        self.index = PageIndex()
        self.made = 0
        self._pages: dict[str, Page] = {}
        self._ranks: dict[str, _Rank] = {}
        self._ranking: list[_Rank] = []

    def __iter__(self) -> Iterator[Page]:
        return iter(self._pages.values())

    def __len__(self) -> int:
        return len(self._pages)

    def __contains__(self, page_id: object) -> bool:
        return page_id in self._pages

    def next_id(self) -> str:
        """An id that no page has."""
        number = self.made + 1
        while f"p{number}" in self._pages:
            number += 1
        return f"p{number}"

    def add(self, page: Page) -> Page:
        """Take a page in.

        Raises:
            InvalidSetting: Its id is taken.
        """
        if page.id in self._pages:
            raise InvalidSetting(
                f"page id {page.id!r} is taken; leave page_id out, or forget that page first"
            )
        self._pages[page.id] = page
        self.made += 1
        self._rank(page, self.made)
        self.index.add(page.id, page.text)
        return page

    def get(self, page_id: str) -> Page:
        """The page.

        Raises:
            PageNotFound: No page has this id.
        """
        page = self._pages.get(page_id)
        if page is None:
            raise PageNotFound(page_id)
        return page

    def pin(self, page_id: str, *, pinned: bool) -> Page:
        """Pin a page or let it go; its text stays.

        Raises:
            PageNotFound: No page has this id.
        """
        page = self._pages[page_id] = replace(self.get(page_id), pinned=pinned)
        self._rank(page, -self._unrank(page_id)[2])
        return page

    def by_worth(self) -> Iterator[Page]:
        """All pages: pinned ones first, then by importance, then the newest."""
        return (self._pages[page_id] for *_, page_id in self._ranking)

    def remove(self, page_id: str) -> Page:
        """Drop a page.

        Raises:
            PageNotFound: No page has this id.
        """
        page = self.get(page_id)
        del self._pages[page_id]
        self._unrank(page_id)
        self.index.remove(page_id, page.text)
        return page

    def _rank(self, page: Page, number: int) -> None:
        rank = self._ranks[page.id] = (not page.pinned, -page.importance, -number, page.id)
        insort(self._ranking, rank)

    def _unrank(self, page_id: str) -> _Rank:
        rank = self._ranks.pop(page_id)
        del self._ranking[bisect_left(self._ranking, rank)]
        return rank

"""An index of text that was said: the documents that hold a value, without reading the others.

In: JSON values with a note of who said them. Out: where a phrase or a number stands. Text is cut into blocks
of about 4,000 characters; an index of words leads to the few blocks that may hold a value, and only those
are read. Blocks stand in shards that are dropped whole, the oldest first, so that forgetting costs nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

from guards.checks.values import Number, bare, normalize, numbers_in
from guards.paths import member_path, opened

__all__ = ["BITS", "Document", "Hit", "Shelf", "step"]

_BLOCK: Final = 4_000
_SHARDS: Final = 8
_LOOKS: Final = 64
"""Blocks that one search reads at most; a value not found by then is neither found nor missing."""
_RECENT: Final = 16
_NEEDLE: Final = 4_000
"""Characters of a searched value whose words are used; all of it is compared."""
_BARE: Final = 8_000
_DEPTH: Final = 250
"""Deepest nesting that is read, text that holds JSON included; deeper leaves are left out."""
BITS: Final = 1_300
"""Integers of more bits (400 digits) are not spelled out: the time for that grows with the square."""

_JSON_TEXT: Final = re.compile(r"\s*[\[{]").match

_CJK: Final = "぀-ヿ㐀-鿿가-힯"
_ASCII_WORDS: Final = re.compile(r"[a-z0-9]{1,64}").findall
_WORDS: Final = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]{{1,64}}").findall
_GAP: Final = re.compile(rf"[\W_{_CJK}]").search
_LETTER: Final = re.compile(rf"[^\W{_CJK}]").match


@dataclass(slots=True)
class Document:
    """One thing that was said.

    Attributes:
        origin: Who said it.
        ref: How to name it, such as `v2` or a call id.
        text: Normalized; a line for each leaf, then one for each key.
        paths: The path of each leaf, in the order of the lines.
        leaves: Each leaf itself.
        source: What was said, as it came.
        bare: What `bare_leaves` gave; `None` before it is asked for.
    """

    origin: str
    ref: str | None
    source: Any
    text: str
    paths: list[str]
    leaves: list[Any]
    bare: list[str] | None = None

    @classmethod
    def of(cls, origin: str, value: Any, ref: str | None, limit: int) -> tuple[Document, bool]:
        """The document, and whether it is whole: leaves beyond `limit` characters are left out."""
        flat = _Flat(limit)
        flat.walk(value, "")
        lines = [leaf[:limit] if isinstance(leaf, str) else _spell(leaf) for leaf in flat.leaves]
        lines += flat.keys
        text = "\n".join(lines)
        if not text.isascii() or text.count("\n") >= len(lines):
            text = "\n".join([normalize(line).replace("\n", " ") for line in lines])
        else:
            text = text.lower()
        whole = flat.left >= 0 and len(text) <= limit
        return cls(origin, ref, value, text[:limit], flat.paths, flat.leaves), whole

    def bare_leaves(self) -> list[str]:
        """Letters and digits of the first leaves, in the first 8,000 characters; the work is done once."""
        if self.bare is None:
            self.bare = bare(self.text[:_BARE]).split("\n")[: len(self.leaves)]
        return self.bare

    def where(self, line: int) -> str | None:
        """How to name the leaf on a line: a reference into a binding, else the document."""
        if self.origin != "binding" or self.ref is None:
            return self.ref
        return f"${self.ref}{self.paths[line]}" if line < len(self.paths) else f"${self.ref}"


class _Flat:
    """Leaves and keys of a value, in one walk; text that holds a JSON object or list is walked as that."""

    __slots__ = ("keys", "leaves", "left", "paths")

    def __init__(self, limit: int) -> None:
        self.leaves: list[Any] = []
        self.paths: list[str] = []
        self.keys: dict[str, None] = {}
        self.left = limit

    def walk(self, value: Any, path: str, depth: int = 0) -> None:
        if self.left < 0 or depth > _DEPTH:
            self.left = -1
        elif isinstance(value, dict):
            for key, item in cast("dict[str, Any]", value).items():
                self.keys[key] = None
                self.walk(item, path + step(key), depth + 1)
        elif isinstance(value, list):
            for i, item in enumerate(cast("list[Any]", value)):
                self.walk(item, f"{path}[{i}]", depth + 1)
        elif isinstance(value, str) and _JSON_TEXT(value) and (inner := opened(value)) is not value:
            self.walk(inner, path, depth + 1)
        else:
            self.left -= len(value) + 1 if isinstance(value, str) else 8
            self.leaves.append(value)
            self.paths.append(path)


@lru_cache(maxsize=1024)
def step(key: str) -> str:
    """The step of a path to an object's member: `.name`, or `["a b"]`."""
    return member_path("", key)


def _spell(leaf: float | bool | None) -> str:
    if isinstance(leaf, bool):
        return "true" if leaf else "false"
    if leaf is None:
        return "null"
    if isinstance(leaf, float):
        return repr(int(leaf)) if leaf.is_integer() and abs(leaf) < 1e18 else repr(leaf)
    return repr(leaf) if leaf.bit_length() <= BITS else ""


class Hit(NamedTuple):
    """A place where a value stands; `document` is `None` where the search gave up.

    Attributes:
        document: What holds it.
        line: Number of the leaf in it, from 0.
        whole: The value is the whole leaf.
        end: Where in the document's text it ends.
    """

    document: Document | None
    line: int = 0
    whole: bool = False
    end: int = 0


class _Block(NamedTuple):
    document: Document
    start: int
    end: int
    line: int

    def hit(self, at: int, size: int) -> Hit:
        text = self.document.text
        whole = (at == 0 or text[at - 1] == "\n") and (at + size == len(text) or text[at + size] == "\n")
        ahead = text.count("\n", self.start, at) if at >= self.start else -text.count("\n", at, self.start)
        return Hit(self.document, self.line + ahead, whole, at + size)


@dataclass(slots=True)
class _Shard:
    blocks: list[_Block] = field(default_factory=list[_Block])
    words: dict[str, int | list[int]] = field(default_factory=dict[str, "int | list[int]"])
    numbers: dict[Number, int] = field(default_factory=dict[Number, int])
    fractions: list[float] = field(default_factory=list[float])
    size: int = 0

    def add(self, block: _Block) -> None:
        at = len(self.blocks)
        self.blocks.append(block)
        text = block.document.text
        self.size += block.end - block.start + 1
        find_words = _ASCII_WORDS if text.isascii() else _WORDS
        words = self.words
        for word in set(find_words(text, block.start, block.end)):
            seen = words.get(word)
            if seen is None:
                words[word] = at
            elif isinstance(seen, int):
                words[word] = [seen, at]
            else:
                seen.append(at)
        self._add_numbers(text[block.start : block.end], at)

    def _add_numbers(self, text: str, at: int) -> None:
        fresh: list[float] = []
        for number in numbers_in(text, grouped=True):
            if isinstance(number, float) and number not in self.numbers:
                fresh.append(number)
            self.numbers[number] = at
        if len(fresh) > 16:
            self.fractions += fresh
            self.fractions.sort()
        else:
            for number in fresh:
                insort(self.fractions, number)

    def candidates(self, words: Sequence[str]) -> Sequence[int]:
        """Blocks that hold the rarest of the words, if the shard holds them all; every block for no words."""
        best: Sequence[int] = range(len(self.blocks))
        for word in words:
            seen = self.words.get(word)
            if seen is None:
                return ()
            if isinstance(seen, int):
                best = (seen,)
            elif len(seen) < len(best):
                best = seen
        return best


class Shelf:
    """Documents within a bound, the oldest forgotten first.

    Args:
        limit: Characters kept, at least 8,000. One document takes at most a quarter of it.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.dropped = False
        self.recent: deque[Document] = deque(maxlen=_RECENT)
        self._shards: deque[_Shard] = deque([_Shard()])

    def add(self, origin: str, value: Any, ref: str | None) -> Document:
        """Index a value: JSON, as `guards.calls.plain` gives it. Not copied."""
        document, whole = Document.of(origin, value, ref, self.limit // 4)
        self.dropped = self.dropped or not whole
        text = document.text
        start = line = 0
        while len(text) - start > _BLOCK:
            gap = _GAP(text, start + _BLOCK)
            end = gap.start() + 1 if gap else len(text)
            self._place(_Block(document, start, end, line))
            line += text.count("\n", start, end)
            start = end
        if start < len(text):
            self._place(_Block(document, start, len(text), line))
        self.recent.append(document)
        return document

    def _place(self, block: _Block) -> None:
        shard = self._shards[-1]
        if shard.size >= self.limit // _SHARDS:
            shard = _Shard()
            self._shards.append(shard)
            if len(self._shards) > _SHARDS:
                self._shards.popleft()
                self.dropped = True
        shard.add(block)

    def documents(self) -> list[Document]:
        """What is held, at least in part, the oldest first."""
        held = {id(block.document): block.document for shard in self._shards for block in shard.blocks}
        return list(held.values())

    def hits(self, needle: str, most: int = _LOOKS) -> Iterator[Hit]:
        """Where a normalized text stands, not inside a longer word or number; the newest first.

        Ends with an empty `Hit` where the search gave up after `most` blocks.
        """
        needle = needle.replace("\n", " ")
        find_words = _ASCII_WORDS if needle.isascii() else _WORDS
        words = find_words(needle, 0, _NEEDLE)
        if len(needle) > _NEEDLE:
            words.pop()
        looks = 0
        for shard in reversed(self._shards):
            for at in reversed(shard.candidates(words)):
                if looks == most:
                    yield Hit(None)
                    return
                looks += 1
                block = shard.blocks[at]
                for found in _places_of(needle, block):
                    yield block.hit(found, len(needle))

    def number(self, number: Number, width: float = 0.0) -> Hit | None:
        """A block that holds a number with a separator or an exponent, exactly or within `width`."""
        for shard in reversed(self._shards):
            at = shard.numbers.get(number)
            if at is None and width:
                i = bisect_left(shard.fractions, number - width)
                if i < len(shard.fractions) and shard.fractions[i] <= number + width:
                    at = shard.numbers[shard.fractions[i]]
                    number = shard.fractions[i]
            if at is not None:
                return _line_of(number, shard.blocks[at])
        return None


def _line_of(number: Number, block: _Block) -> Hit:
    """The line of a block on which a number stands that is in it."""
    plain = repr(number)
    for at in _places_of(plain, block):
        return block.hit(at, len(plain))
    for line, text in enumerate(block.document.text[block.start : block.end].split("\n"), block.line):
        if number in numbers_in(text, grouped=True):
            return Hit(block.document, line)
    return Hit(block.document, block.line)


def _places_of(needle: str, block: _Block) -> Iterator[int]:
    """Where the needle begins in or just around the block, standing on its own."""
    text, size = block.document.text, len(needle)
    stop = block.end + size
    at = text.find(needle, max(0, block.start - size), stop)
    for _ in range(_BLOCK):
        if at < 0:
            return
        if _stands_alone(text, at, at + size):
            yield at
        at = text.find(needle, at + 1, stop)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether no word or number goes on across either edge: `25` does not stand in `125`, `2.5` or `a_25`."""
    before, after = text[start - 1 : start], text[end : end + 1]
    first, last = text[start], text[end - 1]
    if before and (first == "-" or _LETTER(first)) and _LETTER(before):
        return False
    if after and _LETTER(last) and _LETTER(after):
        return False
    if first.isdigit() and before in {".", ","} and text[start - 2 : start - 1].isdigit():
        return before == "," and end - start != 3
    if last.isdigit() and after in {".", ","} and text[end + 1 : end + 2].isdigit():
        return after == "," and not (
            text[end + 1 : end + 4].isdigit() and not text[end + 4 : end + 5].isdigit()
        )
    return True

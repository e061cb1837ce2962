"""Token counters for text: offline, loaded late, never raising, fixed by name.

    counter = counter_for_model("gpt-4o")   # TokenCounter(name='o200k_base', exact=True)
    counter.count("some text")
    counter_named(counter.name)             # what a stored conversation asks for later

Where no rank table is found (see `tables`), the estimator counts, and `exact` says so.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, Protocol

from summarizer.errors import InvalidSetting
from summarizer.telemetry import log

from .tables import Length, estimate_tokens, find_table, known_table

__all__ = [
    "ESTIMATOR",
    "NEAREST",
    "SupportsCount",
    "TokenCounter",
    "counter_for_model",
    "counter_named",
    "set_counter",
]

NEAREST: Final = "o200k_base"
"""The table for a model whose own is not public; `Calibration` learns the difference."""
ESTIMATOR: Final = "utf8/4"
"""Name of the counter that needs no table."""

_CHUNK: Final = 4000
"""Characters handed to an encoder at once. Bounds the time of one call, and keeps clear of the million blanks
at which tiktoken 0.14 panics with a `BaseException` (tiktoken pull request 587, open in 2026-11)."""
_CUT: Final = re.compile(r"[\s\S]*(?:\S(?=[ \t]\S)|\n(?=[^\s/]))")
"""The last place in a stretch of text where the encodings' own patterns split too, so that a cut there
changes nothing: before a single blank, and after a line's end."""

_HOSTS: Final = frozenset(
    {
        "openai", "azure", "azure_ai", "azure_text", "text-completion-openai", "responses", "chatgpt",
        "github", "github_copilot", "openrouter", "vercel_ai_gateway", "litellm_proxy",
        "us", "eu", "global", "global-standard",
    }
)  # fmt: skip
"""Leading parts of a model's name that say who serves an OpenAI model (as litellm writes them)."""


class SupportsCount(Protocol):
    """A user's own encoder."""

    def count(self, text: str, /) -> int:
        """Tokens of `text`, 0 or more."""
        ...


class TokenCounter:
    """Counts the tokens of texts, always alike under one name. Safe to share between threads.

    Attributes:
        name: Stored with a conversation, so that its totals stay under one counter.
        exact: Whether the counts are those of the model asked for. A stretch of more than 4,000
            characters without a single blank may be off by one per 4,000 all the same.
    """

    __slots__ = ("_chunk", "_length", "_load", "exact", "name")

    name: str
    exact: bool

    def __init__(self, name: str, load: Callable[[], Length], *, exact: bool, whole: bool = False) -> None:
        """`load` gives the counting function at the first count; `whole` hands it texts of any length."""
        self.name, self.exact = name, exact
        self._chunk = sys.maxsize if whole else _CHUNK
        self._load = load
        self._length: Length | None = None

    def __repr__(self) -> str:
        return f"TokenCounter(name={self.name!r}, exact={self.exact})"

    def load(self) -> Length:
        """Read the rank table now: 0.1 to 0.5 s and 100 MB, once per process and table.

        Counting does it by itself; a server calls this in a thread when it starts.
        """
        if self._length is None:
            self._length = self._load()
        return self._length

    def count(self, text: str) -> int:
        """Tokens of `text`. Never raises, whatever the text; control strings count as plain text.

        Cost: the encoder's own time, linear in the text. Above some 50,000 characters it is
        worth a thread.
        """
        length = self._length or self.load()
        if len(text) <= self._chunk:
            return length(text)
        return sum(map(length, _pieces(text)))


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > _CHUNK:
        stop = start + _CHUNK
        cut = _CUT.match(text, stop - _CHUNK // 2, stop)
        stop = cut.end() if cut else stop
        yield text[start:stop]
        start = stop
    yield text[start:]


_user_counters: dict[str, TokenCounter] = {}
_user_models: dict[str | None, str] = {}


def set_counter(
    counter: SupportsCount | None, *, name: str = "user", model: str | None = None, exact: bool = True
) -> None:
    """Count with an encoder of your own, for one model or for all.

    Conversations that exist keep the counter they were made with, by its name: register the
    encoder under the same name in every process that opens them.

    Args:
        counter: Any object with `count(text) -> int`; it gets texts of any length. If it raises,
            or gives no count, the text is estimated and the fault logged. `None` takes the
            registration for `model` back.
        name: Stored with conversations. Not the name of an encoding of tiktoken, nor "utf8/4".
        model: The model name as calls give it; `None` for every model without a counter of its own.
        exact: Whether the counts are the model's own.

    Raises:
        InvalidSetting: The name is empty or belongs to a built-in counter.
    """
    if counter is None:
        freed = _user_models.pop(model, "")
        if freed not in _user_models.values():
            _user_counters.pop(freed, None)
        return
    if not name or name == ESTIMATOR or known_table(name):
        raise InvalidSetting(f"counter name {name!r} is empty or a built-in counter's; choose another name")
    length = _guarded(counter, name)
    _user_counters[name] = TokenCounter(name, lambda: length, exact=exact, whole=True)
    _user_models[model] = name


def _guarded(counter: SupportsCount, name: str) -> Length:
    def length(text: str) -> int:
        try:
            tokens = counter.count(text)
        except Exception:  # noqa: BLE001  # A user's callback: counting must not fail a recording call.
            log.exception("tokens.counter_failed", counter=name)
            return estimate_tokens(text)
        if type(tokens) is int and tokens >= 0:
            return tokens
        log.warning("tokens.counter_failed", counter=name, returned=type(tokens).__name__)
        return estimate_tokens(text)

    return length


def counter_named(name: str) -> TokenCounter:
    """The counter a stored conversation was made with.

    An encoding whose ranks are not on this machine is estimated, with `exact` false, rather
    than failing the conversation.

    Raises:
        InvalidSetting: Nobody registered a counter of this name.
    """
    if found := _user_counters.get(name):
        return found
    if name != ESTIMATOR and not known_table(name):
        known = ", ".join(sorted({NEAREST, ESTIMATOR, *_user_counters}))
        raise InvalidSetting(
            f"token counter {name!r} is unknown (known: {known}, and tiktoken's encodings); "
            "register it with set_counter(counter, name=...) before opening the conversation"
        )
    return _built_in(name, exact=name != ESTIMATOR)


def counter_for_model(model: str | None) -> TokenCounter:
    """The counter for a model: exact for OpenAI's, for others the nearest table.

    Args:
        model: As calls give it: `gpt-4o`, `openai/gpt-4o`, `azure/gpt-4o-2024-08-06`, `ft:gpt-4o:...`.
            `None` for a model that is not known.
    """
    name = _user_models.get(model) or _user_models.get(None)
    if name is not None:
        return _user_counters[name]
    encoding = _encoding_of(model) if model else None
    if encoding and find_table(encoding):
        return _built_in(encoding, exact=True)
    return _built_in(NEAREST if find_table(NEAREST) else ESTIMATOR, exact=False)


@lru_cache(maxsize=64)
def _built_in(name: str, *, exact: bool) -> TokenCounter:
    load = None if name == ESTIMATOR else find_table(name)
    if load is None:
        return TokenCounter(name, lambda: estimate_tokens, exact=False, whole=True)
    return TokenCounter(name, load, exact=exact)


@lru_cache(maxsize=1024)
def _encoding_of(model: str) -> str | None:
    """OpenAI's encoding for a model; `None` where tiktoken does not know it."""
    from tiktoken.model import encoding_name_for_model

    parts = model.split("/")
    while len(parts) > 1 and parts[0] in _HOSTS:
        del parts[0]
    try:
        return encoding_name_for_model("/".join(parts))
    except KeyError:
        return None

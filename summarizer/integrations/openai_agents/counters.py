"""What counts the tokens of a text for a session, and the scales that weigh items by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from ...meter import counter_named
from ...telemetry import log
from .items import Item, item_tokens

__all__ = ["DefaultTokenCounter", "Scales", "TiktokenCounter"]


class DefaultTokenCounter:
    """Four characters a token, at least one token; needs no table and suits no model exactly."""

    def __call__(self, text: str) -> int:
        """Tokens of `text`, estimated."""
        return max(1, len(text) // 4)


class TiktokenCounter:
    """Tokens by one of tiktoken's encodings; control strings in a text count as text.

    The rank table is looked for on this machine and never fetched: in the folder that `TIKTOKEN_CACHE_DIR`
    names, in litellm's, in quicktok's. Where there is none, a quarter of the UTF-8 bytes is counted and
    `exact` is false.

    Args:
        encoding: `o200k_base` (GPT-4o and later), `cl100k_base` (GPT-4), or another of tiktoken's.

    Raises:
        InvalidSetting: tiktoken knows no such encoding. A `ValueError`.
    """

    def __init__(self, encoding: str = "o200k_base") -> None:
        self.encoding_name = encoding
        self._counter = counter_named(encoding)

    @property
    def exact(self) -> bool:
        """Whether the encoding's own table counts."""
        return self._counter.exact

    def __call__(self, text: str) -> int:
        """Tokens of `text`; never raises."""
        return self._counter.count(text)


class Scales:
    """Weighs items; a counter that fails is reported once and its texts are estimated.

    Args:
        counter: Tokens of a text.
        model: Whose formulas weigh images, files and audio.
    """

    def __init__(self, counter: Callable[[str], int], model: str | None) -> None:
        self.counter, self._model = counter, model
        self._reported = False

    def __call__(self, item: Item) -> int:
        """Tokens of one item, 5 or more; see `items.item_tokens`."""
        return item_tokens(item, self._count, self._model)

    def _count(self, text: str) -> int:
        try:
            tokens = cast("object", self.counter(text))
        except Exception as error:  # noqa: BLE001 - the caller's own tokenizer; counting must not fail a turn
            return self._estimated(text, type(error).__name__)
        if isinstance(tokens, int) and tokens >= 0:
            return tokens
        return self._estimated(text, f"gave {type(tokens).__name__}")

    def _estimated(self, text: str, error: str) -> int:
        if not self._reported:
            self._reported = True
            log.warning("tokens.counter_failed", counter=type(self.counter).__name__, error=error)
        return DefaultTokenCounter()(text)

"""Rank tables on this machine, and the counting functions they make; no network, no side effect.

Sources in order: the folder that `TIKTOKEN_CACHE_DIR` names, litellm's folder, the package
quicktok. `LONGSPLICE_TOKENIZER=quicktok` puts quicktok first: the same counts, faster (6x on a
200-token message, 2026-11, quicktok-v1 0.4).
"""

from __future__ import annotations

import binascii
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any, Final

from summarizer.telemetry import log

from .installed import litellm_folder

__all__ = ["Length", "estimate_tokens", "find_table", "known_table"]

Length = Callable[[str], int]
"""Counts the tokens of a text of at most some thousand characters."""

_ALIKE: Final[Mapping[str, str]] = {"o200k_harmony": "o200k_base", "p50k_edit": "p50k_base"}
"""Encodings that differ in control tokens only. Those count as plain text here, so one table serves both."""
_SAMPLE: Final = "It's 1234 naïve 你好 tokens,\n\n\tdon't\u00a0panic: {'k': [1, 2]} <|endoftext|>"
_SAMPLE_COUNTS: Final[Mapping[str, int]] = {"o200k_base": 32, "cl100k_base": 33}
"""What the tables give for `_SAMPLE`: a package that merely bears the name quicktok does not pass."""

_finding = threading.Lock()
_loading = threading.Lock()


def _after_fork() -> None:
    global _finding, _loading
    # One that another thread held at the fork would stay locked in the child for ever.
    _finding, _loading = threading.Lock(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def estimate_tokens(text: str) -> int:
    """UTF-8 bytes / 4, rounded up: needs no table; can be off by half on code, more on rare scripts."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return (size + 3) // 4


@lru_cache(maxsize=64)  # Asked at every write.
def known_table(name: str) -> bool:
    """Whether tiktoken has an encoding of this name, be its ranks on this machine or not."""
    from tiktoken_ext.openai_public import ENCODING_CONSTRUCTORS

    return name in ENCODING_CONSTRUCTORS


def find_table(name: str) -> Callable[[], Length] | None:
    """A loader for the encoding's counting function; `None` if no verified ranks are here.

    Cost: one read and one SHA-256 of the file (3.6 MB for o200k_base), once per process. The
    loader itself takes 0.1 to 0.5 s and 100 MB at its first call, nothing later.
    """
    with _finding:
        return _find(_ALIKE.get(name, name))


@lru_cache
def _find(name: str) -> Callable[[], Length] | None:
    sources = (_from_ranks, _from_quicktok)
    if os.environ.get("LONGSPLICE_TOKENIZER") == "quicktok":
        sources = sources[::-1]
    for source in sources:
        build = source(name)
        if build is not None:
            return _Once(name, build).load
    return None


class _Once:
    """Builds one counting function for all threads; what fails late is estimated, never raised."""

    def __init__(self, name: str, build: Callable[[], Length]) -> None:
        self._name, self._build = name, build
        self._length: Length | None = None

    def load(self) -> Length:
        if self._length is None:
            with _loading:
                if self._length is None:
                    self._length = self._built()
        return self._length

    def _built(self) -> Length:
        try:
            return self._build()
        except (ImportError, LookupError, OSError, TypeError, ValueError) as error:
            # The ranks were here and sound a moment ago: the file went, or tiktoken changed under us.
            log.warning("tokens.table_failed", encoding=self._name, error=type(error).__name__)
            return estimate_tokens


def _from_ranks(name: str) -> Callable[[], Length] | None:
    def checked(url: str, expected_hash: str | None = None) -> dict[bytes, int]:
        _read_ranks(url, expected_hash)
        return {}

    try:
        _encoding_arguments(name, checked)
    except (AttributeError, ImportError, LookupError, TypeError):
        return None
    return lambda: _ranked_length(name)


def _ranked_length(name: str) -> Length:
    from tiktoken import Encoding

    def ranks(url: str, expected_hash: str | None = None) -> dict[bytes, int]:
        lines = (line.split() for line in _read_ranks(url, expected_hash).splitlines() if line)
        return {binascii.a2b_base64(token): int(rank) for token, rank in lines}

    encode = Encoding(**_encoding_arguments(name, ranks)).encode_ordinary
    return lambda text: len(encode(text))


def _encoding_arguments(name: str, load_ranks: Callable[..., dict[bytes, int]]) -> dict[str, Any]:
    """Pattern and control tokens as tiktoken defines them, with ranks from `load_ranks`.

    tiktoken's own definitions fetch the ranks over the network. Copies of them run here in a
    namespace where the fetching function is ours; tiktoken's module stays as it is.
    """
    from tiktoken_ext import openai_public

    definitions: Mapping[str, Any] = openai_public.ENCODING_CONSTRUCTORS
    scope: dict[str, Any] = {
        **vars(openai_public),
        "load_tiktoken_bpe": load_ranks,
        "data_gym_to_mergeable_bpe_ranks": _no_ranks,
    }
    scope |= {key: FunctionType(made.__code__, scope) for key, made in definitions.items()}
    if name not in definitions:
        raise LookupError(name)
    return scope[name]()


def _no_ranks(**_: object) -> dict[bytes, int]:
    raise LookupError("gpt2")


def _read_ranks(url: str, expected_hash: str | None) -> bytes:
    """The cached file for an address; tiktoken and litellm both name it by the address's SHA-1."""
    cached = hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
    for folder in _folders():
        try:
            data = (folder / cached).read_bytes()
        except OSError:
            continue
        if hashlib.sha256(data).hexdigest() == expected_hash:
            return data
        log.warning("tokens.table_rejected", file=cached)
    raise LookupError(url)


def _folders() -> Iterator[Path]:
    if chosen := os.environ.get("TIKTOKEN_CACHE_DIR"):
        yield Path(chosen)
    if folder := litellm_folder():
        yield folder / "litellm_core_utils" / "tokenizers"


def _from_quicktok(name: str) -> Callable[[], Length] | None:
    if name not in _SAMPLE_COUNTS:
        return None
    try:
        quicktok: Any = import_module("quicktok")
    except ImportError:
        return None
    try:
        count: Length = quicktok.get_encoding(name).count
        if count(_SAMPLE) == _SAMPLE_COUNTS[name]:
            return lambda: _any_text(count)
    except (AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError):
        pass  # Another package of this name, or another version of it: refused below.
    log.warning("tokens.table_rejected", file="quicktok")
    return None


def _any_text(count: Length) -> Length:
    def length(text: str) -> int:
        try:
            return count(text)
        except (TypeError, UnicodeError):  # Lone surrogates; replaced as tiktoken replaces them.
            return count(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))

    return length

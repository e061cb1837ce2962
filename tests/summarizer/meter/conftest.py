"""Counters and prices of a fresh process, for tests that change where they come from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from summarizer.meter import prices, tables, tokens


def _forget() -> None:
    tables._find.cache_clear()
    tokens._built_in.cache_clear()
    tokens._user_counters.clear()
    tokens._user_models.clear()
    prices._load.cache_clear()
    prices._resolve.cache_clear()
    prices._price.cache_clear()
    prices._overrides.clear()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    monkeypatch.delenv("LONGSPLICE_TOKENIZER", raising=False)
    _forget()
    yield
    _forget()

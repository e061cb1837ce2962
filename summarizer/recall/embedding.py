"""Texts as vectors, by a model that litellm reaches or by a callable of the host's.

Nothing leaves the process unless the host names a model or passes a callable. What goes out are texts, in
which secrets of well-known shapes are blacked out first.
"""

from __future__ import annotations

import asyncio
import threading
import time
from array import array
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite, sqrt
from typing import Any, Final, TypeAlias, cast

from ..errors import InvalidSetting
from ..meter import Usage, cost_of, price_for
from ..summary.llm import load_litellm
from ..summary.redact import redact
from ..telemetry import log

__all__ = ["Embed", "EmbeddingFailed", "EmbeddingsSpec", "LitellmEmbeddings", "Spent", "Vector", "embedded"]

Vector: TypeAlias = "array[float]"
"""A vector of length 1, four bytes a number."""
_Rows: TypeAlias = "list[list[float]] | Awaitable[list[list[float]]]"
Embed = Callable[[list[str]], _Rows]
"""One vector for each text, in their order; sync (it is called in a thread) or async."""
EmbeddingsSpec = str | Embed
"""A litellm name of an embedding model, or a callable."""

_TIMEOUT_S: Final = 10.0
_PAUSE_S: Final = 0.01
_places: Final = threading.BoundedSemaphore(4)
"""Calls of callables that run at a time; one that hangs keeps its place until it returns."""


class EmbeddingFailed(Exception):
    """No vectors came, or no usable ones; recall goes on by words."""


@dataclass(slots=True)
class Spent:
    """What embeddings have cost since the object was made.

    Attributes:
        requests: Requests answered.
        texts: Texts embedded.
        input_tokens: As reported; `None` once a provider reported none.
        cost_usd: By the price table; `None` once a price was unknown.
    """

    requests: int = 0
    texts: int = 0
    input_tokens: int | None = 0
    cost_usd: Decimal | None = Decimal(0)


class LitellmEmbeddings:
    """An embedding model by its litellm name, such as `text-embedding-3-small` or `ollama/nomic-embed-text`.

    Args:
        model: As litellm writes it.
        **options: Passed to `litellm.aembedding` as they are: `api_base`, `api_key`, `dimensions`, ...

    Attributes:
        spent: Requests, tokens and cost so far; each request is also logged as `recall.embedded`.
    """

    def __init__(self, model: str, **options: Any) -> None:
        if not model or not model.strip():
            raise InvalidSetting(
                f"embedding model {model!r} is empty; use a litellm name such as 'text-embedding-3-small'"
            )
        self.model = model
        self.spent = Spent()
        self._options = options

    def __repr__(self) -> str:
        return f"LitellmEmbeddings({self.model!r})"

    @property
    def key(self) -> tuple[str, str]:
        """By what its vectors are told from other models'."""
        return self.model, repr(sorted(self._options.items()))

    async def ready(self) -> None:
        """Import litellm, which takes seconds, once a process.

        Raises:
            EmbeddingFailed: It is not installed.
        """
        try:
            await load_litellm()
        except ImportError as error:
            log.error("recall.embedding_failed", error=type(error).__name__)
            raise EmbeddingFailed("litellm is not installed") from error

    async def __call__(self, texts: list[str]) -> list[list[float]]:
        """One vector for each text."""
        litellm = await load_litellm()
        start = time.perf_counter()
        response = await litellm.aembedding(
            **{"model": self.model, "input": texts, "timeout": _TIMEOUT_S, "max_retries": 1} | self._options
        )
        self._book(response, len(texts), time.perf_counter() - start)
        rows = sorted(map(_fields, response.data), key=lambda row: int(row["index"]))
        return [row["embedding"] for row in rows]

    def _book(self, response: Any, texts: int, duration_s: float) -> None:
        usage, price = _usage(response), price_for(self.model)
        tokens = None if usage is None else usage.input_tokens
        cost = None if usage is None or price is None else cost_of(usage, price)
        spent = self.spent
        spent.requests += 1
        spent.texts += texts
        spent.input_tokens = _sum(spent.input_tokens, tokens)
        spent.cost_usd = _sum(spent.cost_usd, cost)
        log.info(
            "recall.embedded",
            model=self.model,
            texts=texts,
            input_tokens=tokens,
            cost_usd=None if cost is None else str(cost),
            duration_s=round(duration_s, 3),
        )


async def embedded(call: Embed, texts: Sequence[str]) -> list[Vector]:
    """The texts' vectors, of length 1; secrets are blacked out before the call.

    Raises:
        EmbeddingFailed: The callable raised, or gave no vector of numbers for each text.
    """
    clean = [redact(text) for text in texts]
    try:
        rows = await _called(call, clean)  # An async one only makes its coroutine there.
        if isinstance(rows, Awaitable):
            rows = await rows
        vectors = [_unit(row) for row in rows]
    except Exception as error:
        log.exception("recall.embedding_failed", error=type(error).__name__)
        raise EmbeddingFailed(type(error).__name__) from error
    lengths = {len(vector) for vector in vectors}
    if len(vectors) != len(clean) or len(lengths) > 1 or 0 in lengths:
        log.error("recall.embedding_failed", error="shape", texts=len(clean), vectors=len(vectors))
        raise EmbeddingFailed(f"{len(vectors)} vectors for {len(clean)} texts, of lengths {sorted(lengths)}")
    return vectors


async def _called(call: Embed, texts: list[str]) -> _Rows:
    """What the callable gives, from a thread of its own.

    One that hangs then holds up neither the threads that the process shares nor the process's end.
    """
    while not _places.acquire(blocking=False):  # noqa: ASYNC110 - callers on other loops wait here too
        await asyncio.sleep(_PAUSE_S)
    done: Future[_Rows | BaseException] = Future()
    done.set_running_or_notify_cancel()  # Whoever stops waiting for it cannot cancel it.
    context = copy_context()

    def run() -> None:
        try:
            found = context.run(call, texts)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            found = error
        _places.release()
        done.set_result(found)

    threading.Thread(target=run, name="longsplice-embeddings", daemon=True).start()
    found = await asyncio.wrap_future(done)
    if isinstance(found, BaseException):
        raise found
    return found


def _unit(row: Sequence[float]) -> Vector:
    length = sqrt(sum(value * value for value in row))
    if not isfinite(length):
        raise ValueError("a vector holds a number that is not finite")
    return array("f", row if not length else [value / length for value in row])


def _fields(row: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", row) if isinstance(row, Mapping) else row.model_dump()


def _usage(response: object) -> Usage | None:
    try:
        usage = Usage.from_response(response)
    except InvalidSetting:
        return None
    return None if usage is None else Usage(input_tokens=usage.input_tokens, output_tokens=0)


def _sum(total: Any, more: Any) -> Any:
    return None if total is None or more is None else total + more

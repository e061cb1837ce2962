"""What waits to be written: batches in the order in which they were made, each kept until it is logged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from ..conversation import Conversation
from ..errors import PartialBatch, StoreError, SummarizerError, ValueTooLarge
from ..events import Event, EventKind
from ..messages import dump_json
from ..recording import Recorder

__all__ = ["Build", "Outbox", "Write"]

Build = Callable[[Recorder], list[Event]]
Write = Callable[[Callable[[Recorder, Conversation], list[Event]]], Awaitable[str]]

_FRAME: Final = 4096
"""Bytes of an event beside its data, rounded up."""


class Outbox:
    """Writes batches one at a time, so that facts keep their order.

    A batch whose write failed, or was cancelled, goes before the next one; its event ids make sure that it
    counts once. Its events are built when its turn comes, and only then.

    Args:
        write: Appends what a function of recorder and conversation builds.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._waiting: list[_Batch] = []
        self._turn = asyncio.Lock()

    async def send(self, build: Build, *, keep: bool = True) -> None:
        """Write a batch, after those that wait.

        Args:
            build: Makes its events, 1 or more.
            keep: Whether to try again with the next batch if this one fails.

        Raises:
            StoreError: The store failed, for this batch or one before it.
        """
        batch = _Batch(build)
        self._waiting.append(batch)
        try:
            await self.flush()
        except BaseException:
            if not keep:
                self._drop(batch)
            raise

    async def flush(self) -> None:
        """Write what waits; nothing to do costs nothing."""
        while self._waiting:
            async with self._turn:
                if self._waiting:
                    await self._send(self._waiting[0])

    async def _send(self, batch: _Batch) -> None:
        try:
            try:
                await self._write(batch)
            except ValueTooLarge as error:
                batch.lighten(error.limit)
                await self._write(batch)
        except SummarizerError as error:
            if isinstance(error, ValueTooLarge | PartialBatch) or not isinstance(error, StoreError):
                self._drop(batch)  # It would fail for ever, and everything behind it.
            raise
        self._drop(batch)

    def _drop(self, batch: _Batch) -> None:
        if batch in self._waiting:
            self._waiting.remove(batch)


class _Batch:
    """Events that are built once, however often they are sent."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._events: list[Event] | None = None

    def __call__(self, recorder: Recorder, _: Conversation) -> list[Event]:
        if self._events is None:
            self._events = self._build(recorder)
        return self._events

    def lighten(self, limit: int) -> None:
        """Leave out the snapshot, which a later one replaces, and results that make an event too large.

        Args:
            limit: Bytes that the store takes.
        """
        events = [event for event in self._events or () if event.kind is not EventKind.GUARD_SNAPSHOT]
        self._events = [_lightened(event, limit) for event in events]


def _lightened(event: Event, limit: int) -> Event:
    if event.kind is not EventKind.GUARD or len(dump_json(event.data).encode()) < limit - _FRAME:
        return event
    rows = [_without_result(row) if row["fact"] == "finished" else row for row in event.data["facts"]]
    return replace(event, data={**event.data, "facts": rows})


def _without_result(row: Mapping[str, Any]) -> dict[str, Any]:
    """The end of a call whose result is lost: nothing is bound, and nothing replayed."""
    kept = {key: value for key, value in row["record"].items() if key not in ("result", "binding")}
    return {**row, "record": kept, "exact": False}

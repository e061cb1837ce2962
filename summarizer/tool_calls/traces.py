"""What the session's tool calls teach: each finished one becomes a trace, beside the log and in its store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import EllipsisType
from typing import TYPE_CHECKING

from ..access import Access
from ..errors import InvalidSetting, SessionErased
from ..stores.traces import open_trace_store
from ..telemetry import log

if TYPE_CHECKING:
    from guards import CallRecord
    from procedural import ToolMemoryManager

__all__ = ["Traces", "UsedCall"]


@dataclass(frozen=True, slots=True)
class UsedCall:
    """A call that ran outside the guard, as the host told of it; `key` makes it count once."""

    tool_name: str
    arguments: object
    result: object
    error: BaseException | str | None
    key: str | None


class Traces:
    """Feeds a memory and reads hints from it. A memory that fails costs a trace, never a call.

    Args:
        access: The conversation.
        memory: A memory of the host's; `None` keeps no traces. Without it one is made at its first use, over
            the conversation's store, that learns from all sessions of the conversation's owner.
    """

    def __init__(self, access: Access, memory: ToolMemoryManager | EllipsisType | None = ...) -> None:
        self._access = access
        self._memory = None if isinstance(memory, EllipsisType) else memory
        self._is_to_open = memory is ...
        self._hinted: set[str] | None = None

    @property
    def memory(self) -> ToolMemoryManager | None:
        """The memory; `None` if none is wanted, or the store keeps no traces."""
        if self._is_to_open:
            self._memory, self._is_to_open = self._opened(), False
        return self._memory

    @asynccontextmanager
    async def remembering(
        self, calls: Sequence[CallRecord | UsedCall], goal: str | None
    ) -> AsyncGenerator[None]:
        """Remember finished calls behind the block, unless it finds the conversation erased.

        One given twice counts once.
        """
        memory = self.memory if calls else None
        if memory is None:
            yield
            return
        try:
            yield
        except SessionErased:
            calls = ()
            raise
        finally:
            await self._remember(memory, calls, goal)

    async def _remember(
        self, memory: ToolMemoryManager, calls: Sequence[CallRecord | UsedCall], goal: str | None
    ) -> None:
        for call in calls:
            try:
                await self._record(memory, call, goal)
            except Exception as failure:  # noqa: BLE001 - the host's own memory
                log.warning(
                    "trace.write_failed",
                    conversation_id=self._access.root,
                    tool_name=call.tool_name,
                    error=type(failure).__name__,
                )

    async def _record(self, memory: ToolMemoryManager, call: CallRecord | UsedCall, goal: str | None) -> None:
        root = self._access.root
        hinted = None if self._hinted is None else call.tool_name in self._hinted
        if not isinstance(call, UsedCall):
            await memory.remember(call, goal=goal, hinted=hinted, session_id=root)
            return
        await memory.record(
            call.tool_name,
            call.arguments,
            call.result,
            call.error,
            goal=goal,
            hinted=hinted,
            trace_id=None if call.key is None else f"{root}:{call.key}",
            session_id=root,
        )

    async def hints(self, tool: str | None, goal: str | None, max_tokens: int) -> str:
        """Hints from what earlier calls taught; empty without any.

        Raises:
            StoreError: The traces could not be read.
        """
        from procedural import ProceduralContextFormatter

        if (memory := self.memory) is None:
            return ""
        await memory.load()
        patterns = memory.recall(tool, goal)
        text, named = ProceduralContextFormatter(max_tokens=max_tokens).format_with_tools(patterns)
        self._hinted = (self._hinted or set()) | named
        return text

    def _opened(self) -> ToolMemoryManager | None:
        from procedural import ToolMemoryManager

        access = self._access
        try:
            store = open_trace_store(access.store)
        except InvalidSetting:
            log.warning("trace.store_missing", store=type(access.store).__name__)
            return None
        return ToolMemoryManager(store=store, owner=access.owner, session_id=access.root)

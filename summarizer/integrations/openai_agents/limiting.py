"""Holding a token budget before each model call of a run."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, cast

from ...config import DEFAULT_TOKEN_MODEL
from ...context import Context
from ...errors import TokenLimitExceeded
from ...meter import counter_for_model, tool_tokens
from ...telemetry import log
from .items import is_user, item_tokens
from .translate import Wire, plain
from .view import fitted, told_apart

if TYPE_CHECKING:
    from agents import Agent
    from agents.run_config import CallModelData, ModelInputData

__all__ = ["Limiter", "weigher"]

_REMEMBERED: Final = 4096
"""Items whose weight is kept: a run hands the same ones over with each call."""
_FIXED: Final = 16
"""Tokens around instructions and reply."""
_HANDOFF: Final = 60
"""Upper bound on the tokens of a handoff's schema, its name and description left out."""
_NOT_SAID: Final = frozenset({"id", "status"})

Tail = Callable[[int], Awaitable[list[Wire]]]
View = Callable[[int | None], Awaitable[list[Wire]]]


def weigher(model: str | None) -> Callable[[Any], int]:
    """Counts an item's tokens; those of the newest few thousand items are remembered."""
    count = counter_for_model(model or DEFAULT_TOKEN_MODEL).count
    known: OrderedDict[bytes, int] = OrderedDict()

    def weigh(item: Any) -> int:
        key = blake2b(_text(plain(item)).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        tokens = known.pop(key, None)
        known[key] = tokens = item_tokens(item, count, model) if tokens is None else tokens
        if len(known) > _REMEMBERED:
            known.popitem(last=False)
        return tokens

    return weigh


class Limiter:
    """Keeps the input of model calls within a budget.

    Args:
        max_tokens: Most tokens of a request; `None`: what the newest context was held to.
        model: The model whose tokens these are.

    Attributes:
        max_tokens: As given.
        weigh: Counts an item's tokens.
        replaces: Whether the session's view may take an input's place; not where the host changes what it
            reads of the session.
    """

    def __init__(self, max_tokens: int | None, model: str | None) -> None:
        self.max_tokens = max_tokens
        self.replaces = True
        self._model = model
        self.weigh = weigher(model)
        self._window: int | None = None
        self._ratio = 1.0
        self._seed: str | None = None

    def saw(self, context: Context) -> None:
        """Take note of a context: its budget, its ratio, and the seed that it opens with."""
        self._window, self._ratio = context.budget, context.ratio
        opens = bool(context.parts["system"])
        has_seed = bool(context.parts["seed"]) and len(context.messages) > opens
        self._seed = context.messages[opens]["content"] if has_seed else None

    async def filtered(self, data: CallModelData[Any], tail: Tail, view: View) -> ModelInputData:
        """See `LongspliceSession.call_model_input_filter`.

        Args:
            data: What the runtime is about to send.
            tail: Gives the newest items that are stored.
            view: Gives the session's view within so many tokens.
        """
        given = data.model_data
        kept = await self._within(data, cast("list[Any]", given.input), tail, view)
        return replace(given, input=told_apart(kept))

    async def _within(self, data: CallModelData[Any], items: list[Any], tail: Tail, view: View) -> list[Any]:
        budget = self.max_tokens or self._window
        if budget is None:
            return items
        room = budget - self._tokens(self._fixed(data.agent, data.model_data.instructions))
        if self._tokens(sum(map(self.weigh, items))) <= room:
            return items
        if room < 1:
            raise TokenLimitExceeded(budget - room + 1, budget, "instructions and tool schemas")
        if self.replaces and await _ends_with_stored(items, tail):
            return await view(room)
        head = int(bool(items) and self._seed is not None and plain(items[0]).get("content") == self._seed)
        kept = fitted(items, int(room / self._ratio), self.weigh, head)
        log.info("input.fitted", items=len(items), kept=len(kept), budget=budget)
        return kept

    def _tokens(self, raw: int) -> int:
        return math.ceil(raw * self._ratio)

    def request_tokens(self, agent: Agent[Any], instructions: str | None, items: Sequence[Any]) -> int:
        """Raw tokens of a request; schemas that the agent itself does not list are left out."""
        return self._fixed(agent, instructions) + sum(map(self.weigh, items))

    def _fixed(self, agent: Agent[Any], instructions: str | None) -> int:
        """Raw tokens of instructions and of the schemas that the agent itself lists."""
        counter = counter_for_model(self._model or DEFAULT_TOKEN_MODEL)
        count = counter.count
        schemas = [schema for schema in map(_schema_of, agent.tools) if schema is not None]
        tools = tool_tokens(schemas, counter) if schemas else 0
        handoffs = sum(_HANDOFF + count(_named(handoff)) for handoff in agent.handoffs)
        return _FIXED + (count(instructions) if instructions else 0) + tools + handoffs


def _schema_of(tool: object) -> dict[str, Any] | None:
    """A function tool as Chat Completions is sent it; `None` for what the provider runs."""
    parameters = getattr(tool, "params_json_schema", None)
    if not isinstance(parameters, Mapping):
        return None
    function = {
        "name": getattr(tool, "name", ""),
        "description": getattr(tool, "description", ""),
        "parameters": cast("Mapping[str, Any]", parameters),
    }
    return {"type": "function", "function": function}


def _named(handoff: object) -> str:
    names = ("name", "tool_name", "handoff_description", "tool_description")
    return " ".join(value for name in names if isinstance(value := getattr(handoff, name, None), str))


async def _ends_with_stored(items: Sequence[Any], tail: Tail) -> bool:
    """Whether the input's newest turn is what the session stored last."""
    asked = next((i for i in range(len(items) - 1, -1, -1) if is_user(items[i])), None)
    if asked is None:
        return False
    turn = [_said(item) for item in items[asked:]]
    return turn == [_said(item) for item in await tail(len(turn))]


def _said(item: Any) -> str:
    """What an item says, without ids and the runtime's own remarks: fakes of both are many."""
    kept = {
        key: value
        for key, value in plain(item).items()
        if key not in _NOT_SAID and not key.startswith("_") and value is not None
    }
    return _text(kept)


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)

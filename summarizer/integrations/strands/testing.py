"""A model that answers by a script: Strands' own event loop, hooks and tools, without a provider.

agent = Agent(model=ScriptedModel([[("call_1", "add", {"a": 1, "b": 2})], "It is 3."]), tools=[add])
"""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from strands.models.model import Model

__all__ = ["ScriptedModel", "Step"]

Step = str | Sequence[tuple[str, str, dict[str, Any]]] | Exception | Callable[[list[Any]], Any]
"""A text; calls as `(id, name, input)`; an exception to raise; or a function from the messages to such."""


class ScriptedModel(Model):
    """Takes one step of its script for each call, and fails on a call that the script does not expect.

    Usage is reported at four characters of JSON a token for the messages, and five tokens for each answer.

    Args:
        script: The steps.
        model_id: Whose name it goes by, for prices and tokenizers.
        context_window_limit: The window that it says to have.

    Attributes:
        script: The steps that are left; empty once all were taken.
        seen: The messages of each call.
    """

    def __init__(
        self,
        script: Sequence[Step],
        *,
        model_id: str = "gpt-4o-mini",
        context_window_limit: int | None = None,
    ) -> None:
        self.script = list(script)
        self.seen: list[list[Any]] = []
        self._config: dict[str, Any] = {"model_id": model_id, "context_window_limit": context_window_limit}

    def update_config(self, **model_config: Any) -> None:
        self._config.update(model_config)

    def get_config(self) -> Any:
        return self._config

    def structured_output(self, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        raise NotImplementedError(f"{len(args) + len(kwargs)} arguments: the script has no structured output")

    async def stream(self, messages: Any, *_: Any, **_later: Any) -> AsyncGenerator[Any, None]:
        """The events of the next step, as Bedrock streams them.

        Raises:
            AssertionError: The script is over.
        """
        self.seen.append(copy.deepcopy(messages))
        if not self.script:
            raise AssertionError(f"call {len(self.seen)} of a script of {len(self.seen) - 1} steps")
        step: Any = self.script.pop(0)
        if callable(step):
            step = step(messages)
        if isinstance(step, Exception):
            raise step
        yield {"messageStart": {"role": "assistant"}}
        for event in _events_of(step):
            yield event
        yield {"messageStop": {"stopReason": "end_turn" if isinstance(step, str) else "tool_use"}}
        size = len(json.dumps(messages, default=str)) // 4
        usage = {"inputTokens": size, "outputTokens": 5, "totalTokens": size + 5}
        yield {"metadata": {"usage": usage, "metrics": {"latencyMs": 1}}}


def _events_of(step: Any) -> list[dict[str, Any]]:
    if isinstance(step, str):
        return [{"contentBlockDelta": {"delta": {"text": step}}}, {"contentBlockStop": {}}]
    events: list[dict[str, Any]] = []
    for call_id, name, given in step:
        used = {"toolUse": {"toolUseId": call_id, "name": name}}
        written = {"toolUse": {"input": json.dumps(given)}}
        events += [
            {"contentBlockStart": {"start": used}},
            {"contentBlockDelta": {"delta": written}},
            {"contentBlockStop": {}},
        ]
    return events

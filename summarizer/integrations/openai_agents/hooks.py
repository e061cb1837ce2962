"""Run hooks that book usage and number tool calls. Needs the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import MissingExtra

try:
    from agents import Agent, AgentHookContext, ModelResponse, RunContextWrapper, RunHooks, Tool
except ImportError as error:
    raise MissingExtra("run hooks of the OpenAI Agents SDK", "openai-agents") from error

if TYPE_CHECKING:
    from .session import LongspliceSession

__all__ = ["SessionHooks", "model_name"]


class SessionHooks(RunHooks[Any]):
    """See `LongspliceSession.hooks`.

    Args:
        session: The session of the runs that these are passed to.
        then: Called behind these.
    """

    def __init__(self, session: LongspliceSession, then: RunHooks[Any] | None = None) -> None:
        self._session = session
        self._sent: dict[int, int] = {}
        self._then: RunHooks[Any] = RunHooks[Any]() if then is None else then

    async def on_llm_start(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        system_prompt: str | None,
        input_items: list[Any],
    ) -> None:
        self._sent[id(context)] = self._session.request_tokens(agent, system_prompt, input_items)
        await self._then.on_llm_start(context, agent, system_prompt, input_items)

    async def on_llm_end(
        self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse
    ) -> None:
        name = self._session.run_model or model_name(agent.model)
        sent = self._sent.pop(id(context), None)
        items, usage = response.to_input_items(), response.usage
        await self._session.answered(items, usage=usage, model=name, sent_tokens=sent)
        await self._then.on_llm_end(context, agent, response)

    async def on_agent_start(self, context: AgentHookContext[Any], agent: Agent[Any]) -> None:
        await self._then.on_agent_start(context, agent)

    async def on_agent_end(self, context: AgentHookContext[Any], agent: Agent[Any], output: Any) -> None:
        await self._then.on_agent_end(context, agent, output)

    async def on_handoff(
        self, context: RunContextWrapper[Any], from_agent: Agent[Any], to_agent: Agent[Any]
    ) -> None:
        await self._then.on_handoff(context, from_agent, to_agent)

    async def on_tool_start(self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool) -> None:
        await self._then.on_tool_start(context, agent, tool)

    async def on_tool_end(
        self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool, result: object
    ) -> None:
        await self._then.on_tool_end(context, agent, tool, result)


def model_name(model: object) -> str | None:
    """The name of a model of the SDK: itself, or what its object is named; `None` if it has no name."""
    name = model if isinstance(model, str) else getattr(model, "model", None)
    return name if isinstance(name, str) else None

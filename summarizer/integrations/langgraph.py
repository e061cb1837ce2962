"""LangGraph: context, summary and guard as nodes of a graph of your own, or as hooks of an agent.

For `langchain.agents.create_agent` there is `LongspliceMiddleware`. Importing this module needs
`pip install 'longsplice[langchain]'`.
"""

# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, cast

from guards import ToolSpec

from ..errors import InvalidSetting, MissingExtra
from ..session import SessionManager
from ..sync.background import Caller, run
from .langchain.conversation import split_system, state_messages
from .langchain.conversations import Conversations, SessionFactory, TellsFromRun, interrupts
from .langchain.guarding import ToolAnswer, is_stopped, run_guarded
from .langchain.requests import Request

try:
    from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage
    from langchain_core.runnables import Runnable, RunnableLambda
    from langchain_core.tools import BaseTool
    from langgraph.graph.message import REMOVE_ALL_MESSAGES
    from langgraph.prebuilt.tool_node import ToolCallRequest
    from langgraph.runtime import Runtime, get_runtime
except ImportError as error:
    raise MissingExtra("the LangGraph integration", "langchain") from error

__all__ = ["LongspliceNodes", "is_stopped"]

Update = dict[str, Any]


class LongspliceNodes:
    """Nodes around the model and the tools of one graph; they belong to the conversation of its thread.

    Example:
        ```python
        memory = LongspliceNodes(store="sqlite:///chats.db", token_threshold=8000, tools=tools)
        builder.add_node("context", memory.before_model)  # then: model, memory.after_model
        builder.add_node("tools", ToolNode(tools, wrap_tool_call=memory.wrap_tool_call, ...))
        ```

    Args:
        session: As for `LongspliceMiddleware`, and so are `owner`, `session_id`, `tool_specs`, `guard`,
            `confirm`, `max_tokens`, `recall` and `settings`.
        tools: The tools that go with each model call; they are counted.
        model: The chat model, for its window and its prices; it is not called.
        messages_key: Key of the graph's messages.
        output: Where `before_model` puts what the model is to be sent: under `llm_input_messages`, which
            leaves the state as it is, or into the state's `messages`, which then holds the summary
            and what is not in it.

    Raises:
        InvalidSetting: Settings that do not go together.
    """

    def __init__(
        self,
        session: SessionManager | SessionFactory | None = None,
        *,
        tools: Sequence[BaseTool | dict[str, Any]] = (),
        model: object = None,
        owner: str | TellsFromRun | None = None,
        session_id: TellsFromRun | None = None,
        tool_specs: Iterable[ToolSpec] = (),
        guard: Mapping[str, Any] | None = None,
        confirm: Literal["interrupt", "answer"] = "interrupt",
        messages_key: str = "messages",
        output: Literal["llm_input_messages", "messages"] = "llm_input_messages",
        max_tokens: int | None = None,
        recall: bool = False,
        **settings: Any,
    ) -> None:
        if output not in ("llm_input_messages", "messages"):
            raise InvalidSetting(f"output={output!r}: use 'llm_input_messages' or 'messages'")
        self._conversations = Conversations(
            session, settings, owner=owner, session_id=session_id, specs=tool_specs, guard=guard
        )
        self._request = Request(tools, model)
        self._interrupts = interrupts(confirm)
        self._key = messages_key
        self._rewrites = output == "messages"
        self._max_tokens, self._recall = max_tokens, recall

    @property
    def before_model(self) -> Runnable[Any, Update]:
        """The node before the model; also a `pre_model_hook`."""
        return _node(self._before_model, "longsplice_before_model")

    @property
    def after_model(self) -> Runnable[Any, Update]:
        """The node behind the model: records its answer with its usage, before tools run.

        Also a `post_model_hook`. Without it an answer is recorded by the next `before_model`, without usage,
        and numbers of `$vN` follow the order in which parallel calls begin.
        """
        return _node(self._after_model, "longsplice_after_model")

    def wrap_tool_call(
        self, request: ToolCallRequest, execute: Callable[[ToolCallRequest], ToolAnswer]
    ) -> ToolAnswer:
        """Guard a call: `ToolNode(tools, wrap_tool_call=nodes.wrap_tool_call, awrap_tool_call=...)`."""
        caller = Caller()
        return run(self.awrap_tool_call(request, caller.runs(execute)), caller=caller)

    async def awrap_tool_call(
        self, request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[ToolAnswer]]
    ) -> ToolAnswer:
        """The same for graphs that run asynchronously; a `ToolNode` takes both."""
        runtime = cast("Runtime[Any]", request.runtime)  # A tool's has the same fields.
        _, messages = split_system(state_messages(request.state, self._key))
        conversation = await self._conversations.of(runtime, messages, self._request)
        await conversation.find(messages)
        return await run_guarded(conversation, request, execute, interrupts=self._interrupts)

    async def _before_model(self, state: object) -> Update:
        head, rest = split_system(state_messages(state, self._key))
        conversation = await self._conversations.of(get_runtime(), rest, self._request)
        if self._rewrites:
            shorter = await conversation.shorter(rest, _prompt_of(head))
            if shorter is None:
                return {}
            return {self._key: [RemoveMessage(id=REMOVE_ALL_MESSAGES), *head, *shorter]}
        viewed = await conversation.view(
            rest, _prompt_of(head), max_tokens=self._max_tokens, recall=self._recall
        )
        return {"llm_input_messages": [*head, *viewed.messages]}

    async def _after_model(self, state: object) -> Update:
        head, rest = split_system(state_messages(state, self._key))
        conversation = await self._conversations.of(get_runtime(), rest, self._request)
        answers = rest[-1:] if rest and isinstance(rest[-1], AIMessage) else []
        await conversation.record(rest[: len(rest) - len(answers)], answers, _prompt_of(head))
        return {}


def _node(step: Callable[[object], Awaitable[Update]], name: str) -> Runnable[Any, Update]:
    """The step as a node of graphs that run synchronously and of those that do not."""

    async def awaited(state: object) -> Update:
        return await step(state)

    def waited(state: object) -> Update:
        return run(awaited(state))

    return RunnableLambda(waited, awaited, name=name)


def _prompt_of(head: Sequence[BaseMessage]) -> str | None:
    return "\n\n".join(message.text for message in head) or None

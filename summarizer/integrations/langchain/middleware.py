"""`LongspliceMiddleware`: context, summary and guard in a LangChain agent."""

# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, cast

from guards import READ_VALUE_SCHEMA, ToolSpec

from ...errors import MissingExtra
from ...session import SessionManager
from ...sync.background import Caller, run
from .conversation import split_system, state_messages
from .conversations import Conversations, SessionFactory, TellsFromRun, interrupts
from .guarding import ARTIFACT, ToolAnswer, is_stopped, run_guarded
from .requests import Request
from .wording import STOPPED

try:
    from langchain.agents.middleware import (
        AgentMiddleware,
        AgentState,
        ExtendedModelResponse,
        ModelRequest,
        ModelResponse,
        hook_config,
    )
    from langchain_core.messages import (
        AIMessage,
        AnyMessage,
        BaseMessage,
        RemoveMessage,
        SystemMessage,
    )
    from langchain_core.tools import BaseTool, StructuredTool
    from langgraph.graph.message import REMOVE_ALL_MESSAGES
    from langgraph.prebuilt.tool_node import ToolCallRequest
    from langgraph.runtime import Runtime
except ImportError as error:
    raise MissingExtra("the LangChain middleware", "langchain") from error

__all__ = ["LongspliceMiddleware"]

Called = ModelResponse[Any] | AIMessage | ExtendedModelResponse[Any]


class LongspliceMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Keeps an agent's conversation going for ever, and guards its tools.

    Before each model call the graph's new messages go into the log, and the model is sent the log's context:
    a summary of what is closed, and of the rest the graph's own message objects. Its answer is recorded at
    once, with its usage. The graph's state stays whole, unless `trim_state` is set. Put it first in the
    list of middleware: then it records what the others have made of the answer.

    The conversation is that of the run's `thread_id`. Where the graph's messages were rewritten, as when an
    earlier checkpoint is resumed, it goes on in a fork, and the event `mirror.forked` is logged.

    Example:
        ```python
        memory = LongspliceMiddleware(store="sqlite:///chats.db", token_threshold=8000)
        agent = create_agent("openai:gpt-5.5", tools, middleware=[memory], checkpointer=checkpointer)
        ```

    Args:
        session: A manager, for an agent that serves one conversation, or a callable from session id and
            `Runtime` to the manager. `None`: made of `settings`, with the agent's tools and model.
        owner: User or tenant, or a callable that tells it from the `Runtime`. `None`: the `owner` of the
            run's context, if it has one.
        session_id: Tells the session id from the `Runtime`; `None`, or where it gives none: the thread's id.
        tool_specs: What the tools are: read-only, destructive, ...; see `guards.ToolSpec`.
        guard: Policies of the guard, as `ToolGuard` takes them; `False` leaves the tools alone.
        confirm: What becomes of a call that needs a person: `interrupt` asks through LangGraph's `interrupt`
            (needs a checkpointer), `answer` tells the model that it waits.
        trim_state: Whether the graph's state is rewritten after a segmentation: summary and open rest. The
            log then has the only whole copy in chat shape; earlier checkpoints stay as they are.
        read_values: Whether large results are shown as previews, with a tool to read on.
        max_tokens: Most tokens of a request, as for `SessionManager.context`.
        recall: Whether passages that bear on the newest question are brought back.
        settings: Arguments of `SessionManager`: `store`, `token_threshold`, `summarizer`, ...

    Raises:
        InvalidSetting: Settings that do not go together. A run without `thread_id` raises it too.
    """

    tools: Sequence[BaseTool]

    def __init__(
        self,
        session: SessionManager | SessionFactory | None = None,
        *,
        owner: str | TellsFromRun | None = None,
        session_id: TellsFromRun | None = None,
        tool_specs: Iterable[ToolSpec] = (),
        guard: Mapping[str, Any] | Literal[False] | None = None,
        confirm: Literal["interrupt", "answer"] = "interrupt",
        trim_state: bool = False,
        read_values: bool = False,
        max_tokens: int | None = None,
        recall: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.tools = [_read_value_tool()] if read_values else []
        self._guards = guard is not False
        self._conversations = Conversations(
            session,
            settings,
            owner=owner,
            session_id=session_id,
            specs=tool_specs,
            guard=guard or None,
            previews=read_values,
        )
        self._interrupts = interrupts(confirm)
        self._trims = trim_state
        self._max_tokens = max_tokens
        self._recall = recall

    # Before the model

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """End a run that the guard has stopped; rewrite the state, if that is asked for."""
        if not self._trims and not is_stopped(state["messages"]):
            return None
        return run(self.abefore_model(state, runtime))

    @hook_config(can_jump_to=["end"])
    async def abefore_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        messages = state["messages"]
        stopped = is_stopped(messages)
        if not self._trims and not stopped:
            return None
        conversation = await self._conversations.of(runtime, messages)
        head, rest = split_system(messages)
        if stopped:
            said = AIMessage(STOPPED)
            await conversation.record(rest, [said])
            return {"messages": [said], "jump_to": "end"}
        shorter = await conversation.shorter(rest)
        if shorter is None:
            return None
        return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), *head, *shorter]}

    # Around the model

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> Called:
        caller = Caller()
        return run(self.awrap_model_call(request, caller.runs(handler)), caller=caller)

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Called:
        conversation = await self._conversations.of(
            request.runtime, request.messages, Request(request.tools, request.model)
        )
        head, rest = split_system(request.messages)
        system = [m for m in (request.system_message, *head) if m is not None]
        prompt = "\n\n".join(message.text for message in system) or None
        viewed = await conversation.view(rest, prompt, max_tokens=self._max_tokens, recall=self._recall)
        if viewed.prompt not in (None, prompt):  # The session has one, or virtual memory adds to it.
            head, request = [], request.override(system_message=SystemMessage(viewed.prompt))
        response = await handler(
            request.override(messages=cast("list[AnyMessage]", [*head, *viewed.messages]))
        )
        await conversation.record_paid(rest, _messages_of(response), prompt)
        return response

    # Around a tool

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolAnswer]
    ) -> ToolAnswer:
        if not self._guards:
            return handler(request)
        caller = Caller()
        return run(self.awrap_tool_call(request, caller.runs(handler)), caller=caller)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolAnswer]]
    ) -> ToolAnswer:
        if not self._guards:
            return await handler(request)
        runtime = cast("Runtime[Any]", request.runtime)  # A tool's has the same fields.
        _, messages = split_system(state_messages(request.state))
        conversation = await self._conversations.of(runtime, messages)
        await conversation.find(messages)
        return await run_guarded(conversation, request, handler, interrupts=self._interrupts)


def _messages_of(response: Called) -> list[BaseMessage]:
    """What a model call has brought: an answer, and the results that structured output makes up."""
    if isinstance(response, AIMessage):
        return [response]
    inner = response.model_response if isinstance(response, ExtendedModelResponse) else response
    return list(inner.result)


def _read_value_tool() -> BaseTool:
    """The tool that pages through large results; the guard answers its calls."""
    function = READ_VALUE_SCHEMA["function"]

    def unguarded(**_: Any) -> str:
        raise RuntimeError(
            "read_value is answered by LongspliceMiddleware; put the middleware into the agent"
        )

    return StructuredTool.from_function(
        unguarded,
        name=function["name"],
        description=function["description"],
        args_schema=function["parameters"],
        metadata={ARTIFACT: True},
    )

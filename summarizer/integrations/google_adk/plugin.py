"""The plugin: history and guard of each ADK session, in the callbacks of an app."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from uuid import uuid4

from google.adk.agents.base_agent import BaseAgent
from google.adk.agents.callback_context import CallbackContext
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.plugins import BasePlugin
from google.adk.tools import BaseTool, ToolContext
from google.genai.types import Content, FunctionDeclaration

from guards import READ_VALUE_SCHEMA, Outcome, UnknownCallError, Verdict
from guards.reading import READ_VALUE

from ...context.policies import Policies
from ...messages import result_text
from ...meter import Usage
from ...session import SessionManager
from ...stores import open_store
from ...tool_calls import SessionTools
from ...tool_calls.answers import content_of, error_said
from ..mirror import Mirror
from .translation import CallIds, Piece, arranged, of_this_request, pieces_of, plain_result, spoken

__all__ = ["LongsplicePlugin"]

SessionOf: TypeAlias = Callable[[CallbackContext], SessionManager]

_MOST_SESSIONS: Final = 1024
"""Sessions at hand; others are opened again when they are needed."""


@dataclass(slots=True)
class _Talk:
    """One agent's part of one ADK session.

    Attributes:
        mirror: Keeps the log in step with the request's contents.
        said: The messages of the last request, and the answers since.
        synced: How many of them the mirror has seen.
        verdicts: Of the calls that run.
    """

    mirror: Mirror
    said: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    synced: int = 0
    verdicts: dict[str, Verdict] = field(default_factory=dict[str, Verdict])


class LongsplicePlugin(BasePlugin):
    """Records the conversations of an app's agents, sends what fits, and guards their tools.

    ADK's session service keeps its events as before; the plugin's log follows the contents of the requests.
    Each agent of an ADK session has a conversation of its own, `SESSION.AGENT`, since each sees the session
    in its own way; its owner is the ADK user. An instruction that ADK puts among the user's messages stays
    in its place and is not recorded.

    Kept: text, thoughts, function calls and responses, inline data, files, code, unknown parts as JSON.
    Not kept: live (bidirectional) runs, and agents that see their turn alone (`include_contents="none"`).
    Do not combine with ADK's own events compaction.

    Args:
        session_of: Gives the session for a callback's context. `None`: as said above.
        name: The plugin's name.
        guard: Whether tool calls go through the session's `tools`.
        read_values: Whether agents get the tool `read_value`, by which the model reads on where a large
            result was shown as a preview. It goes with the guard.
        max_tokens: Most tokens of a request; see `SessionManager.context`.
        policies: See `SessionManager.context`.
        settings: For the `SessionManager`s, where `session_of` is not given: `store`, `token_threshold`, ...

    Raises:
        StoreError: The store failed; ADK ends the run with it as the cause.

    Example:
        ```python
        app = App(name="shop", root_agent=agent, plugins=[LongsplicePlugin(store="sqlite:///shop.db")])
        ```
    """

    def __init__(
        self,
        session_of: SessionOf | None = None,
        *,
        name: str = "longsplice",
        guard: bool = True,
        read_values: bool = True,
        max_tokens: int | None = None,
        policies: Policies | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(name=name)
        self._session_of = session_of or _sessions(settings)
        self._guard = guard
        self._reader = _ReadValue() if guard and read_values else None
        self._max_tokens = max_tokens
        self._policies = policies
        self._talks: OrderedDict[tuple[str, ...], _Talk] = OrderedDict()
        self._forgetful: set[str] = set()

    def sm(self, context: CallbackContext) -> SessionManager:
        """The session of an agent's conversation, or the fork that it is in."""
        return self._talk(context).mirror.sm

    def _talk(self, context: CallbackContext) -> _Talk:
        session = context.session
        key = (session.app_name, session.user_id, session.id, context.agent_name)
        talk = self._talks.get(key)
        if talk is None:
            talk = self._talks[key] = _Talk(Mirror(self._session_of(context)))
        self._talks.move_to_end(key)
        while len(self._talks) > _MOST_SESSIONS:
            self._talks.popitem(last=False)
        return talk

    async def before_agent_callback(
        self,
        *,
        agent: BaseAgent,
        callback_context: CallbackContext,  # noqa: ARG002
    ) -> None:
        """Note whether the agent has a history; one that sees its turn alone is left alone."""
        if (
            getattr(agent, "include_contents", "default") == "none"
            or getattr(agent, "mode", "") == "single_turn"
        ):
            self._forgetful.add(agent.name)
        else:
            self._forgetful.discard(agent.name)

    async def before_model_callback(
        self, *, callback_context: CallbackContext, llm_request: LlmRequest
    ) -> LlmResponse | None:
        """Record what is new, and send what fits in place of all contents."""
        if callback_context.agent_name in self._forgetful:
            return None
        talk, events = self._talk(callback_context), callback_context.session.events
        contents = llm_request.contents
        passing = of_this_request(contents, events)
        pieces = [piece for piece in pieces_of(contents, CallIds(events)) if piece.owner not in passing]
        talk.said = [piece.wire for piece in pieces]
        talk.synced = len(pieces)
        await talk.mirror.sync(talk.said)
        llm_request.contents = await self._shown(talk, llm_request, contents, pieces)
        if self._reader is not None and llm_request.tools_dict and READ_VALUE not in llm_request.tools_dict:
            llm_request.append_tools([self._reader])
        return None

    async def _shown(
        self, talk: _Talk, request: LlmRequest, contents: list[Content], pieces: list[Piece]
    ) -> list[Content]:
        system = _text(request.config.system_instruction)
        view = await talk.mirror.view(self._max_tokens, policies=self._policies)
        known = view.context.messages[0] if view.context.messages else {"role": ""}
        told = known["content"] if known["role"] == "system" and not view.context.seqs[0] else None
        if system and told != system:
            await talk.mirror.sm.update_system_prompt(system)
            view = await talk.mirror.view(self._max_tokens, policies=self._policies)
        elif told and not system:
            request.append_instructions([told])
        has_system = bool(system or told)
        return arranged(contents, pieces, view.parts[1:] if has_system else view.parts)

    async def after_model_callback(
        self, *, callback_context: CallbackContext, llm_response: LlmResponse
    ) -> LlmResponse | None:
        """Record the answer with its usage, so that its calls are numbered in their order."""
        content = llm_response.content
        if llm_response.partial or content is None or not content.parts:
            return None
        if callback_context.agent_name in self._forgetful:
            return None
        for part in content.parts:
            if part.function_call is not None and not part.function_call.id:
                part.function_call.id = f"adk-{uuid4()}"  # As ADK itself does, a moment later.
        talk = self._talk(callback_context)
        if len(talk.said) > talk.synced:  # One request, two answers.
            await talk.mirror.sync(talk.said)
            talk.synced = len(talk.said)
        wire = spoken(content.parts, CallIds())
        used = llm_response.usage_metadata
        usage = None if used is None else Usage.from_response(used)
        await talk.mirror.record(wire, usage=usage, model=llm_response.model_version)
        talk.said.append(wire)
        return None

    async def before_tool_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext
    ) -> dict[str, Any] | None:
        """Let the guard decide: values for `$vN` go into the arguments, a refused call is answered here."""
        call_id = tool_context.function_call_id
        if not self._guard or call_id is None or tool_context.agent_name in self._forgetful:
            return None
        talk = self._talk(tool_context)
        tools = talk.mirror.sm.tools
        if tool is self._reader:
            return {"result": (await tools.read_value(tool_args, call_id=call_id)).content}
        verdict = await tools.before_call(tool.name, tool_args, call_id)
        if not verdict.should_run:
            return {"result": tools.guard.content_of(verdict)}
        talk.verdicts[call_id] = verdict
        if tool_args != verdict.arguments:
            tool_args.clear()
            tool_args.update(verdict.arguments)
        return None

    async def after_tool_callback(
        self,
        *,
        tool: BaseTool,
        tool_args: dict[str, Any],  # noqa: ARG002
        tool_context: ToolContext,
        result: dict[str, Any],
    ) -> dict[str, Any] | None:
        """Record the result; a large one reaches the model as a preview."""
        if tool_context.agent_name in self._forgetful:
            return None
        call_id = tool_context.function_call_id or ""
        talk = self._talk(tool_context)
        verdict = talk.verdicts.pop(call_id, None)
        if verdict is None:
            return None
        tools = talk.mirror.sm.tools
        if tool.is_long_running and not result:  # Its response comes later.
            with suppress(UnknownCallError):
                tools.guard.after_call(call_id, outcome=Outcome.REFUSED)
            return None
        told = plain_result(result)
        binding = await _ended(tools, call_id, result=told)
        content = content_of(tools.guard, verdict, told, error_said(None, None), binding)
        return None if content == result_text(told) else {"result": content}

    async def on_tool_error_callback(
        self,
        *,
        tool: BaseTool,  # noqa: ARG002
        tool_args: dict[str, Any],  # noqa: ARG002
        tool_context: ToolContext,
        error: Exception,
    ) -> dict[str, Any] | None:
        """Record how the call failed; what becomes of the run is ADK's to say."""
        if tool_context.agent_name in self._forgetful:
            return None
        call_id = tool_context.function_call_id or ""
        talk = self._talk(tool_context)
        if talk.verdicts.pop(call_id, None) is None:
            return None
        tools = talk.mirror.sm.tools
        raised: BaseException = error  # ADK tells of a cancelled call here too.
        if isinstance(raised, asyncio.CancelledError):
            ending = _ended(tools, call_id, outcome=Outcome.CANCELLED)
            await asyncio.shield(asyncio.ensure_future(ending))
        else:
            await _ended(tools, call_id, error=error)
        return None

    async def close(self) -> None:
        """Wait until nothing of the sessions at hand is under way."""
        for talk in self._talks.values():
            await talk.mirror.sm.settle()


class _ReadValue(BaseTool):
    """The tool that pages through large results; the guard answers its calls."""

    def __init__(self) -> None:
        function = READ_VALUE_SCHEMA["function"]
        super().__init__(name=function["name"], description=function["description"])
        given = function["parameters"]
        self._parameters = {key: value for key, value in given.items() if not key.startswith("x-")}

    def _get_declaration(self) -> FunctionDeclaration:
        return FunctionDeclaration(
            name=self.name, description=self.description, parameters_json_schema=self._parameters
        )


async def _ended(tools: SessionTools, call_id: str, **end: Any) -> Any:
    with suppress(UnknownCallError):  # The deadline closed it while it ran.
        return await tools.after_call(call_id, **end)


def _sessions(settings: dict[str, Any]) -> SessionOf:
    """Conversations of the agents of ADK sessions, owned by their users."""
    store = settings.pop("store", None)
    opened = open_store(store) if isinstance(store, str) else store
    SessionManager(store=opened, **settings)  # A setting that cannot be used is refused here.

    def session_of(context: CallbackContext) -> SessionManager:
        session = context.session
        return SessionManager(
            f"{session.id}.{context.agent_name}", owner=session.user_id, store=opened, **settings
        )

    return session_of


def _text(instruction: object) -> str:
    """The system instruction as text; parts that are no text are left out."""
    if isinstance(instruction, str):
        return instruction
    if isinstance(instruction, Content):
        return "\n\n".join(part.text for part in instruction.parts or [] if part.text)
    return ""

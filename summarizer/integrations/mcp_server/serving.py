"""The server: tools declared, calls answered, errors said. The one module that knows the MCP SDK."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from guards import GuardError

from ...errors import MissingExtra, SessionNotFound, StoreError, SummarizerError
from ...stores import open_store
from ...stores.protocol import EventStore, Owner
from ...telemetry import log
from .arguments import BadArguments, checked
from .reading import Reader
from .wording import INSTRUCTIONS, NOTICE, TOOLS

try:
    import mcp_types as types
    from mcp.server import Server, ServerRequestContext
    from mcp.server.stdio import stdio_server
    from mcp.shared.exceptions import MCPError
except ImportError as error:
    raise MissingExtra("the MCP server", "mcp") from error

__all__ = ["create_server", "serve_stdio"]

_NAME: Final = "longsplice"
_READ_ONLY: Final = types.ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)

Answer = Callable[..., Awaitable[dict[str, Any]]]


def create_server(store: EventStore | str | None = None, *, owner: Owner = None) -> Server[None]:
    """A server of the MCP SDK with the five tools, for any of its transports.

    Args:
        store: An `EventStore`, which stays yours to close, or a URL; `None`: that of the library.
        owner: Whose conversations it shows; no call can name another.

    Raises:
        InvalidSetting: A URL that names no store; nothing is read here.
    """
    given = open_store(store) if store is None or isinstance(store, str) else store
    reader = Reader(given, owner)
    answers: Mapping[str, Answer] = {name: getattr(reader, name) for name in TOOLS}

    @asynccontextmanager
    async def lifespan(_: Server[None]) -> AsyncGenerator[None]:
        try:
            yield None
        finally:
            if given is not store:
                await given.close()

    async def list_tools(
        _: ServerRequestContext[None], __: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_tool(name) for name in TOOLS])

    async def call_tool(
        _: ServerRequestContext[None], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        if params.name not in answers:
            problem = f"there is no tool {params.name[:80]!r}; use {', '.join(TOOLS)}"
            raise MCPError(types.INVALID_PARAMS, problem)
        return await _answered(params.name, answers[params.name], params.arguments)

    return Server(
        _NAME,
        version=_version(),
        title="Recorded conversations",
        instructions=INSTRUCTIONS,
        lifespan=lifespan,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def serve_stdio(store: EventStore | str | None = None, *, owner: Owner = None) -> None:
    """Serve one client over stdin and stdout until it closes them; stdout carries JSON-RPC alone."""
    server = create_server(store, owner=owner)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def _tool(name: str) -> types.Tool:
    description, schema = TOOLS[name]
    return types.Tool(name=name, description=description, input_schema=schema, annotations=_READ_ONLY)


async def _answered(name: str, answer: Answer, arguments: Mapping[str, Any] | None) -> types.CallToolResult:
    try:
        told = await answer(**checked(TOOLS[name][1], arguments))
    except SessionNotFound as error:
        problem = f"session {error.session_id[:80]!r} is not there; call list_sessions for those that are"
        return _failed(problem)
    except StoreError as error:
        log.warning("mcp.read_failed", tool_name=name, error=type(error).__name__)
        return _failed(str(error))
    except (BadArguments, SummarizerError, GuardError) as error:
        return _failed(str(error))
    found = {"recorded_data": NOTICE, **told}
    text = types.TextContent(type="text", text=json.dumps(found, ensure_ascii=False))
    return types.CallToolResult(content=[text], structured_content=found)


def _failed(problem: str) -> types.CallToolResult:
    text = types.TextContent(type="text", text=problem.encode("utf-8", "replace").decode())
    return types.CallToolResult(content=[text], is_error=True)


def _version() -> str:
    try:
        return version(_NAME)
    except PackageNotFoundError:  # Run from a checkout.
        return ""

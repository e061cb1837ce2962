"""The endpoint as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from urllib.parse import quote

from ..errors import MissingExtra
from ..segmentation import settle
from ..stores import EventStore, open_store
from ..telemetry import log
from .asked import ClientGone, joined, read_asked
from .desk import Desk
from .errors import EndpointError, error_body
from .exchange import Exchange
from .gate import Gate, Receive, Scope, Send, send_json
from .logs import log_to_stderr
from .settings import Settings
from .upstream import Upstream

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
except ImportError as error:
    raise MissingExtra("the endpoint", "serve") from error

__all__ = ["app_from_environment", "create_app"]

_SETTLE_S: Final = 10.0
"""Seconds for which the end waits for summaries under way; what is due stays due."""


def create_app(settings: Settings, *, store: EventStore | None = None) -> Starlette:
    """An OpenAI-compatible endpoint in front of another one; see `docs/integrations/endpoint.md`.

    Args:
        settings: How it works.
        store: Where conversations are kept, in place of `settings.store`; it is not closed here.

    Returns:
        An ASGI application; nothing is opened before its lifespan begins.
    """
    endpoint = _Endpoint(settings, store)
    return Starlette(
        routes=[
            Route("/v1/chat/completions", endpoint.chat, methods=["POST"]),
            Route("/v1/models", endpoint.models, methods=["GET"]),
            Route("/v1/models/{model:path}", endpoint.models, methods=["GET"]),
            Route("/healthz", _healthz, methods=["GET"]),
        ],
        middleware=[Middleware(Gate, token=settings.token, hosts=settings.hosts)],
        exception_handlers={404: _no_such_path, 405: _no_such_path},
        lifespan=endpoint.lifespan,
    )


def app_from_environment() -> Starlette:
    """The endpoint that `longsplice serve` described to this worker process; its log lines go to stderr."""
    log_to_stderr()
    return create_app(Settings.from_environment())


class _Endpoint:
    """What the routes share: the upstream's connections, the store, the desk."""

    def __init__(self, settings: Settings, store: EventStore | None) -> None:
        self._settings = settings
        self._given = store
        self._upstream: Upstream | None = None
        self._desk: Desk | None = None
        self._answering: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        """Open what is shared; at the end, let summaries under way end."""
        settings = self._settings
        store = self._given or open_store(settings.store)
        self._upstream = Upstream(settings.upstream, settings.upstream_timeout_s)
        self._desk = Desk(settings, store, self._upstream)
        log.info("endpoint.started", mode=settings.mode, summarizer=settings.summarizer)
        try:
            yield
        finally:
            if self._answering:  # A server that ends cancels them: what was said so far is being recorded.
                await asyncio.wait(self._answering, timeout=_SETTLE_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(_SETTLE_S):
                    await settle()
            await self._upstream.close()
            if self._given is None:
                await store.close()

    async def chat(self, _: Request) -> Response:
        """`POST /v1/chat/completions`."""
        return _Answering(self)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read a request, and answer it."""
        assert self._desk is not None
        assert self._upstream is not None
        try:
            asked = await read_asked(scope, receive, self._settings)
        except ClientGone:
            return
        except EndpointError as error:
            await send_json(send, error.status, error.body)
            return
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        try:
            await Exchange(asked, self._desk, self._upstream, self._settings).run(receive, send)
        finally:
            self._answering.discard(task)

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`, as the upstream answers it."""
        assert self._upstream is not None
        path = request.scope["path"].removeprefix("/v1/")
        if {".", ".."} & set(path.split("/")):  # Above the base URL the caller's key opens other doors.
            return await _no_such_path(request, HTTPException(404))
        headers = joined(request.scope["headers"])
        try:
            async with self._upstream.ask("GET", quote(path), headers, None, request.url.query) as answer:
                response = Response(await answer.body(), answer.status)
                response.raw_headers.extend(answer.headers)
                return response
        except EndpointError as error:
            return JSONResponse(error.body, error.status)


class _Answering(Response):
    """A response that writes itself, as the upstream's bytes arrive."""

    def __init__(self, endpoint: _Endpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._endpoint.answer(scope, receive, send)


async def _healthz(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _no_such_path(request: Request, error: Exception) -> Response:
    status, headers = getattr(error, "status_code", 404), getattr(error, "headers", None)
    told = f"{request.method} {request.url.path} is not served here; POST to /v1/chat/completions"
    return JSONResponse(error_body(told, "invalid_request_error", "unknown_url"), status, headers)

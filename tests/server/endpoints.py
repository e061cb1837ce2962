"""An endpoint under a real uvicorn, in the loop of the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from openai import AsyncOpenAI

from summarizer.server import Settings, create_app
from summarizer.stores import EventStore, MemoryStore
from summarizer.stores.protocol import ANY_OWNER
from summarizer.testing import LoopbackServer
from summarizer.testing.replies import Step

KEY = "sk-test-caller-one"


@dataclass
class Endpoint:
    """A running endpoint: its URL, its store, and the clients that ask it."""

    url: str
    store: EventStore
    http: httpx.AsyncClient
    clients: list[AsyncOpenAI] = field(default_factory=list[AsyncOpenAI])

    def client(self, key: str = KEY, **options: Any) -> AsyncOpenAI:
        """The official client, which tries nothing again unless told to."""
        # Certificates are not read, which is most of the time that a client takes to be made.
        http = httpx.AsyncClient(verify=False)
        given = {"max_retries": 0, **options}
        client = AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, http_client=http, **given)
        self.clients.append(client)
        return client


@contextmanager
def free_socket() -> Iterator[socket.socket]:
    """A bound socket on loopback."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


@asynccontextmanager
async def endpoint(
    upstream: str, *, store: EventStore | None = None, **settings: Any
) -> AsyncGenerator[Endpoint]:
    """Serve in this loop until the block ends."""
    kept = store or MemoryStore()
    app = create_app(Settings(upstream, **settings), store=kept)
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=2)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with free_socket() as bound:
        # As `Server.serve` does, without the loop that looks ten times a second whether it is to end.
        await server.startup(sockets=[bound])
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        served = Endpoint(url, kept, httpx.AsyncClient(base_url=url, verify=False))
        try:
            yield served
        finally:
            await served.http.aclose()
            for client in served.clients:
                await client.close()
            # As `Server.shutdown` does, without its fixed sleep.
            for listening in server.servers:
                listening.close()
                await listening.wait_closed()
            if tasks := server.server_state.tasks:
                await asyncio.wait(tasks, timeout=5)
            await server.lifespan.shutdown()


@asynccontextmanager
async def serving(
    steps: Iterable[Step] = (), *, answer: Step | None = None, **settings: Any
) -> AsyncGenerator[tuple[LoopbackServer, Endpoint]]:
    """An endpoint in front of a scripted upstream."""
    async with (
        LoopbackServer(steps, answer=answer) as upstream,
        endpoint(upstream.openai_url, **settings) as served,
    ):
        yield upstream, served


def sent(server: LoopbackServer, number: int = -1) -> dict[str, Any]:
    """The body of a request that the upstream got."""
    return dict(server.requests[number].body)


def contents(messages: Sequence[Any]) -> list[tuple[str, str]]:
    """Role and text of messages."""
    return [(m["role"], m["content"]) for m in messages]


async def conversations(store: EventStore) -> list[Any]:
    """All conversations of a store, whoever owns them."""
    return list(await store.list(ANY_OWNER))

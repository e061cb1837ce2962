"""The endpoint beside its bare upstream: time to the first token, and fifty streams at once, on loopback.

Upstream and endpoint run in processes of their own, as in `longsplice serve`; the client is this process. The
upstream answers at once, so what is measured is what stands between a client and its model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from summarizer import SessionManager, open_store
from summarizer.testing.processes import UrlProcess, end_with_parent

from .harness import Figure, Result, interleaved
from .logs import ANSWER, QUESTION

CHUNKS: Final = 100
"""Events of one answer, each written by itself."""
STREAMS: Final = 50
LENGTHS: Final = (100, 10_000)
_QUICK: Final = (4, 8)
_MODEL: Final = "gpt-4o-mini"
_HEAD: Final = (
    b"HTTP/1.1 200 OK",
    b"content-type: text/event-stream",
    b"transfer-encoding: chunked",
    b"\r\n",
)


async def run(*, quick: bool = False) -> Result:
    """Measure both ways in turn."""
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        return Result(
            "endpoint", [Figure("added to the first token", None, "ms")], ["needs longsplice[serve]"]
        )
    lengths, rounds = (_QUICK, 3) if quick else (LENGTHS, 200)
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{Path(folder, 'log.db').as_posix()}"
        await _fill(store, lengths)
        with (
            UrlProcess("benchmarks.endpoint", ["upstream"]) as upstream,
            UrlProcess("benchmarks.endpoint", ["serve", upstream.url, store]) as endpoint,
        ):
            first = await _first_token(upstream.url, endpoint.url, lengths, rounds)
            many = await _many(upstream.url, endpoint.url, 2 if quick else 10)
    notes = [
        f"answers of {CHUNKS} events; SQLite store; a session of each length, segmented as by default",
        "a request through the endpoint records a question and an answer, and builds a context",
    ]
    return Result("endpoint", [*first, *many], notes)


async def _fill(url: str, lengths: Sequence[int]) -> None:
    """Conversations of so many messages, of callers without credentials."""
    from summarizer.server.sessions import owner_of

    store = open_store(url)
    for length in lengths:
        sm = SessionManager(
            f"of-{length}", store=store, owner=owner_of({}), model=_MODEL, token_threshold=0.75
        )
        turn = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]
        for _ in range(0, length, 100):
            await sm.record_all(turn * (min(length, 100) // 2))
        await sm.settle()
    await store.close()


async def _first_token(bare: str, endpoint: str, lengths: Sequence[int], rounds: int) -> list[Figure]:
    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "bare": partial(_ask, bare, None, only_first=True),
        "new": partial(_ask, endpoint, None, only_first=True),
    }
    ways |= {str(n): partial(_ask, endpoint, f"of-{n}", only_first=True) for n in lengths}
    medians = await interleaved(ways, rounds=rounds)
    base = medians["bare"]
    return [
        Figure("first token, bare upstream", base * 1e3, "ms"),
        Figure("added by the endpoint, new session", (medians["new"] - base) * 1e3, "ms"),
        *(
            Figure(f"added by the endpoint, session of {n:,} messages", (medians[str(n)] - base) * 1e3, "ms")
            for n in lengths
        ),
    ]


async def _many(bare: str, endpoint: str, rounds: int) -> list[Figure]:
    """Fifty streams at once, again and again, the two ways in turn."""

    async def together(url: str) -> None:
        await asyncio.gather(*(_ask(url, None) for _ in range(STREAMS)))

    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "bare": partial(together, bare),
        "through": partial(together, endpoint),
    }
    medians = await interleaved(ways, rounds=rounds, warm=1)
    events = STREAMS * CHUNKS
    return [
        Figure(f"{STREAMS} streams at once, bare upstream", events / medians["bare"], "events/s"),
        Figure(f"{STREAMS} streams at once, through the endpoint", events / medians["through"], "events/s"),
        Figure(f"{STREAMS} streams at once, through the endpoint", STREAMS / medians["through"], "answers/s"),
    ]


async def _ask(url: str, session_id: str | None, *, only_first: bool = False) -> None:
    """One stream, read to its first event or to its end; the least a client can do."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    body = {"model": _MODEL, "messages": [{"role": "user", "content": QUESTION}], "stream": True}
    raw = json.dumps(body).encode()
    head = [
        "POST /v1/chat/completions HTTP/1.1",
        f"host: {at.netloc}",
        f"content-length: {len(raw)}",
        "connection: close",
        *([] if session_id is None else [f"x-longsplice-session-id: {session_id}"]),
    ]
    writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + raw)
    answer = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in answer.partition(b"\r\n")[0] or b"x-longsplice-passed-through" in answer:
        raise RuntimeError(f"not answered as it should be: {answer!r}")
    await reader.readuntil(b"\n\n")
    if not only_first:
        last = b""
        while chunk := await reader.read(65536):
            last = (last + chunk)[-200:]
        if b"[DONE]" not in last:
            raise RuntimeError(f"the stream has no end: {last!r}")
    writer.close()


# The processes


def _events() -> list[bytes]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": _MODEL}
    deltas: list[tuple[dict[str, str], str | None]] = [({"content": "word "}, None)] * (CHUNKS - 2)
    chunks = [
        {**head, "choices": [{"index": 0, "delta": d, "finish_reason": f}]}
        for d, f in [*deltas, ({}, "stop")]
    ]
    return [*(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks), b"data: [DONE]\n\n"]


async def _upstream() -> None:
    """Answers whatever it is asked with the same events."""
    frames = [b"%x\r\n%b\r\n" % (len(event), event) for event in _events()]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                writer.write(b"\r\n".join(_HEAD))
                for frame in frames:
                    writer.write(frame)
                    await writer.drain()
                    await asyncio.sleep(0)
                writer.write(b"0\r\n\r\n")
                if b"connection: close" in head:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def _serve(upstream: str, store: str) -> None:
    import uvicorn

    from summarizer.server import Settings, create_app

    app = create_app(Settings(f"{upstream}/v1", store=store))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    with socket.create_server(("127.0.0.1", 0), backlog=256) as bound:
        print(f"http://127.0.0.1:{bound.getsockname()[1]}", flush=True)
        await server.serve(sockets=[bound])


def main(arguments: Sequence[str]) -> None:
    """One of the two processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["upstream", "serve"])
    parser.add_argument("given", nargs="*")
    parser.add_argument("--end-with-parent", action="store_true")
    options = parser.parse_args(arguments)
    if options.end_with_parent:
        end_with_parent()
    asyncio.run(_upstream() if options.role == "upstream" else _serve(*options.given))


if __name__ == "__main__":
    main(sys.argv[1:])

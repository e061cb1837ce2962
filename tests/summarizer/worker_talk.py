"""Fork a talker for each line read, to be killed: argv = URL, file for what was acknowledged, summary server.

A talker goes on with the conversation, turn after turn, and writes down what was acknowledged. After the
line `answered` it kills itself as soon as a summary came back, before anything can be handed over. Its
parent loads everything once and then only forks and waits: a start costs milliseconds.
"""

# ruff: noqa: T201 - its parent reads what it prints

import asyncio
import json
import os
import signal
import sys
from urllib.parse import urlsplit

from summarizer import SessionManager
from summarizer.meter import counter_for_model
from summarizer.summary import LlmSummarizer
from summarizer.summary.llm import ModelReply, ModelRequest
from tests.summarizer.talk import said, soft_only, told

LEASE_S = 0.08


class Asked:
    """Asks the loopback server in the words of Chat Completions."""

    def __init__(self, url: str, *, die: bool) -> None:
        self._address = urlsplit(url)
        self._die = die

    async def complete(self, request: ModelRequest) -> ModelReply:
        body = json.dumps({"model": "m", "messages": request.messages}).encode()
        reader, writer = await asyncio.open_connection(self._address.hostname, self._address.port)
        lines = (
            "POST /v1/chat/completions HTTP/1.1",
            "host: x",
            f"content-length: {len(body)}",
            "connection: close",
        )
        writer.write("\r\n".join((*lines, "\r\n")).encode() + body)
        answer = (await reader.read()).partition(b"\r\n\r\n")[2]
        writer.close()
        if self._die:
            os.kill(os.getpid(), signal.SIGKILL)
        return ModelReply(json.loads(answer)["choices"][0]["message"]["content"])


async def run(url: str, acked: int, server: str, *, die: bool) -> None:
    model = Asked(server, die=die)
    summarizer = LlmSummarizer(["m"], model_factory=lambda _name: model, window=200_000)
    manager = SessionManager("c", store=url, policy=soft_only(lease_s=LEASE_S), summarizer=summarizer)
    number = 0
    while True:
        number += 1
        name = f"[{os.getpid()}.{number}]"
        await manager.turn(f"{said(number)} {name}", f"{told(number)} {name}")
        os.write(acked, f"\n{name};".encode())  # as `acknowledged` reads it
        await asyncio.sleep(0.004)


def main(url: str, path: str, server: str) -> None:
    acked = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    import sqlite3  # noqa: F401 - loaded before the fork, to start faster

    import redis.asyncio  # noqa: F401 - as above

    counter_for_model("gpt-4o-mini").count("loaded before the fork")
    for line in sys.stdin:
        child = os.fork()
        if not child:
            asyncio.run(run(url, acked, server, die=line.strip() == "answered"))
        print(child, flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)


main(*sys.argv[1:])

"""One callback for litellm: a chat without end, its cost, and a restart in the middle.

    python examples/litellm_callback.py

Needs no key: the model is a scripted server on this machine. `pip install longsplice litellm`.
"""

import asyncio
import os
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # No download of prices at import.
import litellm

from summarizer import SessionManager, settle
from summarizer.integrations.litellm_logger import LongspliceLogger
from summarizer.testing import LoopbackServer, Prompt

STORE = "sqlite:///litellm-example.db"


def model(prompt: Prompt) -> str:
    """Stands in for a model: it knows what its request holds."""
    if "locker" in prompt.text and "?" in prompt.text.splitlines()[-1]:
        return next((line for line in prompt.text.splitlines() if "locker is" in line), "I do not know.")
    return "Noted."


async def ask(server: LoopbackServer, history: list[dict[str, Any]], text: str) -> str:
    """What any program with litellm does: append, send everything, append the answer."""
    history.append({"role": "user", "content": text})
    answer = await litellm.acompletion(
        model="openai/gpt-4o-mini",
        messages=history,
        metadata={"session_id": "trip"},
        api_base=server.openai_url,
        api_key="none",
    )
    history.append(answer.choices[0].message.model_dump(exclude_none=True))
    return answer.choices[0].message.content


def watch() -> None:
    """The one line."""
    litellm.callbacks = [LongspliceLogger(STORE, token_threshold=200, segmentation="inline")]


async def main() -> None:
    """Chat for long, ask for the first thing said, start anew, go on."""
    history: list[dict[str, Any]] = []
    watch()
    with LoopbackServer(answer=model) as server:
        await ask(server, history, "My locker is number 318.")
        for n in range(1, 19):
            await ask(server, history, f"Stop {n}: the café there opens at {n % 12 + 1} and closes late.")
        said = await ask(server, history, "What is the number of my locker?")
        sent = len(server.requests[-1].body["messages"])
        print(f"{len(history)} messages in the history, {sent} sent with the last call")
        print(f"the model still knew: {said.strip('- ')}")
        sm = SessionManager("trip", store=STORE)
        stats = await sm.get_stats()
        print(f"recorded {stats.total_messages} messages in {stats.session_segments} segments")
        print(f"{stats.billed_tokens} tokens billed, {stats.cost_usd:.6f} USD as litellm reports")

        watch()  # Another process would do the same; it finds what the log has.
        await ask(server, history, "Thank you.")
        stats = await sm.get_stats()
        print(f"after a restart: {stats.total_messages} messages, nothing twice")
    await settle()


if __name__ == "__main__":
    asyncio.run(main())

"""A long talk in the OpenAI Agents SDK: what is stored, what the model is sent, and a history kept short.

    python examples/openai_agents_compaction.py

Needs openai-agents, no key and no network: the model is scripted.
"""

import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agents import (
    Agent,
    Model,
    ModelResponse,
    Runner,
    SQLiteSession,
    Usage,
    function_tool,
    set_tracing_disabled,
)
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from summarizer.integrations.openai_agents import LocalCompactionSession, SummaryPolicy

TURNS = 30


@function_tool
def order_status(order: int) -> str:
    """Look an order up."""
    return json.dumps({"order": order, "parcel": f"PX-{order * 7}"})


class Scripted(Model):
    """Looks the order up, then answers."""

    def __init__(self) -> None:
        self.sent: list[list[Any]] = []

    async def get_response(self, *_: Any, **request: Any) -> ModelResponse:
        self.sent.append(request["input"])
        number = len(self.sent)
        made: Any
        if number % 2:
            arguments = json.dumps({"order": number})
            made = ResponseFunctionToolCall(
                type="function_call", call_id=f"call_{number}", name="order_status", arguments=arguments
            )
        else:
            text = ResponseOutputText(type="output_text", text="It is on its way.", annotations=[])
            made = ResponseOutputMessage(
                id=f"m{number}", type="message", role="assistant", status="completed", content=[text]
            )
        return ModelResponse(output=[made], usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **request: Any) -> Any:
        raise NotImplementedError


async def talk(session: Any) -> str:
    """All turns; what was stored and sent at their end."""
    model = Scripted()
    agent = Agent(name="shop", model=model, tools=[order_status])
    for turn in range(1, TURNS + 1):
        await Runner.run(agent, f"Where is my order {turn}?", session=session)
    first = str(model.sent[-1][0]["content"])[:300]
    return f"{len(model.sent[-1])} items sent to the model, which begin:\n{first}"


async def main() -> None:
    set_tracing_disabled(True)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "shop.db"
        stored = SQLiteSession("all", file)
        told = await talk(LocalCompactionSession(stored, window_size=20, token_budget=2000))
        print(f"Window of 20: {len(await stored.get_items())} items stored, {told}\n")

        stored, archive = SQLiteSession("short", file), SQLiteSession("short:archive", file)
        notes = SummaryPolicy("extractive", keep_turns=2)  # or a model by its litellm name
        told = await talk(LocalCompactionSession(stored, window_size=20, policy=notes, archive=archive))
        print(f"Notes and an archive: {len(await stored.get_items())} items stored, {told}")


if __name__ == "__main__":
    asyncio.run(main())

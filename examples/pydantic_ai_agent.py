"""A Pydantic AI agent whose conversation never ends: no history is passed, each run opens the session anew.

    python examples/pydantic_ai_agent.py   # no key: a scripted model
    python examples/pydantic_ai_agent.py   # again: it goes on where it stopped

The log is kept in agent.db, in the current folder. For a real model give `Agent` its name.
"""

import asyncio
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from guards import ToolSpec
from summarizer import SessionManager
from summarizer.integrations.pydantic_ai import LongspliceCapability

STORE = "sqlite:///agent.db"
FARES = {"Braga": 19.0, "Faro": 31.0, "Porto": 24.5}
sent: list[int] = []
looked_up: list[str] = []


def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:  # noqa: ARG001
    """Looks a fare up, and tells it."""
    sent.append(len(messages))
    last = messages[-1].parts[-1]
    if isinstance(last, UserPromptPart):
        city = str(last.content).rpartition(" ")[2].rstrip("?")
        return ModelResponse(parts=[ToolCallPart("fare", {"city": city})])
    price = str(last.content).splitlines()[-1]
    text = f"It is {price} euros, with a seat and luggage, on every day of the week and at any hour."
    return ModelResponse(parts=[TextPart(text)])


def agent_of(sm: SessionManager) -> Agent[Any, str]:
    agent = Agent(
        FunctionModel(scripted),
        system_prompt="You sell train tickets.",
        capabilities=[LongspliceCapability(sm)],
    )

    @agent.tool_plain
    def fare(city: str) -> float:
        looked_up.append(city)
        return FARES[city]

    return agent


async def main() -> None:
    for n in range(24):
        city = sorted(FARES)[n % len(FARES)]
        async with SessionManager("tickets", store=STORE, token_threshold=500) as sm:
            sm.tools.configure([ToolSpec("fare", read_only=True)])
            result = await agent_of(sm).run(f"Question {n}: what does it cost to {city}?")
            print(f"{city}: {result.output}")
    stats = await SessionManager("tickets", store=STORE).get_stats()
    print(f"{stats.total_messages} messages in the log, {stats.session_segments} segments")
    print(f"at most {max(sent)} messages sent, {len(looked_up)} of {len(sent) // 2} look-ups ran")


if __name__ == "__main__":
    asyncio.run(main())

"""A Google ADK app with a plugin: its agent's requests stay small, and a loop of equal calls is stopped.

    python examples/google_adk_agent.py   # no key: a scripted model

ADK keeps its events as before. For a real model give the agent a model's name, such as "gemini-2.5-flash".
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from google.adk.agents import LlmAgent
from google.adk.apps import App
from google.adk.models import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.genai.types import Content, FunctionCall, Part

from summarizer import SessionManager
from summarizer.integrations.google_adk import LongsplicePlugin

STORE = "sqlite:///app.db"
sent: list[int] = []
looked: list[str] = []


def find_train(to: str) -> dict[str, Any]:
    """Find the next train."""
    looked.append(to)
    return {"to": to, "trains": []}


class Scripted(BaseLlm):
    """Looks for a train until it is told to stop."""

    async def generate_content_async(
        self,
        llm_request: LlmRequest,
        stream: bool = False,  # noqa: ARG002
    ) -> AsyncGenerator[LlmResponse, None]:
        sent.append(len(llm_request.contents))
        results = [part.function_response for part in llm_request.contents[-1].parts or []]
        told = str(results[0].response) if results and results[0] else "'trains': []"
        if "trains" in told:
            call = FunctionCall(name="find_train", args={"to": "Faro"})
            answer = Part(function_call=call)
        else:
            answer = Part(text="There is no train to Faro today. Shall I look for a bus, or for tomorrow?")
        yield LlmResponse(content=Content(role="model", parts=[answer]))


async def main() -> None:
    plugin = LongsplicePlugin(store=STORE, token_threshold=400)
    agent = LlmAgent(name="guide", model=Scripted(model="scripted"), tools=[find_train])
    app = App(name="station", root_agent=agent, plugins=[plugin])
    runner = Runner(app=app, session_service=InMemorySessionService())
    session = await runner.session_service.create_session(app_name="station", user_id="ana")
    for n in range(6):
        asked = Content(role="user", parts=[Part(text=f"Question {n}: is there a train to Faro today?")])
        async for event in runner.run_async(user_id="ana", session_id=session.id, new_message=asked):
            if event.is_final_response() and event.content and event.content.parts:
                print(f"agent: {event.content.parts[0].text}")
    await plugin.close()
    stats = await SessionManager(f"{session.id}.guide", owner="ana", store=STORE).get_stats()
    print(f"{stats.total_messages} messages in the log, {stats.session_segments} segments")
    print(f"at most {max(sent)} contents sent, {len(looked)} of {stats.tool_calls} calls ran")


if __name__ == "__main__":
    asyncio.run(main())

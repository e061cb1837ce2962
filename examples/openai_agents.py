"""An agent of the OpenAI Agents SDK whose session never outgrows its model, and whose loops end.

pip install "longsplice[openai-agents]"
python examples/openai_agents.py   # no key: a scripted model behind a loopback server
"""

import asyncio
import json
import tempfile
from itertools import count
from pathlib import Path

from agents import Agent, Model, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

from summarizer import ToolCall, count_tokens
from summarizer.integrations.openai_agents import LongspliceSession
from summarizer.integrations.openai_agents.tools import guard_tools, stop_on_loop
from summarizer.testing import LoopbackServer, Prompt, Reply

set_tracing_disabled(disabled=True)
TURNS = 9
CALLS = count(1)


@function_tool
def read_page(number: int) -> str:
    """Read a page of the report."""
    return f"Page {number}: invoice INV-{4000 + number} over {number * 10} EUR. " + "Small print. " * 60


@function_tool
def job_status(job: str) -> str:
    """Say how a job is getting on."""
    return f"{job}: queued"


def model_answers(prompt: Prompt) -> Reply:
    """Stands in for a model: reads one page a turn; once the user asks for a job, it asks for ever."""
    last = prompt.messages[-1]
    asked = next(str(m["content"]) for m in reversed(prompt.messages) if m["role"] == "user")
    name, arguments = "read_page", {"number": asked.split()[-1]}
    if "job" in asked:
        name, arguments = "job_status", {"job": "J-1"}
    elif last["role"] == "tool":
        return Reply(f"Done: {str(last['content'])[:30]}")
    return Reply(tool_calls=(ToolCall(f"call_{next(CALLS)}", name, json.dumps(arguments)),))


async def turn(text: str, model: Model, store: str) -> tuple[str, LongspliceSession]:
    """One turn in a worker of its own; nothing but the id and the file is handed on."""
    session = LongspliceSession(
        "report", store=store, token_threshold=900, max_tokens=2000, model="gpt-4o-mini"
    )
    tools = guard_tools([read_page, job_status], session)
    agent = Agent(name="reader", model=model, tools=tools, tool_use_behavior=stop_on_loop())
    async with session:
        config, hooks = session.run_config(), session.hooks()
        result = await Runner.run(agent, text, session=session, run_config=config, hooks=hooks, max_turns=30)
    return result.final_output, session


async def main() -> None:
    """A few turns, then a loop; then what it came to."""
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{Path(folder) / 'chat.db'}"
        async with LoopbackServer(answer=model_answers) as server:
            client = AsyncOpenAI(base_url=server.openai_url, api_key="none")
            model = OpenAIChatCompletionsModel(model="gpt-4o-mini", openai_client=client)
            for number in range(TURNS):
                await turn(f"Read page {number}", model, store)
            stopped, session = await turn("Wait for job J-1", model, store)
            await client.close()
        stats = await session.manager.get_stats()
        stored = await session.get_items(limit=-1)
        sent = [count_tokens(request.body["messages"], model="gpt-4o-mini") for request in server.requests]
    print(f"{len(stored)} items in {stats.session_segments} segments, all of them kept")
    print(f"largest request: {max(sent)} tokens of {stats.total_tokens} in the log")
    print(f"the loop was stopped: {stopped}")
    print(f"cost: {stats.cost_usd:.6f} USD for {stats.billed_tokens} tokens")


asyncio.run(main())

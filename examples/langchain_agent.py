"""A LangChain agent without end: its tools are guarded, and whatever its length, requests stay small.

    python examples/langchain_agent.py  # no key, no network: a scripted model, 20 turns

With a model of yours: `create_agent("openai:gpt-5.5", tools, middleware=[memory], checkpointer=...)`.
"""

from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from guards import LoopPolicy, ToolSpec
from summarizer.integrations.langchain import LongspliceMiddleware

TURNS = 20
sizes: list[int] = []


@tool
def distance(stop: int) -> str:
    """How far it is from a stop to the next one."""
    return f"Stop {stop} to stop {stop + 1}: {stop * 3} km by the coast road, {stop * 2} km over the hill."


class Scripted(BaseChatModel):
    """Stands in for a model: looks a distance up, then answers; told to check, it goes round in circles."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, _tools: Sequence[Any], **_: Any) -> "Scripted":
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        sizes.append(sum(len(message.text) for message in messages))
        asked = next(m.text for m in reversed(messages) if isinstance(m, HumanMessage))
        stop = int(asked.split()[-1])
        call = {"name": "distance", "args": {"stop": stop}, "id": f"call_{len(sizes)}"}
        looks = not isinstance(messages[-1], ToolMessage) or asked.startswith("Check")
        answer = (
            AIMessage("", tool_calls=[call]) if looks else AIMessage(f"From the map: {messages[-1].text}")
        )
        return ChatResult(generations=[ChatGeneration(message=answer)])


def main() -> None:
    memory = LongspliceMiddleware(
        store="sqlite:///langchain.db",
        token_threshold=600,
        tool_specs=[ToolSpec("distance", replay=False)],
        guard={"loop": LoopPolicy(nudge_before=3, block_before=4, stop_before=5)},
    )
    agent = create_agent(Scripted(), [distance], middleware=[memory], checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "trip"}}
    for stop in range(1, TURNS + 1):
        state = agent.invoke({"messages": [HumanMessage(f"How far is it on from stop {stop}")]}, thread)
    whole = sum(len(message.text) for message in state["messages"])
    print(f"messages in the graph's state: {len(state['messages'])}, {whole} characters")
    print(f"largest request: {max(sizes)} characters")

    state = agent.invoke({"messages": [HumanMessage("Check again and again: stop 7")]}, thread)
    for message in state["messages"][-10:]:
        if isinstance(message, ToolMessage):
            print(f"  {message.status}: {message.text[:72]}")
    print(state["messages"][-1].text)


if __name__ == "__main__":
    main()

"""A Strands agent that forgets nothing, stops looping, and asks before it pays: `python3 strands_agents.py`.

Runs without a key: the model is a script. For a real one, put `strands.models.BedrockModel()` or any other in
its place, and leave the rest as it is.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from strands import Agent, tool

from summarizer.integrations.strands import (
    LongspliceGuard,
    LongspliceSessionManager,
    SlidingWindowManager,
    tool_flags,
)
from summarizer.integrations.strands.testing import ScriptedModel


@tool_flags(read_only=True)
@tool
def find_order(order_id: str) -> str:
    """Look an order up."""
    print(f"  find_order({order_id!r}) runs")
    return json.dumps({"id": order_id, "price": 12.5})


@tool_flags(requires_confirmation=True)
@tool
def refund(order_id: str, amount: float) -> str:
    """Pay back."""
    return f"refunded {amount} of {order_id}"


def open_agent(store: str, *steps: Any) -> tuple[Agent, LongspliceSessionManager]:
    """What every process that serves the session makes."""
    session = LongspliceSessionManager("desk", store=store, token_threshold=4000)
    manager = SlidingWindowManager(max_context_tokens=6000, compactable_after_messages=10, per_turn=True)
    agent = Agent(
        model=ScriptedModel(steps),
        tools=[find_order, refund],
        session_manager=session,
        conversation_manager=manager,
        hooks=[LongspliceGuard(session)],
        callback_handler=None,
    )
    return agent, session


def main() -> None:
    """Two processes, played one after the other."""
    store = f"sqlite:///{Path(tempfile.mkdtemp()) / 'desk.db'}"
    order = {"order_id": "O-1"}
    pay = ("pay", "refund", {"order_id": "$v1.id", "amount": "$v1.price"})

    agent, _ = open_agent(store, [("look", "find_order", order)], [("again", "find_order", order)], [pay])
    result = agent("Refund order O-1.")
    asked = result.interrupts[0]
    print(f"stopped: {result.stop_reason}; asked for {asked.reason['tool']} {asked.reason['arguments']}")

    loop = [[(f"look_{i}", "find_order", order)] for i in range(30)]
    agent, session = open_agent(store, "It is paid back.", *loop)
    result = agent([{"interruptResponse": {"interruptId": asked.id, "response": "approve"}}])
    print(f"another process: {str(result).strip()}")

    result = agent("Check it again and again.")
    print(f"stopped: {result.stop_reason} because of {result.state['longsplice']['stopped']}")
    stats = session.run(lambda sm: sm.get_stats())
    print(f"kept: {stats.total_messages} messages, {stats.tool_results} results, {stats.cost_usd:.6f} USD")


if __name__ == "__main__":
    main()

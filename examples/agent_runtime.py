"""A small agent runtime of your own: its session outlives the process, whichever step that dies in.

    python examples/agent_runtime.py "A train to Lyon, please."   # no key: scripted; a person must decide
    python examples/agent_runtime.py --yes                        # a new process: the person agrees

Whatever was said and done stands in the log, so the loop only looks how far that goes. A booking that may or
may not have happened when the process died is not made again: a person is asked.
"""

import argparse
import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from guards import PermissionPolicy, ToolSpec
from summarizer import ToolCall, count_tokens
from summarizer.agents import Session, Sessions

BOOKED = Path("booked.txt")
CRASH_AFTER = int(os.environ.get("CRASH_AFTER", "0"))
steps = 0


def step(name: str) -> None:
    """Between two steps of the loop; here the tests kill the process."""
    global steps
    steps += 1
    if steps == CRASH_AFTER:
        print(f"died after step {steps}: {name}", flush=True)
        os._exit(9)


def find_trains(city: str) -> list[dict[str, Any]]:
    return [{"train": "TGV-61", "to": city, "price": 48.0}]


def book_train(train: str, price: float) -> str:
    with BOOKED.open("a") as file:
        file.write(f"{train} for {price}\n")
    step("the train is booked, and nobody knows")
    return f"booked {train}"


def is_booked() -> bool:
    return BOOKED.exists()


TOOLS = {"find_trains": find_trains, "book_train": book_train}
SPECS = (ToolSpec("find_trains", read_only=True), ToolSpec("book_train", destructive=True))


def scripted_model(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Stands in for a model: looks for trains, books one, and tells what came of it."""
    results = [message["content"] for message in messages if message["role"] == "tool"]
    if len(results) == 2:
        return {"role": "assistant", "content": f"This came of it: {results[-1]}"}
    if results:
        name, arguments = "book_train", '{"train": "$v1[0].train", "price": "$v1[0].price"}'
    else:
        name, arguments = "find_trains", '{"city": "Lyon"}'
    call = {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


async def open_calls(session: Session) -> list[ToolCall]:
    """The calls of the newest answer that have no result yet."""
    said = [event.message for event in await session.manager.open_segment() if event.message]
    answered = {message.tool_call_id for message in said}
    asked = next((message for message in reversed(said) if message.role == "assistant"), None)
    return [call for call in asked.tool_calls if call.id not in answered] if asked else []


async def run(session: Session) -> str:
    """Go on from wherever the log ends, up to an answer or to a call that waits for a person."""
    sm = session.manager
    while True:
        for call in await open_calls(session):
            if call.id not in {waiting.call_id for waiting in await sm.tools.waiting_calls()}:
                await sm.tools.run(TOOLS[call.name], call.name, call.arguments_json, call_id=call.id)
                step(f"{call.name} is recorded")
        if waiting := await sm.tools.waiting_calls():
            return f"waits for you: {waiting[0].name}({json.dumps(waiting[0].arguments)})"
        messages = await sm.get_messages_for_llm()
        if messages[-1]["role"] == "assistant":
            return messages[-1]["content"]
        answer = scripted_model(messages)
        step("the model has answered")
        await sm.record(answer)
        step("the answer is recorded")


async def decide(session: Session) -> None:
    """The person agrees, unless the booking is there already."""
    tools = session.manager.tools
    for waiting in await tools.waiting_calls():
        if is_booked():
            await tools.reject(waiting.call_id, "it was booked before the process died")
        else:
            verdict = await tools.approve(waiting.call_id, waiting.arguments)
            step("the approval is recorded")
            await tools.finish(TOOLS[waiting.name], verdict)
        step("the decision is carried out")


async def main(options: argparse.Namespace) -> None:
    sessions = Sessions(options.store, expires_after=timedelta(days=1))
    session = await sessions.get_or_create("trip", owner="ana", state={"asked": None})
    session.manager.tools.configure(SPECS, permissions=PermissionPolicy(confirm_destructive=True))
    async with session.manager as sm:
        if options.text:
            await sm.record({"role": "user", "content": options.text}, idempotency_key=options.text)
            step("the request is recorded")
            session.state["asked"] = options.text
            await sessions.save(session)
            step("the state is saved")
        if options.yes:
            await decide(session)
        print("agent:", await run(session))
        messages = await sm.get_messages_for_llm()
    print(f"{count_tokens(messages)} tokens, state {session.state}, version {session.version}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("text", nargs="?", help="what the user says")
    parser.add_argument("--yes", action="store_true", help="agree to what waits")
    parser.add_argument("--store", default="sqlite:///agents.db", help="where sessions are kept")
    asyncio.run(main(parser.parse_args()))

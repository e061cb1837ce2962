"""A plain tool loop over Chat Completions, with a guard around each call and results passed on by `$vN`.

    python examples/openai_loop.py   # no key: a scripted model behind a loopback server
    OPENAI_API_KEY=... python examples/openai_loop.py --base-url https://api.openai.com/v1 --model gpt-4o-mini

The list of orders is large: the model sees a preview of it, and mails the whole list without copying it.
"""

import argparse
import contextlib
import json
import os
from collections.abc import Callable, Generator
from typing import Any

from guards import READ_VALUE_SCHEMA, ToolGuard, ToolSpec, read_value
from summarizer import ToolCall
from summarizer.testing import LoopbackServer, Reply

SYSTEM = (
    "You serve the customers of a shop. Each tool call of yours is numbered: the result of the first is $v1, "
    "of the second $v2. Pass a result on by its name, or a part of it such as $v1.items[0].id, not as a copy."
)
ASKED = "I am ana@example.com. Mail me all my orders, and tell me what they cost together."


def find_customer(email: str) -> dict[str, Any]:
    return {"id": "C-3041", "name": "Ana", "email": email}


def list_orders(customer_id: str) -> list[dict[str, Any]]:
    return [{"id": f"O-{1000 + n}", "customer": customer_id, "price": 10 + n} for n in range(500)]


def sum_prices(orders: list[dict[str, Any]]) -> dict[str, Any]:
    return {"orders": len(orders), "total": sum(order["price"] for order in orders)}


def send_mail(to: str, text: str, attachment: list[Any]) -> str:
    return f"sent to {to}: {text!r}, with {len(attachment)} orders"


TOOLS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (find_customer, list_orders, sum_prices, send_mail)
}


def schema(name: str, *, reads: bool, **parameters: str) -> dict[str, Any]:
    """A tool definition; `x-read-only` is what the guard goes by."""
    properties = {key: {"type": kind} for key, kind in parameters.items()}
    parameters_schema = {"type": "object", "properties": properties, "required": [*parameters]}
    function = {"name": name, "parameters": {**parameters_schema, "x-read-only": reads}}
    return {"type": "function", "function": function}


SCHEMAS = [
    schema("find_customer", reads=True, email="string"),
    schema("list_orders", reads=True, customer_id="string"),
    schema("sum_prices", reads=True, orders="array"),
    schema("send_mail", reads=False, to="string", text="string", attachment="array"),
    dict(READ_VALUE_SCHEMA),
]


def call_tool(guard: ToolGuard, call: dict[str, Any]) -> str:
    """Run one call of the model, if the guard lets it; what the model reads as its result."""
    name, written = call["function"]["name"], call["function"]["arguments"]
    verdict = guard.before_call(name, written, call["id"])
    result, error, binding = None, None, None
    if verdict.should_run:
        try:
            if name == "read_value":
                result = read_value(guard.bindings, verdict.arguments)
            else:
                result = TOOLS[name](**verdict.arguments)
        except Exception as raised:  # noqa: BLE001  Whatever a tool raises, the model is told.
            error = raised
        binding = guard.after_call(call["id"], result=result, error=error)
    received = len(json.dumps(verdict.arguments))
    print(f"{name}: {verdict.action}, {len(written)} characters written, {received} received")
    if verdict.message:
        print(f"  {verdict.message}")
    return guard.content_of(verdict, result, error, binding)


def answer(ask: Callable[[list[dict[str, Any]]], dict[str, Any]], text: str, most: int = 20) -> str:
    """The loop: ask the model, run what it calls, until it answers."""
    guard = ToolGuard(map(ToolSpec.from_schema, SCHEMAS))
    guard.system_said(SYSTEM)
    guard.reset_for_new_prompt(text)
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": text},
    ]
    for _ in range(most):
        message = ask(messages)
        messages.append(message)
        calls = message.get("tool_calls") or []
        if not calls:
            return str(message["content"])
        guard.announce([call["id"] for call in calls])
        for call in calls:
            content = call_tool(guard, call)
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": content})
    return f"no answer after {most} rounds"


def client(base_url: str, model: str) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """Ask a Chat Completions endpoint through OpenAI's own library; any other would do."""
    from openai import OpenAI

    completions = OpenAI(base_url=base_url, api_key=os.environ.get("OPENAI_API_KEY", "none")).chat.completions

    def ask(messages: list[dict[str, Any]]) -> dict[str, Any]:
        response = completions.create(model=model, messages=messages, tools=SCHEMAS)
        return response.choices[0].message.model_dump(exclude_none=True)

    return ask


def calling(*calls: tuple[str, dict[str, Any]]) -> Reply:
    made = [
        ToolCall(f"call_{name}_{n}", name, json.dumps(arguments)) for n, (name, arguments) in enumerate(calls)
    ]
    return Reply(tool_calls=tuple(made))


SCRIPT = [
    calling(("find_customer", {"email": "ana@example.com"})),
    calling(
        ("list_orders", {"customer_id": "$v1.customer_id"})
    ),  # no such field: the guard says which there are
    calling(("list_orders", {"customer_id": "$v1.id"})),
    calling(
        ("sum_prices", {"orders": "$v3"}),
        ("send_mail", {"to": "$v1.email", "text": "Your orders, $v1.name.", "attachment": "$v3"}),
    ),
    Reply("I mailed you the list. Your 500 orders cost 129750 together."),
]


@contextlib.contextmanager
def endpoint(base_url: str | None) -> Generator[str]:
    """The address given, or a scripted model on loopback."""
    if base_url is not None:
        yield base_url.rstrip("/")
        return
    with LoopbackServer(SCRIPT) as server:
        yield server.openai_url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--base-url", help="of a Chat Completions endpoint; without it the model is scripted")
    parser.add_argument("--model", default="gpt-4o-mini")
    options = parser.parse_args()
    with endpoint(options.base_url) as address:
        print("answer:", answer(client(address, options.model), ASKED))


if __name__ == "__main__":
    main()

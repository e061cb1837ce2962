"""A chat without end: whatever its length, the model is sent a few hundred tokens.

    python examples/endless_chat.py                      # no key: a scripted reply, 60 turns
    python examples/endless_chat.py --model gpt-4o-mini  # a real model; type, empty line to end

The conversation is kept in `chat.db`; start it again with the same `--chat` and it goes on.
"""

import argparse
import asyncio
from collections.abc import Iterator
from typing import Any

from summarizer import SessionManager

CITIES = ("Lisbon", "Porto", "Faro", "Braga", "Evora")


def scripted_turns(count: int) -> Iterator[str]:
    """What a traveller might say."""
    yield "Never book a flight before 9 in the morning. I am planning a trip through Portugal."
    for n in range(2, count + 1):
        yield f"Day {n}: a hotel in {CITIES[n % 5]}, booking B-{1000 + n}, at most {80 + n} EUR, please."


async def scripted_reply(messages: list[dict[str, Any]]) -> str:
    """Stands in for a model: confirms the newest request."""
    return f"Noted: {messages[-1]['content']}"


async def model_reply(messages: list[dict[str, Any]], model: str) -> Any:
    """Ask a model through litellm; the whole response carries usage and cost into the log."""
    from litellm import acompletion

    return await acompletion(model=model, messages=messages)


async def chat(options: argparse.Namespace) -> None:
    turns = iter(lambda: input("you> "), "") if options.model else scripted_turns(options.turns)
    async with SessionManager(
        options.chat,
        store=options.store,
        system_prompt="You plan trips. Be brief.",
        model=options.model,
        token_threshold=options.threshold,
    ) as sm:
        largest = 0
        for text in turns:
            await sm.user_says(text)
            context = await sm.context()
            largest = max(largest, context.tokens)
            if options.model:
                answer = await model_reply(context.messages, options.model)
                print(answer.choices[0].message.content)
            else:
                answer = await scripted_reply(context.messages)
            await sm.ai_responds(answer)
    stats = await sm.get_stats()
    print(f"messages {stats.total_messages}, tokens {stats.total_tokens}, sessions {stats.session_segments}")
    print(f"largest context sent: {largest} tokens")
    print(f"to go on: --chat {sm.conversation_id}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", help="a litellm model name; without it the replies are scripted")
    parser.add_argument("--chat", help="id of the conversation; unknown ids are created")
    parser.add_argument("--store", default="sqlite:///chat.db", help="where it is kept")
    parser.add_argument("--threshold", type=int, default=600, help="tokens at which a child session opens")
    parser.add_argument("--turns", type=int, default=60, help="how many scripted turns")
    asyncio.run(chat(parser.parse_args()))


if __name__ == "__main__":
    main()

"""An agent that asks the same question over and over, and what a nudge does to it. No key, no server.

    python examples/loop_nudge.py
    python examples/loop_nudge.py --preset strict

The scripted model looks for seats on a full train again and again. It changes its mind only when a result
tells it that it repeats itself.
"""

import argparse
import asyncio
import itertools
from typing import Any

from guards import LoopPolicy, ToolGuard, ToolSpec

ROUNDS = 40
PRESETS = {"default": LoopPolicy(), "strict": LoopPolicy.strict(), "smooth": LoopPolicy.smooth()}
SECONDS = itertools.count()


async def find_seats(day: str) -> dict[str, Any]:
    """Seats to Porto; the server's clock makes each answer a little different."""
    minute, second = divmod(next(SECONDS), 60)
    seats = [] if day == "2026-12-24" else ["12A", "12B"]
    return {"day": day, "seats": seats, "checked_at": f"2026-12-01T09:{minute:02}:{second:02}Z"}


def scripted_model(results: list[str]) -> dict[str, str] | str:
    """The next call's arguments, or the answer: looks again until it is told not to."""
    if results and '"12A"' in results[-1]:
        return "The 24th is full. On the 25th seat 12A is free."
    told = results and "nothing new came of it" in results[-1]
    return {"day": "2026-12-25" if told else "2026-12-24"}


async def agent(guard: ToolGuard) -> None:
    """An agent's loop: it ends by an answer, by the guard, or by its last round."""
    guard.reset_for_new_prompt("A seat to Porto on 2026-12-24, or the day after.")
    results: list[str] = []
    for _ in range(ROUNDS):
        said = scripted_model(results)
        if isinstance(said, str):
            print(f"  answer after {len(results)} calls: {said}")
            return
        done = await guard.run(find_seats, "find_seats", said)
        if done.verdict.message:
            print(f"  call {len(results) + 1}, {done.verdict.action}: {done.verdict.message}")
        if done.verdict.should_stop:
            print("  stopped")
            return
        results.append(done.content)
    print(f"  no answer after {len(results)} calls")


async def main(preset: str) -> None:
    # Seats come and go, so an earlier answer must not stand for a new one: no replay.
    spec = ToolSpec("find_seats", read_only=True, replay=False)
    for name, policy in (("without the loop check", LoopPolicy.off()), ("with it", PRESETS[preset])):
        print(f"{name}:")
        await agent(ToolGuard([spec], loop=policy))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="default")
    asyncio.run(main(parser.parse_args().preset))

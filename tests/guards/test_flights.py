"""Single flight: of equal calls one is on its way at a time, in this process."""

import asyncio

import pytest

from guards.flights import Flights


async def test_equal_calls_at_once_run_once() -> None:
    """The leader runs; whoever waited finds its result."""
    flights, results, ran = Flights(), dict[str, int](), list[int]()

    async def call(n: int) -> tuple[bool, int]:
        async with flights.join("f") as leads:
            if "f" not in results:
                ran.append(n)
                await asyncio.sleep(0)
                results["f"] = n
            return leads, results["f"]

    answers = await asyncio.gather(*(call(n) for n in range(5)))

    assert answers == [(True, 0)] + [(False, 0)] * 4
    assert ran == [0]
    assert flights._locks == {}


async def test_different_calls_do_not_wait_for_each_other() -> None:
    """A second fingerprint is let in while the first is held."""
    flights = Flights()
    async with flights.join("a"), asyncio.timeout(1), flights.join("b") as leads:
        assert leads


async def test_an_error_of_the_leader_is_its_own_and_the_next_one_runs() -> None:
    """Followers run one at a time until one brings a result."""
    flights, results, ran = Flights(), dict[str, int](), list[int]()

    async def call(n: int) -> int:
        async with flights.join("f"):
            if "f" not in results:
                ran.append(n)
                await asyncio.sleep(0)
                if n < 2:
                    raise ConnectionError(n)
                results["f"] = n
            return results["f"]

    answers = await asyncio.gather(*(call(n) for n in range(4)), return_exceptions=True)

    assert [ConnectionError, ConnectionError, int, int] == [type(answer) for answer in answers]
    assert ran == [0, 1, 2]


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_whoever_is_cancelled_hands_over(cancelled: int) -> None:
    """Leader or follower, at any place in the queue: the others still get their turn."""
    flights, entered, begun = Flights(), list[int](), asyncio.Event()

    async def call(n: int) -> None:
        async with flights.join("f"):
            entered.append(n)
            begun.set()
            await asyncio.sleep(0.001)

    tasks = [asyncio.create_task(call(n)) for n in range(4)]
    await begun.wait()
    tasks[cancelled].cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks, return_exceptions=True)

    assert [0, *(n for n in (1, 2, 3) if n != cancelled)] == entered
    assert flights._locks == {}

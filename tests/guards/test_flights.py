"""Single flight: of equal calls one is on its way at a time, in this process and across several."""

import asyncio
from contextlib import suppress

import pytest

from guards.flights import CacheStore, Flights, MemoryCacheStore


class Timer:
    """Seconds that pass only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def store(timer: Timer) -> CacheStore:
    return MemoryCacheStore(timer=timer)


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


async def test_two_processes_take_turns(timer: Timer, store: CacheStore) -> None:
    """With one store between them, one is inside at a time, and the second knows that it waited."""
    one, two = (Flights(store, sleep=timer.sleep) for _ in range(2))
    inside, most, led = 0, 0, list[bool]()

    async def call(flights: Flights) -> None:
        nonlocal inside, most
        async with flights.join("f") as leads:
            led.append(leads)
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(call(one), call(two))

    assert (most, led) == (1, [True, False])


async def test_the_claim_of_a_dead_process_lapses(timer: Timer, store: CacheStore) -> None:
    """After the lease another goes on, and what the dead one releases late is no longer its own."""
    token = await store.claim("f", 60)
    async with Flights(store, lease_s=60, sleep=timer.sleep).join("f") as leads:
        await store.release("f", str(token))
        held = await store.claim("f", 60)

    assert not leads
    assert timer.now >= 60
    assert held is None


async def test_a_cancelled_holder_gives_its_claim_back(store: CacheStore) -> None:
    """The next process need not wait for the lease."""
    entered = asyncio.Event()

    async def hold() -> None:
        async with Flights(store).join("f"):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await entered.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    assert await store.claim("f", 60) is not None


async def test_texts_are_kept_for_their_time(timer: Timer, store: CacheStore) -> None:
    """A text is there until its time is over; without one, for good; the newer replaces the older."""
    await store.put("a", "1", ttl_s=10)
    await store.put("b", "1", ttl_s=None)
    await store.put("b", "2", ttl_s=None)
    before = [await store.get(key) for key in "abc"]
    timer.now = 10

    assert before == ["1", "2", None]
    assert [await store.get(key) for key in "abc"] == [None, "2", None]


async def test_the_store_in_memory_is_bounded() -> None:
    """Beyond its limit the oldest text goes."""
    store = MemoryCacheStore(limit_entries=2)
    for key in "abc":
        await store.put(key, key, ttl_s=None)

    assert [await store.get(key) for key in "abc"] == [None, "b", "c"]

"""`get_tool_state`: the guard of a context, which two users never share."""

import asyncio
import contextvars
import threading

from guards import ToolGuard, get_tool_state, reset_tool_state, tool_state


async def user(name: str, turns: int = 3) -> tuple[ToolGuard, list[str]]:
    """Bind a value in turns with the others, and read back all that is there."""
    for _ in range(turns):
        get_tool_state().bind_value("say", {}, name)
        await asyncio.sleep(0)
    return get_tool_state(), [binding.value for binding in get_tool_state().bindings]


async def test_three_users_at_once_never_share() -> None:
    """Each task has its own guard, also where the one that started them has used one before."""
    mine = get_tool_state()
    mine.bind_value("say", {}, "startup")

    seen = await asyncio.gather(user("a"), user("b"), user("c"))

    assert [values for _, values in seen] == [["a"] * 3, ["b"] * 3, ["c"] * 3]
    assert len({id(guard) for guard in (mine, *(guard for guard, _ in seen))}) == 4
    assert get_tool_state() is mine


async def test_three_requests_at_once_never_share() -> None:
    """`with tool_state():` around a request, whatever stood before."""

    async def request(name: str) -> list[str]:
        with tool_state():
            return (await user(name))[1]

    get_tool_state().bind_value("say", {}, "startup")

    assert await asyncio.gather(request("a"), request("b")) == [["a"] * 3, ["b"] * 3]


async def test_the_tasks_and_threads_of_a_block_share_its_guard() -> None:
    """A request may work in parallel."""
    with tool_state() as mine:
        task = await asyncio.create_task(user("a"))
        thread = await asyncio.to_thread(get_tool_state)

    assert mine is task[0]
    assert mine is thread


async def test_a_thread_outside_a_block_has_its_own() -> None:
    """A context that a server copies into its workers brings no guard along."""
    mine = get_tool_state()

    copied = await asyncio.to_thread(get_tool_state)

    assert copied is not mine


def test_three_threads_never_share() -> None:
    """Also where they run in copies of the context that started them."""
    mine = get_tool_state()
    found: list[ToolGuard] = []
    together = threading.Barrier(3)

    def work() -> None:
        together.wait(5)
        found.append(get_tool_state())

    threads = [threading.Thread(target=contextvars.copy_context().run, args=(work,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({id(guard) for guard in (mine, *found)}) == 4


def test_the_same_context_keeps_its_guard() -> None:
    """State stands from call to call until it is reset."""
    reset_tool_state()
    mine = get_tool_state()

    assert get_tool_state() is mine
    reset_tool_state()
    assert get_tool_state() is not mine


def test_a_block_puts_back_what_stood_before() -> None:
    """Blocks nest; one may be given a guard; a reset inside counts to its end only."""
    outer, given = get_tool_state(), ToolGuard()

    with tool_state() as first:
        with tool_state(given) as second:
            assert get_tool_state() is second is given
        assert get_tool_state() is first
        reset_tool_state()
        assert get_tool_state() not in (first, outer)

    assert get_tool_state() is outer

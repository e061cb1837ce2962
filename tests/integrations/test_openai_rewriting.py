"""Write-time compaction: the stored history is replaced, and no crash loses an item."""

import contextlib

import pytest

from summarizer.integrations.openai_agents import LocalCompactionSession, SummaryPolicy
from tests.integrations.openai_histories import (
    Item,
    ListSession,
    Scripted,
    call,
    check_view,
    output,
    talk,
    user,
)


class Crash(BaseException):
    """The process ends here."""


class Fragile(ListSession):
    """A session whose process ends before, or after, its n-th write."""

    budget = 10**9
    after = False

    def _step(self) -> None:
        Fragile.budget -= 1
        if Fragile.budget < 0:
            raise Crash

    async def add_items(self, items: list[Item]) -> None:
        if not Fragile.after:
            self._step()
        await super().add_items(items)
        if Fragile.after:
            self._step()

    async def pop_item(self) -> Item | None:
        if not Fragile.after:
            self._step()
        item = await super().pop_item()
        if Fragile.after:
            self._step()
        return item

    async def clear_session(self) -> None:
        if not Fragile.after:
            self._step()
        await super().clear_session()
        if Fragile.after:
            self._step()


def everything(archive: ListSession, inner: ListSession) -> list[Item]:
    return [item for item in (*archive.items, *inner.items) if item.get("type") != "longsplice_replacement"]


async def test_the_stored_history_is_replaced_and_nothing_is_lost() -> None:
    """With an archive, the session stays within its limits, and archive and session are the whole history."""
    inner, archive = ListSession(), ListSession()
    session = LocalCompactionSession(inner, window_size=20, archive=archive)
    items = talk(50)

    for turn in range(50):
        for part in (
            items[4 * turn : 4 * turn + 1],
            items[4 * turn + 1 : 4 * turn + 3],
            items[4 * turn + 3 : 4 * turn + 4],
        ):
            await session.add_items(part)
            assert len(inner.items) <= 20

    assert everything(archive, inner) == items
    assert len([item for item in archive.items if item.get("type") == "longsplice_replacement"]) == 0


async def test_notes_are_stored_with_a_policy() -> None:
    """The stored history opens with notes, made from the notes before and what came since."""
    inner, archive, model = ListSession(), ListSession(), Scripted()
    session = LocalCompactionSession(
        inner, window_size=20, archive=archive, policy=SummaryPolicy(model, keep_turns=2)
    )

    for item in talk(20):
        await session.add_items([item])

    read = "".join(text for given in model.given for text in given)
    assert inner.items[0]["content"].startswith("[Notes on the earlier part")
    assert len(inner.items) <= 20
    assert [item for item in everything(archive, inner) if "[Notes" not in str(item)] == talk(20)
    assert [read.count(f"question {n}") for n in range(2, 10)] == [1] * 8


async def test_a_history_is_not_replaced_while_a_call_is_open() -> None:
    """A run between a call and its output finds its items where it left them."""
    inner, archive = ListSession(talk(10)), ListSession()
    session = LocalCompactionSession(inner, window_size=20, archive=archive)

    await session.add_items([user("go"), call("k")])
    assert len(inner.items) == 42
    await session.add_items([output("k")])

    assert len(inner.items) <= 20
    assert inner.items[-3:] == [user("go"), call("k"), output("k")]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("steps", range(6))
async def test_a_crash_at_any_step_loses_nothing(
    steps: int, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever write was the last, the next worker finds the history whole, and finishes or takes back."""
    inner, archive = Fragile(talk(10)), Fragile()
    session = LocalCompactionSession(inner, window_size=20, archive=archive)
    monkeypatch.setattr(Fragile, "after", after)
    monkeypatch.setattr(Fragile, "budget", steps)
    with contextlib.suppress(Crash):
        await session.add_items([user("new")])
    monkeypatch.setattr(Fragile, "budget", 10**9)
    stored = "new" in str(inner.items) + str(archive.items)

    view = await LocalCompactionSession(inner, window_size=20, archive=archive).get_items()

    whole = [*talk(10), *([user("new")] if stored else [])]
    assert everything(archive, inner) == whole
    check_view(view, whole, 20, None)
    assert "longsplice_replacement" not in str(archive.items)


async def test_a_writer_in_between_is_not_overwritten() -> None:
    """If the session changed while the archive was written, it is left as it is."""

    class Busy(ListSession):
        async def add_items(self, items: list[Item]) -> None:
            await super().add_items(items)
            inner.items.append(user("from another worker"))

    inner, archive = ListSession(talk(10)), Busy()
    session = LocalCompactionSession(inner, window_size=20, archive=archive)

    assert await session.compact_stored() is False
    assert inner.items == [*talk(10), user("from another worker")]
    assert archive.items == []


async def test_items_written_to_a_cleared_session_come_behind_the_history() -> None:
    """A foreign worker that appended between two steps of a dead one keeps its items, in order."""
    inner, archive = ListSession(talk(10)), ListSession()

    class Dead(ListSession):
        async def clear_session(self) -> None:
            await inner.clear_session()
            raise Crash

        async def get_items(self, limit: int | None = None) -> list[Item]:
            return await inner.get_items(limit)

    with pytest.raises(Crash):
        await LocalCompactionSession(Dead(), window_size=20, archive=archive).compact_stored()
    inner.items.append(user("from another worker"))

    await LocalCompactionSession(inner, window_size=20, archive=archive).get_items()

    assert everything(archive, inner) == [*talk(10), user("from another worker")]


async def test_a_failing_archive_does_not_fail_a_turn(caplog: pytest.LogCaptureFixture) -> None:
    """The items are stored before; the failure is logged, and the history stays long."""

    class Full(ListSession):
        async def add_items(self, items: list[Item]) -> None:
            raise OSError("disk is full")

    inner = ListSession(talk(10))
    await LocalCompactionSession(inner, window_size=20, archive=Full()).add_items([user("new")])

    assert inner.items == [*talk(10), user("new")]
    assert "session.replacement_failed" in caplog.text


async def test_clearing_clears_the_archive_too() -> None:
    """A user's data is gone from both."""
    inner, archive = ListSession(talk(10)), ListSession(talk(2))

    await LocalCompactionSession(inner, window_size=20, archive=archive).clear_session()

    assert (inner.items, archive.items) == ([], [])

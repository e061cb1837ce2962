"""The error tree: as it is drawn, and each class raised by what it is there for."""

import ast
import inspect
import socket
import sqlite3
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

import summarizer
from summarizer import SessionManager, errors
from summarizer.events import EventKind
from summarizer.stores import EventStore, MemoryStore, RedisStore, SQLiteStore
from summarizer.summary import LlmSummarizer
from summarizer.summary.ladder import CallableSummarizer
from summarizer.summary.llm import LitellmModel, ModelReply, ModelRequest
from summarizer.summary.record import Summary, SummaryRequest
from summarizer.testing import LocalModel
from tests.summarizer.stores.contract import message, note, started
from tests.summarizer.stores.sqlite_parts import connection_of

PUBLIC: list[type[errors.SummarizerError]] = [getattr(errors, name) for name in errors.__all__]
FAMILIES = {errors.SummarizerError, errors.SessionManagerError, errors.StoreError, errors.SummaryError}
"""Classes to be caught, not raised: what is wrong is always said more exactly."""


def nearest(kind: type[BaseException]) -> type[BaseException]:
    """The public class that an error counts as: itself, or the one it refines."""
    return next(cls for cls in kind.__mro__ if cls in PUBLIC)


async def session_not_found(_: Path) -> None:
    await SessionManager("nobody", store=MemoryStore(), create=False).user_says("Hello?")


async def session_exists(_: Path) -> None:
    store = MemoryStore()
    await started(store)
    await started(store)


async def session_erased(_: Path) -> None:
    manager = SessionManager("c", store=MemoryStore())
    await manager.user_says("Forget me.")
    await manager.store.erase(None, "c")
    await manager.user_says("Are you there?")


async def cannot_fork(_: Path) -> None:
    manager = SessionManager("c", store=MemoryStore())
    await manager.user_says("Hello?")
    await manager.fork(at=2)


async def token_limit_exceeded(_: Path) -> None:
    manager = SessionManager("c", store=MemoryStore())
    await manager.user_says("word " * 500)
    await manager.context(max_tokens=100)


async def invalid_message(_: Path) -> None:
    await SessionManager("c", store=MemoryStore()).record({"role": "robot", "content": "beep"})


async def orphan_tool_result(_: Path) -> None:
    await SessionManager("c", store=MemoryStore()).tool_used("look", {}, "x", tool_call_id="call_1")


async def invalid_setting(_: Path) -> None:
    SessionManager("c", token_threshold=1.5)


async def store_unavailable(_: Path) -> None:
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        store = RedisStore.from_url(f"redis://127.0.0.1:{nobody_listens.getsockname()[1]}/0", deadline_s=0.05)
        await SessionManager("c", store=store).user_says("Hello?")


async def store_not_writable(folder: Path) -> None:
    store = SQLiteStore(folder / "log.db")
    await started(store)
    try:
        # SQLite's own limit on a file: the disk is full for it.
        connection_of(store).execute("PRAGMA max_page_count=1")
        await store.append(None, "c", [message("x" * 500_000)])
    finally:
        await store.close()


async def store_conflict(_: Path) -> None:
    store = MemoryStore()
    await started(store, count=2)
    await store.append(None, "c", [message("late")], expect=1)


async def stale_fence(_: Path) -> None:
    store = MemoryStore()
    await started(store, count=2)
    await store.claim(None, "c", index=0, lease_s=60)
    await store.claim(None, "c", index=0, lease_s=60, preempt=True)
    await hand_over(store, fence=1)


async def hand_over(store: EventStore, fence: int) -> None:
    events = [note(EventKind.SEGMENTED)]
    await store.segment(None, "c", index=0, cut=1, summary={}, seed_tokens=1, fence=fence, events=events)


async def partial_batch(_: Path) -> None:
    store, first = MemoryStore(), message("first")
    await started(store)
    await store.append(None, "c", [first])
    await store.append(None, "c", [first, message("second")])


async def value_too_large(_: Path) -> None:
    await SessionManager("c", store=MemoryStore(max_event_bytes=1000)).user_says("x" * 2000)


async def schema_too_new(folder: Path) -> None:
    store = SQLiteStore(folder / "log.db")
    await started(store)
    await store.close()
    newer = sqlite3.connect(folder / "log.db")
    newer.execute("PRAGMA user_version=99")
    newer.close()
    await SessionManager("c", store=SQLiteStore(folder / "log.db")).user_says("Hello?")


async def missing_extra(_: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [])
        LocalModel().__enter__()


async def summary_model_error(_: Path) -> None:
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody_listens.getsockname()[1]}/v1"
        summarizer = LlmSummarizer(["openai/m"], model_factory=Overheard, tries=1, api_base=url, api_key="k")
        await segmented(summarizer)
    raise Overheard.heard[-1]


class Overheard(LitellmModel):
    """Keeps what the ladder catches."""

    heard: ClassVar[list[Exception]] = []

    async def complete(self, request: ModelRequest) -> ModelReply:
        try:
            return await super().complete(request)
        except Exception as error:
            self.heard.append(error)
            raise


async def summary_rejected(_: Path) -> None:
    apologetic = Apologetic()
    await segmented(apologetic)
    raise apologetic.heard[-1]


class Apologetic:
    """A summarizer around a function that refuses; keeps what the ladder catches."""

    def __init__(self) -> None:
        self.heard: list[Exception] = []

    async def summarize(self, request: SummaryRequest) -> Summary:
        try:
            return await CallableSummarizer(lambda _: "I'm sorry, I can't help with that.").summarize(request)
        except Exception as error:
            self.heard.append(error)
            raise


async def segmented(summarizer: Any) -> None:
    """A conversation that goes on, since rules write where the summarizer fails."""
    manager = SessionManager("c", store=MemoryStore(), summarizer=summarizer)
    for i in range(8):
        await manager.turn(f"Question {i}? " * 20, f"Answer {i}. " * 20)

    assert (await manager.segment()).status == "segmented"


SCENARIOS: dict[type[Exception], Callable[[Path], Awaitable[None]]] = {
    errors.SessionNotFound: session_not_found,
    errors.SessionExists: session_exists,
    errors.SessionErased: session_erased,
    errors.CannotFork: cannot_fork,
    errors.TokenLimitExceeded: token_limit_exceeded,
    errors.InvalidMessage: invalid_message,
    errors.OrphanToolResult: orphan_tool_result,
    errors.InvalidSetting: invalid_setting,
    errors.StoreUnavailable: store_unavailable,
    errors.StoreNotWritable: store_not_writable,
    errors.StoreConflict: store_conflict,
    errors.StaleFence: stale_fence,
    errors.PartialBatch: partial_batch,
    errors.ValueTooLarge: value_too_large,
    errors.SchemaTooNew: schema_too_new,
    errors.SummaryModelError: summary_model_error,
    errors.SummaryRejected: summary_rejected,
    errors.MissingExtra: missing_extra,
}


def test_each_class_is_there_to_be_raised_or_to_be_caught() -> None:
    """Every public class has a scenario, unless it is a family that no code raises."""
    assert set(SCENARIOS) == set(PUBLIC) - FAMILIES
    assert {kind for kind in PUBLIC if kind.__subclasses__()} >= FAMILIES


@pytest.mark.parametrize(
    ("kind", "scenario"),
    [
        pytest.param(
            kind,
            scenario,
            id=kind.__name__,
            # It imports litellm, which takes seconds.
            marks=[pytest.mark.slow] if kind is errors.SummaryModelError else [],
        )
        for kind, scenario in SCENARIOS.items()
    ],
)
async def test_each_class_is_raised_by_what_it_is_there_for(
    kind: type[Exception], scenario: Callable[[Path], Awaitable[None]], tmp_path: Path
) -> None:
    """The situation raises just this class, out of the package, and the text is a sentence."""
    with pytest.raises(errors.SummarizerError) as caught:
        await scenario(tmp_path)
    place = Path(traceback.extract_tb(caught.tb)[-1].filename)

    assert nearest(caught.type) is kind
    assert place.is_relative_to(Path(summarizer.__file__).parent)
    assert len(str(caught.value)) > 30


def test_the_tree_that_is_drawn_is_the_tree() -> None:
    """Names, parents and the builtin classes beside them are as the module's docstring draws them."""
    drawn: dict[str, list[str]] = {}
    above: list[str] = []
    for line in inspect.cleandoc(errors.__doc__ or "").splitlines():
        words = line.replace("│", " ").replace("├──", "   ").replace("└──", "   ")
        name, _, rest = words.strip().partition(" ")
        if not hasattr(errors, name) or not words.startswith(" "):
            continue
        depth = (len(words) - len(words.lstrip())) // 4 - 1
        above[depth:] = [name]
        drawn[name] = [*above[depth - 1 : depth], *bases_in(rest)]

    assert drawn == {kind.__name__: parents(kind) for kind in PUBLIC}


def bases_in(text: str) -> Sequence[str]:
    """The builtin classes that a line names in brackets."""
    return [text[1 : text.index(")")]] if text.startswith("(") else []


def parents(kind: type[Exception]) -> list[str]:
    return [base.__name__ for base in kind.__bases__ if base is not Exception]


def test_families_are_never_raised() -> None:
    """No module makes an error of a class that says no more than where it comes from."""
    names = {family.__name__ for family in FAMILIES}
    made = [
        f"{file.name}:{node.lineno}"
        for file in Path(summarizer.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
    ]

    assert made == []

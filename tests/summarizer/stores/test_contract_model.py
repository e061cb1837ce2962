"""Every store against the memory store as its model: the same calls give the same answers."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from summarizer.errors import SummarizerError
from summarizer.events import EventKind
from summarizer.stores import Appended, Claim, ConversationRow, EventStore, Head, Loaded, MemoryStore, Segment
from tests.summarizer.stores.contract import message, note
from tests.summarizer.stores.factories import FACTORIES

ROOTS = st.sampled_from(["a", "a", "a", "b", "a~1", "a~2"])
WHO = st.integers(0, 1)
CALLS = ["create", "append", "append", "append", "append", "load", "read", "claim", "claim", "renew"]
CALLS += ["release", "segment", "segment", "segment", "segments", "retain", "list", "erase"]
SMALL = st.integers(-1, 6)


@dataclass(frozen=True)
class Step:
    """One call; numbers that must fit the state are offsets from it."""

    call: str
    who: int
    root: str
    batch: tuple[int, ...]
    first: int
    second: int
    flag: bool


STEPS = st.builds(
    Step,
    call=st.sampled_from(CALLS),
    who=WHO,
    root=ROOTS,
    batch=st.lists(st.integers(0, 14), min_size=1, max_size=3, unique=True).map(tuple),
    first=SMALL,
    second=SMALL,
    flag=st.booleans(),
)


def plain(value: Any) -> Any:
    """An answer without what differs between stores: the clock."""
    match value:
        case Head():
            return replace(value, lease_s=float(value.lease_s > 0))
        case Appended() | Claim():
            return replace(value, head=plain(value.head))
        case Loaded():
            return replace(value, head=plain(value.head))
        case Segment():
            return (
                value.session_id,
                value.parent_id,
                value.start_seq,
                value.end_seq,
                value.start_tokens,
                value.summary,
            )
        case ConversationRow():
            return value.conversation_id
        case tuple():
            return [plain(one) for one in value]
        case _:
            return value


def event(number: int) -> Any:
    """The same event for the same number, so that batches repeat and overlap."""
    if number == 13:
        return note(EventKind.SETTINGS, event_id="e13", settings={"n": 13})
    if number == 14:
        return note(EventKind.SKIPPED, event_id="e14", report={"tokens": 14})
    return message(
        f"m{number}", event_id=f"e{number}", tokens=number, role="user" if number % 2 else "assistant"
    )


async def take(store: EventStore, owner: str | None, step: Step, head: Head) -> Any:
    """Run one step; an error of ours is an answer too."""
    first, second = step.first, step.second
    batch = [event(number) for number in step.batch]
    cut = head.start_seq + first - (0 if step.flag else 1)
    calls: dict[str, Any] = {
        "create": lambda: store.create(owner, "a" if step.flag else "b", {"n": first}),
        "append": lambda: store.append(
            owner,
            step.root,
            batch,
            expect=head.last_seq + first if first > 3 else None,
            after_seq=second if step.flag else None,
        ),
        "load": lambda: store.load(owner, step.root, after_seq=head.last_seq - first if step.flag else None),
        "read": lambda: store.read(
            owner,
            step.root,
            after_seq=max(0, first),
            until_seq=second + 2 if step.flag else None,
            limit=second + 1,
        ),
        "claim": lambda: store.claim(
            owner, step.root, index=head.index - (first > 4), lease_s=900, preempt=step.flag
        ),
        "renew": lambda: store.renew(owner, step.root, fence=head.fence - (first > 3), lease_s=900),
        "release": lambda: store.release(owner, step.root, fence=head.fence - (first > 3)),
        "segment": lambda: store.segment(
            owner,
            step.root,
            index=head.index + (second == 6) - (first == 4),
            cut=cut,
            summary={"cut": cut},
            seed_tokens=second,
            fence=head.fence - (first == 6),
            # With few ids the same hand-over comes again, and an appended event poses as one.
            events=[event(step.batch[0]) if first == 5 else note(EventKind.SEGMENTED, event_id=f"s{second}")],
        ),
        "segments": lambda: store.segments(owner, step.root, summaries=step.flag),
        "retain": lambda: store.retain(owner, step.root, before_index=first),
        "list": lambda: store.list(owner),
        "erase": lambda: store.erase(owner, step.root if first > 4 else "none"),
    }
    try:
        answer = plain(await calls[step.call]())
    except SummarizerError as error:
        return type(error)
    return sorted(answer) if step.call == "list" else answer


async def compare(store: EventStore, cold: EventStore, steps: list[Step]) -> None:
    """Drive store and model side by side; in the end the cold instance must agree too."""
    model = MemoryStore()
    owners = [None, "x"] if store.url == "memory://" else [f"o{uuid4().hex}", f"x{uuid4().hex}"]
    for one in (store, model):
        await one.create(owners[0], "a", {})
    for step in steps:
        owner = owners[step.who]
        head = await known(model, owner, step.root.partition("~")[0])

        assert await take(store, owner, step, head) == await take(model, owner, step, head), step
    for owner in owners:
        for root in ("a", "b"):
            whole = Step("load", 0, root, (0,), 0, 0, flag=False)
            for step in (
                whole,
                replace(whole, call="read", second=998),
                replace(whole, call="segments", flag=True),
            ):
                assert await take(cold, owner, step, Head("a")) == await take(model, owner, step, Head("a"))


async def known(model: EventStore, owner: str | None, root: str) -> Head:
    try:
        return (await model.load(owner, root)).head
    except SummarizerError:
        return Head(root)


@pytest.mark.parametrize("name", [name for name in FACTORIES if name != "memory"])
def test_a_store_behaves_as_memory_does(name: str) -> None:
    """Any sequence of calls, with repeats, conflicts and foreign ids, is answered as the model does."""
    with asyncio.Runner() as runner:
        opening = FACTORIES[name]()
        fresh = runner.run(opening.__aenter__())
        cold = runner.run(fresh.second())

        @settings(max_examples=120, deadline=None, derandomize=True)
        @given(st.lists(STEPS, min_size=5, max_size=40))
        def agree(steps: list[Step]) -> None:
            runner.run(compare(fresh.store, cold, steps))

        try:
            agree()
        finally:
            runner.run(opening.__aexit__(None, None, None))

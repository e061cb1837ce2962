"""Where the log may be cut: events in, cut positions out. Pure.

Each rule is one function that answers "at which positions may I *not* cut?"; the answers
are united. A position `i` is the border after `events[i]`; as a cut it is that event's seq.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from .events import Event, EventKind
from .messages import Message

__all__ = [
    "Cut",
    "Pairing",
    "answerable",
    "is_reasoning",
    "is_running",
    "left_open",
    "memory_seqs",
    "open_calls",
    "pair_calls",
    "safe_cuts",
]

Rule = Callable[[Sequence[Event]], set[int]]

_REASONING: Final = ("reasoning", "reasoning_content", "thinking_blocks")


@dataclass(frozen=True, slots=True)
class Cut:
    """A position between units.

    Attributes:
        seq: Last seq of the part before the cut.
        turn_border: The next message opens a turn; `False` inside a running turn, between
            finished tool rounds.
    """

    seq: int
    turn_border: bool


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which tool results answer which calls.

    Attributes:
        results: For the index of each calling message, call id to the index of its result.
        open: For the index of each calling message, the ids that nothing answers.
        orphans: Indices of results that answer no call before them.
    """

    results: dict[int, dict[str, int]]
    open: dict[int, tuple[str, ...]]
    orphans: tuple[int, ...]


def safe_cuts(events: Sequence[Event], *, leave_overtaken: bool = False) -> tuple[Cut, ...]:
    """Return the positions at which the open segment may be cut.

    A cut never parts an assistant message from its tool results (all of a parallel batch), nor
    from reasoning that precedes it, nor the newest user message or results from what will answer them. It
    never falls between a user message and its answer; inside a long turn it may fall
    between finished tool rounds.

    Args:
        events: The open segment, in log order; may be empty.
        leave_overtaken: Allow cuts behind an open call once a newer user message has been answered:
            the model has been told that the call was interrupted, and a result that still comes
            is shown as a note.

    Returns:
        Cuts in rising order. A cut behind the last event is present if nothing is open there.

    Cost: one pass per rule, O(n).
    """
    forbidden = _within_pairs(events, _answered_user(events) if leave_overtaken else 0)
    for rule in _RULES:
        forbidden |= rule(events)
    borders = _next_roles(events)
    return tuple(
        Cut(event.seq, borders[i] in ("user", None)) for i, event in enumerate(events) if i not in forbidden
    )


def pair_calls(messages: Sequence[Message | None]) -> Pairing:
    """Match tool results with the calls they answer.

    A result answers the nearest earlier open call with its id, so ids that a model uses
    again are no trouble. Results of the older `function` role go by name.
    """
    results: dict[int, dict[str, int]] = {}
    waiting: dict[str, list[int]] = {}
    orphans: list[int] = []
    for i, message in enumerate(messages):
        if message is None:
            continue
        for key in _answers(message):
            callers = waiting.get(key)
            if callers:
                results[callers.pop()][key] = i
            else:
                orphans.append(i)
        keys = tuple(_calls(message))
        if keys:
            results[i] = {}
            for key in keys:
                waiting.setdefault(key, []).append(i)
    still: dict[int, list[str]] = {}
    for key, callers in waiting.items():
        for i in callers:
            still.setdefault(i, []).append(key)
    return Pairing(results, {i: tuple(keys) for i, keys in sorted(still.items())}, tuple(orphans))


def open_calls(events: Sequence[Event]) -> tuple[str, ...]:
    """Ids of calls that nothing answers yet, in call order."""
    pairing = pair_calls([event.message for event in events])
    return tuple(key for keys in pairing.open.values() for key in keys)


def left_open(events: Sequence[Event]) -> tuple[str, ...]:
    """Ids of open calls that cuts left behind and no result has answered since, oldest first."""
    left: dict[str, None] = {}
    for event in events:
        if event.kind is EventKind.SEGMENTED:
            left = dict.fromkeys(event.data.get("left_open", ()))
        elif event.message is not None:
            for key in _answers(event.message):
                left.pop(key, None)
    return tuple(left)


def memory_seqs(events: Sequence[Event]) -> list[int]:
    """Seqs of the events that tell the facts of virtual memory: a snapshot, and what it does not hold."""
    seqs: set[int] = set()
    for event in events:
        if event.kind is EventKind.SEGMENTED:
            seqs.update(event.data.get("memory", ()))
        elif event.kind is EventKind.MEMORY_SNAPSHOT:
            through = int(event.data["through"])
            seqs = {event.seq, *(seq for seq in seqs if seq > through)}
        elif event.kind is EventKind.MEMORY:
            seqs.add(event.seq)
    return sorted(seqs)


def answerable(events: Sequence[Event]) -> tuple[str, ...]:
    """Ids of the calls that a result may answer: those left behind, then the open ones."""
    return (*left_open(events), *open_calls(events))


def is_running(events: Sequence[Event], after_seq: int) -> Event | None:
    """The user message of the turn that a cut at `after_seq` falls into.

    Returns:
        `None` if the next message opens a turn, or no user message stands before the cut.
    """
    before = None
    for event in events:
        if event.message is None:
            continue
        if event.seq > after_seq:
            return None if event.message.role == "user" else before
        if event.message.role == "user":
            before = event
    return None


def is_reasoning(message: Message) -> bool:
    """Whether a message is nothing but reasoning, which belongs to the message that follows it."""
    return (
        message.role == "assistant"
        and not message.content
        and not any(_calls(message))
        and any(message.extra.get(key) for key in _REASONING)
    )


def _calls(message: Message) -> Iterator[str]:
    for call in message.tool_calls:
        yield call.id
    legacy = message.extra.get("function_call")
    # Some servers repeat a tool call in the older field; it is one call, and answered once.
    if legacy is not None and not message.tool_calls and isinstance(legacy, Mapping):
        yield f"function:{cast('Mapping[str, Any]', legacy).get('name')}"


def _answers(message: Message) -> Iterator[str]:
    if message.role == "tool":
        yield message.tool_call_id or ""
    elif message.role == "function":
        yield f"function:{message.name}"


def _answered_user(events: Sequence[Event]) -> int:
    """Index of the newest user message that an assistant message follows; 0 if there is none."""
    answered = False
    for i in range(len(events) - 1, 0, -1):
        message = events[i].message
        if message is not None and message.role == "user" and answered:
            return i
        answered = answered or (message is not None and message.role == "assistant")
    return 0


def _within_pairs(events: Sequence[Event], overtaken_before: int) -> set[int]:
    """A call, its batch and all their results stay together; an open call stays with all that follows.

    One made before `overtaken_before` stays with those results only that did come.
    """
    pairing = pair_calls([event.message for event in events])
    forbidden: set[int] = set()
    reach = -1
    for i, found in pairing.results.items():
        waits = i in pairing.open and i >= overtaken_before
        end = len(events) if waits else max(found.values(), default=i)
        forbidden.update(range(max(i, reach), end))
        reach = max(reach, end)
    return forbidden


def _after_reasoning(events: Sequence[Event]) -> set[int]:
    """Reasoning that came as a message of its own stays with the message that follows it."""
    return {i for i, event in enumerate(events) if event.message is not None and is_reasoning(event.message)}


def _after_question(events: Sequence[Event]) -> set[int]:
    """A user message stays with what answers it, and the newest with what will.

    Only an assistant message answers; a system message or a late tool result in between does not.
    """
    forbidden: set[int] = set()
    asked: int | None = None
    for i, event in enumerate(events):
        role = None if event.message is None else event.message.role
        if role == "user":
            asked = i
        elif role == "assistant" and asked is not None:
            forbidden.update(range(asked, i))
            asked = None
    return forbidden if asked is None else forbidden | set(range(asked, len(events)))


def _after_results(events: Sequence[Event]) -> set[int]:
    """The newest results stay with the answer that is to come: the model has not seen them yet."""
    for i in range(len(events) - 1, -1, -1):
        message = events[i].message
        if message is not None:
            return set(range(i, len(events))) if any(_answers(message)) else set()
    return set()


def _before_note(events: Sequence[Event]) -> set[int]:
    """A record that is no message (usage, a note) stays with the message before it."""
    return {i for i in range(len(events) - 1) if events[i + 1].message is None}


def _next_roles(events: Sequence[Event]) -> list[str | None]:
    """For each position, the role of the next message after it."""
    roles: list[str | None] = [None] * len(events)
    following: str | None = None
    for i in range(len(events) - 1, -1, -1):
        roles[i] = following
        message = events[i].message
        if message is not None:
            following = message.role
    return roles


_RULES: Final[tuple[Rule, ...]] = (_after_reasoning, _after_question, _after_results, _before_note)

"""The items of a Responses history: what they are, which belong together, what they weigh. Pure.

Kinds and keys stand in `kinds`, what the model reads of an item in `weighing`; both are to be had here too.
Nothing raises, whatever an item holds: a kind that nobody knows is a unit of its own and is counted as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from .kinds import (
    ANSWERED_BY,
    NOTES,
    OUTPUTS,
    Item,
    Key,
    Wire,
    call_key,
    id_of,
    is_instruction,
    is_model_output,
    is_summary,
    is_user,
    kind_of,
    output_key,
    wire_of,
)
from .weighing import Parts, item_tokens, parts_of, text_of

__all__ = [
    "ANSWERED_BY",
    "NOTES",
    "Item",
    "Pairing",
    "Parts",
    "awaits_answer",
    "call_key",
    "is_instruction",
    "is_model_output",
    "is_summary",
    "is_user",
    "item_tokens",
    "kind_of",
    "output_key",
    "pair",
    "parts_of",
    "text_of",
    "units",
    "wire_of",
    "without_orphans",
]


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which items answer which.

    Attributes:
        links: Pairs of indices `(earlier, later)` that may not be parted: a call and its output, a request
            for approval and its answer and its call, a program and what it calls.
        open: Indices of calls that nothing answers, rising.
        orphans: Indices of outputs that answer no call before them, rising.
    """

    links: tuple[tuple[int, int], ...]
    open: tuple[int, ...]
    orphans: tuple[int, ...]


def _keys(item: Item) -> tuple[Key, ...]:
    """All that an answer may name this call by: a local shell's by `id` in the API, `call_id` in the SDK."""
    key = call_key(item)
    if key is None:
        return ()
    other = id_of(wire_of(item), "id") if kind_of(item) == "local_shell_call" else ""
    return (key, (key[0], other)) if other and other != key[1] else (key,)


def pair(items: Sequence[Item]) -> Pairing:
    """Match answers with what they answer.

    An answer belongs to the newest earlier open call with its id, so ids that a model uses again are no
    trouble; so it is with the calls that have no id, of which hosted tool searches may be.

    Cost: one pass, O(n).
    """
    links: list[tuple[int, int]] = []
    orphans: list[int] = []
    waiting: dict[Key, list[int]] = {}
    answered: set[int] = set()
    owners: dict[Key | None, int] = {}
    for i, item in enumerate(items):
        if (key := output_key(item)) is not None:
            calls = waiting.get(key, [])
            while calls and calls[-1] in answered:
                calls.pop()
            if calls:
                answered.add(calls[-1])
                links.append((calls.pop(), i))
            else:
                orphans.append(i)
        if owners and (owner := owners.get(_owner(item))) is not None:
            links.append((owner, i))
        for key in _keys(item):
            waiting.setdefault(key, []).append(i)
            if key[0] in ("program_output", "mcp_approval_response"):
                owners[key] = i
    still = {i for calls in waiting.values() for i in calls} - answered
    return Pairing(tuple(links), tuple(sorted(still)), tuple(orphans))


def _owner(item: Item) -> Key | None:
    """The key of the program that issued this item, or of the approval that permits it."""
    wire = wire_of(item)
    caller = wire.get("caller")
    if isinstance(caller, Mapping) and cast("Wire", caller).get("type") == "program":
        return "program_output", id_of(cast("Wire", caller), "caller_id")
    if kind_of(item) == "mcp_call":
        return "mcp_approval_response", id_of(wire, "approval_request_id")
    return None


def units(items: Sequence[Item]) -> list[slice]:
    """The shortest runs of items that may not be parted; together they are the whole sequence, in order.

    One unit are: the calls of one batch with all their outputs and whatever lies between; reasoning with
    the model's next item; a program with what it calls; a request for approval with its answer and call.
    """
    rises = [0] * (len(items) + 1)  # Prefix sums say how many links span the border before each item.
    for earlier, later in (*pair(items).links, *_followers(items)):
        rises[earlier + 1] += 1
        rises[later + 1] -= 1
    runs: list[slice] = []
    start = spanning = 0
    for border in range(1, len(items) + 1):
        spanning += rises[border]
        if not spanning:
            runs.append(slice(start, border))
            start = border
    return runs


def _followers(items: Sequence[Item]) -> Iterator[tuple[int, int]]:
    """Neighbours that belong together: reasoning and the model's next item, calls of one batch."""
    for i in range(len(items) - 1):
        if kind_of(items[i]) == "reasoning":
            if is_model_output(items[i + 1]):
                yield i, i + 1
        elif call_key(items[i]) is not None and _goes_on(items, i + 1):
            yield i, i + 1


def _goes_on(items: Sequence[Item], i: int) -> bool:
    """Whether another call follows at `i`, behind reasoning or at once."""
    while i < len(items) and kind_of(items[i]) == "reasoning":
        i += 1
    return i < len(items) and call_key(items[i]) is not None


def without_orphans(items: Sequence[Item], pending: int) -> list[Item]:
    """The items without those that the API refuses: outputs of no call, and calls that nothing answered.

    A call goes with the reasoning before it. It stays if it may still be answered, which is so from
    index `pending` on, and if it is a program with something of its own, or of such. Requests for approval,
    and kinds that nobody knows, stay.
    """
    pairing = pair(items)
    dropped = {i for i in pairing.orphans if kind_of(items[i]) in OUTPUTS}
    linked = {i for link in pairing.links for i in link}
    for i in pairing.open:
        kind = kind_of(items[i])
        if i < pending and i not in linked and kind in ANSWERED_BY and kind != "mcp_approval_request":
            dropped.add(i)
    for i in range(len(items) - 2, -1, -1):
        if kind_of(items[i]) == "reasoning" and i + 1 in dropped and is_model_output(items[i + 1]):
            dropped.add(i)
    return [item for i, item in enumerate(items) if i not in dropped] if dropped else list(items)


def awaits_answer(items: Sequence[Item]) -> bool:
    """Whether a call of the newest turn has no output yet, or a request for approval no answer."""
    newest = max((i for i, item in enumerate(items) if is_user(item)), default=0)
    return any(i >= newest and kind_of(items[i]) in ANSWERED_BY for i in pair(items).open)

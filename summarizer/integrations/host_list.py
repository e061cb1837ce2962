"""A host's list of messages, and what its messages are known by again. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final, cast

from ..handover import MARK
from ..messages import as_wire

__all__ = ["BEGIN", "HostList", "hashed", "message_digest"]

BEGIN: Final = b""
"""Digest of an empty list."""


class HostList:
    """The host's messages: a digest of each, and of the list up to each.

    Results of one round count as a set: hosts list them in the order of the calls, a log in that of arrival.

    Attributes:
        items: The host's own objects.
        wire_of: Makes one the chat-shaped mapping.
        digests: Of each message what it is known by.
        calls: Of each message the call that it answers, `None` for all but results.
        chain: Of each message a digest of the list up to it.
        round: Digests of the results that the list ends with, sorted.
        before_round: Digest of the list before them.
        answer: The last item, if it is no host's object but a mapping.
        answer_data: What is kept with the event of `answer`, beside its mark.
        data_of: Tells the same of a host's object.
        hidden: How many messages at the beginning are not there, but for the digest of them all.
    """

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.wire_of: Callable[[Any], Mapping[str, Any]] = as_wire
        self.digests: list[bytes] = []
        self.calls: list[str | None] = []
        self.chain: list[bytes] = []
        self.round: list[bytes] = []
        self.before_round = BEGIN
        self.answer: Mapping[str, Any] | None = None
        self.answer_data: Mapping[str, Any] | None = None
        self.data_of: Callable[[Any], Mapping[str, Any] | None] | None = None
        self.hidden = 0

    @classmethod
    def standing_for(cls, n: int, chain: bytes) -> HostList:
        """A list of `n` messages of which only the digest is known."""
        made = cls()
        made.items, made.calls, made.digests = [None] * n, [None] * n, [BEGIN] * n
        made.chain = [*[BEGIN] * (n - 1), chain]
        made.hidden = n
        return made

    def __len__(self) -> int:
        return len(self.chain)

    def continued(self, items: Sequence[Any], wire_of: Callable[[Any], Mapping[str, Any]]) -> HostList:
        """The list for `items`, of which those known by identity are not read again."""
        same = 0
        for known, item in zip(self.items, items, strict=False):
            if known is not item:
                break
            same += 1
        made = self if same == len(self.items) else self._cut(same)
        made.wire_of = wire_of
        for item in items[same:]:
            made.add(item, wire_of(item))
        return made

    def behind(
        self, n: int, chain: bytes, items: Sequence[Any], wire_of: Callable[[Any], Mapping[str, Any]]
    ) -> HostList:
        """The list for `items` behind `n` hidden ones; those known here by identity are not read again."""
        known = self if self.hidden == n and self.before(n) == chain else HostList.standing_for(n, chain)
        return known.continued([*[None] * n, *items], wire_of)

    def plus(self, wire: Mapping[str, Any], data: Mapping[str, Any] | None = None) -> HostList:
        """A list with one message more, and what is kept with its event; this one is not changed."""
        made = self._cut(len(self))
        made.add(wire, wire)
        made.answer, made.answer_data = wire, data
        return made

    def wire(self, i: int) -> Mapping[str, Any]:
        """Message `i` in the chat shape."""
        item = self.items[i]
        return item if item is self.answer else self.wire_of(item)

    def add(self, item: Any, wire: Mapping[str, Any]) -> None:
        """Take in one message more."""
        digest, call = message_digest(wire), wire.get("tool_call_id")
        if wire.get("role") == "tool" and isinstance(call, str):
            if not self.round:
                self.before_round = self.chain[-1] if self.chain else BEGIN
            self.round = sorted([*self.round, digest])
            chained = hashed(self.before_round, *self.round)
        else:
            self.round, call = [], None
            chained = hashed(self.chain[-1] if self.chain else BEGIN, digest)
        self.items.append(item)
        self.digests.append(digest)
        self.calls.append(call)
        self.chain.append(chained)

    def before(self, n: int) -> bytes:
        """The digest of the first `n` messages."""
        return self.chain[n - 1] if n else BEGIN

    def mark(self, i: int) -> dict[str, Any]:
        """What the event of message `i` carries."""
        item = self.items[i]
        kept = self.answer_data if item is self.answer else self.data_of(item) if self.data_of else None
        return {**(kept or {}), MARK: {"n": i + 1, "chain": self.chain[i].hex()}}

    def _cut(self, n: int) -> HostList:
        made = HostList()
        made.items, made.wire_of, made.data_of = self.items[:n], self.wire_of, self.data_of
        made.hidden = self.hidden
        made.digests, made.calls, made.chain = self.digests[:n], self.calls[:n], self.chain[:n]
        start = n
        while start and made.calls[start - 1] is not None:
            start -= 1
        made.round = sorted(made.digests[start:])
        made.before_round = made.before(start)
        return made


def message_digest(wire: Mapping[str, Any]) -> bytes:
    """What a message is known by again, 16 bytes.

    Role, name, content and tool calls. Text is the same as one text part; arguments are compared as JSON; of
    a tool's result the call's id stands for all; marks for caches and other keys do not count.
    """
    role, content = str(wire.get("role")), wire.get("content")
    if role == "tool" and wire.get("tool_call_id"):
        return hashed(b"tool", str(wire["tool_call_id"]).encode("utf-8", "surrogatepass"))
    calls: object = wire.get("tool_calls")
    if isinstance(content, str) and not calls and not wire.get("name") and not wire.get("function_call"):
        return hashed(role.encode(), content.encode("utf-8", "surrogatepass"))
    texts = _content_key(content)
    if len(texts) == 1 and isinstance(texts[0], str) and not calls and not wire.get("name"):
        return hashed(role.encode(), texts[0].encode("utf-8", "surrogatepass"))
    listed = cast("Sequence[object]", calls) if isinstance(calls, Sequence) else ()
    known = [role, wire.get("name"), texts, [_call_key(call) for call in listed], wire.get("function_call")]
    return hashed(b"json", json.dumps(known, sort_keys=True, default=str).encode())


def _content_key(content: object) -> list[object]:
    if not content:
        return []
    if not isinstance(content, list | tuple):
        return [content]
    return [_part_key(part) for part in cast("Sequence[object]", content)]


def _part_key(part: object) -> object:
    if not isinstance(part, Mapping):
        return part
    known = {k: v for k, v in cast("Mapping[str, Any]", part).items() if k != "cache_control"}
    is_text = isinstance(known.get("text"), str) and known.get("type") in (
        "text",
        "input_text",
        "output_text",
    )
    return known["text"] if is_text else known


def _call_key(call: object) -> object:
    wire = as_wire(call)
    body = wire.get(str(wire.get("type") or "function"))
    if not isinstance(body, Mapping):
        return [wire.get("id"), dict(wire)]
    body = cast("Mapping[str, Any]", body)
    written = body.get("arguments", body.get("input"))
    if isinstance(written, str):
        with suppress(ValueError, RecursionError):
            written = json.loads(written or "{}")
    return [wire.get("id"), body.get("name"), written]


def hashed(*parts: bytes) -> bytes:
    """A digest of 16 bytes that tells where each part ends."""
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()

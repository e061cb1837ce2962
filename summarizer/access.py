"""Getting at a conversation: opened, created by a write, written, brought up to date, through the cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from . import config
from .ancestry import inheritance_of, read_path
from .conversation import Conversation, cache_of
from .errors import SessionExists, SessionNotFound, StoreConflict
from .events import Event, EventKind
from .gauge import counter_of
from .meter import TokenCounter, counter_for_model
from .policy import Policy
from .recall import Meaning
from .recording import Recorder
from .stores import default_store, open_store
from .stores.protocol import EventStore, Owner

__all__ = ["Access", "Founding"]

_TRIES: Final = 50
"""Times that a change of settings is made anew because somebody else wrote meanwhile."""


@dataclass(frozen=True, slots=True)
class Founding:
    """What a conversation is created with.

    Attributes:
        model: The host's model; it fixes the counter.
        metadata: JSON values.
        policy: The policy as given.
        infinite_context: As given.
    """

    model: str | None
    metadata: Mapping[str, Any] | None
    policy: Policy | None
    infinite_context: bool | None

    def settings(self, counter: TokenCounter, system_prompt: str | None) -> dict[str, Any]:
        """The settings of a new conversation."""
        return {
            "v": 1,
            "counter": counter.name,
            **_prompt_settings(counter, system_prompt),
            "model": self.model,
            "metadata": dict(self.metadata or {}),
            "infinite_context": self.infinite_context,
            "policy": (self.policy or Policy()).to_dict(),
        }


class Access:
    """One conversation in one store.

    Args:
        session_id: The id held.
        store: A store, a URL, or `None` for the default.
        owner: The owner.
        fresh: The id was made here, so that nobody else can have it.
        create: Whether a write may create the conversation.
        founding: What it is created with.
        system_prompt: As given; replaces a stored one at the first write.
    """

    def __init__(
        self,
        session_id: str,
        store: EventStore | str | None,
        owner: Owner,
        *,
        fresh: bool,
        create: bool,
        founding: Founding,
        system_prompt: str | None,
    ) -> None:
        self.session_id = session_id
        self.root, index = config.parse_session_id(session_id)
        self.owner = owner
        self.fresh = fresh
        self.system_prompt = system_prompt
        self.meaning: Meaning | None = None
        """How recall finds by meaning; `None`: by words alone."""
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        """Aware UTC now, for what is recorded."""
        self._create = create and not index
        self._founding = founding
        self._given = store
        self._private: EventStore | None = None
        self._conversation: Conversation | None = None

    @property
    def store(self) -> EventStore:
        """The store; a URL is opened once per process and loop, `memory://` once per manager."""
        given = self._given
        if given is None or (isinstance(given, str) and given != "memory://"):
            return default_store(given)
        if isinstance(given, str):
            self._private = self._private or open_store(given)
            return self._private
        return given

    @property
    def seen(self) -> Conversation | None:
        """The conversation as this manager last saw it."""
        return self._conversation

    async def open(self, *, write: bool) -> Conversation:
        """The conversation's state: at hand, loaded, or (for a write) created.

        Raises:
            SessionNotFound: It is not there, and this may not create it.
        """
        conversation = self._conversation or cache_of(self.store).get(self.owner, self.root)
        if conversation is None or self._beyond(conversation):
            conversation = await self._load_or_create(write=write)
        self._conversation = conversation
        if write and (changes := self._changes(conversation)):
            await self.change_settings(lambda _: changes)
        return conversation

    async def current(self) -> Conversation:
        """The conversation as it is in the store now: one round trip, for what is new.

        Raises:
            SessionNotFound: It is not there; reading creates nothing.
        """
        conversation = self._conversation or cache_of(self.store).get(self.owner, self.root)
        if conversation is None or self._beyond(conversation):
            conversation = await self._load_or_create(write=False)
        else:
            await self.refresh(conversation)
        self._conversation = conversation
        return conversation

    async def append(
        self, build: Callable[[Conversation], list[Event]], *, expect: int | None = None
    ) -> tuple[Conversation, list[Event]]:
        """Write what `build` makes for the conversation; one round trip once the conversation is open.

        `expect` is the log's last seq that the caller has seen; at another one nothing is written.
        """
        conversation = await self.open(write=True)
        events = build(conversation)
        try:
            await self._append(conversation, events, expect=expect)
        except SessionNotFound:
            conversation = await self._begin_anew()
            await self._append(conversation, events, expect=expect)
        return conversation, events

    async def note(self, conversation: Conversation, event: Event) -> None:
        """Write one record to a conversation that is there: one round trip."""
        await self._append(conversation, [event])

    async def refresh(self, conversation: Conversation) -> Conversation:
        """Bring the state up to date: one round trip, for what is new."""
        after = conversation.resume_seq
        loaded = await self.store.load(self.owner, self.session_id, after_seq=after)
        if not conversation.absorb_load(loaded, after):
            conversation.absorb_load(await self.store.load(self.owner, self.session_id), None)
        cache_of(self.store).keep(self.owner, self.root, conversation)
        return conversation

    async def read(self, after_seq: int = 0, until_seq: int | None = None) -> list[Event]:
        """Events `(after_seq, until_seq]` of all segments, and before a fork of what it was forked from."""
        conversation = self._conversation or await self.current()  # Nobody changes where it comes from.
        ancestors = inheritance_of(conversation.settings).ancestors
        return await read_path(
            self.store, self.owner, self.root, ancestors, after_seq=after_seq, until_seq=until_seq
        )

    async def change_settings(self, changes_to: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        """Change the stored settings, as they are now in the store; of changes at once none is lost."""
        for left in range(_TRIES, 0, -1):
            try:
                conversation = await self.current()
            except SessionNotFound:
                conversation = await self._begin_anew()
            while (
                conversation.resume_seq is None
            ):  # Others of this process know of newer settings, not read yet.
                conversation = await self.refresh(conversation)
            settings = {**conversation.settings, **changes_to(conversation.settings)}
            if settings == conversation.settings:
                return
            recorder = Recorder(counter_of(conversation), None, clock=self.clock)
            event = recorder.record(EventKind.SETTINGS, {"settings": settings})
            try:
                await self._append(conversation, [event], expect=conversation.head.last_seq)
            except StoreConflict:
                if left == 1:
                    raise
                continue
            await self.refresh(conversation)
            return
        raise AssertionError("unreachable")

    async def set_system_prompt(self, system_prompt: str | None) -> None:
        """Replace the system prompt, creating the conversation if need be."""
        self.system_prompt = system_prompt
        counter = counter_of(await self.open(write=True))
        await self.change_settings(lambda _: _prompt_settings(counter, system_prompt))

    async def _append(
        self, conversation: Conversation, events: list[Event], *, expect: int | None = None
    ) -> None:
        appended = await self.store.append(
            self.owner, self.session_id, events, expect=expect, after_seq=conversation.known_seq
        )
        conversation.absorb_append(appended, events)
        cache_of(self.store).keep(self.owner, self.root, conversation)

    async def _load_or_create(self, *, write: bool) -> Conversation:
        if write and self._create and self.fresh:
            return await self._found()
        try:
            loaded = await self.store.load(self.owner, self.session_id)
        except SessionNotFound:
            if not (write and self._create):
                raise
            try:
                return await self._found()
            except SessionExists:  # another worker was faster
                loaded = await self.store.load(self.owner, self.session_id)
        conversation = Conversation.of(loaded)
        cache_of(self.store).keep(self.owner, self.root, conversation)
        return conversation

    async def _found(self) -> Conversation:
        counter = counter_for_model(self._founding.model or config.DEFAULT_TOKEN_MODEL)
        await asyncio.to_thread(counter.load)
        settings = self._founding.settings(counter, self.system_prompt)
        head = await self.store.create(self.owner, self.root, settings)
        self.fresh = False
        conversation = Conversation(head, settings, 0, None, 0, 0)
        cache_of(self.store).keep(self.owner, self.root, conversation)
        return conversation

    def _changes(self, conversation: Conversation) -> dict[str, Any]:
        """What the constructor was given and the stored settings have otherwise."""
        settings, prompt = conversation.settings, self.system_prompt
        changes: dict[str, Any] = {}
        if prompt is not None and prompt != settings["system_prompt"]:
            changes = _prompt_settings(counter_of(conversation), prompt)
        metadata = self._founding.metadata
        if metadata and not metadata.items() <= settings["metadata"].items():
            changes["metadata"] = {**settings["metadata"], **metadata}
        return changes

    def _beyond(self, conversation: Conversation) -> bool:
        """Whether the held id is newer than the tip that this process knows."""
        held = self.session_id
        return held != self.root and config.parse_session_id(held)[1] > conversation.head.index

    async def _begin_anew(self) -> Conversation:
        """Create what this process remembers and the store let expire; to be called where it is not found.

        Raises:
            SessionNotFound: This may not create it.
        """
        cache_of(self.store).drop(self.owner, self.root)
        self._conversation = None
        if not self._create:
            raise SessionNotFound(self.session_id)
        return await self.open(write=True)


def _prompt_settings(counter: TokenCounter, system_prompt: str | None) -> dict[str, Any]:
    tokens = counter.count(system_prompt) if system_prompt else 0
    return {"system_prompt": system_prompt, "system_tokens": tokens}

"""`SessionManager`: one conversation, from the first message to the hundredth segment."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, Self

from . import config
from .context import Context, Frame, build_context
from .conversation import Conversation, cache_of
from .errors import InvalidSetting, OrphanToolResult, SessionExists, SessionNotFound, StoreError
from .events import Event, EventKind, Origin, batch_effects
from .messages import Message, jsonable
from .meter import (
    TokenCounter,
    context_window,
    counter_for_model,
    counter_named,
    max_output_tokens,
    prior_ratio,
    tool_tokens,
)
from .policy import Limits, Policy, Trigger, due, fullness, limits_of
from .recording import LONG_TEXT, Answer, Recorder, read_answer, report_of
from .segmentation import (
    Segmentation,
    SegmentationOutcome,
    flights,
    seed_of,
    segment_at_hard_limit,
)
from .stats import SessionStats, stats_of
from .stores import default_store, open_store
from .stores.protocol import EventStore, Owner, Segment
from .summary import Summarizer, resolve_summarizer
from .telemetry import log
from .units import open_calls

__all__ = ["SessionManager"]

_HEAD_ONLY: Final = 2**53
"""An `after_seq` beyond any log: the answer holds the head and nothing else."""
_PAGE: Final = 1000


class SessionManager:
    """Keeps one conversation going for ever: records it, counts it, and gives the model what fits.

    The log is the truth and lives in the store; a manager holds nothing that another
    process could not read, so any number of managers, workers and machines may serve one
    conversation. Writes go to the newest segment, whichever session id is held.

    Args:
        session_id: An id of your own, or one you were given; `None` makes a new, unguessable one. An
            unknown id is created by the first write (`create=False`: `SessionNotFound`).
        store: An `EventStore` or a URL; `None` is `LONGSPLICE_STORE`, `SESSION_PROVIDER`, or a
            SQLite file in the user's data directory.
        owner: User or tenant. Another owner's id is a missing one.
        system_prompt: Sent first, verbatim, in every segment. Given for a conversation that
            exists, it replaces the stored one at the first write.
        model: The host's model, for windows, prices and image formulas; it never causes a call.
        infinite_context: `None`: as stored, else on if a threshold or a turn count is given.
        token_threshold: Content tokens of seed and events (int), or a share of the model's window (float in
            (0, 1]), at which a child session is opened.
        max_turns_per_segment: User messages at which a child is opened.
        policy: Everything else about segmentation; the two above go before it.
        default_threshold: The threshold of a conversation for which none is given or stored.
        summarizer: `"extractive"`, a litellm model name, a list of names (fallbacks), an object with
            `async summarize(request) -> Summary`, or a callable `(messages) -> str`. `None`:
            `LONGSPLICE_SUMMARIZER`, else extractive.
        segmentation: `background` (no turn waits below the hard limit) or `inline`.
        tools: Tool schemas that go with each request; they are counted, not sent.
        metadata: Kept with the conversation, JSON values.
        create: Whether a write may create the conversation.

    Raises:
        InvalidSetting: An argument out of range. Nothing is read or written here.
    """

    def __init__(
        self,
        session_id: str | None = None,
        *,
        store: EventStore | str | None = None,
        owner: Owner = None,
        system_prompt: str | None = None,
        model: str | None = None,
        infinite_context: bool | None = None,
        token_threshold: float | None = None,
        max_turns_per_segment: int | None = None,
        policy: Policy | None = None,
        default_threshold: float | None = None,
        summarizer: object = None,
        segmentation: Literal["background", "inline"] = "background",
        tools: Sequence[Mapping[str, Any]] | None = None,
        metadata: Mapping[str, Any] | None = None,
        create: bool = True,
    ) -> None:
        if segmentation not in ("background", "inline"):
            raise InvalidSetting(f"segmentation={segmentation!r}: use 'background' or 'inline'")
        self._fresh = session_id is None
        self._session_id = secrets.token_urlsafe(16) if session_id is None else session_id
        self._root, index = config.parse_session_id(self._session_id)
        self._create = create and not index
        self._given_store = store
        self._opened: EventStore | None = None
        self._owner = owner
        self._system_prompt = system_prompt
        self._model = model
        self._infinite = infinite_context
        self._policy = _given_policy(policy, token_threshold, max_turns_per_segment)
        self._default_policy = Policy(token_threshold=default_threshold)
        self._summarizer: Summarizer = resolve_summarizer(summarizer)
        self._inline = segmentation == "inline"
        self._tools = tools
        self._metadata = None if metadata is None else jsonable(metadata)
        self._conversation: Conversation | None = None
        self._limits: tuple[object, Limits] | None = None

    def __repr__(self) -> str:
        return f"SessionManager({self._session_id!r}, owner={self._owner!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.settle()

    # What it is

    @property
    def session_id(self) -> str:
        """The session held: as given, and after a write the tip."""
        return self._session_id

    @property
    def conversation_id(self) -> str:
        """The root of the chain."""
        return self._root

    @property
    def owner(self) -> Owner:
        """The owner of the conversation."""
        return self._owner

    @property
    def store(self) -> EventStore:
        """The store, opened at its first use in the running loop."""
        given = self._given_store
        if given is None or isinstance(given, str):
            if given is None or not given.startswith("memory:"):
                return default_store(given)
            self._opened = self._opened or open_store(given)
            return self._opened
        return given

    # Recording

    async def user_says(self, content: object, *, tokens: int | None = None, **metadata: Any) -> str:
        """Record what the user said.

        Args:
            content: Text, or a list of content parts (images, files) as Chat Completions takes them.
            tokens: Its content tokens, if you counted them already.
            metadata: Kept with the message.

        Returns:
            The tip's session id; the message is durable.

        Raises:
            InvalidMessage: Content that cannot be kept; the log is as it was.
            StoreError: The store failed.
        """
        message = Message.from_wire({"role": "user", "content": content})
        data = {"metadata": jsonable(metadata)} if metadata else None
        return await self._write(lambda recorder: [recorder.message(message, tokens=tokens, data=data)])

    async def ai_responds(
        self,
        content: object,
        *,
        model: str | None = None,
        provider: str | None = None,
        usage: object = None,
        tool_calls: Sequence[object] | None = None,
        tokens: int | None = None,
        **metadata: Any,
    ) -> str:
        """Record what the model answered.

        Args:
            content: Text, content parts, a message mapping, or a Chat Completions response.
            model: The model that answered; the response's own name if not given.
            provider: Who served it, for prices that depend on it.
            usage: What the provider reported, in any provider's shape.
            tool_calls: Calls of the answer, in wire shape.
            tokens: Its content tokens, if you counted them already.
            metadata: Kept with the message.

        Returns:
            The tip's session id; the message is durable.
        """
        if tool_calls or content is None or isinstance(content, list):
            content = {"role": "assistant", "content": content, "tool_calls": tool_calls}
        answer = read_answer(content, usage=usage, model=model)
        return await self._write_answer([], answer, provider=provider, metadata=metadata, tokens=tokens)

    async def turn(
        self,
        user_message: object,
        ai_response: object,
        *,
        model: str | None = None,
        provider: str | None = None,
        usage: object = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Record a user message and its answer in one atomic batch; nothing comes between them."""
        asked = Message.from_wire({"role": "user", "content": user_message})
        answer = read_answer(ai_response, usage=usage, model=model)
        return await self._write_answer(
            [asked], answer, provider=provider, metadata=metadata, idempotency_key=idempotency_key
        )

    async def tool_used(
        self,
        tool_name: str,
        arguments: object,
        result: object = None,
        error: BaseException | str | None = None,
        *,
        tool_call_id: str | None = None,
        idempotency_key: str | None = None,
        **metadata: Any,
    ) -> str:
        """Record a tool call and its outcome as one unit.

        Args:
            tool_name: The tool.
            arguments: Its arguments; anything JSON, or the model's own text.
            result: What it returned. Values that are no JSON are stored as `messages.jsonable` says.
            error: What it raised, instead of or beside a result.
            tool_call_id: An open call that this answers. `None`: the assistant's call is made up.
            idempotency_key: The same key records once.
            metadata: Kept with the result.

        Raises:
            OrphanToolResult: `tool_call_id` names no open call; the log is as it was.
        """
        if not tool_name:
            raise InvalidSetting("tool_name is empty; pass the name that the model calls the tool by")
        if tool_call_id is not None:
            await self._check_open(tool_call_id, idempotency_key)
        return await self._write(
            lambda recorder: recorder.tool(tool_name, arguments, result, error, tool_call_id, metadata),
            idempotency_key,
        )

    async def record(
        self,
        message_or_response: object,
        *,
        tokens: int | None = None,
        usage: object = None,
        model: str | None = None,
        idempotency_key: str | None = None,
        imported: bool = False,
    ) -> str:
        """Record any message in the Chat Completions shape, or a whole response with its usage.

        A `system` message becomes part of the log where it stands; the system prompt is set by the
        constructor or `update_system_prompt`.

        Args:
            message_or_response: A message mapping, a message object, or a response of OpenAI or litellm.
            tokens: Its content tokens, if you counted them already.
            usage: Reported usage, if it is not in the response.
            model: The answering model, if it is not in the response.
            idempotency_key: The same key records once.
            imported: The text is somebody else's transcript: data, never a constraint.

        Raises:
            InvalidMessage: An unknown role, content that cannot be kept; the log is as it was.
            OrphanToolResult: A tool result that answers no open call.
        """
        origin = Origin.IMPORTED if imported else None
        role = message_or_response.get("role") if isinstance(message_or_response, Mapping) else None
        if role is None or role == "assistant":
            answer = read_answer(message_or_response, usage=usage, model=model)
            return await self._write_answer(
                [], answer, tokens=tokens, idempotency_key=idempotency_key, origin=origin
            )
        message = Message.from_wire(message_or_response)
        if message.role == "tool":
            await self._check_open(message.tool_call_id, idempotency_key)
        return await self._write(
            lambda recorder: [recorder.message(message, tokens=tokens)], idempotency_key, origin=origin
        )

    async def update_system_prompt(self, system_prompt: str | None) -> None:
        """Replace the system prompt, in this segment and all that follow."""
        self._system_prompt = system_prompt
        await self._open(write=True)
        if system_prompt is None:
            await self._change_settings({"system_prompt": None, "system_tokens": 0})

    # Reading

    async def get_messages_for_llm(self, max_tokens: int | None = None) -> list[dict[str, Any]]:
        """The messages to send: system prompt, seed, open segment, within the budget. See `context`."""
        return (await self.context(max_tokens)).messages

    async def context(self, max_tokens: int | None = None) -> Context:
        """What the model would be sent now, with a report of its tokens and of what was left out.

        Args:
            max_tokens: Most tokens as the model counts them. `None`: the window of `model`
                less its reply, or no limit where no model or window is known.

        Raises:
            SessionNotFound: The id does not exist; reading creates nothing.
            TokenLimitExceeded: The newest turn alone is larger.
            StoreError: The store could not be read.

        Cost: one round trip, which brings only what is new; then O(open segment), or microseconds if nothing is new.
        """
        if self._fresh and self._conversation is None:
            conversation = None
        else:
            conversation = await self._refresh(await self._open(write=False))
        budget = self._window_budget() if max_tokens is None else max_tokens
        if conversation is None:
            return self._build(None, budget)
        head = conversation.head
        key = (budget, head.last_seq, head.index, conversation.settings_seq, self._tools_tokens())
        built = conversation.views.get(key)
        if built is None:
            conversation.views = {k: v for k, v in conversation.views.items() if k[1:] == key[1:]}  # type: ignore[index]
            built = conversation.views[key] = self._build(conversation, budget)
        return replace(built, messages=[_copied(message) for message in built.messages], parts=dict(built.parts))

    async def get_conversation(self, include_all_segments: bool = True) -> list[dict[str, Any]]:
        """The messages as they were recorded, oldest first, each in wire shape with `seq` and `at`.

        Args:
            include_all_segments: The whole conversation; `False`: the held session's own range.
        """
        events = await self.read(include_all_segments=include_all_segments)
        return [_row(event) for event in events if event.message is not None]

    async def read(self, *, include_all_segments: bool = False) -> list[Event]:
        """Events of the held session's own range, or of the whole log; every kind, in order."""
        first, last = 1, None
        if not include_all_segments:
            own = await self._own_segment()
            first, last = own.start_seq, own.end_seq
        found: list[Event] = []
        while True:
            after = found[-1].seq if found else first - 1
            page = await self.store.read(
                self._owner, self._root, after_seq=after, until_seq=last, limit=_PAGE
            )
            found += page
            if len(page) < _PAGE:
                return found

    async def get_stats(self, include_all_segments: bool = True) -> SessionStats:
        """Totals of the conversation, or of the held session's own range; the same before and after a restart."""
        loaded = await self.store.load(self._owner, self._session_id, after_seq=_HEAD_ONLY)
        head = loaded.head
        counters, events, tokens, segments = head.counters, head.last_seq, head.total_tokens, head.index + 1
        if not include_all_segments:
            own = await self.read()
            effects = batch_effects(own)
            counters, events, tokens, segments = effects.counters, len(own), sum(effects.tokens), 1
        return stats_of(
            counters,
            session_id=head.session_id if include_all_segments else self._session_id,
            conversation_id=self._root,
            segments=segments,
            events=events,
            total_tokens=tokens,
            context_tokens=head.seed_tokens + head.segment_tokens,
            seed_tokens=head.seed_tokens,
        )

    async def get_session_chain(self) -> list[str]:
        """Session ids of the chain, oldest first."""
        return [segment.session_id for segment in await self.segments()]

    async def segments(self) -> tuple[Segment, ...]:
        """The chain with ranges and summary records, oldest first."""
        return await self.store.segments(self._owner, self._root, summaries=True)

    # Segmentation

    async def segment(self) -> SegmentationOutcome:
        """Open a child session now; takes the lease over from a segmentation under way.

        Returns:
            What became of it: `skipped` with `nothing_to_cut` or `no_gain` is no error.

        Raises:
            StoreError: The store failed; nothing was changed.
        """
        conversation = await self._open(write=False)
        outcome = await self._job(conversation).run(Trigger.MANUAL, preempt=True)
        await self._refresh(conversation)
        self._session_id = conversation.head.session_id
        return outcome

    async def settle(self) -> None:
        """Wait until this conversation has no background segmentation under way in this process."""
        await flights.settle(self._key)
        if self._conversation is not None:
            self._session_id = self._conversation.head.session_id

    # Below: how

    @property
    def _key(self) -> tuple[int, Owner, str]:
        return (id(self.store), self._owner, self._root)

    async def _write_answer(
        self,
        before: Sequence[Message],
        answer: Answer,
        *,
        provider: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tokens: int | None = None,
        idempotency_key: str | None = None,
        origin: Origin | None = None,
    ) -> str:
        def build(recorder: Recorder) -> list[Event]:
            events = [recorder.message(message) for message in before]
            report = None
            if answer.usage is not None and self._conversation is not None:
                head = self._conversation.head
                raw = self._fixed_tokens(self._conversation) + head.seed_tokens + head.segment_tokens
                raw += sum(event.tokens for event in events)
                report = report_of(answer, head, model=self._host_model, raw=raw)
            events.append(
                recorder.answer(answer, provider=provider, metadata=metadata, tokens=tokens, report=report)
            )
            return events

        return await self._write(build, idempotency_key, origin=origin, texts=[*before, answer.message])

    async def _write(
        self,
        build: Callable[[Recorder], list[Event]],
        idempotency_key: str | None = None,
        *,
        origin: Origin | None = None,
        texts: Sequence[Message] = (),
    ) -> str:
        conversation = await self._open(write=True)
        counter = _counter(conversation)
        recorder = Recorder(counter, self._host_model, idempotency_key=idempotency_key, origin=origin)
        if any(len(message.text) > LONG_TEXT for message in texts):
            events = await asyncio.to_thread(build, recorder)
        else:
            events = build(recorder)
        conversation = await self._append(conversation, events)
        await self._segment_if_due(conversation, events)
        self._session_id = conversation.head.session_id
        return self._session_id

    async def _append(
        self, conversation: Conversation, events: list[Event], *, expect: int | None = None
    ) -> Conversation:
        try:
            appended = await self.store.append(
                self._owner, self._root, events, expect=expect, after_seq=conversation.known_seq
            )
        except SessionNotFound:
            # What this process remembers has expired in the store: begin anew, where that is allowed.
            cache_of(self.store).drop(self._owner, self._root)
            self._conversation = None
            if not self._create:
                raise
            conversation = await self._open(write=True)
            appended = await self.store.append(self._owner, self._root, events, after_seq=conversation.known_seq)
        conversation.absorb_append(appended, events)
        cache_of(self.store).keep(self._owner, self._root, conversation)
        return conversation

    async def _open(self, *, write: bool) -> Conversation:
        """The conversation's state: at hand, loaded, or (for a write) created."""
        conversation = self._conversation or cache_of(self.store).get(self._owner, self._root)
        if conversation is None:
            conversation = await self._load_or_create(write=write)
        self._conversation = conversation
        if write and (changes := self._changes(conversation)):
            await self._change_settings(changes)
        return conversation

    async def _load_or_create(self, *, write: bool) -> Conversation:
        if write and self._create and self._fresh:
            try:
                return await self._create_conversation()
            except SessionExists:
                pass
        try:
            loaded = await self.store.load(self._owner, self._session_id)
        except SessionNotFound:
            if not (write and self._create):
                raise
            try:
                return await self._create_conversation()
            except SessionExists:  # another worker was faster
                loaded = await self.store.load(self._owner, self._root)
        conversation = Conversation.of(loaded)
        cache_of(self.store).keep(self._owner, self._root, conversation)
        return conversation

    async def _create_conversation(self) -> Conversation:
        counter = counter_for_model(self._model or config.DEFAULT_TOKEN_MODEL)
        await asyncio.to_thread(counter.load)
        prompt = self._system_prompt
        settings: dict[str, Any] = {
            "v": 1,
            "counter": counter.name,
            "system_prompt": prompt,
            "system_tokens": counter.count(prompt) if prompt else 0,
            "model": self._model,
            "metadata": self._metadata or {},
            "infinite_context": self._infinite,
            "policy": (self._policy or Policy()).to_dict(),
        }
        head = await self.store.create(self._owner, self._root, settings)
        self._fresh = False
        conversation = Conversation(head, settings, 0, None, 0, 0)
        cache_of(self.store).keep(self._owner, self._root, conversation)
        return conversation

    async def _refresh(self, conversation: Conversation) -> Conversation:
        """Bring the state up to date: one round trip, for what is new."""
        after = conversation.resume_seq
        loaded = await self.store.load(self._owner, self._root, after_seq=after)
        if not conversation.absorb_load(loaded, after):
            conversation.absorb_load(await self.store.load(self._owner, self._root), None)
        cache_of(self.store).keep(self._owner, self._root, conversation)
        return conversation

    def _changes(self, conversation: Conversation) -> dict[str, Any]:
        """What the constructor was given and the stored settings have otherwise."""
        settings = conversation.settings
        changes: dict[str, Any] = {}
        prompt = self._system_prompt
        if prompt is not None and prompt != settings["system_prompt"]:
            changes |= {"system_prompt": prompt, "system_tokens": _counter(conversation).count(prompt)}
        if self._metadata and not self._metadata.items() <= settings["metadata"].items():
            changes["metadata"] = {**settings["metadata"], **self._metadata}
        return changes

    async def _change_settings(self, changes: Mapping[str, Any]) -> None:
        conversation = await self._refresh(await self._open(write=False))
        settings = {**conversation.settings, **changes}
        if settings == conversation.settings:
            return
        event = Recorder(_counter(conversation), None).record(EventKind.SETTINGS, {"settings": settings})
        await self._append(conversation, [event])
        await self._refresh(conversation)

    async def _check_open(self, tool_call_id: str | None, idempotency_key: str | None) -> None:
        conversation = await self._open(write=True)
        waiting = open_calls(conversation.events)
        if tool_call_id not in waiting:
            conversation = await self._refresh(conversation)
            waiting = open_calls(conversation.events)
        if tool_call_id not in waiting and idempotency_key is None:
            raise OrphanToolResult(tool_call_id, waiting)

    async def _own_segment(self) -> Segment:
        _, index = config.parse_session_id(self._session_id)
        chain = await self.store.segments(self._owner, self._root)
        if index >= len(chain):
            raise SessionNotFound(self._session_id)
        return chain[index]

    async def _segment_if_due(self, conversation: Conversation, events: Sequence[Event]) -> None:
        policy = self._effective_policy(conversation)
        if not policy.segments:
            return
        limits = self._limits_for(policy)
        head = conversation.head
        full = fullness(
            head, limits, fixed_tokens=self._fixed_tokens(conversation), ratio=self._ratio(conversation), model=self._model
        )
        trigger = due(head, policy, limits, full, turn_is_open=_turn_is_open(events))
        if trigger is None:
            return
        job = self._job(conversation)

        async def work() -> SegmentationOutcome:
            outcome = await job.run(trigger)
            await self._refresh(conversation)
            return outcome

        try:
            if trigger is Trigger.HARD_LIMIT:
                await segment_at_hard_limit(job, self._key)
                await self._refresh(conversation)
            elif self._inline:
                await asyncio.shield(flights.start(self._key, work))
            elif not head.lease_s:
                flights.start(self._key, work)
        except StoreError as error:
            # The message is durable and the segmentation stays due: the next call goes on with it.
            log.warning("segment.failed", session_id=head.session_id, error=type(error).__name__)

    def _job(self, conversation: Conversation) -> Segmentation:
        policy = self._effective_policy(conversation)
        return Segmentation(
            store=self.store,
            owner=self._owner,
            conversation_id=self._root,
            policy=policy,
            limits=self._limits_for(policy),
            summarizer=self._summarizer,
            counter=_counter(conversation),
            clock=lambda: datetime.now(UTC),
        )

    def _effective_policy(self, conversation: Conversation) -> Policy:
        """The policy: as given, else as stored, else the default; switched on or off by `infinite_context`."""
        settings = conversation.settings
        policy = self._policy or Policy.from_dict(settings["policy"])
        infinite = settings["infinite_context"] if self._infinite is None else self._infinite
        if infinite is False:
            return policy.without_triggers()
        if policy.segments:
            return policy
        if self._default_policy.segments:
            return self._default_policy
        return replace(policy, token_threshold=config.TRACKED_SHARE) if infinite else policy

    def _limits_for(self, policy: Policy) -> Limits:
        if self._limits is None or self._limits[0] is not policy:
            of_window = isinstance(policy.token_threshold, float)
            model = self._model or (config.DEFAULT_TOKEN_MODEL if of_window else None)
            window = context_window(model) if model else None
            reply = max_output_tokens(model) if model else None
            self._limits = (policy, limits_of(policy, window=window, reply=reply))
        return self._limits[1]

    @property
    def _host_model(self) -> str | None:
        if self._model is not None or self._conversation is None:
            return self._model
        return self._conversation.settings.get("model")

    def _window_budget(self) -> int | None:
        model = self._host_model
        window = context_window(model) if model else None
        if window is None:
            return None
        return window - min(max_output_tokens(model) or config.REPLY_RESERVE, config.REPLY_RESERVE, window // 4)

    def _ratio(self, conversation: Conversation) -> float:
        """The model's tokens per raw token; never below 1, so that a budget holds under both counts."""
        model, report = self._host_model, conversation.head.report
        if model is not None and counter_for_model(model).exact:
            return 1.0
        if report is not None and model in (None, report["model"]):
            return max(1.0, report["ratio"])
        return max(1.0, prior_ratio(model))

    def _tools_tokens(self) -> int:
        if not self._tools:
            return 0
        return tool_tokens(self._tools, counter_for_model(self._host_model or config.DEFAULT_TOKEN_MODEL))

    def _fixed_tokens(self, conversation: Conversation) -> int:
        return conversation.settings["system_tokens"] + self._tools_tokens()

    def _build(self, conversation: Conversation | None, budget: int | None) -> Context:
        if conversation is None:
            counter = counter_for_model(self._model or config.DEFAULT_TOKEN_MODEL)
            prompt = self._system_prompt
            frame = Frame(prompt, counter.count(prompt) if prompt else 0, self._tools_tokens())
            return build_context([], session_id=self._session_id, frame=frame, budget=budget, count=counter.count)
        settings, head = conversation.settings, conversation.head
        frame = Frame(
            system_prompt=settings["system_prompt"],
            system_tokens=settings["system_tokens"],
            tools_tokens=self._tools_tokens(),
            seed=seed_of(conversation.summary),
            seed_tokens=head.seed_tokens,
        )
        return build_context(
            conversation.events,
            session_id=head.session_id,
            frame=frame,
            budget=budget,
            ratio=self._ratio(conversation),
            count=_counter(conversation).count,
        )


def _given_policy(policy: Policy | None, threshold: float | None, max_turns: int | None) -> Policy | None:
    if threshold is None and max_turns is None:
        return policy
    given = policy or Policy()
    return replace(
        given,
        token_threshold=given.token_threshold if threshold is None else threshold,
        max_turns=given.max_turns if max_turns is None else max_turns,
    )


def _counter(conversation: Conversation) -> TokenCounter:
    return counter_named(conversation.settings["counter"])


def _turn_is_open(events: Sequence[Event]) -> bool:
    """Whether the newest message leaves something to be answered or run."""
    newest = next((e.message for e in reversed(events) if e.message is not None), None)
    return newest is not None and (newest.role != "assistant" or bool(newest.tool_calls))


def _copied(message: dict[str, Any]) -> dict[str, Any]:
    """A copy that a caller may change without changing the next one."""
    copy = dict(message)
    for key, value in message.items():
        if isinstance(value, list | dict):
            copy[key] = jsonable(value)
    return copy


def _row(event: Event) -> dict[str, Any]:
    assert event.message is not None
    row = event.message.to_wire() | {"seq": event.seq, "at": event.at.isoformat()}
    if metadata := event.data.get("metadata"):
        row["metadata"] = metadata
    return row

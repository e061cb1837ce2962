"""`SessionManager`: one conversation, from the first message to the hundredth segment."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from . import config
from .access import Access, Founding
from .context import Context
from .context.policies import Policies
from .conversation import Conversation
from .errors import InvalidSetting, OrphanToolResult, SessionNotFound, StoreError
from .events import Event, Origin, batch_effects, keyed_ids
from .gauge import Gauge, counter_of, given_policy
from .messages import Message, jsonable, result_text
from .policy import Policy, Trigger
from .recall import RecallHit
from .recalling import Recaller
from .recording import Answer, Recorder, is_long, read_answer, report_of, role_of, row_of
from .segmentation import Segmentation, SegmentationOutcome, flights, segment_at_hard_limit
from .stats import SessionStats, stats_of
from .stores.protocol import HEAD_ONLY, EventStore, Owner, Segment
from .summary import Summarizer, resolve_summarizer
from .summary.choose import SummarizerSpec
from .telemetry import log
from .units import answerable
from .viewing import Viewer

if TYPE_CHECKING:
    from .tool_calls import SessionTools

__all__ = ["SessionManager"]

_PAGE: Final = 1000


class SessionManager:
    """Keeps one conversation going for ever: records it, counts it, and gives the model what fits.

    The log is the truth and lives in the store; a manager holds nothing that another
    process could not read, so any number of managers, workers and machines may serve one
    conversation. Writes go to the newest segment, whichever session id is held.

    Args:
        session_id: An id of your own, or one you were given; `None` makes a new, unguessable one. An
            unknown id is created by the first write (`create=False`: `SessionNotFound`).
        store: An `EventStore` or a URL (`memory://` is private to this manager, `memory://name` shared
            within the process); `None` is `LONGSPLICE_STORE`, `SESSION_PROVIDER`, or a
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
        summarizer: SummarizerSpec = None,
        segmentation: Literal["background", "inline"] = "background",
        tools: Sequence[Mapping[str, Any]] | None = None,
        metadata: Mapping[str, Any] | None = None,
        create: bool = True,
    ) -> None:
        if segmentation not in ("background", "inline"):
            raise InvalidSetting(f"segmentation={segmentation!r}: use 'background' or 'inline'")
        policy = given_policy(policy, token_threshold, max_turns_per_segment)
        self._access = Access(
            secrets.token_urlsafe(16) if session_id is None else session_id,
            store,
            owner,
            fresh=session_id is None,
            create=create,
            founding=Founding(
                model, None if metadata is None else jsonable(metadata), policy, infinite_context
            ),
            system_prompt=system_prompt,
        )
        self._gauge = Gauge(
            model=model,
            tools=tools,
            policy=policy,
            default_threshold=default_threshold,
            infinite_context=infinite_context,
        )
        self._viewer = Viewer(self._access, self._gauge)
        self._summarizer: Summarizer = resolve_summarizer(summarizer)
        self._inline = segmentation == "inline"
        self._schemas = tuple(tools or ())
        self._tools: SessionTools | None = None
        self._entered = ExitStack()

    def __repr__(self) -> str:
        return f"SessionManager({self.session_id!r}, owner={self.owner!r})"

    async def __aenter__(self) -> Self:
        from .tool_calls.current import session_state

        self._entered.enter_context(session_state(lambda: self.tools))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.close()
        await self.settle()

    # Which conversation it is

    @property
    def session_id(self) -> str:
        """The session held: as given, and after a write the tip."""
        return self._access.session_id

    @property
    def conversation_id(self) -> str:
        """The root of the chain."""
        return self._access.root

    @property
    def owner(self) -> Owner:
        """The owner of the conversation."""
        return self._access.owner

    @property
    def store(self) -> EventStore:
        """The store, opened at its first use in the running loop."""
        return self._access.store

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
        return await self._write(
            lambda recorder, _: [recorder.message(message, tokens=tokens, data=data)], texts=(message,)
        )

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
        answer = read_answer(content, usage=usage, model=model, tool_calls=tool_calls)
        return await self._write_answer([], answer, provider=provider, metadata=metadata, tokens=tokens)

    async def turn(
        self,
        user_message: object,
        ai_response: object,
        *,
        model: str | None = None,
        provider: str | None = None,
        usage: object = None,
        tokens: tuple[int, int] | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Record a user message and its answer in one atomic batch; nothing comes between them.

        `tokens` are the content tokens of the two, if you counted them already. The rest is as for
        `user_says` and `ai_responds`.
        """
        asked = Message.from_wire({"role": "user", "content": user_message})
        answer = read_answer(ai_response, usage=usage, model=model)
        return await self._write_answer(
            [asked],
            answer,
            provider=provider,
            metadata=metadata,
            tokens=None if tokens is None else tokens[1],
            asked_tokens=None if tokens is None else tokens[0],
            idempotency_key=idempotency_key,
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
        """Record a tool call and its outcome as one unit; `tools` learns from it, guard and memory both.

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
        is_json = result is not None and not isinstance(result, str)
        given, told = (None if value is None else result_text(value) for value in (arguments, result))
        async with self.tools.used(tool_name, arguments, result, error, tool_call_id or idempotency_key):
            return await self._write(
                lambda recorder, _: recorder.tool(
                    tool_name,
                    given,
                    result=told,
                    error=error,
                    tool_call_id=tool_call_id,
                    metadata=metadata,
                    is_json=is_json,
                ),
                idempotency_key,
                texts=[Message("tool", str(text or "")) for text in (given, told, error)],
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
        if role_of(message_or_response) in (None, "assistant"):
            answer = read_answer(message_or_response, usage=usage, model=model)
            return await self._write_answer(
                [], answer, tokens=tokens, idempotency_key=idempotency_key, origin=origin
            )
        message = Message.from_wire(message_or_response)
        if message.role == "tool":
            await self._check_open(message.tool_call_id, idempotency_key)
        return await self._write(
            lambda recorder, _: [recorder.message(message, tokens=tokens)],
            idempotency_key,
            origin=origin,
            texts=(message,),
        )

    @property
    def tools(self) -> SessionTools:
        """The guard of this conversation's tool calls, durable in its log."""
        if self._tools is None:
            from .tool_calls import SessionTools

            self._tools = SessionTools(self._access, self._write, self._schemas)
        return self._tools

    async def update_system_prompt(self, system_prompt: str | None) -> None:
        """Replace the system prompt, in this segment and all that follow."""
        await self._access.set_system_prompt(system_prompt)

    # Reading

    async def get_messages_for_llm(
        self, max_tokens: int | None = None, *, recall: bool = False, policies: Policies | None = None
    ) -> list[dict[str, Any]]:
        """The messages to send: system prompt, seed, open segment, within the budget. See `context`."""
        return (await self.context(max_tokens, recall=recall, policies=policies)).messages

    async def context(
        self, max_tokens: int | None = None, *, recall: bool = False, policies: Policies | None = None
    ) -> Context:
        """What the model would be sent now, with a report of its tokens and of what was left out.

        Args:
            max_tokens: Most tokens as the model counts them. `None`: the window of `model`
                less its reply, or no limit where no model or window is known.
            recall: Whether a record at the end, sent and not recorded, brings back what bears on the
                newest question and is not shown; 1,000 tokens are kept for it, at most a quarter of all.
            policies: What of the open segment is shown, within `max_tokens`: see `context.policies`.

        Raises:
            SessionNotFound: The id does not exist; reading creates nothing.
            TokenLimitExceeded: The newest turn alone is larger.
            StoreError: The store could not be read.

        Cost: one round trip, which brings only what is new; O(open segment) if anything is.
        """
        return await self._viewer.context(max_tokens, recall=recall, policies=policies)

    async def recall(
        self, query: str, limit: int = 5, max_tokens: int | None = None
    ) -> tuple[RecallHit, ...]:
        """The passages of the whole conversation that answer a query best, best first.

        Args:
            query: Any text. What stands in quotation marks or backticks is sought word for word.
            limit: Most hits, in [1, 100].
            max_tokens: Most content tokens of the hits, neighbours included.

        Raises:
            InvalidSetting: A limit out of range, or a Python whose SQLite lacks FTS5.
            SessionNotFound: The id does not exist, or was erased.
            StoreError: The store failed.

        Cost: the first call indexes what the log holds, later ones what is new; see `docs/recall.md`.
        """
        return await Recaller(self._access).search(query, limit, max_tokens)

    async def handle_recall(self, arguments: Mapping[str, Any] | str, *, max_tokens: int = 2000) -> str:
        """Answer a model's call of the tool `RECALL_SCHEMA`: records as data, within `max_tokens`.

        Wrong arguments are answered with what to do, not raised.
        """
        return await Recaller(self._access).handle(arguments, max_tokens)

    async def get_conversation(self, include_all_segments: bool = True) -> list[dict[str, Any]]:
        """The messages as they were recorded, oldest first, each in wire shape with `seq` and `at`.

        Args:
            include_all_segments: The whole conversation; `False`: the held session's own range.
        """
        events = await self.read(include_all_segments=include_all_segments)
        return [row_of(event) for event in events if event.message is not None]

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
                self.owner, self.conversation_id, after_seq=after, until_seq=last, limit=_PAGE
            )
            found += page
            if len(page) < _PAGE:
                return found

    async def get_stats(self, include_all_segments: bool = True) -> SessionStats:
        """Totals of the conversation, or of the held session's own range; a restart changes none."""
        loaded = await self.store.load(self.owner, self.session_id, after_seq=HEAD_ONLY)
        head = loaded.head
        counters, events, tokens, segments = head.counters, head.last_seq, head.total_tokens, head.index + 1
        if not include_all_segments:
            own = await self.read()
            effects = batch_effects(own)
            counters, events, tokens, segments = effects.counters, len(own), sum(effects.tokens), 1
        return stats_of(
            counters,
            session_id=head.session_id if include_all_segments else self.session_id,
            conversation_id=self.conversation_id,
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
        return await self.store.segments(self.owner, self.conversation_id, summaries=True)

    # Segmentation

    async def segment(self) -> SegmentationOutcome:
        """Open a child session now; takes the lease over from a segmentation under way.

        Returns:
            What became of it: `skipped` with `nothing_to_cut` or `no_gain` is no error.

        Raises:
            StoreError: The store failed; nothing was changed.
        """
        conversation = await self._access.open(write=False)
        outcome = await self._job(conversation).run(Trigger.MANUAL, preempt=True)
        await self._access.refresh(conversation)
        self._access.session_id = conversation.head.session_id
        return outcome

    async def settle(self) -> None:
        """Wait until this conversation has nothing under way in this process, and nothing left to write."""
        if self._tools is not None:
            await self._tools.settle()
        await flights.settle(self._key)
        if (seen := self._access.seen) is not None:
            self._access.session_id = seen.head.session_id

    # How it works inside

    @property
    def _key(self) -> tuple[int, Owner, str]:
        return (id(self.store), self.owner, self.conversation_id)

    async def _write_answer(
        self,
        before: Sequence[Message],
        answer: Answer,
        *,
        provider: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tokens: int | None = None,
        asked_tokens: int | None = None,
        idempotency_key: str | None = None,
        origin: Origin | None = None,
    ) -> str:
        def build(recorder: Recorder, conversation: Conversation) -> list[Event]:
            events = [recorder.message(message, tokens=asked_tokens) for message in before]
            report = None
            if answer.usage is not None:
                head = conversation.head
                raw = self._gauge.fixed_tokens(conversation) + head.seed_tokens + head.segment_tokens
                raw += sum(event.tokens for event in events)
                report = report_of(answer, head, model=self._gauge.model_of(conversation), raw=raw)
            events.append(
                recorder.answer(answer, provider=provider, metadata=metadata, tokens=tokens, report=report)
            )
            return events

        return await self._write(build, idempotency_key, origin=origin, texts=(*before, answer.message))

    async def _write(
        self,
        build: Callable[[Recorder, Conversation], list[Event]],
        idempotency_key: str | None = None,
        *,
        origin: Origin | None = None,
        texts: Sequence[Message] = (),
    ) -> str:
        access = self._access

        def make(conversation: Conversation) -> list[Event]:
            recorder = Recorder(
                counter_of(conversation),
                self._gauge.model_of(conversation),
                idempotency_key=idempotency_key,
                origin=origin,
            )
            return build(recorder, conversation)

        if any(is_long(message) for message in texts):
            opened = await access.open(write=True)
            events = await asyncio.to_thread(make, opened)
            conversation, events = await access.append(lambda _: events)
        else:
            conversation, events = await access.append(make)
        if self._tools is not None:
            self._tools.fold(conversation)
        await self._segment_if_due(conversation, events)
        access.session_id = conversation.head.session_id
        return access.session_id

    async def _check_open(self, tool_call_id: str | None, idempotency_key: str | None) -> None:
        conversation = await self._access.open(write=True)
        waiting = answerable(conversation.events)
        if tool_call_id not in waiting:
            conversation = await self._access.refresh(conversation)
            waiting = answerable(conversation.events)
        if tool_call_id in waiting:
            return
        repeated = None if idempotency_key is None else keyed_ids(idempotency_key)(0)
        if not any(event.event_id == repeated for event in reversed(conversation.events)):
            raise OrphanToolResult(tool_call_id, waiting)

    async def _own_segment(self) -> Segment:
        _, index = config.parse_session_id(self.session_id)
        chain = await self.store.segments(self.owner, self.conversation_id)
        if index >= len(chain):
            raise SessionNotFound(self.session_id)
        return chain[index]

    async def _segment_if_due(self, conversation: Conversation, events: Sequence[Event]) -> None:
        trigger = self._gauge.trigger(conversation, turn_is_open=_turn_is_open(events))
        if trigger is None:
            return
        job = self._job(conversation)

        async def work() -> SegmentationOutcome:
            outcome = await job.run(trigger)
            await self._access.refresh(conversation)
            return outcome

        try:
            if trigger is Trigger.HARD_LIMIT:
                await segment_at_hard_limit(job, self._key)
                await self._access.refresh(conversation)
            elif self._inline:
                await asyncio.shield(flights.start(self._key, work))
            elif not conversation.head.lease_s:
                flights.start(self._key, work)
        except StoreError as error:
            # The message is durable and the segmentation stays due: the next call goes on with it.
            log.warning("segment.failed", session_id=conversation.head.session_id, error=type(error).__name__)

    def _job(self, conversation: Conversation) -> Segmentation:
        policy = self._gauge.policy_of(conversation)
        return Segmentation(
            store=self.store,
            owner=self.owner,
            conversation_id=self.conversation_id,
            policy=policy,
            limits=self._gauge.limits_of(policy),
            summarizer=self._summarizer,
            counter=counter_of(conversation),
            clock=lambda: datetime.now(UTC),
            seen_index=conversation.head.index,
        )


def _turn_is_open(events: Sequence[Event]) -> bool:
    """Whether the newest message leaves something to be answered or run."""
    newest = next((e.message for e in reversed(events) if e.message is not None), None)
    return newest is not None and (newest.role != "assistant" or bool(newest.tool_calls))

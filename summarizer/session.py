"""`SessionManager`: one conversation, from the first message to the hundredth segment."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from . import config
from .access import Access, Founding
from .ancestry import inheritance_of, read_log
from .context import Context
from .context.breakpoints import CacheControl
from .context.policies import Policies
from .economy import CacheHealth, Decision, Savings, savings_of
from .errors import InvalidSetting, SessionNotFound
from .events import Event, EventKind, Origin
from .forking import Forker, Place, SessionNode, tree_of
from .gauge import Gauge, given_policy
from .incoming import Answer, Entry, read_all, read_answer, read_said
from .messages import Message, jsonable, result_text
from .meter import Usage
from .policy import Policy
from .recall import Recalled, meaning_of
from .recall.embedding import EmbeddingsSpec
from .recalling import Recaller
from .recording import row_of
from .retention import Retain, checked_retain
from .segmentation import SegmentationOutcome
from .standing import hosts_note
from .state import State, changed_state, state_of
from .stats import SessionStats, Span, stats_of
from .stores.protocol import EventStore, Owner, Segment
from .summary import resolve_summarizer
from .summary.choose import SummarizerSpec
from .viewing import Viewer
from .writing import Writer

if TYPE_CHECKING:
    from .memory import VMMode
    from .session_memory import PagedView, SessionMemory
    from .tool_calls import SessionTools

__all__ = ["SessionManager"]

_NOT_FOR_FORKS: Final = frozenset({"self", "session_id", "system_prompt", "metadata"})
"""Arguments that a fork's manager does not take over: its own are stored."""


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
        context_policies: What of the open segment contexts show, where a call does not say; of this
            manager, not stored. See `docs/context-policies.md`.
        retain: How many closed segments keep their events (0 or more), or for how long (`timedelta`); after
            each segmentation older ones are removed for good: see `docs/context-policies.md`. `None`: all.
        cache_control: Whether contexts are marked for caches that need it (Claude's), and for how long
            the provider shall keep them: `True` (5 minutes), `"5m"`, `"1h"`. See `docs/prompt-cache.md`.
        enable_vm: Whether contexts show what does not fit as pages, with tools to bring more: see `vm`.
        vm_mode: What the model is asked to do with pages: `strict`, `relaxed` (the default), `passive`.
        recall_embeddings: Finds by meaning too: a litellm name of an embedding model, or a callable from a
            list of texts to their vectors. Passages go there, secrets of known shapes blacked out.
        metadata: Kept with the conversation, JSON values.
        create: Whether a write may create the conversation.
        clock: Aware UTC now, for replays and tests; leases and deadlines keep the store's and the loop's.

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
        context_policies: Policies | None = None,
        retain: Retain | None = None,
        cache_control: CacheControl = False,
        enable_vm: bool = False,
        vm_mode: VMMode | str | None = None,
        recall_embeddings: EmbeddingsSpec | None = None,
        metadata: Mapping[str, Any] | None = None,
        create: bool = True,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        # By `locals`, so that no later argument is forgotten; it must stay the first statement.
        self._given = {name: value for name, value in locals().items() if name not in _NOT_FOR_FORKS}
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
        self._access.meaning = meaning_of(recall_embeddings)
        self._access.clock = clock or self._access.clock
        writes = resolve_summarizer(summarizer)
        self._gauge = Gauge(
            model=model,
            tools=tools,
            policy=policy,
            default_threshold=default_threshold,
            infinite_context=infinite_context,
            summarizer=writes,
            marked=cache_control,
        )
        self._paged: PagedView | None = None
        if enable_vm or vm_mode is not None:
            from .session_memory import open_memory

            self._paged = open_memory(self._access, self._gauge, enable=enable_vm, mode=vm_mode)
        self._viewer = Viewer(self._access, self._gauge, cache_control, context_policies, self._paged)
        self._writer = Writer(
            self._access,
            self._gauge,
            self._viewer,
            writes,
            schemas=tools or (),
            inline=segmentation == "inline",
            retain=checked_retain(retain),
            clock=self._access.clock,
        )
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
        return await self._writer.write(
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
        return await self._writer.write_messages(
            [Entry(answer, tokens)], provider=provider, metadata=metadata
        )

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
        asked_tokens, tokens_said = tokens or (None, None)
        return await self._writer.write_messages(
            [Entry(asked, asked_tokens), Entry(answer, tokens_said)],
            provider=provider,
            metadata=metadata,
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
        from .tool_calls.traces import UsedCall

        if not tool_name:
            raise InvalidSetting("tool_name is empty; pass the name that the model calls the tool by")
        if tool_call_id is not None:
            await self._writer.check_open(tool_call_id, idempotency_key)
        is_json = result is not None and not isinstance(result, str)
        given, told = (None if value is None else result_text(value) for value in (arguments, result))
        call = UsedCall(tool_name, arguments, result, error, tool_call_id or idempotency_key)
        async with self.tools.used(call):
            return await self._writer.write(
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
        said = read_said(message_or_response, usage=usage, model=model)
        if isinstance(said, Message) and said.role == "tool":
            await self._writer.check_open(said.tool_call_id, idempotency_key)
        return await self._writer.write_messages(
            [Entry(said, tokens)],
            idempotency_key=idempotency_key,
            origin=Origin.IMPORTED if imported else None,
        )

    async def record_all(
        self,
        messages: Sequence[object],
        *,
        data: Sequence[Mapping[str, Any] | None] | None = None,
        tokens: Sequence[int | None] | None = None,
        usage: object = None,
        model: str | None = None,
        idempotency_key: str | Sequence[str] | None = None,
        imported: bool = False,
        sent_tokens: int | None = None,
    ) -> str:
        """Record several messages in one atomic batch; nothing comes between them.

        Unlike `record`, it keeps a tool result whose call is not known: contexts show it as a note.

        Args:
            messages: As `record` takes them; none writes nothing.
            data: Of each message what is kept with its event, JSON values, or `None`.
            tokens: Of each message its content tokens, or `None` where you have not counted them.
            usage: Reported usage of the last assistant message, if it is not in it.
            model: The model that answered last, if it is not in its message.
            idempotency_key: The same key records once. A list names each message: a batch of which all is
                recorded writes nothing, and one of which a part is raises `PartialBatch`.
            imported: As for `record`.
            sent_tokens: Raw tokens of the request that was answered, instructions and tool schemas included,
                where not this manager's context was sent: the model's ratio is learned from them.

        Raises:
            InvalidMessage: One of them cannot be kept; the log is as it was.
            InvalidSetting: `data`, `tokens` or a list of keys of another length.
        """
        one = idempotency_key if isinstance(idempotency_key, str) else None
        each = None if isinstance(idempotency_key, str) else idempotency_key
        given = read_all(messages, data, tokens, each, usage=usage, model=model)
        if not given:
            return self.session_id
        return await self._writer.write_messages(
            given,
            idempotency_key=one,
            origin=Origin.IMPORTED if imported else None,
            sent=sent_tokens,
        )

    async def note(self, data: Mapping[str, Any]) -> str:
        """Record a fact of the host's own, JSON values, beside the messages; no context shows it.

        Raises:
            InvalidSetting: It has the key `taken_back`, which is the log's own.
        """
        kept = jsonable(hosts_note(data))
        return await self._writer.write(lambda recorder, _: [recorder.record(EventKind.NOTE, kept)])

    async def report_usage(
        self,
        usage: object,
        *,
        model: str | None = None,
        provider: str | None = None,
        sent_tokens: int | None = None,
    ) -> str:
        """Book the usage of an answer whose message is recorded by itself, without its usage.

        Args:
            usage: What the provider reported, in any provider's shape.
            model: The model that answered.
            provider: Who served it, for prices that depend on it.
            sent_tokens: As for `record_all`.

        Raises:
            InvalidSetting: There is no usage in it.
        """
        reported = Usage.from_response(usage)
        if reported is None:
            raise InvalidSetting(f"no usage in a {type(usage).__name__}; leave the call out")
        answer = Answer(Message("assistant", ""), reported, model)
        return await self._writer.write_usage(answer, provider=provider, sent=sent_tokens)

    async def take_back(
        self,
        seqs: Sequence[int],
        *,
        instead: Sequence[object] = (),
        data: Sequence[Mapping[str, Any] | None] | None = None,
        expect: int,
    ) -> str:
        """Take messages back: contexts, recall, cuts and summaries to come go without them, in every worker.

        The log keeps them: `read` and totals know them still, and so does a summary that stands. One that
        is being written is given up.

        Args:
            seqs: Their events, each from 1 to `expect`.
            instead: Messages recorded in their place, in the same batch, as `record_all` takes them.
            data: Of each of these what is kept with its event.
            expect: The log's last seq that you have seen.

        Raises:
            StoreConflict: Somebody wrote in between; nothing was written.
            InvalidSetting: Seqs that no event has; nothing was written.
        """
        return await self._writer.take_back(seqs, read_all(instead, data, None, None), expect=expect)

    async def clear(self) -> str:
        """Begin anew: a child session without a seed, so that contexts are empty, in every worker.

        The log keeps what was said: `read`, `recall`, totals and `$vN` know it still; `erase` removes it.

        Raises:
            SessionNotFound: The id does not exist.
        """
        return await self._writer.clear()

    @property
    def vm(self) -> SessionMemory:
        """The virtual memory of this conversation, durable in its log; see `docs/virtual-memory.md`.

        Raises:
            InvalidSetting: It is switched off.
        """
        if self._paged is None:
            raise InvalidSetting("virtual memory is off; make the manager with enable_vm=True")
        return self._paged.memory

    @property
    def tools(self) -> SessionTools:
        """The guard of this conversation's tool calls, durable in its log."""
        return self._writer.tools

    async def update_system_prompt(self, system_prompt: str | None) -> None:
        """Replace the system prompt, in this segment and all that follow."""
        await self._access.set_system_prompt(system_prompt)

    async def get_state(self) -> State:
        """The free record beside the conversation, as it is in the store now; see `save_state`.

        Raises:
            SessionNotFound: The id does not exist; reading creates nothing.
        """
        return state_of((await self._access.current()).settings)

    async def save_state(self, values: Mapping[str, Any], *, version: int | None = None) -> State:
        """Save a record of your own beside the conversation, as a whole; it is durable when this returns.

        Args:
            values: JSON values; all of the record.
            version: The version that you have read, 0 for none yet. `None`: save over whatever is there.

        Raises:
            StateConflict: Another version is there; nothing was written.
            InvalidSetting: Values that JSON does not give back as they are.
        """
        saved: dict[str, Any] = {}

        def change(settings: Mapping[str, Any]) -> Mapping[str, Any]:
            saved.update(changed_state(settings, values, version, self._access.clock()))
            return saved

        await self._access.open(write=True)
        await self._access.change_settings(change)
        return state_of(saved)

    # Reading

    async def get_messages_for_llm(
        self,
        max_tokens: int | None = None,
        *,
        recall: bool = False,
        policies: Policies | None = None,
        cache_control: CacheControl | None = None,
    ) -> list[dict[str, Any]]:
        """The messages to send: system prompt, seed, open segment, within the budget. See `context`."""
        built = await self.context(max_tokens, recall=recall, policies=policies, cache_control=cache_control)
        return built.messages

    async def context(
        self,
        max_tokens: int | None = None,
        *,
        recall: bool = False,
        policies: Policies | None = None,
        cache_control: CacheControl | None = None,
    ) -> Context:
        """What the model would be sent now, with a report of its tokens and of what was left out.

        Args:
            max_tokens: Most tokens as the model counts them. `None`: the window of `model`
                less its reply, or no limit where no model or window is known.
            recall: Whether a record at the end, sent and not recorded, brings back what bears on the
                newest question and is not shown; 1,000 tokens are kept for it, at most a quarter of all.
            policies: What of the open segment is shown, within `max_tokens`: see `context.policies`. `None`:
                as given to the manager; an empty list shows all.
            cache_control: As for the manager; `None`: as given there.

        Raises:
            SessionNotFound: The id does not exist; reading creates nothing.
            TokenLimitExceeded: The newest turn alone is larger.
            StoreError: The store could not be read.

        Cost: one round trip, which brings only what is new; O(open segment) if anything is.
        """
        return await self._viewer.context(
            max_tokens, recall=recall, policies=policies, cache_control=cache_control
        )

    async def recall(self, query: str, limit: int = 5, max_tokens: int | None = None) -> Recalled:
        """The passages of the whole conversation that answer a query best, best first, in a tuple.

        Its `gaps` say what could not be looked through; they are empty if all was.

        Args:
            query: Any text. What stands in quotation marks or backticks is sought word for word.
            limit: Most hits, in [1, 100].
            max_tokens: Most content tokens of the hits, neighbours included.

        Raises:
            InvalidSetting: A wrong type, a limit out of range, or a Python whose SQLite lacks FTS5.
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

    async def read(
        self, *, include_all_segments: bool = False, after_seq: int = 0, until_seq: int | None = None
    ) -> list[Event]:
        """Events of the held session's own range, or of the whole log; every kind, in order.

        The whole log of a fork begins with what its ancestors still hold of the time before it.

        Args:
            include_all_segments: The whole log; `False`: the held session's own range.
            after_seq: Of the whole log, only what lies behind this event.
            until_seq: Of the whole log, nothing behind this event; `None`: up to its end.
        """
        if include_all_segments:
            return await self._access.read(after_seq, until_seq)
        own = await self._own_segment()
        return await read_log(self.store, self.owner, self.conversation_id, own.start_seq - 1, own.end_seq)

    async def open_segment(self, *, seen: bool = False) -> tuple[Event, ...]:
        """The events of the open segment, whichever session is held, as they are in the store now.

        Args:
            seen: As this manager last saw them, without asking the store if it has seen any.

        Cost: one round trip, which brings only what is new.

        Raises:
            SessionNotFound: The id does not exist; reading creates nothing.
        """
        known = self._access.seen if seen else None
        return tuple((known or await self._access.current()).events)

    async def get_stats(self, include_all_segments: bool = True, *, inherited: bool = True) -> SessionStats:
        """Totals of the conversation, or of the held session's own range; a restart changes none.

        Args:
            include_all_segments: The whole conversation; `False`: the held session's own range.
            inherited: Whether a fork's totals count what it began with. An owner's sum over conversations
                takes `False`: each event counts once, in the conversation it was written to.
        """
        conversation = await self._access.current()
        head, began = conversation.head, inheritance_of(conversation.settings)
        span = Span(head.counters, head.last_seq, head.total_tokens)
        before = Span(began.counters, began.seq, began.total_tokens)
        if not include_all_segments:
            own = await self.read()
            span, before = Span.of(own), Span.of([event for event in own if event.seq <= began.seq])
        return stats_of(
            span if inherited else span.minus(before),
            inherited=before if inherited else Span(),
            session_id=head.session_id if include_all_segments else self.session_id,
            conversation_id=self.conversation_id,
            segments=head.index + 1 if include_all_segments else 1,
            context_tokens=head.seed_tokens + conversation.standing_head.segment_tokens,
            seed_tokens=head.seed_tokens,
        )

    async def cache_health(self) -> CacheHealth:
        """Whether the newest call found what the one before it left in the provider's prompt cache.

        Judged by the reported usage of the open segment's calls, and what changed between them.
        """
        return await self._viewer.cache_health()

    async def tree(self) -> tuple[SessionNode, ...]:
        """This conversation's sessions and those of all forks of it, each before its children.

        Each names its parent and its children; see `docs/forks.md`. `get_session_chain` and `segments` are
        of this conversation alone.
        """
        parent = inheritance_of((await self._access.current()).settings).parent
        return await tree_of(
            self.store,
            self.owner,
            self.conversation_id,
            parent=None if parent is None else parent.session_id,
            fork_seq=None if parent is None else parent.seq,
        )

    async def get_session_chain(self) -> list[str]:
        """Session ids of the chain, oldest first."""
        return [segment.session_id for segment in await self.segments()]

    async def segments(self) -> tuple[Segment, ...]:
        """The chain with ranges and summary records, oldest first."""
        return await self.store.segments(self.owner, self.conversation_id, summaries=True)

    # Forks

    async def fork(
        self,
        at: int | Event | None = None,
        *,
        before: int | Event | None = None,
        turns: int | None = None,
        session_id: str | None = None,
        system_prompt: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> SessionManager:
        """A conversation of its own that begins as this one stood at some place; this one is not changed.

        The fork has the seed and the events of the session that holds the place, to the byte, so that the
        provider's prompt cache stays warm; its totals go on from here. It is known once this returns.

        Args:
            at: The last event that is kept, or its seq: a user's message, to have it answered again.
            before: The first event that is not kept: a user's message, to have it said otherwise.
            turns: How many turns are kept; below 0, how many at the end are not. Without any of the three
                all is kept, as for a sub-agent.
            session_id: The fork's id; `None` makes a new, unguessable one.
            system_prompt: Another system prompt.
            metadata: Kept with the fork, beside this conversation's.

        Returns:
            The fork's manager, made with the arguments of this one.

        Raises:
            CannotFork: No such place, or one that would part what belongs together; it names those nearby.
            InvalidSetting: More than one place.
            SessionNotFound: Nothing was written to this conversation yet, or it was erased.
            SessionExists: `session_id` is taken.

        Cost: reads the session that holds the place and, for exact totals, all before it or all behind.
        """
        await self._writer.settle_tools()
        root = await Forker(self._access, lambda: self.tools, self._access.clock).fork(
            Place(at, before, turns), session_id=session_id, system_prompt=system_prompt, metadata=metadata
        )
        return self.sibling(root, create=False)

    def sibling(self, session_id: str | None = None, *, create: bool | None = None) -> SessionManager:
        """A manager of another conversation, made with the arguments of this one, its guard's too. No I/O.

        Args:
            session_id: As for `SessionManager`; system prompt and metadata are those stored with it.
            create: Whether a write may create it; `None`: as given here.
        """
        arguments: dict[str, Any] = {**self._given, "store": self.store}
        if create is not None:
            arguments["create"] = create
        made = SessionManager(session_id, **arguments)
        if configuration := self._writer.configuration:
            made.tools.configure(**configuration)
        return made

    # Segmentation

    async def segment(self) -> SegmentationOutcome:
        """Open a child session now; takes the lease over from a segmentation under way.

        Returns:
            What became of it: `skipped` with `nothing_to_cut` or `no_gain` is no error.

        Raises:
            StoreError: The store failed; nothing was changed.
        """
        return await self._writer.segment()

    async def decision(self) -> Decision | None:
        """What pays now, with all it is computed from; `None` unless the policy is a `CostAwarePolicy`."""
        return self._gauge.decision(await self._access.current())

    async def savings(self) -> Savings:
        """What segmentations were expected to save, and did save by reported usage; see `docs/cost.md`."""
        return savings_of((await self._access.current()).events)

    async def settle(self) -> None:
        """Wait until this conversation has nothing under way in this process, and nothing left to write."""
        await self._writer.settle()

    # How it works inside

    async def _own_segment(self) -> Segment:
        _, index = config.parse_session_id(self.session_id)
        chain = await self.store.segments(self.owner, self.conversation_id)
        if index >= len(chain):
            raise SessionNotFound(self.session_id)
        return chain[index]

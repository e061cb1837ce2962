"""One model reads what is unread: its window divided, its questions asked, its answers judged. Without I/O.

A generator that yields an `Ask` and is sent the answers, in the order of the questions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from ..errors import SummaryModelError, SummaryRejected
from ..events import Origin
from ..meter import TokenCounter
from .judgement import Given, check_narrative
from .ledger import fit
from .llm import ModelReply, ModelRequest
from .prompts import Prompt, repair_messages, summary_messages
from .record import Entry, ModelCall, Rejection, SummaryOutcome, SummaryRequest
from .reply import ParsedReply, parse_reply
from .transcript import Chunk, Record, chunk_records

__all__ = [
    "ASSUMED_WINDOW",
    "Answer",
    "Ask",
    "Asking",
    "Part",
    "Question",
    "Reader",
    "Run",
    "Work",
    "narrative_budget",
    "read_unread",
    "words_for",
]

ASSUMED_WINDOW: Final = 8192
"""Window of a summary model of which nobody knows it: small, since some servers cut a prompt in silence."""
MARGIN: Final = 1.1
"""Our count of a prompt over the learned ratio: a chunk that is too large costs a refused call."""
REPLY_TOKENS: Final = 4096
"""Room for an answer where the window allows it; models that reason spend part of it unseen."""
NARRATIVE_SHARE: Final = 1 / 3
"""Share of the seed's budget that a narrative is asked to keep to; up to twice that is taken."""
_WORDS_PER_TOKEN: Final = 0.65
_LEAST_ROOM: Final = 64


@dataclass(frozen=True, slots=True)
class Reader:
    """One model of the ladder, as the pipeline sees it.

    Attributes:
        name: For records and logs.
        window: Tokens of prompt and answer together.
        prompt: What it is told.
        counter: The nearest counter for it.
        ratio: Its own tokens over the counter's; see `meter.prior_ratio`.
        max_output: Most tokens of an answer; `None` if unknown.
    """

    name: str
    window: int
    prompt: Prompt
    counter: TokenCounter
    ratio: float = 1.0
    max_output: int | None = None

    def count(self, text: str) -> int:
        """Tokens of a text for this model, with margin."""
        return math.ceil(self.counter.count(text) * self.ratio * MARGIN)

    def narrative_cap(self, budget: int) -> int:
        """Most tokens of a narrative, by `count`: twice what is asked for."""
        return math.ceil(2 * budget * self.ratio * MARGIN)

    def reply_room(self, seed_budget: int) -> int:
        """Tokens to ask for at most: a full answer repeats parts of the ledger, a compact one is short."""
        wanted = max(2 * seed_budget, REPLY_TOKENS) if self.prompt.operations else max(96, seed_budget)
        return max(1, min(wanted, self.max_output or wanted, self.window // 4))


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and how often it may be sent if the model cannot be reached."""

    request: ModelRequest
    tries: int

    def once_more(self, reason_code: str, tries: int) -> Question:
        """The question again, with what was wrong with the answer."""
        messages = repair_messages(self.request.messages, reason_code)
        return Question(replace(self.request, messages=messages), tries)


@dataclass(frozen=True, slots=True)
class Ask:
    """Questions to one model, independent of each other.

    Attributes:
        reader: Index of the model.
        questions: At least one; to be answered in this order.
    """

    reader: int
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question.

    Attributes:
        reply: The model's reply; `None` if there was none.
        error: Why there was none.
        tries: Requests that were sent.
        duration_s: Seconds of the last one.
    """

    reply: ModelReply | None
    error: SummaryModelError | None = None
    tries: int = 1
    duration_s: float = 0.0


Result = TypeVar("Result")
Run = tuple[Record, ...]
"""Consecutive records."""
Asking = Generator[Ask, Sequence[Answer], Result]
"""Something that asks on its way to a result."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a model told about one chunk; `carries` if it was to carry the narrative so far on, and did."""

    chunk: Chunk
    reply: ParsedReply
    reader: int
    carries: bool


@dataclass(frozen=True, slots=True)
class _Pending:
    """A chunk on its way."""

    chunk: Chunk
    question: Question
    carries: bool
    repaired: bool = False

    def once_more(self, reason_code: str, tries: int) -> _Pending:
        """The question again, with what was wrong with the answer."""
        return replace(self, question=self.question.once_more(reason_code, tries), repaired=True)


@dataclass(slots=True)
class Work:
    """The state of one summary.

    `ledger` are the entries that a model is shown: those that the seed has room for, without the values that
    rules read out of tool results. What the model does not see, it cannot amend, and stays as it is.
    """

    request: SummaryRequest
    base: SummaryOutcome
    readers: Sequence[Reader]
    timeout_s: float
    tries: int
    boundary: Callable[[], str]
    calls: list[ModelCall] = field(default_factory=list[ModelCall])
    rejections: list[Rejection] = field(default_factory=list[Rejection])
    parts: list[Part] = field(default_factory=list[Part])
    ledger: tuple[Entry, ...] = field(init=False)

    def __post_init__(self) -> None:
        fitted = fit(self.base.summary.entries, self.request.seed_budget, self.request.counter)
        self.ledger = tuple(entry for entry in fitted.entries if not _is_reading(entry))

    def refused(
        self, reader: Reader, error: SummaryModelError | SummaryRejected, *, live: bool = False
    ) -> None:
        code = error.reason_code if isinstance(error, SummaryRejected) else _reason_code_of(error)
        self.rejections.append(Rejection(f"live:{reader.name}" if live else reader.name, code, str(error)))

    def booked(self, reader: Reader, answer: Answer, *, live: bool = False) -> ModelReply:
        """The reply, its usage booked.

        Raises:
            SummaryModelError: There is none.
        """
        if answer.reply is None:
            raise answer.error or SummaryModelError(f"summary model {reader.name!r} gave no answer")
        reply = answer.reply
        self.calls.append(ModelCall(reader.name, reply.usage, reply.cost_usd, answer.duration_s, live))
        return reply


def _is_reading(entry: Entry) -> bool:
    return entry.writer == "rules" and entry.origin is Origin.TOOL


def _reason_code_of(error: SummaryModelError) -> str:
    """The dotted code of a failed call."""
    code = getattr(error, "reason_code", None)
    if isinstance(code, str):
        return code
    if error.context_window:
        return "model.context_window"
    return "model.unavailable" if error.transient else "model.refused"


def narrative_budget(seed_budget: int) -> int:
    """Tokens a narrative is asked to keep to."""
    return max(24, math.floor(seed_budget * NARRATIVE_SHARE))


def read_unread(work: Work, index: int, unread: Sequence[Run], first: Record) -> Asking[list[Run]]:
    """Have one model read what is unread; returns what it did not."""
    reader = work.readers[index]
    layout = _layout(work, reader)
    if layout is None:
        detail = f"its window of {reader.window} tokens leaves no room for a transcript"
        work.rejections.append(Rejection(reader.name, "model.context_window", detail))
        return list(unread)
    sorter = _Sorter(work, index)
    chunks = [chunk for run in unread for chunk in chunk_records(run, layout.room, reader.count)]
    yield from sorter.sort(layout.pending(chunks, first))
    if sorter.too_large:
        refused, sorter.too_large = sorter.too_large, []
        layout = replace(layout, room=max(_LEAST_ROOM, max(chunk.tokens for chunk in refused) // 2))
        chunks = [c for chunk in refused for c in chunk_records(chunk.records, layout.room, reader.count)]
        yield from sorter.sort(layout.pending(chunks, first))
    failed = sorted([*sorter.failed, *sorter.too_large], key=lambda chunk: chunk.first)
    return [chunk.records for chunk in failed]


@dataclass(slots=True)
class _Sorter:
    """Asks one model about chunks, and puts each where its answer belongs: read, too large, or failed."""

    work: Work
    index: int
    too_large: list[Chunk] = field(default_factory=list[Chunk])
    failed: list[Chunk] = field(default_factory=list[Chunk])

    def sort(self, pending: Sequence[_Pending]) -> Asking[None]:
        while pending:
            answers = yield Ask(self.index, tuple(item.question for item in pending))
            judged = [self._judge(item, answer) for item, answer in zip(pending, answers, strict=True)]
            pending = [item for item in judged if item is not None]

    def _judge(self, item: _Pending, answer: Answer) -> _Pending | None:
        """Take the answer in; gives the question to ask again, if there is one."""
        work, reader = self.work, self.work.readers[self.index]
        try:
            reply = work.booked(reader, answer)
            parsed = parse_reply(reply.text, reply.finish_reason)
            _check(work, reader, item, parsed)
        except SummaryModelError as error:
            work.refused(reader, error)
            (self.too_large if error.context_window else self.failed).append(item.chunk)
        except SummaryRejected as error:
            work.refused(reader, error)
            left = item.question.tries - answer.tries
            if left > 0 and not item.repaired:
                return item.once_more(error.reason_code, left)
            self.failed.append(item.chunk)
        else:
            carries = item.carries and bool(parsed.narrative)
            work.parts.append(Part(item.chunk, parsed, self.index, carries))
        return None


def _check(work: Work, reader: Reader, item: _Pending, parsed: ParsedReply) -> None:
    """Judge an answer as a summary of its chunk; one with operations may leave the narrative empty."""
    if not parsed.narrative and parsed.operations and reader.prompt.operations:
        return
    messages = item.question.request.messages
    previous = work.request.previous
    told = reader.count(previous.narrative) if previous is not None else 0
    given = Given(
        texts=[record.text for record in item.chunk.records],
        instructions=str(messages[0]["content"]),
        tokens=item.chunk.tokens + told,
        cap=reader.narrative_cap(narrative_budget(work.request.seed_budget)),
        count=reader.count,
    )
    check_narrative(parsed.narrative, given)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How one model's prompts are laid out."""

    work: Work
    reader: Reader
    entries: tuple[Entry, ...]
    narrative: str
    room: int

    def pending(self, chunks: Sequence[Chunk], first: Record) -> list[_Pending]:
        """The chunks with their questions; the one that begins with `first` carries the narrative on."""
        words = words_for(narrative_budget(self.work.request.seed_budget), len(chunks))
        opens = [chunk.records[0].begins and chunk.first == first.seq for chunk in chunks]
        return [
            _Pending(chunk, self._question(chunk, words, begins), begins and bool(self.narrative))
            for chunk, begins in zip(chunks, opens, strict=True)
        ]

    def _question(self, chunk: Chunk, words: int, opens: bool) -> Question:
        messages = summary_messages(
            self.reader.prompt,
            chunk.records,
            boundary=self.work.boundary(),
            words=words,
            entries=self.entries,
            narrative=self.narrative if opens else "",
        )
        room = self.reader.reply_room(self.work.request.seed_budget)
        request = ModelRequest(messages, self.reader.prompt.schema, room, self.work.timeout_s)
        return Question(request, self.work.tries)


def words_for(budget: int, chunks: int) -> int:
    """Words to ask for, of each of some chunks: about 0.65 a token of English."""
    words = math.floor(budget * _WORDS_PER_TOKEN)
    return max(16, words if chunks == 1 else max(min(words, 60), words // chunks))


def _layout(work: Work, reader: Reader) -> _Layout | None:
    """Divide a model's window; `None` if nothing is left for the transcript.

    A ledger that would take more than a quarter of the window is shown from its newest entries.
    """
    entries = _newest(work.ledger, reader.window // 4, reader.count) if reader.prompt.operations else ()
    previous = work.request.previous
    # A narrative that is not shown is joined with the new one afterwards.
    narrative = previous.narrative if previous is not None and reader.prompt.operations else ""
    if reader.count(narrative) > reader.window // 4:
        narrative = ""
    empty = summary_messages(
        reader.prompt, (), boundary="0" * 16, words=999, entries=entries, narrative=narrative
    )
    schema = reader.count(str(reader.prompt.schema))
    # Servers that know no schemas natively are shown them as text or as a tool.
    fixed = sum(reader.count(str(message["content"])) + 8 for message in empty) + schema
    room = reader.window - fixed - reader.reply_room(work.request.seed_budget)
    return _Layout(work, reader, entries, narrative, room) if room >= _LEAST_ROOM else None


def _newest(entries: Sequence[Entry], limit: int, count: Callable[[str], int]) -> tuple[Entry, ...]:
    kept: list[Entry] = []
    for entry in reversed(entries):
        limit -= count(entry.text) + 24
        if limit < 0:
            break
        kept.append(entry)
    return tuple(reversed(kept))

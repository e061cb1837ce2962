"""A summary by extending the request that the host's provider has cached. Without I/O.

Nothing fences the conversation here, and the model sees more than it is to report. What comes back passes
the same checks as any answer: a source is a quotation that stands in an event up to the cut, and a
sentence whose values stand behind the cut alone is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..errors import SummaryModelError, SummaryRejected
from ..events import Event, Origin
from .adopt import sources_of, texts_of
from .drafts import sentence_pieces
from .extraction import normalized
from .judgement import Given, check_narrative
from .llm import ModelReply, ModelRequest
from .prompts import live_instruction
from .reading import Ask, Asking, Part, Question, Reader, Work, narrative_budget, words_for
from .record import LivePrefix, Rejection
from .reply import ParsedReply, parse_reply
from .transcript import Chunk, records_of
from .verify import SourceIndex, verify_text

__all__ = ["read_live"]

_LEAST_QUOTE: Final = 8
"""Characters below which a quotation shows nothing, unless it is the whole message."""


def read_live(work: Work) -> Asking[bool]:
    """Have the host's model read the whole segment in the request that its provider has cached.

    Returns:
        Whether its answer holds; it is among the work's parts then. If not, the fenced way is still open.
    """
    live = work.request.live
    if live is None:
        return False
    index = next((i for i, reader in enumerate(work.readers) if reader.name == live.model), None)
    if index is None:
        known = ", ".join(reader.name for reader in work.readers)
        return _not_open(work, live, f"it is none of the summarizer's models ({known})")
    reader = work.readers[index]
    asked = _request(work, live, reader)
    if not reader.prompt.operations:
        return _not_open(work, live, "it is too small a model for the instruction")
    tokens = live.tokens + reader.count(str(asked.messages[-1]["content"]))
    if tokens + asked.max_output_tokens > reader.window:
        return _not_open(work, live, f"{tokens} tokens and an answer exceed its window of {reader.window}")
    return (yield from _asked(work, live, index, Question(asked, work.tries)))


def _not_open(work: Work, live: LivePrefix, why: str) -> bool:
    work.rejections.append(Rejection(f"live:{live.model}", "live.not_open", why))
    return False


def _request(work: Work, live: LivePrefix, reader: Reader) -> ModelRequest:
    request = work.request
    previous = request.previous
    instruction = live_instruction(
        boundary=work.boundary(),
        words=words_for(narrative_budget(request.seed_budget), 1),
        entries=work.ledger,
        stays=next((event.message for event in live.tail if event.message is not None), None),
        carries=previous is not None and bool(previous.narrative),
    )
    room = reader.reply_room(request.seed_budget)
    messages = [*map(dict[str, Any], live.messages), instruction]
    return ModelRequest(messages, None, room, work.timeout_s, live.tools)


def _asked(work: Work, live: LivePrefix, index: int, question: Question) -> Asking[bool]:
    """Ask, and once more with what was wrong; both read from the cache."""
    reader = work.readers[index]
    for repaired in (False, True):
        (answer,) = yield Ask(index, (question,))
        try:
            reply = work.booked(reader, answer, live=True)
            part = _part(work, live, index, reply, str(question.request.messages[-1]["content"]))
        except SummaryModelError as error:
            work.refused(reader, error, live=True)
            return False
        except SummaryRejected as error:
            work.refused(reader, error, live=True)
            left = question.tries - answer.tries
            if repaired or left <= 0:
                return False
            question = question.once_more(error.reason_code, left)
        else:
            work.parts.append(part)
            return True
    return False


def _part(work: Work, live: LivePrefix, index: int, reply: ModelReply, instruction: str) -> Part:
    """What the answer says of the events up to the cut.

    Raises:
        SummaryRejected: It is no summary.
    """
    request, reader = work.request, work.readers[index]
    parsed = parse_reply(reply.text, reply.finish_reason)
    records = records_of(request.unread)
    tokens = sum(reader.count(record.line) for record in records)
    narrative = _up_to_the_cut(parsed.narrative, sources_of(request, work.base.summary), live.tail)
    operations = _sourced(parsed.operations, request.unread)
    if narrative or not operations:
        told = reader.count(request.previous.narrative) if request.previous is not None else 0
        given = Given(
            texts=[record.text for record in (*records, *records_of(live.tail))],
            instructions=instruction,
            tokens=tokens + told,
            cap=reader.narrative_cap(narrative_budget(request.seed_budget)),
            count=reader.count,
        )
        for text in dict.fromkeys((parsed.narrative, narrative)):
            check_narrative(text, given)
    kept = ParsedReply(narrative, operations, parsed.structured)
    return Part(Chunk(records, tokens), kept, index, carries=bool(narrative))


def _up_to_the_cut(narrative: str, proved: SourceIndex, tail: Sequence[Event]) -> str:
    """The narrative without the sentences whose values stand behind the cut and not before it."""
    if not verify_text(narrative, proved).unproved:
        return narrative
    behind = SourceIndex(text for event in tail for text in texts_of(event))
    kept: list[str] = []
    for sentence in sentence_pieces(narrative):
        unproved = set(verify_text(sentence, proved).unproved)
        if not unproved or unproved & set(verify_text(sentence, behind).unproved):
            kept.append(sentence)
    return "".join(kept).strip()


def _sourced(
    operations: Sequence[Mapping[str, Any]], events: Sequence[Event]
) -> tuple[Mapping[str, Any], ...]:
    """The operations, each with the event that its quotation stands in as its source, or with none."""
    said = [(event, tuple(map(normalized, texts_of(event)))) for event in events] if operations else []
    return tuple({**operation, "sources": _quoted(operation.get("quote"), said)} for operation in operations)


def _quoted(quote: object, said: Sequence[tuple[Event, Sequence[str]]]) -> list[int]:
    """Seq of the newest event that says these words; what the user or the system said goes first."""
    words = normalized(quote) if isinstance(quote, str) else ""
    saying = [event for event, texts in said if any(_says(text, words) for text in texts)]
    stated = [event for event in saying if event.origin in (Origin.USER, Origin.SYSTEM)]
    return [max(event.seq for event in stated or saying)] if saying else []


def _says(text: str, words: str) -> bool:
    return words in text if len(words) >= _LEAST_QUOTE else bool(words) and words == text

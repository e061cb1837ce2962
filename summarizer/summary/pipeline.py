"""From events to a summary by models: fit, chunk, ask, judge, merge, verify, fit. A generator without I/O.

`summary_steps` yields what it wants asked and is sent the answers; whoever drives it does the asking.
The whole ladder is here: a chunk that one model failed to read is what the next model is asked, and what
none could read is left to the rules and, by `model_through`, to the next summary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import SummaryModelError, SummaryRejected
from .adopt import Told, adopted
from .drafts import sentence_pieces
from .extractive import extract
from .judgement import Given, check_narrative
from .live import read_live
from .llm import ModelRequest
from .prompts import MERGE, merge_messages, new_boundary
from .reading import Ask, Asking, Part, Question, Reader, Run, Work, narrative_budget, read_unread, words_for
from .record import SummaryOutcome, SummaryRequest
from .reply import parse_reply
from .transcript import records_of

__all__ = ["summary_steps"]


def summary_steps(
    request: SummaryRequest,
    readers: Sequence[Reader],
    *,
    timeout_s: float,
    tries: int,
    boundary: Callable[[], str] = new_boundary,
) -> Asking[SummaryOutcome]:
    """Write a summary, asking models in order until everything unread is read.

    With a live prefix, the host's model is asked first, and what follows only if that fails. Each chunk
    is read by one model. An answer that is no summary is asked for once more, with what was wrong;
    a prompt that turns out larger than the window is cut in half once; then the next model is asked what is
    still unread. Answers about chunks behind a gap are dropped: the next summary reads on from the gap.

    Args:
        request: What to summarize.
        readers: The ladder's models; may be empty.
        timeout_s: For each request.
        tries: Most requests for one chunk to one model, refused answers included.
        boundary: Gives the word that frames a prompt.

    Returns:
        Always an outcome that may stand; written by rules alone where no model's answer held.
    """
    work = Work(request, extract(request), readers, timeout_s, tries, boundary)
    records = records_of(request.unread)
    if not records:
        summary = replace(work.base.summary, model_through=request.cut)
        return replace(work.base, summary=summary)
    unread: list[Run] = [] if (yield from read_live(work)) else [records]
    for index in range(len(readers)):
        if unread:
            unread = yield from read_unread(work, index, unread, records[0])
    parts = _before_gap(work.parts, unread)
    if not parts:
        return _by_rules(work)
    narrative = yield from _joined(work, parts)
    return _finished(work, parts, narrative, unread)


def _by_rules(work: Work) -> SummaryOutcome:
    return replace(work.base, calls=tuple(work.calls), rejections=tuple(work.rejections))


def _before_gap(parts: Sequence[Part], unread: Sequence[Run]) -> list[Part]:
    """The parts up to the first event that no model has read whole, in order."""
    gap = min((run[0].seq for run in unread), default=math.inf)
    return sorted((part for part in parts if part.chunk.last < gap), key=_place)


def _place(part: Part) -> tuple[int, tuple[int, ...]]:
    return part.chunk.first, part.chunk.records[0].part


def _joined(work: Work, parts: Sequence[Part]) -> Asking[str]:
    """One narrative out of the parts'; a model is asked only where they are too long together."""
    told = [part.reply.narrative for part in parts if part.reply.narrative]
    previous = work.request.previous
    if previous is not None and previous.narrative and not parts[0].carries:
        told.insert(0, previous.narrative)
    joined = "\n\n".join(told)
    budget = narrative_budget(work.request.seed_budget)
    if len(told) < 2 or work.request.counter.count(joined) <= budget:
        return joined
    index = parts[-1].reader
    reader = work.readers[index]
    messages = merge_messages(told, boundary=work.boundary(), words=words_for(budget, 1))
    tokens = sum(reader.count(str(message["content"])) for message in messages)
    room = reader.reply_room(work.request.seed_budget)
    if tokens + room > reader.window:
        return _shortened(told, budget, work.request.counter.count)
    request = ModelRequest(messages, MERGE.schema, room, work.timeout_s)
    (answer,) = yield Ask(index, (Question(request, work.tries),))
    try:
        reply = work.booked(reader, answer)
        narrative = parse_reply(reply.text, reply.finish_reason).narrative
        cap = reader.narrative_cap(budget)
        check_narrative(narrative, Given((), str(messages[0]["content"]), tokens, cap, reader.count))
    except (SummaryModelError, SummaryRejected) as error:
        work.refused(reader, error)
        return _shortened(told, budget, work.request.counter.count)
    return narrative


def _shortened(narratives: Sequence[str], budget: int, count: Callable[[str], int]) -> str:
    """The first lines and sentences of each narrative, an equal share of the budget each."""
    share = budget // len(narratives)
    kept: list[str] = []
    for narrative in narratives:
        text = ""
        for sentence in sentence_pieces(narrative):
            if count(text + sentence) > share:
                break
            text += sentence
        if text.strip():
            kept.append(text.strip())
    return "\n\n".join(kept)


def _finished(work: Work, parts: Sequence[Part], narrative: str, unread: Sequence[Run]) -> SummaryOutcome:
    request = work.request
    names = [work.readers[part.reader].name for part in parts]
    told = [
        Told(part.reply.operations, frozenset(record.seq for record in part.chunk.records))
        for part in parts
        if work.readers[part.reader].prompt.operations
    ]
    outcome = adopted(
        request,
        work.base,
        narrative=narrative,
        told=told,
        writer=names[-1],
        model_through=parts[-1].chunk.last if unread else request.cut,
    )
    notes = dict(outcome.notes)
    if unread:
        last = parts[-1].chunk.last
        notes["events.unread"] = sum(
            event.seq > last and event.message is not None for event in request.unread
        )
    return replace(outcome, calls=tuple(work.calls), rejections=tuple(work.rejections), notes=notes)

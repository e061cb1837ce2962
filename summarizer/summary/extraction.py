"""Rules: events in, drafts of ledger entries out. No model, deterministic, linear in the text.

What a text may become follows from whose word it is: constraints come from `system` and `user`
text alone. A user-role message in the shape of a program's output is treated as imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..events import Event, Origin
from ..messages import Message
from .actions import Action, actions_of, bounded, touched_paths
from .drafts import Draft, clip, event_trust, least_trusted, one_line
from .mentions import Mentions
from .record import EntryKind
from .redact import REDACTED, redact
from .speech import (
    asks,
    binds,
    decides,
    is_machine_made,
    promises,
    rules_in,
    sentences,
    tells,
    without_opener,
)
from .values import Found, json_facts, says_values, specificity, text_facts

__all__ = ["Extraction", "extract_rules", "normalized", "system_sentences"]

_FACTS_PER_EVENT: Final = 60
_CONSTRAINTS_PER_EVENT: Final = 40
_SENTENCES_PER_EVENT: Final = 8
_TOLD_PER_EVENT: Final = 8
_REQUESTS: Final = 12
_REQUEST_CHARS: Final = 600
_TRIVIAL_CHARS: Final = 24
_SYMBOL: Final = re.compile(
    r"(?<![\w./-])(?:[A-Za-z]\w{0,60}_\w{1,60}|[A-Z][a-z0-9]{1,40}[A-Z]\w{0,60}|_\w{2,60}"
    r"|[a-z]{1,40}[A-Z]\w{1,60})(?![\w/])"
)
_QUOTED_CODE: Final = re.compile(r"`([^`\n]{2,120})`")
_PATH_VALUE: Final = re.compile(r"[\w.~@+-]*/[\w.~/@+-]*[\w]|[\w.-]{1,80}\.[a-z]{1,5}")


@dataclass(frozen=True, slots=True)
class Extraction:
    """What rules read out of a stretch of the log.

    Attributes:
        drafts: In order of the events they come from.
        answered_seq: Seq of the last final assistant answer; requests before it are closed. 0 for none.
        user_seq: Seq of the last user message. 0 for none.
        finished_calls: Ids of calls that have a result.
        fixed: Subjects of failed attempts that later succeeded, to the call that did.
        mentions: What was mentioned where.
    """

    drafts: tuple[Draft, ...]
    answered_seq: int
    user_seq: int
    finished_calls: frozenset[str]
    fixed: Mapping[str, str]
    mentions: Mentions


def extract_rules(
    events: Sequence[Event], *, system_prompt: str | None = None, opening: bool = True
) -> Extraction:
    """Read events by rules.

    Args:
        events: In log order.
        system_prompt: Sentences that stand in it already are left out.
        opening: Whether the conversation begins here: its first user message is the objective.

    Cost: linear in the text, of which at most 32,000 characters per message are looked at.
    """
    reader = _Reader(system_sentences(system_prompt), opening)
    actions = actions_of(events)
    for event in events:
        if event.message is not None:
            reader.read(event, event.message)
    for action in actions:
        reader.act(action)
    return reader.finish()


def normalized(sentence: str) -> str:
    """What two wordings of one sentence have in common: case, blanks and outer punctuation do not count."""
    return one_line(sentence).strip(" .!?;:,*_`\"'").casefold()


def system_sentences(system_prompt: str | None) -> frozenset[str]:
    """The sentences of a system prompt, normalized."""
    return frozenset(normalized(sentence) for sentence in sentences(system_prompt or ""))


class _Reader:
    def __init__(self, known: frozenset[str], opening: bool) -> None:
        self.known, self.opening = known, opening
        self.drafts: list[Draft] = []
        self.requests: list[Draft] = []
        self.pending: list[Draft] = []
        self.waiting: list[Draft] = []
        self.mentions = Mentions()
        self.candidates: list[tuple[Found, tuple[int, ...], Origin]] = []
        self.paths: dict[str, tuple[str, tuple[int, ...], Origin]] = {}
        self.failed: dict[str, tuple[Action, ...]] = {}
        self.fixed: dict[str, str] = {}
        self.finished: set[str] = set()
        self.answered_seq = self.user_seq = 0
        self.objective: tuple[int, ...] = ()

    def read(self, event: Event, message: Message) -> None:
        trust = event_trust(event)
        if message.role in ("tool", "function"):
            return
        text = bounded(message.text)
        if message.role in ("system", "developer"):
            self._bind(event, text, trust)
        elif message.role == "user":
            machine = is_machine_made(text) and not (
                self.opening and not self.requests and text.lstrip()[:1] == "<"
            )
            self._observe(event, text) if machine else self._ask(event, text, trust)
        else:
            self._answer(event, message, text, trust)

    def _observe(self, event: Event, text: str) -> None:
        self._values(event, text, Origin.IMPORTED, spoken=False)

    def _ask(self, event: Event, text: str, trust: Origin) -> None:
        self.user_seq = event.seq
        self.waiting.clear()
        self._bind(event, text, trust)
        self._values(event, text, trust, spoken=True)
        self.mentions.add(event, text, trust)
        line = one_line(text)
        if not line:
            return
        bound = line if len(line) <= _REQUEST_CHARS else f"{line[:400].rstrip()} [...] {line[-190:].lstrip()}"
        key = f"request@{event.seq}"
        if self.opening and not self.requests:
            key, self.objective = "objective", (event.seq,)
        self.requests.append(Draft(EntryKind.OBJECTIVE, bound, (event.seq,), trust, key))
        self.pending.append(Draft(EntryKind.OPEN, bound, (event.seq,), trust, f"open@{event.seq}"))
        if trust is Origin.USER:
            self._state(event, [s for s in list(sentences(text, 240))[:40] if not binds(s)])

    def _state(self, event: Event, said: Sequence[str]) -> None:
        """What the user chose, and what the user told: nobody else can say it again."""
        told = 0
        for sentence in said:
            if decides(sentence, by_user=True):
                self._draft(EntryKind.DECISION, f"user: {sentence}", event.seq, Origin.USER)
            elif tells(sentence) and told < _TOLD_PER_EVENT and not says_values(sentence):
                told += 1
                self._draft(EntryKind.FACT, without_opener(sentence), event.seq, Origin.USER)

    def _answer(self, event: Event, message: Message, text: str, trust: Origin) -> None:
        self.mentions.add(
            event, " ".join([text, *(call.arguments_json[:8000] for call in message.tool_calls)]), trust
        )
        said = list(sentences(text, 240))
        for sentence in [s for s in said if decides(s, by_user=False)][:_SENTENCES_PER_EVENT]:
            self._draft(EntryKind.DECISION, sentence, event.seq, trust)
        self._values(event, text, trust, spoken=False)
        if message.tool_calls or "```bash" in text or not text.strip():
            return
        self.answered_seq = event.seq
        self.pending.clear()
        for sentence in said[-_SENTENCES_PER_EVENT:]:
            if asks(sentence):
                self._wait(event, f"Assistant waits for: {sentence}", trust)
        for sentence in said:
            kind = promises(sentence)
            if kind == "standing":
                self._draft(
                    EntryKind.OPEN,
                    f"Assistant promised: {sentence}",
                    event.seq,
                    trust,
                    f"promise@{event.seq}",
                )
            elif kind == "next" and not asks(sentence):
                self._wait(event, f"Assistant said: {sentence}", trust)

    def _wait(self, event: Event, text: str, trust: Origin) -> None:
        self.waiting.append(Draft(EntryKind.OPEN, text, (event.seq,), trust, f"awaiting@{event.seq}"))

    def _bind(self, event: Event, text: str, trust: Origin) -> None:
        if trust not in (Origin.SYSTEM, Origin.USER):
            return
        kept = 0
        for sentence in rules_in(text):
            if kept < _CONSTRAINTS_PER_EVENT and normalized(sentence) not in self.known:
                kept += 1
                self._draft(EntryKind.CONSTRAINT, without_opener(sentence), event.seq, trust)

    def _values(self, event: Event, text: str, trust: Origin, *, spoken: bool) -> None:
        seqs = (event.seq,)
        for found in text_facts(text, labelled_lines=spoken):
            if _PATH_VALUE.fullmatch(found.value) and "@" not in found.value:
                self._path("seen", found.value, seqs, trust)
            else:
                self.candidates.append((found, seqs, trust))
        if trust is not Origin.IMPORTED:
            code = " ".join(match[1] for match in _QUOTED_CODE.finditer(text))
            self._symbols(code, seqs, trust)

    def _symbols(self, code: str, seqs: tuple[int, ...], trust: Origin) -> None:
        for symbol in dict.fromkeys(_SYMBOL.findall(code)):
            if not any(c.isdigit() for c in symbol):
                self.candidates.append((Found("", "symbol", symbol), seqs, trust))

    def act(self, action: Action) -> None:
        if action.result is None:
            text = f"No result yet: {action.call_text()}"
            self.waiting.append(
                Draft(EntryKind.OPEN, text, action.seqs, action.origin, f"call@{action.call_id}")
            )
            return
        if action.call_id:
            self.finished.add(action.call_id)
        self.candidates += [(found, action.seqs, action.origin) for found in self._bounded_facts(action)]
        self._touch(action)
        if action.failed:
            self.failed[action.subject] = (*self.failed.get(action.subject, ())[-2:], action)
            self.fixed.pop(action.subject, None)
        else:
            self._succeed(action)

    def _bounded_facts(self, action: Action) -> list[Found]:
        """The most telling values of one result, in their order."""
        found = list(dict.fromkeys(action.facts()))
        if len(found) <= _FACTS_PER_EVENT:
            return found
        worth = {
            f: specificity(f.label or f.entity.partition("=")[0], f.value)
            + 3 * bool(self.mentions.of(f.value))
            for f in found
        }
        best = set(sorted(found, key=lambda f: -worth[f])[:_FACTS_PER_EVENT])
        return [f for f in found if f in best]

    def _touch(self, action: Action) -> None:
        if action.command is not None:
            for verb, path in touched_paths(action.command):
                self._path(verb, path, action.seqs[:1], Origin.ASSISTANT)
            self._symbols(action.command[:4000], action.seqs[:1], Origin.ASSISTANT)
            for found in text_facts(action.result or "", labelled_lines=False):
                if _PATH_VALUE.fullmatch(found.value) and "/" in found.value:
                    self._path("seen", found.value, action.seqs, action.origin)
            return
        verb = "read" if action.reads else "edited"
        for key, value in action.arguments.items():
            if isinstance(value, str) and _PATH_VALUE.fullmatch(value) and ("path" in key or "file" in key):
                self._path(verb, value, action.seqs, action.origin)

    def _path(self, verb: str, path: str, seqs: tuple[int, ...], trust: Origin) -> None:
        known = self.paths.get(path)
        if known is not None:
            verb = stronger(verb, known[0])
            seqs, trust = (*known[1], *seqs), least_trusted((known[2], trust))
        self.paths[path] = (verb, seqs, trust)

    def _succeed(self, action: Action) -> None:
        if action.subject in self.failed:
            self.fixed[action.subject] = action.call_text(120)
        if action.reads:
            outcome = ""
        else:
            given = {found.value for found in json_facts(dict(action.arguments))}
            keys = (
                [f for f in json_facts(action.parsed) if f.value not in given]
                if action.parsed is not None
                else []
            )
            shown = [
                f"{f.label or f.entity.partition('=')[0]}={f.value}"
                for f in keys
                if specificity(f.label or "id", f.value) >= 3
            ][:4]
            plain = (
                "" if action.parsed is not None or action.command else clip(one_line(action.result or ""), 80)
            )
            outcome = f": {', '.join(shown) or plain}" if shown or plain else ""
        bound = f" {action.binding}" if action.binding else ""
        mark = "" if action.reads else "did "
        text = redact(f"{mark}{action.call_text()} -> ok{bound}{outcome}")
        self.drafts.append(
            Draft(EntryKind.TOOL_OUTCOME, text, action.seqs, action.origin, f"call|{action.call_text()}")
        )

    def _draft(self, kind: EntryKind, text: str, seq: int, trust: Origin, key: str | None = None) -> None:
        self.drafts.append(Draft(kind, text, (seq,), trust, key))

    def finish(self) -> Extraction:
        self.pending = [draft for draft in self.pending if draft.sources != self.objective]
        drafts = [*self.drafts, *self.pending, *self.waiting, *self._kept_requests(), *self._failures()]
        drafts += self._facts()
        drafts += [
            Draft(EntryKind.ARTIFACT, f"{verb} {path}", self._seen(path, seqs), trust, path)
            for path, (verb, seqs, trust) in self.paths.items()
            if REDACTED not in path
        ]
        drafts.sort(key=lambda draft: draft.sources[0])
        return Extraction(
            tuple(drafts),
            self.answered_seq,
            self.user_seq,
            frozenset(self.finished),
            self.fixed,
            self.mentions,
        )

    def _kept_requests(self) -> list[Draft]:
        """The first request, the newest, and the last few between that say more than yes; no open ones."""
        still = {draft.sources for draft in self.pending}
        first = [draft for draft in self.requests[:1] if draft.key == "objective"]
        others = [draft for draft in self.requests if draft.sources not in still]
        telling = [draft for draft in others[:-1] if len(draft.text) > _TRIVIAL_CHARS]
        return list(dict.fromkeys([*first, *telling[-_REQUESTS:], *others[-1:]]))

    def _failures(self) -> Iterator[Draft]:
        for subject, actions in self.failed.items():
            action = actions[-1]
            text = redact(f"{action.call_text()} -> error: {action.error_text()}")
            if subject in self.fixed:
                text += f"; later worked: {self.fixed[subject]}"
            yield Draft(EntryKind.FAILED, text, action.seqs, action.origin, f"failed|{subject}")

    def _facts(self) -> Iterable[Draft]:
        facts: dict[str, Draft] = {}
        for found, seqs, origin in self.candidates:
            trust = origin
            draft = _fact(found, seqs, trust)
            if draft is None:
                continue
            known = facts.pop(draft.key or "", None)
            if known is not None and known.text == draft.text:
                trust = least_trusted((known.origin, trust))
                draft = replace(draft, sources=(*known.sources, *seqs), origin=trust)
            facts[draft.key or ""] = replace(draft, sources=self._seen(found.value, draft.sources))
        return facts.values()

    def _seen(self, value: str, seqs: Sequence[int]) -> tuple[int, ...]:
        return condensed((*seqs, *self.mentions.of(value)))


def _fact(found: Found, seqs: tuple[int, ...], trust: Origin) -> Draft | None:
    value = quoted(found.value)
    text = " ".join(part for part in (found.entity, f"{found.label}={value}" if found.label else "") if part)
    if len(text) > 320 or REDACTED in redact(text):
        return None
    label, entity = found.label.replace("|", "/"), found.entity
    if found.many and label:
        label = f"{label}={value}"
    if not entity and (
        trust is not Origin.USER
        or label in ("symbol", "url", "email", "money", "date", "path", "phone", "code")
    ):
        entity, label = f"{found.label}={value}", ""
    return Draft(EntryKind.FACT, text, seqs, trust, f"{entity}|{label}")


def quoted(value: str) -> str:
    """The value as written, in quotes if it could be read as more than one value."""
    bare = one_line(value)
    return f'"{bare}"' if any(mark in bare for mark in (",", "=", ";")) else bare


def condensed(seqs: Iterable[int]) -> tuple[int, ...]:
    """Sources, ascending, the first and the last three."""
    ordered = sorted(set(seqs))
    return tuple(ordered if len(ordered) <= 4 else [ordered[0], *ordered[-3:]])


_VERBS: Final = {"seen": 0, "read": 1, "removed": 2, "wrote": 3, "edited": 3}


def stronger(new: str, old: str) -> str:
    """Which of two things done to a file says more; a later change replaces an earlier one."""
    if _VERBS.get(new, 0) >= 2:
        return new
    return new if _VERBS.get(new, 0) > _VERBS.get(old, 0) else old

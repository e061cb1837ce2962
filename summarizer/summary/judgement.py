"""Is this a summary? One function for each way in which an answer is none. Pure.

The marks of replies, refusals and questions are English; in other languages echo, length,
emptiness and error pages are still found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import SummaryRejected

__all__ = ["Given", "check_narrative"]


@dataclass(frozen=True, slots=True)
class Given:
    """What the answer is measured against.

    Attributes:
        texts: The texts that were to be summarized.
        instructions: What the model was told; repeating that is an echo too.
        tokens: Tokens of everything that was to be summarized, as it was sent.
        cap: Most tokens of a narrative.
        count: Tokens of a text, by the same counter.
    """

    texts: Sequence[str]
    instructions: str
    tokens: int
    cap: int
    count: Callable[[str], int]


def check_narrative(narrative: str, given: Given) -> None:
    """Judge whether a text may stand for what it was made from.

    Raises:
        SummaryRejected: `summary.empty`, `summary.error_text`, `summary.refusal`, `summary.question`,
            `summary.chat_reply`, `summary.too_long` or `summary.echo`. The detail holds figures
            and never the text.

    Cost: linear in the narrative and in what it was made from.
    """
    if not any(character.isalnum() for character in narrative):
        raise SummaryRejected("summary.empty", "no words")
    # Runaway text is not worth counting: no text has 100 characters a token throughout.
    if len(narrative) > 100 * given.cap:
        raise SummaryRejected("summary.too_long", f"{len(narrative)} characters, cap {given.cap} tokens")
    sentences = _sentences(narrative)
    figures = f"{len(narrative)} characters in {len(sentences)} sentences"
    if _is_error(narrative, sentences):
        raise SummaryRejected("summary.error_text", figures)
    if _is_refusal(narrative, sentences):
        raise SummaryRejected("summary.refusal", figures)
    _check_echo(narrative, given)
    _check_length(narrative, given)
    if _is_question(sentences):
        raise SummaryRejected("summary.question", figures)
    if _is_chat_reply(narrative, sentences):
        raise SummaryRejected("summary.chat_reply", figures)


def _check_length(narrative: str, given: Given) -> None:
    tokens = given.count(narrative)
    if tokens > given.cap:
        raise SummaryRejected("summary.too_long", f"{tokens} tokens, cap {given.cap}")
    if tokens > given.tokens:
        raise SummaryRejected("summary.too_long", f"{tokens} tokens, made from {given.tokens}")


_WORD: Final = re.compile(r"\w+")
_SHINGLE: Final = 8
_LARGER_PART: Final = 0.5
_RUN_WORDS: Final = 80


def _check_echo(narrative: str, given: Given) -> None:
    """An echo repeats most of the input, one long stretch of it, the instructions, or itself."""
    if _RECORD.search(narrative):
        raise SummaryRejected("summary.echo", "transcript records in the narrative")
    words = _words(narrative)
    instructions = _words(given.instructions)
    if len(words) < _SHINGLE:
        if f" {' '.join(words)} " in f" {' '.join(instructions)} ":
            raise SummaryRejected("summary.echo", f"{len(words)} words, all of them the instructions'")
        return
    shown = _shingles(words)
    source_words = [_words(text) for text in given.texts]
    source = set[tuple[str, ...]]().union(*(_shingles(text) for text in source_words))
    if source and len(shown & source) > _LARGER_PART * len(source):
        raise SummaryRejected("summary.echo", f"{len(shown & source)} of the input's {len(source)} 8-grams")
    run = _longest_run(words, source)
    if run >= _RUN_WORDS and run > 0.8 * len(words):
        raise SummaryRejected("summary.echo", f"{run} of {len(words)} words copied in one stretch")
    told = shown & _shingles(instructions)
    if len(told) > _LARGER_PART * len(shown):
        raise SummaryRejected("summary.echo", f"{len(told)} of {len(shown)} 8-grams are the instructions'")
    if len(words) >= 40 and len(shown) < 0.4 * (len(words) - _SHINGLE + 1):
        raise SummaryRejected(
            "summary.echo", f"repeats itself: {len(shown)} different 8-grams in {len(words)} words"
        )


_RECORD: Final = re.compile(r'\{\s*"seq"\s*:\s*\d+\s*,\s*"role"')


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _shingles(words: Sequence[str]) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + _SHINGLE]) for i in range(len(words) - _SHINGLE + 1)}


def _longest_run(words: Sequence[str], source: set[tuple[str, ...]]) -> int:
    longest = run = 0
    for i in range(len(words) - _SHINGLE + 1):
        run = run + 1 if tuple(words[i : i + _SHINGLE]) in source else 0
        longest = max(longest, run)
    return longest + _SHINGLE - 1 if longest else 0


def _any(*alternatives: str) -> str:
    return f"(?:{'|'.join(alternatives)})"


def _mark(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_QUOTED: Final = re.compile(
    r"```.*?```|`[^`\n]*`|\"[^\"\n]{0,2000}\"|“[^”]{0,2000}”|«[^»]{0,2000}»|(?<!\w)'[^'\n]{2,2000}'(?!\w)",
    re.DOTALL,
)
"""What is quoted was said by somebody: marks of address count only outside quotation."""
_SENTENCE: Final = re.compile(r"[^.!?\n]+(?:[.!?](?=\S)[^.!?\n]+)*[.!?]*")

_ACTORS: Final = _any("users?", "assistants?", "agents?", "customers?", "clients?")
_ACTOR: Final = _mark(rf"\b{_ACTORS}\b")
_SAYINGS: Final = _any(
    "they", "he", "she", "both", "conversation", "discuss(?:ed|ion)", "asked", "asks", "wants?", "wanted",
    "requested", "said", "told", "replied", "offered", "explained", "confirmed",
)  # fmt: skip
_SAYS: Final = _mark(rf"\b{_any(_ACTORS, _SAYINGS)}\b")
_TOLD: Final = _mark(
    rf"\b{_any('decision', 'decided', 'fix(?:ed)?', 'traced', 'caused?', 'found', 'was', 'were')}\b"
    rf"|\b{_any('had been', 'came from', 'appeared', 'led to')}\b"
)
_LISTED: Final = _mark(
    rf"\b{_any('questions?', 'open', 'unresolved', 'pending', 'unclear', 'to ?do')}\b[^:?]*:"
)
_ADDRESS: Final = _mark(r"\b(?:you|your|yours|you're|you'll|you've)\b")
_FIRST_PERSON: Final = re.compile(r"\b(?:I|I'm|I'll|I've|I'd|[Ll]et me|[Ww]e'll|[Ll]et's)\b")

_GREETINGS: Final = _any(
    "sure(?: thing)?", "of course", "certainly", "absolutely",
    "(?:great|good) (?:question|choice|idea)", "thanks?", r"thank you(?: [\w ]{1,40})?",
    "you're(?: very)? welcome", "hi(?: there)?", "hello(?: there)?", "hey", "no problem", "got it",
    "understood", "okay", "ok", "yes", "no", "alright", "perfect", "awesome", "excellent",
    "sounds good", "my pleasure", "good (?:morning|afternoon|evening)",
)  # fmt: skip
_OPENER: Final = _mark(rf"\A\W*(?:{_GREETINGS}\s*(?:[,!.:—-]|\Z)|welcome to\b)")
_CLOSINGS: Final = _any(
    "let me know", "feel free to", "is there anything else", "anything else I can",
    "hope (?:this|that) helps", "how (?:can|may) I (?:help|assist)", "happy to help",
    "do not hesitate", "don't hesitate", "good luck",
    "have a (?:great|nice|good|wonderful) (?:day|one|evening|weekend|trip|flight)",
)  # fmt: skip
_CLOSER: Final = _mark(rf"\b{_CLOSINGS}\b")

_CANNOT: Final = _any("can't", "cannot", "can not", "won't", "am unable to", "'m unable to")
_SORRY: Final = r"sorry(?:\W*\Z|[,.!:]|\s+(?:but|for|about|I|to)\b)"
_REFUSALS: Final = _any(
    r"(?:I'm|I am|we're) (?:very |so |really )?(?:sorry|unable|afraid)\b", _SORRY, r"(?:my )?apologies\b",
    r"I (?:do )?apologi[sz]e\b", r"unfortunately,? I\b", r"as an? (?:AI|artificial|language model)\b",
    rf"I (?:{_CANNOT}|will not|must decline|decline|do not have|don't have|don't see)\b",
)  # fmt: skip
_REFUSAL: Final = _mark(rf"\A\W*{_REFUSALS}")
_UNABLE: Final = _mark(
    rf"\bI ?{_CANNOT} (?:help|assist|provide|summari[sz]e|comply|fulfill|do that)\b|\bas an AI\b"
)

_ERROR_PAGE: Final = _mark(
    r"\A\W*(?:<!doctype|<html|<head|<body|<\?xml|traceback \(most recent call last\)|litellm\.|openai\."
    r"|upstream connect error|[A-Za-z.]*(?:Error|Exception):\s)"
)
_ERROR_PHRASES: Final = _any(
    "error", r"(?:http(?:/\d(?:\.\d)?)? ?)?(?:error )?[45]\d\d", "internal server error", "bad gateway",
    "service (?:is )?(?:temporarily )?unavailable", "gateway time-?out", "too many requests",
    "rate limit (?:exceeded|reached)", "(?:you have |you )?exceeded your", "unauthorized", "forbidden",
    "(?:invalid|incorrect) api key", "request timed out", "connection (?:error|refused|reset)",
    "overloaded_error",
    "the (?:server|model|service|engine) is (?:currently |temporarily )?(?:overloaded|unavailable|busy)",
    "an (?:internal |unexpected )?error (?:has )?occurred", "something went wrong",
)  # fmt: skip
_ERROR_PHRASE: Final = _mark(rf"\A\W*{_ERROR_PHRASES}\b")


def _unquoted(text: str) -> str:
    return _QUOTED.sub(" … ", text.replace("’", "'").replace("‘", "'"))


def _sentences(text: str) -> list[str]:
    """Sentences and lines, quotations blanked out."""
    return [raw.strip() for raw in _SENTENCE.findall(_unquoted(text)) if any(map(str.isalnum, raw))]


def _is_error(narrative: str, sentences: Sequence[str]) -> bool:
    if _ERROR_PAGE.match(narrative):
        return True
    reported = any(_SAYS.search(sentence) or _TOLD.search(sentence) for sentence in sentences)
    return _ERROR_PHRASE.match(narrative) is not None and len(sentences) <= 4 and not reported


def _is_refusal(narrative: str, sentences: Sequence[str]) -> bool:
    head = [sentence for sentence in sentences[:3] if not _reported(sentence)]
    return _REFUSAL.match(_unquoted(narrative)) is not None or any(_UNABLE.search(s) for s in head)


def _is_question(sentences: Sequence[str]) -> bool:
    asked = [s for s in sentences if s.endswith("?") and not _reported(s) and not _LISTED.search(s)]
    if not asked:
        return False
    addressed = any(_ADDRESS.search(s) or _FIRST_PERSON.search(s) for s in asked)
    return len(asked) == len(sentences) or (addressed and sentences[-1] in asked)


def _is_chat_reply(narrative: str, sentences: Sequence[str]) -> bool:
    if _OPENER.match(_unquoted(narrative)):
        return True
    own = [sentence for sentence in sentences if not _reported(sentence)]
    if any(_CLOSER.search(sentence) for sentence in own):
        return True
    addressed = {sentence for sentence in own if _ADDRESS.search(sentence)}
    spoken = {sentence for sentence in own if _FIRST_PERSON.search(sentence)}
    together = addressed | spoken
    if addressed and spoken and len(together) >= len(sentences) / 3:
        return True
    return len(together) > len(sentences) / 2


def _reported(sentence: str) -> bool:
    """Whether a sentence tells what somebody said or did, before it says I or you."""
    addressed = _ADDRESS.search(sentence)
    if addressed is None and _ACTOR.search(sentence):
        return True  # An agent's notes on its own run say I, and speak of the user.
    firsts = [found.start() for found in (addressed, _FIRST_PERSON.search(sentence)) if found]
    report = _SAYS.search(sentence)
    return report is not None and report.start() < min(firsts, default=len(sentence))

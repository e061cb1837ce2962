"""What people say: sentences, and which of them bind, decide, promise or ask. Pure, linear.

Markers are whole words of English, German, French and Spanish, and bare strings of Chinese, Japanese
and Korean. A sentence is kept as it was written; one that binds nobody costs a line, one that
is missed costs trust, so in doubt a sentence counts as binding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .drafts import one_line

__all__ = [
    "asks",
    "binds",
    "decides",
    "is_machine_made",
    "is_standing",
    "promises",
    "rules_in",
    "sentences",
    "tells",
    "without_opener",
]

_MAX_SENTENCE: Final = 400
_SENTENCE_END: Final = re.compile(r"[.!?]{1,20}[\"'”’)\]*_`]{0,4}(?=\s|$)|[。！？]{1,20}[」』”’)]{0,2}")
_ABBREVIATION: Final = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|approx|no|nr|dr|mr|mrs|ms|st|z\.B|bzw|ca|p\.ej|cf|[A-Z])\.|^\W*\d{1,3}\.)$",
    re.IGNORECASE,
)
_ITEM: Final = re.compile(r"\s*(?:[-*•·–—]|\(?\d{1,3}[.)])\s")
_LEAD: Final = re.compile(r"^\s*(?:(?:[>#|]+|[-*•·–—]|\(?\d{1,3}[.)])\s+)*")

_BINDING: Final = re.compile(
    r"\b(?:must(?!\s+have\s+been)|mustn['’]?t|never(?!\s+mind)|always|at all times"
    r"|under no circumstances|no matter what"
    r"|from now on|from here on|from today on|going forward|for the rest of|in (?:the )?future"
    r"|every time|whenever"
    r"|(?:make|be) sure|ensure|insist|(?<!n't )(?<!n’t )(?<!not )remember (?:that|to|:|my|i|not)"
    r"|keep in mind|bear in mind|note that|don['’]t forget"
    r"|(?:no|not) (?:more|less|later|earlier|fewer|longer) than|at (?:most|least)|up to (?:a )?max\w*"
    r"|max(?:imum)?(?: of|:)|min(?:imum)?(?: of|:)"
    r"|budget|deadline|due (?:on|by|date)|(?:need|want|have)\b[^.!?]{0,40}\bby (?:mon|tues?|wednes"
    r"|thurs?|fri|satur|sun|tomorrow|tonight|end of|the end|next|\d)\w*"
    r"|allerg(?:y|ic|ies)|intoleran(?:t|ce)|vegetarian|vegan|gluten|kosher|halal|pregnant|diabetic"
    r"|wheelchair|confidential|off[- ]limits"
    r"|only (?:if|when|after|use|want|need|accept|pay|fly|book|do|run|edit|change|the|in|with|by|ever"
    r"|one|answer|reply|respond|write|economy|business|direct|nonstop|non-stop)|just use|stick (?:to"
    r"|with)|limit(?:ed)? to"
    r"|prefer(?:s|red|ably|ence|ences)?|i['’]d rather|required?|requires|requirement|mandatory"
    r"|forbidden|prohibited|not allowed|not permitted|may not|shall|should(?:n['’]t| not| always"
    r"| only| be)?|ought to|has to|have to be|needs? to be|cannot exceed|can['’]t exceed|not exceed"
    r"|without (?:asking|my|first|any|breaking|changing|telling)|unless|instead of|rather than|avoid"
    r"|refrain|restrict|exclude|except"
    r"|i (?:do not|don['’]t|did not|didn['’]t) (?:want|need|like|eat|drink|accept)|not interested in"
    r"|i (?:can['’]t|cannot) (?:eat|drink|have|afford|fly|travel|use|do)|i hate|call me|address me"
    r"|speak to me|(?:answer|reply|respond|write|speak) (?:only )?in|in (?:english|german|french"
    r"|spanish|chinese|japanese|korean|italian|portuguese|dutch) only|please (?:use|keep|leave|do not"
    r"|don['’]t|no|be|write|answer|reply|respond|avoid|only))\b"
    r"|(?:^|[,;:(—–-]\s*|\b(?:please|and|but|so|or|then|also|just|yet)\s+|you\s+)(?:do\s+not|don['’]t"
    r"|can(?:no|['’])t)\s+(?!you\b|we\b|i\b|worry|know|mind\b|have (?:it|the|my|any)|remember|think"
    r"|see\b|believe|recall|understand)\w"
    r"|(?:^|[,;:]\s*)\W*only\s+[a-z]|^\W*use\s+\w"
    r"|^\W*(?:no|not|only|nothing|keep|leave)\s+\w+(?:\W+\w+){0,12}\W*(?:please|only"
    r"|either|anywhere|ever|!)\W*$"
    # German
    r"|\b(?:muss|müssen|musst|müsst|darf(?:st)? (?:nicht|nur|kein\w*|auf keinen)|dürfen (?:nicht|nur"
    r"|kein\w*)|niemals|auf keinen fall|unter keinen umständen|immer|nur (?:noch|mit|in|auf|die|der"
    r"|das|den|wenn|für|bis)|keinesfalls|ab (?:jetzt|sofort|heute)|künftig|merk dir|denk(?:e"
    r"|en sie)? daran|beachte\w*|vergiss nicht|höchstens|mindestens|maximal|spätestens|frist"
    r"|allergi(?:e|en|sch)\b|bevorzug\w+|lieber|vermeide\w*|bitte (?:kein\w*|nicht|nur|immer|niemals"
    r"|verwend\w*|benutz\w*|nutz\w*|antwort\w*)|soll(?:te|ten|st|en)? (?:nicht|nie|nur|immer)"
    r"|verwende (?:nur|immer|kein\w*|niemals|nie))\b"
    r"|\b(?:ich|du|sie|wir|bitte)\b[^.!?]{0,60}\b(?:nie|kein\w{0,2})\b|\b(?:nie"
    r"|kein\w{0,2})\b[^.!?]{0,60}\b(?:ich|du|sie|wir|bitte)\b"
    # French
    r"|\b(?:doi(?:t|s|vent)|devez|il faut|jamais|toujours|uniquement|seulement|désormais|dorénavant"
    r"|à partir de maintenant|préf(?:ère|érons|érence)\w*|au (?:plus|maximum|moins|minimum)"
    r"|pas plus de|date limite|allergi(?:que|ques)|souviens-toi|souvenez-vous|rappelle-toi"
    r"|rappelez-vous|n['’]oublie\w*|évite[rz]?|interdit\w*|sans jamais|végétarien\w*)\b"
    r"|\b(?:ne|n['’])\s?\w[^.!?]{0,30}\b(?:pas|jamais|plus|que)\b"
    # Spanish
    r"|\b(?:debe[ns]?|debemos|tienes? que|nunca|jamás|siempre|solamente|únicamente|sólo"
    r"|solo (?:usa\w*|quiero|puede\w*|en|con|para|si|hasta)|a partir de ahora|de ahora en adelante"
    r"|prefier[eo]\w*|como (?:máximo|mínimo)|al menos|no más de|presupuesto|fecha límite|alérgic\w+"
    r"|recuerda que|recuerde que|no olvides|evita\w*|prohibid\w+|por favor,? no|no (?:uses|utilices"
    r"|use|utilice|hagas|haga|cambies|cambie|borres|borre|envíes|envíe|llames|compres|quiero)"
    r"|vegetarian[oa])\b"
    # Chinese, Japanese, Korean
    r"|必须|必須|不要|请勿|請勿|禁止|不得|只能|只要|只用|仅限|務必|务必|一定要|总是|總是|始终|始終|从现在起|從現在起|从今以后|記住|记住|不能|不可以|不许|最多|至少"
    r"|不超过|不超過|预算|預算|截止|过敏|過敏|绝不|絕不|永远|永遠|我喜欢|偏好|避免"
    r"|必ず|しないで|ないでください|てはいけない|てはならない|のみ|だけ(?:に|で|を|使)|決して|絶対|今後|常に|アレルギー|予算|期限|以内|以下に|覚えて|避けて"
    r"|반드시|하지 ?마|절대|항상|만 사용|앞으로|기억해|예산|마감|알레르기|금지|피해 ?주",
)  # fmt: skip
"""Of a sentence in lower case: tried at each word, this is nearly three times as fast as with IGNORECASE."""
_BINDING_QUESTION: Final = re.compile(
    r"\b(?:make sure|ensure|only|never|always|must|without|no more than|at most|avoid|do not|don['’]t"
    r"|from now on|remember)\b"
    r"|不要|必须|必ず|절대|niemals|jamais|nunca",
    re.IGNORECASE,
)
_STATEMENT_OF_LACK: Final = re.compile(
    r"^\W*(?:i['’]?m (?:not )?(?:sorry|afraid|sure|always)|i (?:always|never) (?:thought|knew|loved"
    r"|wondered|received|got)|thank|thanks)\b",
    re.IGNORECASE,
)
_REPORT: Final = re.compile(
    r"^\W*(?:(?:i|we)(?:['’]ve| have| had)(?: already| just| also)? (?!agreed|decided|promised)"
    r"\w+(?:ed|en|wn|ne)"
    r"|should (?:you|i|we|they|he|she|it|there|the|a|an|any\w*))\b",
    re.IGNORECASE,
)
"""What was done, and `should you need`, which is a condition: neither binds."""
_WISH: Final = re.compile(
    r"\b(?:i (?:do not |don['’]t )?(?:want|need|would like)|i['’]d like|i['’]ll|let['’]s|can you|could you"
    r"|please (?:confirm|let me know|proceed|go ahead|check|provide|share|tell)"
    r"|ich (?:möchte|will|brauche)|je (?:veux|voudrais)|quiero|quisiera)\b",
    re.IGNORECASE,
)
_LASTING: Final = re.compile(
    r"\b(?:never|always|must|at all times|under no circumstances|from now on|every time|whenever|allerg\w+"
    r"|(?:no|not) (?:more|less|later|earlier|fewer|longer) than|at (?:most|least)|only|budget|deadline"
    r"|niemals?|immer|nur|höchstens|mindestens|jamais|toujours|nunca|siempre)\b",
    re.IGNORECASE,
)
_NOT_TOLD: Final = re.compile(
    r"\W*(?:(?:it|that|this|these|those|they|there|here|he|she|such|not|yes|no|nope|yeah|yep|ok|okay|sure"
    r"|right|fine|great|good|nice|cool|perfect|thanks?|cheers|sorry|please|hi|hello|hey|alright|understood"
    r"|got|of course"
    r"|what|who|whom|whose|when|where|why|how|which|is|are|was|were|do|does|did|has|have|can|could|would|will"
    r"|should|shall|may|might|tell|give|show|explain|write|make|find|help|let|list|describe|compare|check|look"
    r"|send|go|try|run|fix|add|remove|change|update|create|open|close|search|summarize|translate|continue)\b"
    r"|(?:i(?:['’]d| would) like|i (?:want|need|think|guess|hope|see|mean|was wondering|am wondering)"
    r"|i['’]m (?:looking|sorry|wondering|trying|not sure|sure|afraid|glad|happy))\b)",
    re.IGNORECASE,
)
"""Heads of sentences that ask, answer, greet, or speak of something named elsewhere: nothing for a ledger."""
_OPENER: Final = re.compile(
    r"^\W*(?:(?:by the way|before i forget|also|so|well|oh|and|but|anyway|one (?:more )?thing"
    r"|just so you know|fyi|for (?:your|the) (?:information|record)|actually|btw)[,:](?: and)?|oh and)\s+",
    re.IGNORECASE,
)
"""With its comma: without, `so` and `but` may belong to what follows (`so long as`, `but for`)."""
_DECISION: Final = re.compile(
    r"\b(?:i['’]?ll (?:go with|take|choose|pick|keep|use|pay|do)|let['’]?s (?:go|use|do|keep|make"
    r"|stick|take|book|try)|go (?:with|ahead)|i (?:choose|chose|decided|agree|confirm|approve|accept"
    r"|pick)"
    r"|i(?:['’]d| would) (?:like|prefer|want)|i want|we (?:agreed|decided|chose|will use|settled)"
    r"|please (?:proceed|go ahead|book|cancel|change|use|make|charge)|sounds good|approved|confirmed"
    r"|nehmen wir|ich (?:nehme|möchte|will)|je (?:choisis|voudrais|veux)|(?:elijo|quiero|quisiera))\b"
    r"|就用|选择|決定|决定|にします",
    re.IGNORECASE,
)
_CONCLUSION: Final = re.compile(
    r"\b(?:(?:i|we)(?:['’]ve| have)? (?:decided|chose|agreed|settled|confirmed|verified)|root cause"
    r"|the (?:problem|issue|bug|cause|fix|solution|culprit|reason) (?:is|was|lies|seems|must be)"
    r"|(?:this|that|which) (?:confirms|proves|means that|explains)"
    r"|(?:is|are|was|were) not (?:eligible|allowed|possible)|turns out|decision:|conclusion:"
    r"|the (?:plan|approach) is)\b",
    re.IGNORECASE,
)
_PROMISE: Final = re.compile(
    r"\b(?:i|we)(?:['’]ll| will| shall| am going to| are going to) (?:get back|follow up|let you know"
    r"|keep you|notify|remind|send|e-?mail|call you|contact|update you|report back|check back"
    r"|come back|also|then|make sure|remember|look into|escalate|schedule|process|proceed|refund"
    r"|prepare|wait)\b"
    r"|\bonce (?:you|i|we|that|this|it)\b[^.!?]{0,120}\b(?:i|we)(?:['’]ll| will| can)\b|\b(?:i"
    r"|we)(?:['’]ll| will| can)\b[^.!?]{0,120}\b(?:once|as soon as|after|when) (?:you|i|we|that|this"
    r"|it)\b"
    r"|\bich (?:werde|melde mich)\b|\bje (?:vais|reviendrai|vous (?:tiendrai|enverrai))\b"
    r"|\b(?:le (?:avisaré|enviaré)|me pondré en contacto)\b",
    re.IGNORECASE,
)
_STANDING_PROMISE: Final = re.compile(
    r"\b(?:get back|follow up|let you know|keep you|notify|remind|e-?mail|call you|contact you"
    r"|update you|report back|check back|come back|remember|look into|escalate|melde mich|reviendrai"
    r"|tiendrai|enverrai|avisaré|enviaré|contacto)\b",
    re.IGNORECASE,
)
_ASKING: Final = re.compile(
    r"[?？]\W*$|\b(?:please (?:confirm|provide|let me know|share|specify|choose|tell|reply|approve)"
    r"|let me know (?:which|if|how|what|whether)|do you (?:want|confirm|approve)|shall i|should i"
    r"|would you like|could you|awaiting your|waiting for (?:your|approval))\b",
    re.IGNORECASE,
)
_MACHINE_HEAD: Final = re.compile(
    r"\s*(?:<(?:returncode|output|output_head|observation|tool|tool_\w+|function_\w+|result|results"
    r"|stdout|stderr|error|warning|command-\w+|system-\w+|local-command\w*|environment\w*|exit_?code"
    r"|response)\b"
    r"|(?:observation|execution result|tool (?:result|output|response)|command output|stdout|stderr"
    r"|exit code|returncode)\b[^\n]{0,40}:|\[(?:tool|function|command)[^\]\n]{0,60}\]"
    r"|traceback \(most recent|(?:\$|>>>) )",
    re.IGNORECASE,
)


def sentences(text: str, limit: int = _MAX_SENTENCE) -> Iterator[str]:
    """The sentences of a text as they were written, without list marks, fenced code and quoted lines.

    One longer than `limit` characters comes in pieces, parted at blanks.
    """
    for line in _spoken_lines(text):
        yield from _parted(line, limit)


def rules_in(text: str) -> Iterator[str]:
    """The sentences that bind; one that ends in a colon comes with the list under it."""
    lines = list(_spoken_lines(text))
    i = 0
    while i < len(lines):
        line, i = lines[i], i + 1
        if line.rstrip().endswith((":", "：")) and binds(line):
            while i < len(lines) and _ITEM.match(lines[i]) and len(line) + len(lines[i]) < _MAX_SENTENCE:
                line, i = f"{line.rstrip()} {lines[i].strip()}", i + 1
            yield from _cleaned(line, _MAX_SENTENCE)
        else:
            yield from (sentence for sentence in _parted(line, _MAX_SENTENCE) if binds(sentence))


def _parted(line: str, limit: int) -> Iterator[str]:
    start = 0
    for match in _SENTENCE_END.finditer(line):
        end = match.end()
        if end < len(line) and _ABBREVIATION.search(line[max(start, end - 12) : end]):
            continue
        yield from _cleaned(line[start:end], limit)
        start = end
    yield from _cleaned(line[start:], limit)


def _cleaned(text: str, limit: int) -> Iterator[str]:
    bare = one_line(_LEAD.sub("", text, count=1))
    while len(bare) > limit:
        end = bare.rfind(" ", limit // 2, limit)
        yield bare[: end if end > 0 else limit]
        bare = bare[end if end > 0 else limit :].lstrip()
    if len(bare) > 2:
        yield bare


def _spoken_lines(text: str) -> Iterator[str]:
    fenced = False
    for line in text.splitlines():
        bare = line.lstrip()
        if bare.startswith(("```", "~~~")):
            fenced = not fenced
        elif bare and not fenced and not bare.startswith(">"):
            yield line


def binds(sentence: str) -> bool:
    """Whether a sentence binds what is done later: a rule, a limit, a preference, an allergy."""
    if not _BINDING.search(sentence.lower()) or _STATEMENT_OF_LACK.search(sentence):
        return False
    if _REPORT.match(without_opener(sentence)) and not _BINDING_QUESTION.search(sentence):
        return False
    return not sentence.endswith(("?", "？")) or _BINDING_QUESTION.search(sentence) is not None


def is_standing(sentence: str) -> bool:
    """Whether a binding sentence is a rule for all that follows, and no wish about what is being done now.

    `Never write to main` and `I want to pay no more than 300 euros` are; `I don't want insurance` is not.
    Where room is short, the ledger keeps rules before wishes.
    """
    return _WISH.search(sentence) is None or _LASTING.search(sentence) is not None


def without_opener(sentence: str) -> str:
    """The sentence without words that only join it to the talk, such as `By the way, `."""
    return _OPENER.sub("", sentence)


def tells(sentence: str) -> bool:
    """Whether a user's sentence states something that a reader understands without its neighbours.

    It has 3 to 40 words, is no question, request, greeting or thanks, and does not begin with a pronoun.
    """
    bare = without_opener(sentence)
    asked = sentence.endswith(("?", "？")) or _NOT_TOLD.match(bare) is not None
    return not asked and 3 <= bare.count(" ") + 1 <= 40


def decides(sentence: str, *, by_user: bool) -> bool:
    """Whether a sentence chooses, confirms (a user's) or concludes (an assistant's)."""
    return not sentence.endswith("?") and (_DECISION if by_user else _CONCLUSION).search(sentence) is not None


def promises(sentence: str) -> str | None:
    """What an assistant's sentence owes: `standing`, or until the `next` turn, or nothing."""
    if not _PROMISE.search(sentence):
        return None
    return "standing" if _STANDING_PROMISE.search(sentence) else "next"


def asks(sentence: str) -> bool:
    """Whether an assistant's sentence waits for the user's answer or approval."""
    return _ASKING.search(sentence) is not None


def is_machine_made(text: str) -> bool:
    """Whether a user-role text has the shape of a program's output: a tag, a prompt, JSON."""
    if _MACHINE_HEAD.match(text[:200]):
        return True
    head = text.lstrip()[:1]
    tail = text.rstrip()[-1:]
    return (head, tail) in (("{", "}"), ("[", "]")) and len(text) > 40

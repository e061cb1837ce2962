"""Values worth keeping word for word, with the label that says which is which. Pure, linear.

From JSON the label is the key path to a leaf, under the object that the leaf belongs to; from
prose it is what stands in front of the value. Values are never reformatted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from .redact import is_secret_name

__all__ = [
    "Found",
    "is_identifier",
    "json_facts",
    "parse_json",
    "says_values",
    "specificity",
    "text_facts",
    "words_of",
]

_MAX_JSON: Final = 2_000_000
_MAX_LEAVES: Final = 600
_MAX_VALUE: Final = 200
_MAX_DEPTH: Final = 16
_MONTH: Final = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    "|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_EXTENSIONS: Final = (
    "pyi?|jsx?|tsx?|java|go|rs|rb|c|h|cc|cpp|hpp|cs|php|sh|sql|md|rst|txt|jsonl?|ya?ml|toml|cfg|ini|csv|tsv|html?|css|xml"
    "|pdf|docx?|xlsx?|png|jpe?g|svg|lock|log|ipynb|zip|gz|tar|env|conf"
)
_VALUE: Final = re.compile(
    r"(?P<url>\bhttps?://[^\s<>\"'`)\]}|]{3,300})"
    r"|(?P<email>(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5})"
    r"|(?P<money>[$€£¥₹]\s?\d[\d,.]{0,18}\d|[$€£¥₹]\s?\d|(?<![\w.])\d[\d,.]{0,15}\s?(?:USD|EUR|GBP"
    r"|CHF|JPY|CNY|dollars|euros|€|£|元|円|원))"
    r"|(?P<date>(?<!\w)\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?"
    rf"|(?i:\b{_MONTH}\.?\s\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s\d{{4}})?\b|(?<!\w)\d{{1,2}}(?:st|nd|rd"
    rf"|th)?\.?\s{_MONTH}(?:\s\d{{4}})?\b)"
    r"|(?<![\w/.])\d{1,2}[/.]\d{1,2}[/.]\d{2,4}(?![\w/]))"
    r"|(?P<path>(?<![\w./~<-])(?:~|\.{1,2})?/?(?:[\w.@+-]{1,100}/){1,20}[\w.@+-]{0,100}\w"
    r"|(?<![\w./~<-])/[\w.@+-]{2,100}"
    rf"|(?<![\w./~<-])[\w-]{{1,80}}\.(?:{_EXTENSIONS})\b)"
    r"|(?P<phone>(?<![\w.-])\+?\(?\d{2,4}\)?[ -]\d{2,4}(?:[ -]?\d{2,4}){1,3}(?![\w-]))"
    r"|(?P<code>(?<![\w#-])(?<!\d[.:])#?(?=[A-Za-z_#-]{0,40}\d)(?:[A-Za-z0-9_]{2,64}|\d(?=\.\d+\.\d)"
    r"|[A-Z](?=-\d\d))"
    r"(?:[.:-][A-Za-z0-9_]{1,64}){0,6}"
    r"|(?<!\w)[A-Z]{5,10}(?!\w)"
    r"|(?<!\w)#\d{1,12}\b|(?<=\()[A-Z]{2,4}(?=\)))",
    re.ASCII,
)  # fmt: skip
_UPPER: Final = re.compile(r"[A-Z]{2,10}")
_STOP_WORDS: Final = """
a an the is are was were be been to of for from on in at by with and or but as my your our his her
its their i you we it this that these those please also than then so if will would can could
should has have had do does did not no yes here there which who what when where about into per
between via since until after before ending starting s ll re ve m d t called named just only want
need like use using used get find see go let me us them it's i'm i'd i'll you're
"""
_STOP: Final = frozenset(_STOP_WORDS.split())
"""Words that name nothing by themselves; `number` is none of them: `order number`."""
_CODE_NOUNS: Final = frozenset(
    {"reservation", "booking", "code", "id", "number", "order", "ticket", "confirmation", "reference", "ref"}
    | {"flight", "invoice", "pnr", "voucher", "coupon", "account", "case", "locator", "key", "sku", "symbol"}
)
"""Words after which letters in capitals are a code and no shouting."""
_EXPRESSION: Final = re.compile(r"[\d,$]{0,12}[sy]/")
_WORD: Final = re.compile(r"[^\W\d_][\w'’-]{0,40}")
_LABEL_LINE: Final = re.compile(
    r"^[\s>*•·–—-]{0,12}(?:\d{1,3}[.)]\s{1,3})?[*_`]{0,3}"
    r"(?P<label>[^\W\d_][\w /()'’-]{0,38}?)[*_`]{0,3}"
    r"\s?[:=：]\s?[*_`]{0,3}\s{0,4}(?P<value>[^\s*][^\n]{0,118}?)[*_`]{0,3}\s*$",
    re.MULTILINE,
)
_MY: Final = re.compile(
    r"\bmy (?P<label>[a-z][a-z ]{1,28}?) (?:is|are) (?P<value>[^\s.,;!?](?:[^.,;!?\n]|\.(?=\w)){0,60})",
    re.IGNORECASE,
)
_NAMED_ME: Final = re.compile(
    r"\b(?:my (?P<label>(?:full |first |last )?name)(?: is|['’]s)|I am|I['’]m"
    r"|this is) (?P<value>[A-Z][\w'’-]{1,30}(?: [A-Z][\w'’-]{1,30}){1,2})(?![\w'’])"
)
_ID_KEY: Final = re.compile(
    r"(?:^|[_\-.\s])(?:id|ids|uuid|guid|sku|slug|number|no|nr|code|key|ref|reference|email|phone|zip"
    r"|token|hash|sha|path|file|filename|url|uri|username|login|handle)$",
    re.IGNORECASE,
)
_OWN_ID: Final = re.compile(
    r"^(?:id|uuid|guid|sku|slug|(?:[\w.-]{1,40}[_-])?(?:id|uuid|number|code|sku|ref)"
    r"|[a-z]\w{0,40}(?:Id|ID|Number|Code))$"
)


@dataclass(frozen=True, slots=True)
class Found:
    """One value.

    Attributes:
        entity: The object it belongs to (`order_id=W1`), or empty.
        label: Its name there; empty for the id of the entity itself.
        value: As written.
        many: One of several under this label, so that the next does not replace it.
    """

    entity: str
    label: str
    value: str
    many: bool = False


def parse_json(text: str) -> Any:
    """The JSON container in a text; `None` if it is none, is over 2 MB or nests too deep."""
    if text.lstrip()[:1] not in ("{", "[") or len(text) > _MAX_JSON:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def json_facts(value: object, owner: str = "") -> list[Found]:
    """The scalar leaves of a JSON value, at most 600, each under the nearest object that has an id.

    Args:
        value: A parsed container.
        owner: What the value is about where it does not say so itself, such as the call's `order_id=W1`.
    """
    found: list[Found] = []
    stack: list[tuple[object, str, str, int]] = [(value, owner, "", 0)]
    while stack and len(found) < _MAX_LEAVES:
        node, entity, path, depth = stack.pop()
        if isinstance(node, Mapping):
            stack += _open_object(cast("Mapping[str, Any]", node), entity, path, depth, found)
        elif isinstance(node, list):
            stack += _open_list(cast("list[Any]", node), entity, path, depth, found)
        elif (text := _scalar(node)) is not None and not is_secret_name(path.rpartition(".")[2]):
            found.append(Found(entity, path or "value", text))
    return found


def _open_object(
    node: Mapping[str, Any], entity: str, path: str, depth: int, found: list[Found]
) -> list[tuple[object, str, str, int]]:
    own = _own_id(node, path)
    if own is not None:
        name, text = own
        short = _trim(path, text).rpartition(".")[2]
        label = short if name.lower() in ("id", "uuid", "guid") and short and not short.isdigit() else name
        own_entity = f"{label}={text}"
        if own_entity != entity:
            found.append(Found(own_entity, "", text))
            if entity and path:
                found.append(Found(entity, _trim(path, text), text, many=True))
            entity, path = own_entity, ""
    if depth >= _MAX_DEPTH:
        return []
    children = [
        (child, entity, f"{path}.{key}" if path else str(key), depth + 1)
        for key, child in node.items()
        if own is None or key != own[0]
    ]
    children.reverse()
    return children


def _open_list(
    node: list[Any], entity: str, path: str, depth: int, found: list[Found]
) -> list[tuple[object, str, str, int]]:
    if depth >= _MAX_DEPTH:
        return []
    if node and not any(isinstance(item, (Mapping, list)) for item in node):
        texts = [text for item in node[:50] if (text := _scalar(item)) is not None]
        found += [Found(entity, path or "value", text, many=True) for text in texts]
        return []
    plain = len(node) == 1 or all(
        isinstance(item, Mapping) and _own_id(cast("Mapping[str, Any]", item), path) for item in node[:50]
    )
    children = [
        (item, entity, path if plain else f"{path}.{i}" if path else str(i), depth + 1)
        for i, item in enumerate(node[:200])
    ]
    children.reverse()
    return children


def _trim(path: str, text: str) -> str:
    """The path without a last step that only repeats the id."""
    return path.removesuffix(f".{text}") if path.endswith(text) else path


def _own_id(node: Mapping[str, Any], path: str = "") -> tuple[str, str] | None:
    """The id of an object: the one named after where it stands (`items`: `item_id`), else the first."""
    ids = [
        (str(key), str(child))
        for key, child in node.items()
        if isinstance(child, (str, int))
        and not isinstance(child, bool)
        and 0 < len(str(child)) <= 64
        and _OWN_ID.match(str(key))
    ]
    stem = path.rpartition(".")[2].lower()
    named = [
        own
        for own in ids
        if stem and stem.startswith(re.split(r"[_-]|(?<=[a-z])[A-Z]", own[0])[0].lower()[:-1] or "\0")
    ]
    return (named or ids or [None])[0]


def _scalar(node: object) -> str | None:
    if isinstance(node, bool):
        return "true" if node else "false"
    if isinstance(node, (int, float)):
        text = json.dumps(node)
        return text if len(text) <= 64 else None
    if not isinstance(node, str):
        return None
    text = node.strip()
    return text if text and len(text) <= _MAX_VALUE and "\n" not in text else None


def text_facts(text: str, *, labelled_lines: bool, command: bool = False) -> Iterator[Found]:
    """Values in prose, with what stands in front of them as label.

    Args:
        text: Bounded by the caller.
        labelled_lines: Also take `label: value` lines and `my label is value` with any value, as people
            write them.
        command: The text is a command line, in which `a/b` is a path.
    """
    if labelled_lines:
        for pattern in (_LABEL_LINE, _MY, _NAMED_ME):
            for match in pattern.finditer(text):
                label, value = (match["label"] or "name").strip(), match["value"].strip()
                plain = not value.startswith(("<", "`", "-", "{")) and not value.endswith((":", "{"))
                short = len(value) <= 80 and value.count(" ") < 8 and label.count(" ") < 3
                if plain and short and not is_secret_name(label):
                    yield Found("", label.lower(), value)
    last = 0
    for match in _VALUE.finditer(text):
        start, last = max(last, match.start() - 80), match.end()
        value = match[0].rstrip(".,:;-")
        kind = cast("str", match.lastgroup)
        if len(value) < 2 or (kind == "code" and not is_identifier(value)):
            continue
        label = _label_before(text[start : match.start()])
        if value.isalpha() and len(value) > 4 and label.rpartition(" ")[2] not in _CODE_NOUNS:
            continue
        if kind == "path" and not _is_plausible(value, command):
            continue
        label = label or kind
        if not is_secret_name(label):
            yield Found("", label, value)


def says_values(sentence: str) -> bool:
    """Whether values with their labels are most of a sentence, so that it says nothing beside them."""
    found = [each for each in text_facts(sentence, labelled_lines=True) if each.value.count(" ") < 3]
    return sum(len(each.label) + len(each.value) for each in found) > len(sentence) / 2


def _label_before(before: str) -> str:
    """The one to three words in front of a value that name it: `order number is W1` gives `order number`."""
    line = before.rpartition("\n")[2]
    phrase = re.split(r"[.!?;,(]\s", line)[-1]
    words = _WORD.findall(phrase)[-5:]
    while words and words[-1].lower() in _STOP:
        words.pop()
    kept: list[str] = []
    for word in reversed(words):
        if len(kept) == 2 or word.lower() in _STOP:
            break
        kept.insert(0, word)
    return " ".join(kept).lower()


def is_identifier(value: str) -> bool:
    """Whether a token is specific enough to mean one thing: with digits, or a code in capitals."""
    if _UPPER.fullmatch(value):
        return True
    digits = sum(c.isdigit() for c in value)
    if not digits:
        return False
    if value.replace(".", "").replace(":", "").isdigit():
        return digits >= 4 or "." in value
    return value[0] == "#" or len(value) >= 3


def _is_plausible(path: str, command: bool) -> bool:
    """Whether a path is no single word, no expression of sed and, in prose, no `either/or`."""
    if _EXPRESSION.match(path):
        return False
    steps = path.strip("/").split("/")
    return "." in steps[-1] or len(steps) > 2 or (len(steps) == 2 and (command or path[0] in "/.~"))


def specificity(label: str, value: str) -> float:
    """How likely a value is one that must be repeated exactly, from 0 (`true`) to 4 (an id)."""
    length = len(value)
    digits = sum(c.isdigit() for c in value)
    named = _ID_KEY.search(label) is not None
    if length > 100:
        return 0.3
    if value in ("true", "false", "0", "0.0", "1", "yes", "no", "none", "null"):
        return 0.2
    if _TIMESTAMP.match(value):
        return 1.8
    if "@" in value or (
        digits and length >= 5 and any(c.isalpha() or c == "#" for c in value) and " " not in value
    ):
        return 3.5 + 0.5 * named
    if digits == length:
        return 3.5 if named and length >= 4 else 2.8 if length >= 8 else 0.8 + 0.2 * min(length, 4)
    if named:
        return 3.0
    if digits >= 6 and _ISO_DATE.match(value):
        return 2.6
    if value.isupper() and 2 < length <= 10 and value.isalpha():
        return 2.4
    if digits:
        return 1.6
    return 1.4 if length <= 30 else 0.8


_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:")
_ISO_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")


def words_of(text: str) -> Sequence[str]:
    """The tokens by which a mention of a value is recognized, lower case."""
    return _TOKEN.findall(text.lower())


_TOKEN: Final = re.compile(r"[^\s,;:()\[\]{}<>\"'`|*=!?$€£]{1,200}")

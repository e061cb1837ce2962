"""Secrets, blacked out before anything else looks at a value. Pure, linear in the text.

A field whose name says that it holds a secret is dropped whatever its value looks like; elsewhere
well-known shapes of keys and tokens are. It never promises to find all of them: so that a secret
without a known shape has little room, traces keep forms of values, not values (see `shapes`).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["REDACTED", "is_secret_name", "is_secret_value", "redact", "redact_name"]

REDACTED: Final = "[redacted]"

_LONGEST: Final = 4000
"""Characters of a text that are looked at; what lies beyond is not kept by any caller."""

_NAMES_TEXT: Final = """
password passwd passphrase passcode passwort pwd secret secrets apikey token tokens credential
credentials authorization auth bearer cookie cookies jwt otp mfa cvv cvc pin ssn signature
privatekey accesskey secretkey sessionid accesstoken refreshtoken authtoken idtoken bearertoken
clientsecret apisecret apitoken
"""
_SECRET_WORDS: Final = frozenset(_NAMES_TEXT.split())
_SECRET_PAIRS: Final = re.compile(
    r"(?:api|access|private|signing|encryption|secret|ssh|card|account) (?:key|pin)"
)
_COUNTED: Final = re.compile(
    r"(?:max|min|total|input|output|num|n|count|limit|used) tokens?|tokens? (?:count|limit|used)"
)
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\dA-Za-z_]+")

_NAMED: Final = re.compile(
    r"(?P<name>\b[\w-]{0,40}(?:pass(?:word|wd|phrase|code|wort)|secret|api[ _-]?key|token|credential"
    r"|auth(?:orization)?|(?:private|access)[ _-]?key|cookie|pwd|cvv)[\w-]{0,40}[\"'*`\\]{0,4}\s{0,3}"
    r"(?:=>|:=|[:=]|\bis\b)\s{0,3}[\"'*`\\]{0,4})"
    r"(?!\[redacted\])(?P<value>(?:(?:bearer|basic)\s+)?[^\s\"'`,;&<>\\]{3,400})",
    re.IGNORECASE,
)
_SHAPES: Final = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY[\s\S]{0,4000}"
    r"|\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{12,200}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{12,20}\b"
    r"|\bAIza[0-9A-Za-z_-]{30,45}"
    r"|\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|hf_|npm_|pypi-|dop_v1_|shpat_)[A-Za-z0-9_-]{8,300}"
    r"|\bSG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,128}"
    r"|\beyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{4,4000}(?:\.[A-Za-z0-9_-]{2,4000})?"
    r"|\b(?:[Bb]earer|[Bb]asic|BEARER|BASIC)\s{1,3}[A-Za-z0-9._~+/=-]{8,4000}"
)
_USERINFO: Final = re.compile(r"(://)[^\s/@]{1,300}(?=@)")
_DENSE: Final = re.compile(r"[A-Za-z0-9_+/=-]{24,}")
_NAME_PARTS: Final = re.compile(r"(?:[A-Za-z]*\d{0,3}(?:[_./-]|$))+")
_STEMS: Final = ("pass", "secret", "key", "token", "credential", "auth", "cookie", "pwd", "cvv")
"""One of these stands in every name that `_NAMED` knows."""


def redact(text: str) -> str:
    """The text with keys, tokens, passwords and long mixed strings replaced by `[redacted]`.

    Text beyond 4,000 characters is dropped, so that what is cut in two is never half shown.
    """
    text = text[:_LONGEST]
    text = _SHAPES.sub(REDACTED, text)
    text = _USERINFO.sub(rf"\g<1>{REDACTED}", text)
    folded = text.lower()
    if any(stem in folded for stem in _STEMS):
        text = _NAMED.sub(rf"\g<name>{REDACTED}", text)
    return _DENSE.sub(_dense, text)


def redact_name(name: str) -> str:
    """The name of a tool or field, redacted; a long name of words and short numbers is no mixed string."""
    plain = _NAME_PARTS.fullmatch(name) is not None and _SHAPES.search(name) is None
    return name if plain else redact(name)


def _dense(match: re.Match[str]) -> str:
    """A long string of letters and digits mixed is a key; one with slashes only if cases mix too."""
    text = match[0]
    mixed = any(ch.isdigit() for ch in text) and any(ch.isalpha() for ch in text)
    path = "/" in text and (text.islower() or text.isupper())
    return REDACTED if mixed and not path else text


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret: `api_key`, `userPassword`, `X-Auth-Token`.

    `max_tokens` and its like count something and hold none.
    """
    words = [word.lower() for word in _WORDS.findall(name[:200])]
    joined = " ".join(words)
    if _COUNTED.search(joined):
        return False
    return (
        not _SECRET_WORDS.isdisjoint(words)
        or "".join(words) in _SECRET_WORDS
        or _SECRET_PAIRS.search(joined) is not None
    )


def is_secret_value(text: str) -> bool:
    """Whether a value has the shape of a secret, whatever its field is called."""
    return redact(text) != text[:_LONGEST]

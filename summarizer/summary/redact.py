"""Secrets, blacked out: text in, text out. Pure, linear in the text.

A small set of well-known shapes; a value that looks like nothing in particular is recognized
by the name in front of it (`password=`, `api_key:`). It never promises to find all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Final

__all__ = ["REDACTED", "is_secret_name", "redact", "redact_pieces"]

REDACTED: Final = "[redacted]"
_FILL: Final = "\ue000"
"""Stands for each character of a secret while its text is in pieces; of private use, and no word or sign."""
_FILLED: Final = re.compile(f"{_FILL}+")

_NAMES: Final = (
    r"(?:pass(?:word|wd|phrase|code)|passwort|contraseña|mot de passe|密码|パスワード|secret(?:[ _-]?key)?"
    r"|client[_-]secret|"
    r"api[ _-]?key|apikey|(?:access|private|signing|encryption)[ _-]?key|"
    r"(?:access|auth|refresh|session|bearer|id|api|csrf|github|slack|bot)[ _-]?token|credentials?"
    r"|cvv2?|cvc|pin code)"
)
_SECRET_NAME: Final = re.compile(
    rf"(?:.*[._ -])?(?:{_NAMES}|token|secret|passwd|pwd|authorization)", re.IGNORECASE
)

_NAMED: Final = re.compile(
    rf"(?P<name>{_NAMES}\b[\"'*`]{{0,3}}\s{{0,3}}(?:=>|:=|[:=：]|\bis\b|\blautet\b|\best\b"
    rf"|\bes\b)\s{{0,3}}[\"'*`]{{0,3}})"
    r"(?!\[redacted\])(?P<value>[^\s\"'`,;&<>]{3,400})",
    re.IGNORECASE,
)
_SHAPES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (
        "PRIVATE KEY",
        re.compile(
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:(?!-----END)[\s\S]){0,20000}(?:-----END[A-Z -]{0,50})?"
        ),
    ),
    ("sk-", re.compile(r"\bsk-[A-Za-z0-9_-]{16,200}")),
    ("sk_", re.compile(r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{10,200}")),
    ("rk_", re.compile(r"\brk_(?:live|test)_[A-Za-z0-9]{10,200}")),
    ("AKIA", re.compile(r"\bAKIA[0-9A-Z]{16}\b")),
    ("ASIA", re.compile(r"\bASIA[0-9A-Z]{16}\b")),
    ("AIza", re.compile(r"\bAIza[0-9A-Za-z_-]{35}")),
    ("gh", re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,255}")),
    ("github_pat_", re.compile(r"\bgithub_pat_[A-Za-z0-9_]{20,255}")),
    ("glpat-", re.compile(r"\bglpat-[A-Za-z0-9_-]{16,100}")),
    ("xox", re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,250}")),
    ("hf_", re.compile(r"\bhf_[A-Za-z0-9]{20,100}")),
    ("npm_", re.compile(r"\bnpm_[A-Za-z0-9]{30,100}")),
    ("pypi-", re.compile(r"\bpypi-[A-Za-z0-9_-]{40,300}")),
    ("SG.", re.compile(r"\bSG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,128}")),
    ("eyJ", re.compile(r"\beyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,8000}(?:\.[A-Za-z0-9_-]{4,4000})?")),
)
_BEARER: Final = re.compile(
    r"\b((?:bearer|basic)\s{1,3})(?!\[redacted\])[A-Za-z0-9._~+/=-]{16,4000}", re.IGNORECASE
)
_USERINFO: Final = re.compile(r"(://[^\s/:@]{0,100}:)(?!\[redacted\]@)[^\s/@]{1,200}(?=@)")


def redact(text: str) -> str:
    """The text with keys, tokens, passwords and private keys replaced by `[redacted]`.

    Redacting twice changes nothing more. A shape is only searched for where its fixed part occurs.
    """
    return _blacked(text, lambda _: REDACTED)


def redact_pieces(pieces: Sequence[str]) -> list[str]:
    """The consecutive pieces of one text, redacted as the whole is: half a secret looks like none."""
    whole = "".join(pieces)
    filled = _blacked(whole, lambda secret: _FILL * len(secret))
    if filled == whole:
        return list(pieces)
    ends = list(accumulate(map(len, pieces)))
    return [_FILLED.sub(REDACTED, filled[start:end]) for start, end in pairwise([0, *ends])]


def _blacked(text: str, black: Callable[[str], str]) -> str:
    for marker, shape in _SHAPES:
        if marker in text:
            text = shape.sub(lambda found: black(found[0]), text)

    def behind(found: re.Match[str]) -> str:
        return found[1] + black(found[0][len(found[1]) :])

    if "://" in text:
        text = _USERINFO.sub(behind, text)
    folded = text.lower()
    if "bearer" in folded or "basic" in folded:
        text = _BEARER.sub(behind, text)
    if any(stem in folded for stem in _STEMS):
        text = _NAMED.sub(behind, text)
    return text


_STEM_WORDS: Final = "pass secret key token credential cvv cvc pin contraseña 密码 パスワード mot"
_STEMS: Final = tuple(_STEM_WORDS.split())
"""One of these stands in every name that `_NAMED` knows."""


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret, whatever its value looks like."""
    return len(name) <= 200 and _SECRET_NAME.fullmatch(name) is not None

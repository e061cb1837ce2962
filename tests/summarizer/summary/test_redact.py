"""Secrets, blacked out."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.summary.redact import REDACTED, is_secret_name, redact, redact_pieces

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("key sk-" + HEX[:40], "sk-" + HEX[:40]),
        ("AKIA" + "ABCDEFGH12345678", "AKIAABCDEFGH12345678"),
        ("use ghp_" + HEX[:36] + " now", "ghp_" + HEX[:36]),
        ("xoxb-" + "1234567890-abcdef", "xoxb-1234567890-abcdef"),
        ("Authorization: Bearer " + HEX, HEX),
        ("my password is hunter2!", "hunter2!"),
        ('{"api_key": "abc123def"}', "abc123def"),
        ("db: postgres://bob:s3cr3t@db.example/x", "s3cr3t"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEab\n-----END RSA PRIVATE KEY-----", "MIIEab"),
        ("eyJ" + HEX[:20] + "." + HEX[:30] + "." + HEX[:20], HEX[:30]),
    ],
)
def test_known_shapes_go(text: str, secret: str) -> None:
    """A key, a token, a password behind its name and a private key never stay."""
    assert secret not in redact(text)
    assert REDACTED in redact(text)


@pytest.mark.parametrize(
    "text",
    ["order #W1588712", "token counts matter", "the key is to listen", "reset my password", "basic economy"],
)
def test_plain_text_stays(text: str) -> None:
    """Words that only resemble a name of a secret, or its absence, change nothing but the value named so."""
    assert redact(text).split()[:2] == text.split()[:2]


@given(st.text(max_size=300))
def test_twice_is_once(text: str) -> None:
    """Redacting again changes nothing."""
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "stretch", ["password is ", "sk-", "://a:", "bearer ", "-----BEGIN PRIVATE KEY-----"]
)
def test_time_is_linear(stretch: str) -> None:
    """A hundred thousand characters of the beginnings of secrets take less than two seconds."""
    text = stretch * (100_000 // len(stretch))
    begun = time.perf_counter()
    redact(text)

    assert time.perf_counter() - begun < 2


def test_names_of_secrets() -> None:
    """A field is a secret's by its name, prefix and all."""
    assert [
        n
        for n in ("password", "db_password", "access_token", "API-Key", "order_id", "tokens")
        if is_secret_name(n)
    ] == [
        "password",
        "db_password",
        "access_token",
        "API-Key",
    ]


@given(st.lists(st.integers(0, 120), max_size=4))
def test_a_secret_in_pieces_goes_from_each(cuts: list[int]) -> None:
    """Wherever a text is cut, the pieces hold as little of a secret as the whole, and all else."""
    text = f"my note: sk-{HEX[:40]} and AKIA{'X7' * 8}, password is hunter2hunter2 as said"
    ends = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = redact_pieces([text[start:end] for start, end in pairwise(ends)])

    whole = "".join(pieces).replace(REDACTED, "")

    assert whole == redact(text).replace(REDACTED, "")
    assert len(pieces) == len(ends) - 1

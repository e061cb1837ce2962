"""Settings and defaults: every number that nobody configured stands here, once.

Environment variables are read when they are needed, never at import. Read: `SESSION_PROVIDER`,
`SESSION_REDIS_URL`, `LONGSPLICE_STORE`, `LONGSPLICE_DEFAULT_MODEL`, `LONGSPLICE_SUMMARIZER`,
`LONGSPLICE_CACHE_BYTES`.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final

from .errors import InvalidSetting

DEFAULT_TOKEN_MODEL: str
"""Model whose tokenizer and window are assumed by default; `LONGSPLICE_DEFAULT_MODEL` overrides it."""

INFINITE_THRESHOLD: Final = 4000
"""Tokens at which `track_infinite_conversation` opens a child."""
TRACKED_SHARE: Final = 0.75
"""Share of the model's window at which `track_conversation` opens a child."""
FALLBACK_WINDOW: Final = 128_000
"""Window assumed for a share of one that is unknown; the smallest of today's large models (2026-11)."""

HARD_FACTOR: Final = 1.25
"""Hard limit over soft limit."""
TAIL_SHARE: Final = 0.20
"""Most of the threshold that the verbatim tail may take."""
SEED_SHARE: Final = 0.25
"""Most of the threshold that a seed may take."""
MINIMUM_GAIN: Final = 0.30
"""Least share by which a segmentation by tokens must shrink the context."""
REPLY_RESERVE: Final = 1024
"""Tokens kept free below a model's window for its reply, where the model states no smaller maximum."""

LEASE_S: Final = 60.0
"""Seconds a segmentation's lease lasts before it must be renewed."""
HARD_WAIT_S: Final = 20.0
"""Seconds a recording call waits for a summary at the hard limit before it takes the extractive one."""
WINDOW_STEP: Final = 0.25
"""Share by which a sliding window moves at once, so that the prompt's prefix rarely changes."""

SUMMARY_TIMEOUT_S: Final = 60.0
"""Seconds one summary request may take."""
SUMMARY_TRIES: Final = 3
"""Requests per summary model before the next step of the ladder."""

MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
"""Size of one stored event; images as data URLs fit, runaway dumps do not."""
TOMBSTONE_S: Final = 24 * 3600
"""Seconds an erased conversation's id refuses writes."""
IDS_KEPT_S: Final = 24 * 3600
"""Least seconds for which a repeated event id is recognized outside the open segment."""
STORE_DEADLINE_S: Final = 15.0
"""Seconds for which a store retries before it says that it is unavailable."""
CACHED_BYTES: Final = 64 * 1024 * 1024
"""About how much a process keeps at hand of its conversations; `LONGSPLICE_CACHE_BYTES` overrides it."""

_MAX_ID: Final = 200
_ID: Final = re.compile(r"[^\x00-\x20\x7f-\x9f\ud800-\udfff~]+(?: +[^\x00-\x20\x7f-\x9f\ud800-\udfff~]+)*")


def __getattr__(name: str) -> str:
    if name == "DEFAULT_TOKEN_MODEL":
        return os.environ.get("LONGSPLICE_DEFAULT_MODEL") or "gpt-4o-mini"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def parse_session_id(session_id: str) -> tuple[str, int]:
    """Split a session id into its root and its index in the chain.

    `ROOT` is index 0 and `ROOT~N` the N-th child.

    Raises:
        InvalidSetting: Empty, longer than 200 characters, with control characters or
            outer blanks, or with a `~` that no child's number follows.
    """
    root, tilde, number = session_id.partition("~") if isinstance(session_id, str) else ("", "", "")  # pyright: ignore[reportUnnecessaryIsInstance]
    good_number = not tilde or (
        number.isascii() and number.isdigit() and number[0] != "0" and len(number) < 10
    )
    if not good_number or len(root) > _MAX_ID or not _ID.fullmatch(root):
        raise InvalidSetting(
            f"invalid session id {session_id!r}; use 1 to {_MAX_ID} printable characters without '~' "
            "('ROOT~N' is reserved for the N-th child)"
        )
    return root, int(number) if tilde else 0


def make_session_id(root: str, index: int) -> str:
    """The id of a conversation's `index`-th session."""
    return f"{root}~{index}" if index else root


def default_store_url() -> str:
    """The store's URL where none is given.

    `LONGSPLICE_STORE`, else `SESSION_PROVIDER` (`memory`, `sqlite`, `redis`; the last with
    `SESSION_REDIS_URL`), else a SQLite file in the user's data directory.

    Raises:
        InvalidSetting: An unknown provider, or `redis` without a URL.
    """
    if url := os.environ.get("LONGSPLICE_STORE"):
        return url
    redis_url = os.environ.get("SESSION_REDIS_URL")
    provider = os.environ.get("SESSION_PROVIDER") or ("redis" if redis_url else "sqlite")
    if provider == "memory":
        return "memory://"
    if provider == "sqlite":
        return f"sqlite:///{data_directory() / 'sessions.db'}"
    if provider != "redis":
        raise InvalidSetting(f"SESSION_PROVIDER={provider!r} is unknown; use memory, sqlite or redis")
    if not redis_url:
        raise InvalidSetting(
            "SESSION_PROVIDER='redis' needs SESSION_REDIS_URL, such as redis://127.0.0.1:6379/0"
        )
    return redis_url


def cached_bytes() -> int:
    """Bytes of conversation state that one process keeps at hand.

    Raises:
        InvalidSetting: `LONGSPLICE_CACHE_BYTES` is no whole number from 0.
    """
    given = os.environ.get("LONGSPLICE_CACHE_BYTES")
    if not given:
        return CACHED_BYTES
    if not given.isdecimal():
        raise InvalidSetting(f"LONGSPLICE_CACHE_BYTES={given!r}: use a whole number of bytes from 0")
    return int(given)


def data_directory() -> Path:
    """Where this user's data is kept on this platform; not created here."""
    # Asked last: a user without a home directory may still name a place.
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "longsplice"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "longsplice"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "longsplice"

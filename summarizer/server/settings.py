"""What an endpoint is told when it is started: checked values, and their way to its workers."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from ..errors import InvalidSetting
from ..policy import Policy

__all__ = ["VARIABLE", "Settings", "check_bind"]

Mode = Literal["append", "full-history"]

VARIABLE: Final = "LONGSPLICE_ENDPOINT"
"""Environment variable by which `longsplice serve` hands the settings to its worker processes, as JSON."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How an endpoint works.

    Attributes:
        upstream: Base URL of an OpenAI-compatible API, its `/v1` included if it has one.
        mode: `append` (clients send what is new) or `full-history` (clients send all), where a request's
            header does not say.
        store: A store's URL; `None` for the default one. `memory://` serves one process alone.
        threshold: Content tokens (int), or a share of the model's window (float in (0, 1]), at which a
            segment is closed; `None`: 0.75 of the window.
        summarizer: `extractive`, or `upstream`: the caller's model, with the caller's credentials.
        token: What callers must send as `X-Longsplice-Token`; `None`: nothing.
        hosts: Host names under which the endpoint may be reached, beside those of loopback; `*` is all.
        guard: Whether loops of tool calls are nudged and stopped.
        ask_usage: Whether usage is asked of the upstream for streams whose client did not ask.
        max_body_bytes: Largest request body.
        keepalive_s: Seconds of silence after which a stream that waits for a summary says that it lives.
        client_timeout_s: Seconds for which one write to a client, or one read from it, may take.
        upstream_timeout_s: Seconds of silence after which the upstream is given up.

    Raises:
        InvalidSetting: One of them cannot be used.
    """

    upstream: str
    mode: Mode = "append"
    store: str | None = None
    threshold: float | None = None
    summarizer: Literal["extractive", "upstream"] = "extractive"
    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    guard: bool = True
    ask_usage: bool = True
    max_body_bytes: int = 32 * 1024 * 1024
    keepalive_s: float = 10.0
    client_timeout_s: float = 60.0
    upstream_timeout_s: float = 600.0

    def __post_init__(self) -> None:
        url = urlsplit(self.upstream)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise InvalidSetting(
                f"upstream={self.upstream!r} is no base URL; give one such as https://api.openai.com/v1"
            )
        if url.username or url.password or url.query or url.fragment:
            raise InvalidSetting(
                "the upstream's URL must hold no credentials, query or fragment; callers send their own keys"
            )
        if self.mode not in ("append", "full-history"):
            raise InvalidSetting(f"mode={self.mode!r}: use 'append' or 'full-history'")
        if self.summarizer not in ("extractive", "upstream"):
            raise InvalidSetting(f"summarizer={self.summarizer!r}: use 'extractive' or 'upstream'")
        Policy(token_threshold=self.threshold)  # It says what a threshold may be.
        if self.token is not None and not self.token:
            raise InvalidSetting("the token is empty; give one of 16 characters or more, or none at all")
        for name in ("max_body_bytes", "keepalive_s", "client_timeout_s", "upstream_timeout_s"):
            if not getattr(self, name) > 0:
                raise InvalidSetting(f"{name}={getattr(self, name)!r}: use a number above 0")

    def to_json(self) -> str:
        """All of them, the token included."""
        return json.dumps(asdict(self))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The settings that `LONGSPLICE_ENDPOINT` holds.

        Raises:
            InvalidSetting: It is not set, or not by this version.
        """
        try:
            given: dict[str, Any] = json.loads(environment.get(VARIABLE) or "{}")
            given["hosts"] = tuple(given.get("hosts", ()))
            known = {f.name for f in fields(cls)}
            return cls(**{name: value for name, value in given.items() if name in known})
        except (ValueError, TypeError, AttributeError) as error:
            if isinstance(error, InvalidSetting):
                raise
            raise InvalidSetting(
                f"{VARIABLE} holds no settings; start the endpoint with `longsplice serve`"
            ) from error


def check_bind(host: str, token: str | None) -> None:
    """Refuse an address beyond this machine, where no token keeps strangers out.

    Raises:
        InvalidSetting: It is one.
    """
    if token or host == "localhost":
        return
    try:
        safe = ipaddress.ip_address(host).is_loopback
    except ValueError:
        safe = False
    if not safe:
        raise InvalidSetting(
            f"host {host!r} is reached from other machines; give --token, or bind to 127.0.0.1"
        )

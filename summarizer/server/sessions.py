"""Whose conversation a request belongs to: the caller, and the name that the request gives it."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from ..config import parse_session_id
from ..errors import InvalidSetting
from ..session import SessionManager
from .errors import EndpointError

__all__ = ["CREDENTIALS", "OWN_HEADER", "Conversations", "digest", "owner_of", "session_named"]

OWN_HEADER: Final = "x-longsplice-session-id"
CREDENTIALS: Final = ("authorization", "api-key", "x-api-key")
"""Headers by which OpenAI-compatible servers know their caller."""

_KEPT: Final = 256
"""Managers kept at hand, so that a guard reads what is new of its log and not the whole of it."""
_SAFE: Final = re.compile(r"[A-Za-z0-9._:@/+=-]{8,200}")
_VENDOR: Final = re.compile(r"x-[a-z0-9-]+-session-id")
_BAGGAGE: Final = re.compile(r"(?:^|,)\s*session\.id\s*=\s*([^,;\s]+)")


def digest(*parts: str) -> str:
    """32 hexadecimal digits that stand for some texts."""
    whole = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        whole.update(len(raw).to_bytes(8) + raw)
    return whole.hexdigest()[:32]


def owner_of(headers: Mapping[str, str]) -> str:
    """The owner that stands for the caller: a digest of its credentials, the same for all without any.

    An id that was copied from somebody else names nothing in another caller's namespace.
    """
    return "caller-" + digest(*(headers.get(name, "") for name in CREDENTIALS))


def session_named(headers: Mapping[str, str], body: Mapping[str, Any]) -> str | None:
    """The session id that a request carries, `None` if it carries none.

    The first of: our own header; `x-litellm-session-id`; any `x-<vendor>-session-id`; `x-session-id`; the
    `session-id` and `thread-id` of Codex; W3C baggage `session.id`; `litellm_session_id` and
    `metadata.session_id` of the body. All but our own count where they are 8 to 200 plain characters.

    Raises:
        EndpointError: Our own header holds no possible id.

    Source: litellm 1.106.2, its list of session headers.
    """
    own = headers.get(OWN_HEADER)
    if own is not None:
        try:
            parse_session_id(own)
        except InvalidSetting as error:
            raise EndpointError(400, str(error), "invalid_session_id") from None
        if ", " in own:
            told = f"{own!r} is more than one session id; send X-Longsplice-Session-Id once, without ', '"
            raise EndpointError(400, told, "invalid_session_id")
        return own
    return next((name for name in _foreign(headers, body) if _SAFE.fullmatch(name)), None)


def _foreign(headers: Mapping[str, str], body: Mapping[str, Any]) -> list[str]:
    found: list[object] = [headers.get("x-litellm-session-id")]
    found += [value for name, value in headers.items() if _VENDOR.fullmatch(name)]
    found.append(headers.get("x-session-id"))
    if "codex" in headers.get("user-agent", "").lower():
        found += [headers.get("session-id"), headers.get("thread-id")]
    found += _BAGGAGE.findall(headers.get("baggage", ""))
    metadata = body.get("metadata")
    named = (
        cast("Mapping[str, object]", metadata).get("session_id") if isinstance(metadata, Mapping) else None
    )
    return [value for value in (*found, body.get("litellm_session_id"), named) if isinstance(value, str)]


class Conversations:
    """Managers by what they were made with, those not used for longest let go of."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], SessionManager] = OrderedDict()

    def held(self, key: tuple[str, ...], make: Callable[[], SessionManager]) -> SessionManager:
        """The manager of this key, made if it is not at hand."""
        manager = self._kept.pop(key, None) or make()
        self._kept[key] = manager
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return manager

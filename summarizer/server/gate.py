"""Who may ask: the host that was asked for, the page that asks, the token. Nothing of a request is read."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

from .errors import EndpointError

__all__ = ["ASGIApp", "Gate", "Receive", "Scope", "Send", "send_json"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_HEADER: Final = b"x-longsplice-token"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OPEN: Final = frozenset({"/healthz"})


class Gate:
    """Refuses requests that were meant for another host, come from a page elsewhere, or lack the token.

    A page in a browser can reach loopback, by a name that it makes resolve there (DNS rebinding) or by a
    plain form: the first has another `Host`, the second an `Origin`.

    Args:
        app: What stands behind it.
        token: What `X-Longsplice-Token` must be; `None`: nothing.
        hosts: Names allowed beside loopback's; `*` allows all.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._hosts = _LOOPBACK | {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "http" and (error := self._problem(scope)) is not None:
            await send_json(send, error.status, error.body)
            return
        await self._app(scope, receive, send)

    def _problem(self, scope: Scope) -> EndpointError | None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._allows(f"//{host}"):
            return EndpointError(
                421,
                f"this endpoint does not answer for host {host[:200]!r}; see --allow-host",
                "unknown_host",
            )
        origin = headers.get(b"origin")
        if origin is not None and not self._allows(origin.decode("latin-1")):
            return EndpointError(403, "pages of another origin may not ask here", "foreign_origin")
        if self._token is None or scope["path"] in _OPEN:
            return None
        if hmac.compare_digest(headers.get(TOKEN_HEADER, b""), self._token):
            return None
        return EndpointError(
            401, "send this endpoint's token as X-Longsplice-Token", "wrong_token", "authentication_error"
        )

    def _allows(self, url: str) -> bool:
        if "*" in self._hosts:
            return True
        try:
            name = urlsplit(url).hostname
        except ValueError:
            return False
        return name is not None and name in self._hosts


async def send_json(send: Send, status: int, body: Any, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Answer with JSON."""
    raw = json.dumps(body, ensure_ascii=False).encode()
    told = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": raw})

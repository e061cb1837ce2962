"""The upstream: what a client sends goes on, what comes back is passed on as it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from ..errors import MissingExtra
from .errors import EndpointError

try:
    import httpx
except ImportError as error:
    raise MissingExtra("the endpoint", "serve") from error

__all__ = ["Upstream", "UpstreamAnswer", "UpstreamFailed"]

_HOP: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers of one connection, RFC 9110 (June 2022), section 7.6.1."""
_NOT_SENT: Final = _HOP | {
    "host", "content-length", "accept-encoding", "expect", "cookie", "origin", "referer",
}  # fmt: skip
"""Cookies of this machine are nobody else's business; an answer that is not compressed can be read."""
_NOT_GIVEN_BACK: Final = _HOP | {"content-length", "content-encoding", "date", "server", "set-cookie"}
_OURS: Final = "x-longsplice-"
_AHEAD: Final = 64 * 1024
"""Bytes read ahead of a client; behind them the upstream waits until it has taken those."""


class UpstreamFailed(EndpointError):
    """The upstream could not be asked, or broke off; it is nobody's request that is wrong."""

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(status, message, code, "upstream_error")


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """An answer of the upstream, whose body has not been read.

    Attributes:
        status: HTTP status.
        headers: What a client is to see of its headers.
        content_type: In lower case.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    content_type: str
    _response: httpx.Response

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body as it arrives. What has arrived together comes together.

        An upstream frames each event by itself. Under load many of them come in one read, and each passed on
        by itself would cost a call of the system; with nothing else to do, an event is not kept waiting.

        Raises:
            UpstreamFailed: It broke off.
        """
        arrived, some, room = bytearray(), asyncio.Event(), asyncio.Event()

        async def read() -> None:
            try:
                async for chunk in self._response.aiter_bytes():
                    arrived.extend(chunk)
                    some.set()
                    if len(arrived) >= _AHEAD:
                        room.clear()
                        await room.wait()
            finally:
                some.set()

        reading = asyncio.ensure_future(read())
        try:
            while arrived or not reading.done():
                if arrived:
                    chunk = bytes(arrived)
                    arrived.clear()
                    room.set()
                    yield chunk
                else:
                    some.clear()
                    await some.wait()
            reading.result()
        except httpx.HTTPError as error:
            raise _failure(error, "upstream_cut") from None
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            UpstreamFailed: It broke off.
        """
        try:
            return await self._response.aread()
        except httpx.HTTPError as error:
            raise _failure(error, "upstream_cut") from None


class Upstream:
    """One OpenAI-compatible API.

    Args:
        base_url: Its base URL.
        timeout_s: Seconds of silence after which it is given up.
    """

    def __init__(self, base_url: str, timeout_s: float) -> None:
        self._base = base_url.rstrip("/")
        self._client = httpx.AsyncClient(
            verify=base_url.startswith("https:"),  # Certificates take long to read, and http has none.
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 20.0), pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        query: str = "",
    ) -> AsyncGenerator[UpstreamAnswer]:
        """Send a request on; leaving the block ends it, wherever it stands.

        Args:
            method: Of HTTP.
            path: Below the base URL.
            headers: The client's.
            body: The body.
            query: The query string.

        Raises:
            UpstreamFailed: It cannot be reached, or does not answer.
        """
        sent = {k: v for k, v in headers.items() if k not in _NOT_SENT and not k.startswith(_OURS)}
        request = self._client.build_request(
            method,
            f"{self._base}/{path}" + (f"?{query}" if query else ""),
            headers={**sent, "accept-encoding": "identity"},
            content=body,
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise _failure(error, "upstream_unreachable") from None
        try:
            yield _answer(response)
        finally:
            await response.aclose()


def _answer(response: httpx.Response) -> UpstreamAnswer:
    kept = [
        (k.lower(), v) for k, v in response.headers.raw if k.decode("latin-1").lower() not in _NOT_GIVEN_BACK
    ]
    content_type = response.headers.get("content-type", "").lower()
    return UpstreamAnswer(response.status_code, tuple(kept), content_type, response)


def _failure(error: httpx.HTTPError, code: str) -> UpstreamFailed:
    """What httpx says names hosts and ports; its class is enough."""
    kind = type(error).__name__
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return UpstreamFailed(504, f"the upstream did not answer in time ({kind})", "upstream_timeout")
    said = "broke off its answer" if code == "upstream_cut" else "could not be reached"
    return UpstreamFailed(502, f"the upstream {said} ({kind}); try again", code)

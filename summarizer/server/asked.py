"""One request as it came: its bytes, and what in it concerns us."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from ..integrations.host_list import message_digest
from ..messages import content_text
from .errors import EndpointError
from .gate import Receive, Scope
from .sessions import digest, owner_of, session_named
from .settings import Settings

__all__ = ["MODES", "Asked", "ClientGone", "joined", "read_asked"]

MODES: Final = ("append", "full-history")
_MODE_HEADER: Final = "x-longsplice-mode"
_KEY_HEADER: Final = "idempotency-key"
_RETRY_HEADER: Final = "x-stainless-retry-count"
"""Sent by the official clients with each request; source: openai 2.54."""
_LEADING: Final = frozenset({"system", "developer"})
_MEDIA: Final = frozenset({"image_url", "input_image", "input_audio", "file"})


class ClientGone(Exception):
    """The client left before its request was whole."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A chat completion that a client asks for.

    Attributes:
        raw: The body's bytes, to be forwarded where we stand back.
        body: The same, parsed.
        headers: Names in lower case.
        query: The query string.
        owner: Who asks.
        session_id: The name that the request carries, if any.
        mode: What the client sends of its history.
    """

    raw: bytes
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    query: str
    owner: str
    session_id: str | None
    mode: Literal["append", "full-history"]

    @property
    def model(self) -> str | None:
        """The model asked for."""
        model = self.body.get("model")
        return model if isinstance(model, str) and model else None

    @property
    def stream(self) -> bool:
        """Whether the answer is to come in events."""
        return self.body.get("stream") is True

    @property
    def tools(self) -> list[Mapping[str, Any]]:
        """The tool schemas."""
        tools = self.body.get("tools")
        listed = cast("list[Any]", tools) if isinstance(tools, list) else []
        return [tool for tool in listed if isinstance(tool, Mapping)]

    @property
    def messages(self) -> list[Mapping[str, Any]]:
        """All messages."""
        return cast("list[Mapping[str, Any]]", self.body["messages"])

    @property
    def leading(self) -> list[Mapping[str, Any]]:
        """The system messages that the list begins with; later ones are messages like any other."""
        messages = self.messages
        count = next((i for i, m in enumerate(messages) if m.get("role") not in _LEADING), len(messages))
        return messages[:count]

    @property
    def said(self) -> list[Mapping[str, Any]]:
        """The messages behind those."""
        return self.messages[len(self.leading) :]

    @property
    def system_prompt(self) -> str | None:
        """The text of the leading messages; `None` where there are none."""
        return "\n\n".join(content_text(message.get("content")) for message in self.leading) or None

    @property
    def wants_usage(self) -> bool:
        """Whether the client asked for usage in its stream."""
        options = self.body.get("stream_options")
        return isinstance(options, Mapping) and bool(cast("Mapping[str, Any]", options).get("include_usage"))

    @property
    def has_media(self) -> bool:
        """Whether a message holds an image, sound or a file."""
        for message in self.messages:
            content = message.get("content")
            for part in cast("list[object]", content) if isinstance(content, list) else ():
                if isinstance(part, Mapping) and cast("Mapping[str, Any]", part).get("type") in _MEDIA:
                    return True
        return False

    @property
    def request_key(self) -> str | None:
        """What stands for this very request, if its client named it: a key means nothing with other words."""
        key = self.headers.get(_KEY_HEADER)
        return digest(key, *(message_digest(message).hex() for message in self.said)) if key else None

    @property
    def tried_again(self) -> bool:
        """Whether the client says that it sends this request once more."""
        count = self.headers.get(_RETRY_HEADER, "")
        return count.isdecimal() and int(count) > 0

    @property
    def history_id(self) -> str | None:
        """An id that follows from how a history begins, the same for each request that resends it.

        It stands for the messages up to the one behind the first answer: many conversations begin with the
        same words, few go on with the same ones. `None` before that. The system prompt does not count, since
        clients put dates and reminders there.
        """
        said = self.said
        asked = next((i for i, m in enumerate(said) if m.get("role") == "user"), len(said))
        answer = next((i for i in range(asked, len(said)) if said[i].get("role") == "assistant"), len(said))
        behind = next((i for i in range(answer, len(said)) if said[i].get("role") != "assistant"), None)
        if behind is None:
            return None
        return "history-" + digest(*(message_digest(message).hex() for message in said[: behind + 1]))

    def forwarded(self, messages: Sequence[Mapping[str, Any]], *, ask_usage: bool) -> bytes:
        """The body with other messages; what was meant for us is taken out."""
        body = {**self.body, "messages": messages}
        body.pop("litellm_session_id", None)
        metadata = body.get("metadata")
        if isinstance(metadata, Mapping) and "session_id" in metadata:
            rest = {k: v for k, v in cast("Mapping[str, Any]", metadata).items() if k != "session_id"}
            body = {k: v for k, v in body.items() if k != "metadata"} | ({"metadata": rest} if rest else {})
        if ask_usage:
            options: object = body.get("stream_options")
            given: Mapping[str, Any] = (
                cast("Mapping[str, Any]", options) if isinstance(options, Mapping) else {}
            )
            body["stream_options"] = {**given, "include_usage": True}
        try:
            return json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # Half a character, which JSON can only write escaped.
            return json.dumps(body).encode()


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by their names in lower case; those of one name as one (RFC 9110, June 2022, section 5.3)."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


async def read_asked(scope: Scope, receive: Receive, settings: Settings) -> Asked:
    """Read a request whole, within the limits.

    Raises:
        EndpointError: Too large, too slow, or not what the protocol asks for.
        ClientGone: The client left.
    """
    headers = joined(scope["headers"])
    raw = await _read_body(headers, receive, settings)
    body = _parsed(raw)
    mode = headers.get(_MODE_HEADER, settings.mode)
    if mode not in MODES:
        raise EndpointError(400, f"X-Longsplice-Mode {mode!r} is unknown; send {' or '.join(MODES)}", "mode")
    return Asked(
        raw,
        body,
        headers,
        scope.get("query_string", b"").decode("latin-1"),
        owner_of(headers),
        session_named(headers, body),
        mode,
    )


async def _read_body(headers: Mapping[str, str], receive: Receive, settings: Settings) -> bytes:
    limit = settings.max_body_bytes
    too_large = EndpointError(413, f"the body is larger than the {limit} bytes taken here", "body_too_large")
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    body = bytearray()
    while True:
        try:
            async with asyncio.timeout(settings.client_timeout_s):
                event = await receive()
        except TimeoutError:
            raise EndpointError(408, "the body did not arrive in time; send it again", "slow_body") from None
        if event["type"] == "http.disconnect":
            raise ClientGone
        body += event.get("body", b"")
        if len(body) > limit:
            raise too_large
        if not event.get("more_body", False):
            return bytes(body)


def _parsed(raw: bytes) -> Mapping[str, Any]:
    try:
        body: object = json.loads(raw)
    except (ValueError, RecursionError):
        raise EndpointError(400, "the body is no JSON; send a JSON object", "invalid_json") from None
    if not isinstance(body, dict):
        raise EndpointError(400, "the body is no JSON object", "invalid_json")
    body = cast("dict[str, Any]", body)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise EndpointError(400, "messages must be a list of at least one message", "invalid_messages")
    if not all(isinstance(message, Mapping) for message in cast("list[object]", messages)):
        raise EndpointError(400, "each of messages must be an object", "invalid_messages")
    return body

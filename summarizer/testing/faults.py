"""What goes wrong between a program and a model provider, as values."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from .replies import Reply

__all__ = ["Fault"]

_HTML = b"<html><head><title>Bad gateway</title></head><body><h1>Bad gateway</h1></body></html>"
_ERROR_TEXT = "upstream connect error or disconnect before headers"


@dataclass(frozen=True, slots=True, repr=False)
class Fault:
    """One thing that goes wrong with one answer. Make it by its named constructors.

    Some faults are of the transport (`cut`, `hang`, `status`), some of the body
    (`invalid_json`, `html`), some of the model (`refusal`, `over_long`): those of the
    last kind are well-formed answers, in the words of each protocol.

    Attributes:
        name: The constructor's name.
        then: What the model would have said; `None`: the server's own answer, else "ok".
        code: Status to answer with, in the protocol's error shape; `None`: 200.
        message: The error's text.
        headers: Extra response headers.
        body: Bytes sent in place of the protocol's body.
        content_type: Content type in place of the right one.
        delay_s: Seconds before the status line; infinite for ever.
        pause_s: Seconds in the middle of the body.
        cut_at: Where the connection is closed.
        too_long: Whether the error is the protocol's one for a prompt beyond the window.
    """

    name: str
    then: str | Reply | None = None
    code: int | None = None
    message: str = "the server was told to fail"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    content_type: str | None = None
    delay_s: float = 0.0
    pause_s: float = 0.0
    cut_at: Literal["nowhere", "before_head", "mid_body"] = "nowhere"
    too_long: bool = False

    def __repr__(self) -> str:
        told = [f for f in fields(self) if f.name != "name" and getattr(self, f.name) != f.default]
        return f"Fault.{self.name}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in told)})"

    @property
    def speaks(self) -> bool:
        """Whether the model's answer, or a part of it, reaches the client."""
        silent = self.code is not None or self.body is not None or self.cut_at == "before_head"
        return not silent and self.delay_s != float("inf")

    @classmethod
    def status(cls, code: int, *, retry_after: float | None = None, message: str | None = None) -> Fault:
        """An error status, in the protocol's error shape; `retry_after` in seconds."""
        headers = () if retry_after is None else (("retry-after", f"{retry_after:g}"),)
        return cls(
            "status", code=code, headers=headers, message=message or f"the server was told to answer {code}"
        )

    @classmethod
    def context_window(cls) -> Fault:
        """Status 400 and the words by which the protocol says that the prompt is too long."""
        return cls("context_window", code=400, too_long=True)

    @classmethod
    def slow(cls, delay_s: float, then: str | Reply | None = None) -> Fault:
        """The right answer, `delay_s` seconds late."""
        return cls("slow", then=then, delay_s=delay_s)

    @classmethod
    def stall(cls, pause_s: float, then: str | Reply | None = None) -> Fault:
        """The right answer, with a pause of `pause_s` seconds in the middle of the body."""
        return cls("stall", then=then, pause_s=pause_s)

    @classmethod
    def hang(cls) -> Fault:
        """No answer, ever; the connection stays open until the server ends."""
        return cls("hang", delay_s=float("inf"))

    @classmethod
    def cut(cls) -> Fault:
        """The connection is closed before the status line."""
        return cls("cut", cut_at="before_head")

    @classmethod
    def cut_body(cls, then: str | Reply | None = None) -> Fault:
        """The connection is closed in the middle of the body, or of the stream."""
        return cls("cut_body", then=then, cut_at="mid_body")

    @classmethod
    def empty_body(cls) -> Fault:
        """Status 200 and not one byte of body."""
        return cls("empty_body", body=b"")

    @classmethod
    def invalid_json(cls) -> Fault:
        """Status 200 and a body that ends in the middle of its JSON."""
        return cls("invalid_json", body=b'{"id": "1", "choices": [{"message": {"content": "hal')

    @classmethod
    def html(cls, code: int = 502) -> Fault:
        """A proxy's HTML page in place of an answer; with `code=200` a captive portal's."""
        return cls("html", code=code, body=_HTML, content_type="text/html; charset=utf-8")

    @classmethod
    def error_body(cls, text: str = _ERROR_TEXT) -> Fault:
        """Status 200 and a plain error text as the body."""
        return cls("error_body", body=text.encode(), content_type="text/plain; charset=utf-8")

    @classmethod
    def content_type_wrong(cls, then: str | Reply | None = None) -> Fault:
        """The right answer, declared as `text/plain`."""
        return cls("content_type_wrong", then=then, content_type="text/plain; charset=utf-8")

    @classmethod
    def empty_content(cls) -> Fault:
        """A well-formed answer that says nothing."""
        return cls("empty_content", then=Reply(""))

    @classmethod
    def error_text(cls, text: str = f"Error: {_ERROR_TEXT}") -> Fault:
        """A well-formed answer whose text is an error message."""
        return cls("error_text", then=Reply(text))

    @classmethod
    def invalid_content(cls, text: str = '{"operations": [{"op": "add", "text": "hal') -> Fault:
        """A well-formed answer whose text is broken JSON."""
        return cls("invalid_content", then=Reply(text))

    @classmethod
    def over_long(cls, characters: int = 200_000) -> Fault:
        """A well-formed answer of very many characters."""
        words = "and so on and so forth "
        return cls("over_long", then=Reply((words * (characters // len(words) + 1))[:characters]))

    @classmethod
    def apology(cls, text: str = "I'm sorry, but I can't help with that.") -> Fault:
        """A refusal written as an ordinary answer."""
        return cls("apology", then=Reply(text))

    @classmethod
    def refusal(cls, text: str = "I'm sorry, but I can't help with that.") -> Fault:
        """A refusal in the protocol's own field or finish reason."""
        return cls("refusal", then=Reply(text, finish_reason="refusal"))

    @classmethod
    def content_filter(cls, text: str = "") -> Fault:
        """An answer that the provider's filter ended; what had been said stays in `text`."""
        return cls("content_filter", then=Reply(text, finish_reason="content_filter"))

    @classmethod
    def truncated(cls, text: str) -> Fault:
        """An answer that ended at the output limit."""
        return cls("truncated", then=Reply(text, finish_reason="length"))

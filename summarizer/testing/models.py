"""A summary model that says what the test tells it to say."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

from .script import Script

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Hang", "ScriptedModel", "ScriptedReply"]


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """What a model answered, with the attributes of the summary room's `ModelReply`.

    Attributes:
        text: The answer.
        usage: Reported usage; `None` if the model reported none.
        model: The model that answered.
        cost_usd: What the call cost; `None` if unknown.
        finish_reason: `stop`, `length`, `content_filter`, ...; `None` if not reported.
    """

    text: str
    usage: Any = None
    model: str = "scripted"
    cost_usd: Decimal | None = None
    finish_reason: str | None = "stop"


class Hang:
    """A step that answers only after `release`, so that a test can act in between.

    `await hang.started.wait()` returns once the model is being asked. Without a release
    the call waits until its caller gives up. Belongs to one event loop.

    Args:
        then: The answer after the release; any step but another `Hang`.
    """

    def __init__(self, then: Step = "") -> None:
        self.then = then
        self.started = asyncio.Event()
        self._released = asyncio.Event()

    def release(self) -> None:
        """Let the waiting call, and any later one, be answered."""
        self._released.set()

    async def wait(self) -> None:
        """Announce the call and wait for the release."""
        self.started.set()
        await self._released.wait()


Answer = Callable[[Any], Any]
Step = str | BaseException | type[BaseException] | Hang | ScriptedReply | Answer


class ScriptedModel:
    """Plays the `SummaryModel` protocol from a script.

    A step is a text; an error to raise; a function of the request (sync or async) that
    gives a text, a reply or an error; a `Hang`; or a whole reply (a `ScriptedReply`, or
    any object with a `text`). Requests are kept in `requests`, in order of arrival.

    As an async context manager it checks at the end that every step was used and that no
    call came beyond them, unless the block is already failing.

    Args:
        steps: Played once each, in order.
        answer: Plays every call after the steps; without it, such a call is an error.
        reply_factory: Makes a reply from a text; by default a `ScriptedReply` without usage.

    Example:
        ```python
        async with ScriptedModel(["first answer", TimeoutError("too slow")]) as model:
            ...
        ```
    """

    def __init__(
        self,
        steps: Iterable[Step] = (),
        *,
        answer: Answer | None = None,
        reply_factory: Callable[[str], Any] = ScriptedReply,
    ) -> None:
        self.requests: list[Any] = []
        self._script: Script[Step] = Script(steps, type(self).__name__)
        self._answer = answer
        self._reply_factory = reply_factory

    # Untyped at both ends on purpose: the protocol's values live on a floor below, and
    # whatever has their attributes serves.
    async def complete(self, request: Any) -> Any:
        """Answer one request as the next step says.

        Raises:
            UnexpectedCall: No step is left and there is no `answer`.
        """
        self.requests.append(request)
        step = self._script.take()
        if step is None:
            step = self._answer
        if step is None:
            raise self._script.unexpected(f"complete() number {len(self.requests)}")
        return await self._play(step, request)

    def assert_done(self) -> None:
        """Check that the script was followed to its end.

        Raises:
            ScriptMismatch: Steps are unused, or calls came beyond them, even if the code
                under test survived the error that they got.
        """
        self._script.assert_done()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.assert_done()

    async def _play(self, step: Any, request: Any) -> Any:
        if isinstance(step, Hang):
            await step.wait()
            return await self._play(step.then, request)
        if _is_error(step):
            raise step
        if isinstance(step, str):
            return self._reply_factory(step)
        if hasattr(step, "text"):
            return step
        if not callable(step):
            raise TypeError(f"a step gave {step!r}; give a text, a reply with a text, or an error")
        value = step(request)
        return await self._play(await value if inspect.isawaitable(value) else value, request)


def _is_error(step: object) -> bool:
    return isinstance(step, BaseException) or (isinstance(step, type) and issubclass(step, BaseException))

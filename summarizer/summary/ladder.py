"""The ladder: who is asked for a summary, how often, and what stands if nobody answers.

    model, with retries  →  next model  →  extractive, which never fails

`summarize` never raises for a failing summarizer; only a cancellation passes through. Each step that
failed is in the outcome's `rejections`, each answered call in its `calls`.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar, cast

from ..config import SUMMARY_TIMEOUT_S, SUMMARY_TRIES
from ..errors import InvalidSetting, SummaryModelError, SummaryRejected
from ..meter import context_window, counter_for_model, max_output_tokens, prior_ratio
from ..telemetry import log
from .adopt import adopted_summary, adopted_text
from .extractive import ExtractiveSummarizer, extract
from .llm import LitellmModel, ModelCallFailed, ModelReply, SummaryModel, failure_of
from .pipeline import summary_steps
from .prompts import COMPACT, FULL, Style, prompt_for
from .reading import ASSUMED_WINDOW, Answer, Ask, Question, Reader
from .record import Rejection, Summarizer, Summary, SummaryOutcome, SummaryRequest
from .redact import redact

__all__ = ["CallableSummarizer", "LlmSummarizer", "SummaryFunction", "summarize"]

SummaryFunction = Callable[[list[dict[str, Any]]], "str | Awaitable[str]"]

CONCURRENCY: Final = 4
"""Chunks that one summary has read at once."""
BACKOFF_S: Final = 1.0
"""Seconds before the first retry, doubled each time, with as much jitter."""
BACKOFF_MOST_S: Final = 20.0
_LARGE: Final = 50_000
"""Characters from which counting and chunking are worth a thread (some 50 ms)."""

Result = TypeVar("Result")


class LlmSummarizer:
    """Asks models, in order, through the pipeline.

    Args:
        models: litellm names, the first one first, at least one.
        model_factory: Makes the client of a name; by default a `LitellmModel` with `options`.
        timeout_s: Seconds one request may take; the first of a process includes litellm's import.
        deadline_s: Seconds one question may take with its retries; twice `timeout_s` by default.
        tries: Most requests for one question to one model.
        backoff_s: Seconds before the first retry.
        window: Tokens of prompt and answer together, for models that litellm's table does not
            list (8,192 are assumed), or to ask for less.
        prompt: `full`, `compact`, or `None` to choose by the model's size and window.
        concurrency: Chunks read at once.
        **options: For each model, as `litellm.acompletion` takes them: `api_base`, `api_key`, ...

    Raises:
        InvalidSetting: No models, or a number out of range.
    """

    def __init__(
        self,
        models: Sequence[str],
        *,
        model_factory: Callable[..., SummaryModel] = LitellmModel,
        timeout_s: float = SUMMARY_TIMEOUT_S,
        deadline_s: float | None = None,
        tries: int = SUMMARY_TRIES,
        backoff_s: float = BACKOFF_S,
        window: int | None = None,
        prompt: Style | None = None,
        concurrency: int = CONCURRENCY,
        **options: Any,
    ) -> None:
        names = (models,) if isinstance(models, str) else tuple(models)
        if not names or not all(isinstance(name, str) and name.strip() for name in names):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidSetting(f"summary models {models!r} must be litellm names, at least one, none empty")
        for what, value in (("timeout_s", timeout_s), ("tries", tries), ("concurrency", concurrency)):
            if value <= 0:
                raise InvalidSetting(f"{what}={value!r} must be more than 0")
        if window is not None and window < 256:
            raise InvalidSetting(f"window={window!r} must be 256 tokens or more")
        if prompt not in (None, "full", "compact"):
            raise InvalidSetting(f"prompt={prompt!r} is unknown; use 'full', 'compact' or None")
        self.models = names
        self._clients = [model_factory(name, **options) for name in names]
        self._window, self._prompt = window, prompt
        self._timeout_s, self._tries, self._backoff_s = timeout_s, int(tries), backoff_s
        self._deadline_s = 2 * timeout_s if deadline_s is None else deadline_s
        self._concurrency = concurrency

    def __repr__(self) -> str:
        return f"LlmSummarizer({list(self.models)!r})"

    async def summarize(self, request: SummaryRequest) -> Summary:
        """The summary; see `write`."""
        return (await self.write(request)).summary

    async def write(self, request: SummaryRequest) -> SummaryOutcome:
        """The summary, with its calls and what was rejected on the way. Never raises for a failing model."""
        readers = await asyncio.to_thread(lambda: [self._reader(name) for name in self.models])
        steps = summary_steps(request, readers, timeout_s=self._timeout_s, tries=self._tries)
        large = _is_large(request)
        answers: Sequence[Answer] | None = None
        while True:
            step = await _run(partial(_advance, steps, answers), large)
            if isinstance(step, SummaryOutcome):
                return step
            answers = await self._ask(step)

    def _reader(self, name: str) -> Reader:
        # In a thread: the first look into the tables reads files.
        window = self._window or context_window(name) or ASSUMED_WINDOW
        chosen = {"full": FULL, "compact": COMPACT}.get(self._prompt or "") or prompt_for(name, window)
        counter = counter_for_model(name)
        counter.load()
        return Reader(name, window, chosen, counter, prior_ratio(name), max_output_tokens(name))

    async def _ask(self, ask: Ask) -> list[Answer]:
        gate = asyncio.Semaphore(self._concurrency)
        name, client = self.models[ask.reader], self._clients[ask.reader]

        async def one(question: Question) -> Answer:
            async with gate:
                return await self._ask_one(name, client, question)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(question)) for question in ask.questions]
        return [task.result() for task in tasks]

    async def _ask_one(self, name: str, client: SummaryModel, question: Question) -> Answer:
        """Send one question, again after transient errors, until its tries or its deadline are used up."""
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, stop_before_delay

        sent = 0
        started = time.monotonic()
        deadline = started + self._deadline_s

        async def attempt() -> ModelReply:
            nonlocal sent, started
            sent += 1
            started = time.monotonic()
            return await _complete(name, client, question, min(self._timeout_s, deadline - started))

        retrying = AsyncRetrying(
            retry=retry_if_exception(_is_transient),
            stop=stop_after_attempt(question.tries) | stop_before_delay(self._deadline_s),
            wait=self._wait,
            reraise=True,
        )
        try:
            reply: ModelReply = await retrying(attempt)
        except SummaryModelError as error:
            return Answer(None, error, sent, time.monotonic() - started)
        return Answer(reply, None, sent, time.monotonic() - started)

    def _wait(self, state: Any) -> float:
        """Seconds until the next try: what the provider asked for, or more."""
        from tenacity import wait_random_exponential

        error = state.outcome.exception() if state.outcome is not None else None
        own = wait_random_exponential(multiplier=self._backoff_s, max=BACKOFF_MOST_S)(state)
        return max(own, getattr(error, "retry_after_s", None) or 0.0)


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, SummaryModelError) and error.transient


async def _complete(name: str, client: SummaryModel, question: Question, timeout_s: float) -> ModelReply:
    """One request; whatever the client raises is a `SummaryModelError` afterwards."""
    request = replace(question.request, timeout_s=timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            return await client.complete(request)
    except SummaryModelError:
        raise
    except TimeoutError:
        raise ModelCallFailed(
            f"summary model {name!r} did not answer within {timeout_s:g} s", "model.timeout"
        ) from None
    except Exception as error:  # noqa: BLE001 - a client may be the user's own and raise anything
        log.exception("summary.model_failed", model=name, error=type(error).__name__)
        raise failure_of(error, name) from None


def _advance(steps: Any, answers: Sequence[Answer] | None) -> Ask | SummaryOutcome:
    try:
        return next(steps) if answers is None else steps.send(answers)
    except StopIteration as done:
        return cast("SummaryOutcome", done.value)


def _is_large(request: SummaryRequest) -> bool:
    size = 0
    for event in request.unread:
        size += len(event.message.text) if event.message is not None else 0
        if size > _LARGE:
            return True
    return False


async def _run(work: Callable[[], Result], large: bool) -> Result:
    return await asyncio.to_thread(work) if large else work()


class CallableSummarizer:
    """A user's function as a summarizer: its text becomes the narrative, rules fill the ledger.

    Args:
        function: Takes the unread messages as Chat Completions mappings (secrets redacted, the
            narrative so far as a first `user` message) and gives a text; sync ones run in a thread.
        timeout_s: Seconds after which nobody waits for it; a thread that hangs is left behind.
    """

    def __init__(self, function: SummaryFunction, *, timeout_s: float = SUMMARY_TIMEOUT_S) -> None:
        self.function = function
        self._timeout_s = timeout_s

    async def summarize(self, request: SummaryRequest) -> Summary:
        """The summary; see `write`."""
        return (await self.write(request)).summary

    async def write(self, request: SummaryRequest) -> SummaryOutcome:
        """The outcome with the function's text in it.

        Raises:
            SummaryRejected: The text is no summary.
            Exception: Whatever the function raises.
        """
        async with asyncio.timeout(self._timeout_s):
            text = await self._call(_messages(request))
        if not isinstance(text, str):
            raise SummaryRejected(
                "summary.unparsable", f"the function gave {type(text).__name__}, not a text"
            )
        return await _run(lambda: adopted_text(request, extract(request), text), _is_large(request))

    async def _call(self, messages: list[dict[str, Any]]) -> object:
        call = getattr(self.function, "__call__", self.function)  # noqa: B004 - an object may be async by its __call__
        if inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(call):
            return await cast("Awaitable[object]", self.function(messages))
        value = await asyncio.to_thread(self.function, messages)
        return await value if inspect.isawaitable(value) else value


def _messages(request: SummaryRequest) -> list[dict[str, Any]]:
    messages = [event.message.to_wire() for event in request.unread if event.message is not None]
    for message in messages:
        if isinstance(message["content"], str):
            message["content"] = redact(message["content"])
    if request.previous is not None and request.previous.narrative:
        messages.insert(
            0, {"role": "user", "content": f"Notes on what came before: {request.previous.narrative}"}
        )
    return messages


async def summarize(request: SummaryRequest, summarizer: Summarizer) -> SummaryOutcome:
    """Write a summary that may stand, by this summarizer or, where it fails, by rules.

    Args:
        request: What to summarize.
        summarizer: One of ours, or any object with `async summarize(request) -> Summary`. What a foreign
            one returns is checked: it reaches the cut, its new entries have sources, what the rules protect
            is still there, its values occur in the log, it keeps to the budget.
    """
    started = time.monotonic()
    if isinstance(summarizer, ExtractiveSummarizer):
        outcome = await _run(partial(extract, request), _is_large(request))
    elif isinstance(summarizer, LlmSummarizer):
        outcome = await summarizer.write(request)
    else:
        outcome = await _custom(request, summarizer)
    _report(request, summarizer, outcome, time.monotonic() - started)
    return outcome


async def _custom(request: SummaryRequest, summarizer: Summarizer) -> SummaryOutcome:
    """What a user's summarizer gives; whatever it raises is recorded, and rules write instead."""
    try:
        if isinstance(summarizer, CallableSummarizer):
            return await summarizer.write(request)
        async with asyncio.timeout(SUMMARY_TIMEOUT_S):
            summary = await summarizer.summarize(request)
        return await _run(lambda: adopted_summary(request, extract(request), summary), _is_large(request))
    except SummaryRejected as error:
        rejection = Rejection("custom", error.reason_code, str(error))
    except Exception as error:  # noqa: BLE001 - the user's own code; it must not cost a message
        log.exception(
            "summary.custom_failed", conversation_id=request.conversation_id, error=type(error).__name__
        )
        code = "model.timeout" if isinstance(error, TimeoutError) else "custom.failed"
        rejection = Rejection(
            "custom", code, f"the summarizer raised {type(error).__name__}; its log line has the traceback"
        )
    outcome = await _run(partial(extract, request), _is_large(request))
    return replace(outcome, rejections=(rejection,))


def _report(
    request: SummaryRequest, summarizer: Summarizer, outcome: SummaryOutcome, duration_s: float
) -> None:
    ids = {"conversation_id": request.conversation_id, "session_id": request.session_id}
    for rejection in outcome.rejections:
        log.warning("summary.rejected", **ids, step=rejection.step, reason_code=rejection.reason_code)
    writer = outcome.summary.writer
    first = summarizer.models[0] if isinstance(summarizer, LlmSummarizer) else None
    if outcome.rejections and writer != first:
        log.warning("summary.fallback_used", **ids, writer=writer)
    log.info(
        "summary.written",
        **ids,
        writer=writer,
        through=outcome.summary.through,
        model_through=outcome.summary.model_through,
        seed_tokens=outcome.seed_tokens,
        calls=len(outcome.calls),
        duration_s=round(duration_s, 3),
    )

"""The summary model: a small protocol, and the client that reaches any model through litellm.

litellm is imported at the first call, in a thread: it takes seconds. Its failures are
told apart by class name and status, so nothing here needs it to be importable.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol

from ..errors import InvalidSetting, SummaryModelError
from ..meter import Usage, cost_of, price_for, supports_response_schema

__all__ = [
    "LitellmModel",
    "ModelCallFailed",
    "ModelReply",
    "ModelRequest",
    "SummaryModel",
    "failure_of",
    "load_litellm",
]

TEMPERATURE: Final = 0.2
"""Low, so that notes stay close to their source; above 0, so that a second try may differ."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One question to a summary model.

    Attributes:
        messages: In the Chat Completions shape.
        response_schema: JSON schema that the answer should have; `None` for plain text. A model
            that knows no schemas may ignore it: the instructions ask for the same shape.
        max_output_tokens: Most tokens of the answer.
        timeout_s: Seconds after which nobody waits for the answer any more.
        tools: Tool schemas that were sent with the messages before; none of them is to be called.
    """

    messages: list[dict[str, Any]]
    response_schema: Mapping[str, Any] | None
    max_output_tokens: int
    timeout_s: float
    tools: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What a summary model answered.

    Attributes:
        text: The answer as it came; judged later.
        usage: What the provider reported; `None` if nothing.
        model: The model that answered, as the provider names it.
        cost_usd: By the price table; `None` if unknown.
        finish_reason: `stop`, `length`, `content_filter`, `refusal`, ...; `None` if not reported.
    """

    text: str
    usage: Usage | None = None
    model: str = ""
    cost_usd: Decimal | None = None
    finish_reason: str | None = None


class SummaryModel(Protocol):
    """Asks a model once. No retries of its own: they are counted outside."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        """The model's answer.

        Raises:
            SummaryModelError: It could not be asked, or answered with an error.
        """
        ...


class ModelCallFailed(SummaryModelError):
    """A `SummaryModelError` with what the ladder records and what a retry honours.

    Attributes:
        reason_code: `model.timeout`, `model.unavailable`, `model.context_window` or `model.refused`.
        retry_after_s: Seconds that the provider asked to wait; `None` if it did not.
    """

    def __init__(self, message: str, reason_code: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(
            message,
            transient=reason_code in ("model.timeout", "model.unavailable"),
            context_window=reason_code == "model.context_window",
        )
        self.reason_code = reason_code
        self.retry_after_s = retry_after_s


class LitellmModel:
    """A model by its litellm name, such as `gpt-4o-mini`, `anthropic/claude-haiku-4-5` or `ollama/llama3.2`.

    Answers are held to the request's JSON schema unless litellm's table says that the model knows
    none. Where a server refuses the schema, or the temperature, the same question goes out once
    more without it, and this instance does not send it again.

    Args:
        model: As litellm writes it.
        **options: Passed to `litellm.acompletion` as they are: `api_base`, `api_key`, `temperature`, ...
    """

    def __init__(self, model: str, **options: Any) -> None:
        if not model or not model.strip():
            raise InvalidSetting(
                f"summary model {model!r} is empty; use a litellm name such as 'gpt-4o-mini'"
            )
        self.model = model
        self._options = options
        self._refused: set[str] = set()
        if supports_response_schema(model) is False:
            self._refused.add("response_format")

    def __repr__(self) -> str:
        return f"LitellmModel({self.model!r})"

    async def complete(self, request: ModelRequest) -> ModelReply:
        """The model's answer; see `SummaryModel`."""
        litellm = await load_litellm()
        while True:
            parameters = self._parameters(request)
            try:
                response = await litellm.acompletion(**parameters)
            except Exception as error:  # noqa: BLE001 - errors of every class come out of litellm; all are sorted here
                if self._gave_up_on_a_parameter(error, parameters):
                    continue
                raise failure_of(error, self.model) from None
            return self._reply(response)

    def _parameters(self, request: ModelRequest) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            "model": self.model,
            "messages": request.messages,
            "max_tokens": request.max_output_tokens,
            "timeout": request.timeout_s,
            "temperature": TEMPERATURE,
            "max_retries": 0,
            "drop_params": True,
        }
        if request.response_schema is not None:
            schema = {"name": "summary", "schema": request.response_schema, "strict": True}
            parameters["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request.tools:
            parameters["tools"] = [dict(tool) for tool in request.tools]
            # Else litellm looks for its own MCP tools among them, and fails without `mcp` (1.106.2).
            parameters["_skip_mcp_handler"] = True
            if not _forgets_on_tool_choice(self.model):
                parameters["tool_choice"] = "none"
        kept = {name: value for name, value in parameters.items() if name not in self._refused}
        return kept | self._options

    def _gave_up_on_a_parameter(self, error: Exception, parameters: Mapping[str, Any]) -> bool:
        """Whether the server refused a parameter that we can do without, and it was dropped just now."""
        if _status(error) not in (400, 404, 422):
            return False
        told = str(error).lower()
        for name, marks in _OPTIONAL.items():
            if name in parameters and name not in self._options and any(mark in told for mark in marks):
                self._refused.add(name)
                return True
        return False

    def _reply(self, response: Any) -> ModelReply:
        choice = response.choices[0] if getattr(response, "choices", None) else None
        message = getattr(choice, "message", None)
        text = getattr(message, "content", None) or ""
        finish = getattr(choice, "finish_reason", None)
        if not text and _refusal(message):
            text, finish = _refusal(message), "refusal"
        if not text and getattr(message, "tool_calls", None):
            finish = "tool_calls"
        usage = _usage(response)
        hidden: Mapping[str, Any] = getattr(response, "_hidden_params", None) or {}
        price = price_for(self.model, hidden.get("custom_llm_provider"))
        return ModelReply(
            text=str(text),
            usage=usage,
            model=str(getattr(response, "model", None) or self.model),
            cost_usd=None if usage is None or price is None else cost_of(usage, price),
            finish_reason=None if finish is None else str(finish),
        )


_OPTIONAL: Final = {
    "response_format": (
        "response_format", "json_schema", "response format", "structured output", "responseschema",
        "response_schema", "output_config", "output_format", "grammar",
    ),
    "temperature": ("temperature",),
    "tool_choice": ("tool_choice", "tool choice", "toolchoice"),
}  # fmt: skip
"""Parameters that a summary can do without, and the words by which servers refuse them."""


def _forgets_on_tool_choice(model: str) -> bool:
    """Whether another `tool_choice` than before drops the messages from the provider's cache.

    Source: Claude docs, "Prompt caching", what invalidates the cache (read 2026-11). A call that comes
    instead of an answer is refused as one, here as everywhere.
    """
    return "claude" in model.lower()


def _refusal(message: Any) -> str:
    fields: Mapping[str, Any] = getattr(message, "provider_specific_fields", None) or {}
    return str(getattr(message, "refusal", None) or fields.get("refusal") or "")


def _usage(response: object) -> Usage | None:
    try:
        return Usage.from_response(response)
    except InvalidSetting:
        return None  # A provider's nonsense is no reason to lose its answer: unknown.


_CONTEXT_WINDOW: Final = (
    "context length", "context_length", "context window", "context size", "maximum context",
    "prompt is too long", "too many tokens", "input token count",
    "exceeds the maximum number of tokens", "input is too long", "reduce the length",
)  # fmt: skip
_GARBLED: Final = "converting to valid response"
"""litellm's words (1.106.2) for a Gemini answer that is no JSON; it calls that a status 422."""
_TIMEOUTS: Final = frozenset({"Timeout", "APITimeoutError", "TimeoutError", "TimeoutException"})
_TRANSIENT: Final = frozenset(
    {
        "APIConnectionError", "InternalServerError", "ServiceUnavailableError", "BadGatewayError",
        "RateLimitError", "APIResponseValidationError", "ConnectionError", "TransportError",
    }
)  # fmt: skip
_FINAL: Final = frozenset({"BudgetExceededError", "ContentPolicyViolationError", "RejectedRequestError"})
_NO_MONEY: Final = ("insufficient_quota", "billing", "credit balance")


def failure_of(error: BaseException, model: str) -> SummaryModelError:
    """What an error of litellm, or of any other client, means for the ladder.

    The text names the model, the error's class and its status: providers quote keys and prompts
    in their messages, so none of those words are passed on.
    """
    if isinstance(error, SummaryModelError):
        return error
    names = {cls.__name__ for cls in type(error).__mro__}
    status = _status(error)
    reason_code = _reason_code(names, status, str(error).lower())
    shown = type(error).__name__ if status is None else f"{type(error).__name__}, status {status}"
    return ModelCallFailed(
        f"summary model {model!r} {_SAID[reason_code]} ({shown}); {_NEXT.get(status, 'see its provider')}",
        reason_code,
        retry_after_s=_retry_after(error),
    )


_SAID: Final = {
    "model.timeout": "did not answer in time",
    "model.unavailable": "is unavailable",
    "model.context_window": "takes less input than this",
    "model.refused": "refused the request",
}
_NEXT: Final[Mapping[int | None, str]] = {
    401: "set its API key",
    402: "check the account's balance",
    403: "check that the API key may use it",
    404: "check the model's name",
    429: "it limits requests, wait or raise the limit",
}


def _reason_code(names: set[str], status: int | None, told: str) -> str:
    if "ContextWindowExceededError" in names or (
        status in (400, 413, 422) and any(mark in told for mark in _CONTEXT_WINDOW)
    ):
        return "model.context_window"
    if names & _TIMEOUTS or status in (408, 504):
        return "model.timeout"
    if names & _FINAL or (status == 429 and any(mark in told for mark in _NO_MONEY)):
        return "model.refused"
    if _GARBLED in told:
        return "model.unavailable"
    if status is not None and 400 <= status < 500 and status != 429:
        return "model.refused"
    transient = names & _TRANSIENT or (status is not None and (status == 429 or status >= 500))
    return "model.unavailable" if transient else "model.refused"


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None)
    return int(status) if isinstance(status, int) or (isinstance(status, str) and status.isdigit()) else None


def _retry_after(error: BaseException) -> float | None:
    """Seconds the provider asked for, out of `retry-after` as a number or as a date."""
    for headers in (
        getattr(getattr(error, "response", None), "headers", None),
        getattr(error, "litellm_response_headers", None),
        getattr(error, "headers", None),
    ):
        value = headers.get("retry-after") if headers is not None else None
        if value is None:
            continue
        try:
            return max(0.0, float(value))
        except ValueError:
            pass
        try:
            return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):
            return None
    return None


_loading = threading.Lock()
_QUIET: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}
"""For the time of the import: no prices and no header names fetched over the network, no `.env` file read
into the environment. All are litellm's own switches, and it has none but environment variables for them."""


async def load_litellm() -> Any:
    """The litellm module; imported in a thread at the first call.

    What the user has set stays set. Where we are the first to import it, its price table is the
    installed one, no `.env` file is loaded, and it prints no hints to stdout
    (`litellm.suppress_debug_info`). A program that wants it otherwise imports litellm itself, first.
    """
    return _litellm or await asyncio.to_thread(_import_litellm)


_litellm: Any = None


def _import_litellm() -> Any:
    global _litellm
    with _loading:
        if "litellm" in sys.modules:
            _litellm = importlib.import_module("litellm")
        if _litellm is None:
            with _set_meanwhile(_QUIET):
                _litellm = importlib.import_module("litellm")
                _load_beta_headers()
            _litellm.suppress_debug_info = True
        return _litellm


def _load_beta_headers() -> None:
    """Read the installed list of Anthropic's headers, which litellm would fetch during the first call."""
    try:
        module: Any = importlib.import_module("litellm.anthropic_beta_headers_manager")
    except ImportError:
        return
    load = getattr(module, "reload_beta_headers_config", None)
    if callable(load):
        load()


@contextmanager
def _set_meanwhile(variables: Mapping[str, str]) -> Generator[None]:
    """Set the environment variables that nobody has set, and take them back."""
    added = [name for name in variables if name not in os.environ]
    os.environ.update({name: variables[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)

"""The client: what it makes of errors and answers. Over the wire it is shown in `test_wire`."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from summarizer.errors import InvalidSetting, SummaryModelError
from summarizer.summary.llm import LitellmModel, ModelCallFailed, failure_of


class Response:
    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers


def error(
    name: str, status: int | None = None, text: str = "", headers: dict[str, str] | None = None
) -> Exception:
    """An error of a class by this name, as litellm raises them."""
    made = type(name, (Exception,), {})(text)
    if status is not None:
        made.status_code = status
    if headers is not None:
        made.response = Response(headers)
    return made


@pytest.mark.parametrize(
    ("raised", "reason_code", "transient"),
    [
        (error("RateLimitError", 429), "model.unavailable", True),
        (error("RateLimitError", 429, "You exceeded your quota: insufficient_quota"), "model.refused", False),
        (error("InternalServerError", 500), "model.unavailable", True),
        (error("ServiceUnavailableError", 503), "model.unavailable", True),
        (error("BadGatewayError", 502), "model.unavailable", True),
        (error("APIError", 529), "model.unavailable", True),
        (error("APIConnectionError", 500), "model.unavailable", True),
        (error("Timeout", 408), "model.timeout", True),
        (TimeoutError(), "model.timeout", True),
        (error("AuthenticationError", 401), "model.refused", False),
        (error("PermissionDeniedError", 403), "model.refused", False),
        (error("NotFoundError", 404), "model.refused", False),
        (error("BadRequestError", 400), "model.refused", False),
        (error("BudgetExceededError", 429), "model.refused", False),
        (error("ContentPolicyViolationError", 400), "model.refused", False),
        (error("ContextWindowExceededError", 400), "model.context_window", False),
        (
            error("BadRequestError", 400, "the request exceeds the available context size"),
            "model.context_window",
            False,
        ),
        (
            error("BadRequestError", 422, "Error converting to valid response block=x"),
            "model.unavailable",
            True,
        ),
        (error("SomethingNew"), "model.refused", False),
    ],
    ids=lambda value: f"{type(value).__name__}" if isinstance(value, Exception) else str(value),
)
def test_errors_are_told_apart_by_class_name_and_status(
    raised: Exception, reason_code: str, transient: bool
) -> None:
    """What may pass is tried again, what is too long is cut, everything else is final."""
    failure = failure_of(raised, "m1")

    assert isinstance(failure, ModelCallFailed)
    assert (failure.reason_code, failure.transient) == (reason_code, transient)
    assert failure.context_window is (reason_code == "model.context_window")


def test_the_text_of_a_failure_names_the_model_and_quotes_nothing() -> None:
    """Providers quote keys and prompts in their errors; ours have the class, the status and the next step."""
    failure = failure_of(
        error("AuthenticationError", 401, "Incorrect API key provided: sk-abc123"), "gpt-4o-mini"
    )

    assert str(failure) == (
        "summary model 'gpt-4o-mini' refused the request (AuthenticationError, status 401); set its API key"
    )


def test_a_failure_that_is_one_already_stays_itself() -> None:
    """Clients of a user's own raise the plain error."""
    plain = SummaryModelError("busy", transient=True)

    assert failure_of(plain, "m1") is plain


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("soon", None), (None, None)],
)
def test_retry_after_is_read_as_seconds(value: str | None, seconds: float | None) -> None:
    """What is no number of seconds is unknown."""
    failure = failure_of(
        error("RateLimitError", 429, headers={} if value is None else {"retry-after": value}), "m1"
    )

    assert isinstance(failure, ModelCallFailed)
    assert failure.retry_after_s == seconds


def test_retry_after_is_read_as_a_date() -> None:
    """Some providers name the moment."""
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    failure = failure_of(error("RateLimitError", 429, headers={"retry-after": then}), "m1")

    assert isinstance(failure, ModelCallFailed)
    assert failure.retry_after_s is not None
    assert 60 < failure.retry_after_s <= 90


@pytest.mark.parametrize("name", ["", "  "])
def test_a_model_needs_a_name(name: str) -> None:
    """An empty name fails when it is given."""
    with pytest.raises(InvalidSetting):
        LitellmModel(name)


def test_a_key_is_not_shown() -> None:
    """Options stay out of the repr, since keys are among them."""
    assert repr(LitellmModel("gpt-4o-mini", api_key="sk-secret")) == "LitellmModel('gpt-4o-mini')"


PROBE = """
import asyncio, json, os, sys
reached = []
watched = ("socket.connect", "socket.getaddrinfo")
sys.addaudithook(lambda name, args: reached.append(str(args)) if name in watched else None)
from summarizer.summary.llm import load_litellm
early = "litellm" in sys.modules
before = dict(os.environ)
litellm = asyncio.run(load_litellm())
quiet = litellm.suppress_debug_info
print(json.dumps({"early": early, "reached": reached, "same": before == dict(os.environ), "quiet": quiet}))
"""


@pytest.mark.slow
def test_loading_litellm_changes_no_environment_and_asks_no_network(tmp_path: Path) -> None:
    """The first call fetches no price table, reads no `.env` file and leaves no variable behind."""
    (tmp_path / ".env").write_text("LONGSPLICE_LEAKED=1\n")
    root = Path(__file__).parents[3]
    environment = {"PATH": "", "PYTHONPATH": str(root), "HOME": str(tmp_path)}
    ran: Any = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(ran.stdout) == {"early": False, "reached": [], "same": True, "quiet": True}

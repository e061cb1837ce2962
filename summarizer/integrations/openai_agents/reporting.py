"""The line that an operator reads when a history was shown shortened."""

from __future__ import annotations

import logging
from typing import Any, Final

from ...telemetry import log

__all__ = ["is_heard", "report_compaction"]

_TEXT: Final = (
    "history.compacted session=%s items=%s->%s tokens=%s->%s limiting_factor=%s window=%s token_budget=%s"
)
_KEYS: Final = (
    "session_id", "items_before", "items_after", "tokens_before", "tokens_after", "limiting_factor",
    "window_size", "token_budget",
)  # fmt: skip


def is_heard() -> bool:
    """Whether anybody may read the event, for whom its tokens must be counted."""
    import structlog

    return structlog.is_configured() or logging.getLogger("summarizer").isEnabledFor(logging.INFO)


def report_compaction(**figures: Any) -> None:
    """One INFO event, `history.compacted`.

    Through structlog where the application has configured it. Else on the standard logger `summarizer`, with
    the figures in the text as well as on the record, since few formatters show what is only there.
    """
    import structlog

    if structlog.is_configured():
        log.info("history.compacted", **figures)
    else:
        text = tuple(figures[key] for key in _KEYS)
        logging.getLogger("summarizer").info(_TEXT, *text, extra=figures)

"""Log events: fixed names in, nothing out until the application configures logging.

`log()` gives a structlog logger. Where the application has configured structlog, its
configuration holds; else events go to the standard logger `summarizer`, which is silent
until a handler is added. Never logged: message text, arguments, keys.
"""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["log"]

logging.getLogger("summarizer").addHandler(logging.NullHandler())


class _Log:
    """Loads structlog at the first event, not at import."""

    def debug(self, event: str, **ids: Any) -> None:
        _logger().debug(event, **ids)

    def info(self, event: str, **ids: Any) -> None:
        _logger().info(event, **ids)

    def warning(self, event: str, **ids: Any) -> None:
        _logger().warning(event, **ids)

    def error(self, event: str, **ids: Any) -> None:
        _logger().error(event, **ids)

    def exception(self, event: str, **ids: Any) -> None:
        _logger().error(event, exc_info=True, **ids)


log = _Log()
"""Event names are `noun.verb_past`; keys are ids and figures (`session_id`, `duration_s`), never content."""


def _logger() -> Any:
    import structlog

    if structlog.is_configured():
        return structlog.get_logger("summarizer")
    return structlog.wrap_logger(
        logging.getLogger("summarizer"),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.render_to_log_kwargs,
        ],
    )

"""Log events: silent until the application asks for them."""

import logging
import subprocess
import sys

import structlog

from summarizer.telemetry import log


def test_an_event_reaches_the_standard_logger(caplog):
    """Without structlog's configuration, events are records of the logger `summarizer` with their ids."""
    with caplog.at_level(logging.DEBUG, "summarizer"):
        log.info("segment.created", session_id="s~1", duration_s=0.5)
        log.debug("segment.claimed_elsewhere")
        log.error("segment.failed")
    record = caplog.records[0]

    assert [r.levelname for r in caplog.records] == ["INFO", "DEBUG", "ERROR"]
    assert (record.name, record.getMessage()) == ("summarizer", "segment.created")
    assert (record.__dict__["session_id"], record.__dict__["duration_s"]) == ("s~1", 0.5)


def test_an_exception_comes_with_its_traceback(caplog):
    """What a callback raised is logged whole."""
    with caplog.at_level(logging.ERROR, "summarizer"):
        try:
            int("callback")
        except ValueError:
            log.exception("callback.failed")

    assert caplog.records[0].exc_info
    assert caplog.records[0].exc_info[0] is ValueError


def test_the_applications_configuration_holds():
    """Where structlog is configured, its processors see the events."""
    seen = []

    def collect(_logger, _method, event):
        seen.append(event)
        raise structlog.DropEvent

    structlog.configure(processors=[collect])
    log.warning("summary.rejected", reason_code="echo")

    assert seen == [{"event": "summary.rejected", "reason_code": "echo"}]


def test_nothing_is_printed_unless_logging_is_configured():
    """Law of quiet: a program that uses the package writes nothing of it to its output."""
    code = "from summarizer.telemetry import log; log.error('segment.failed', session_id='s')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert (run.stdout, run.stderr) == ("", "")


def test_structlog_is_loaded_at_the_first_event():
    """Importing the package does not pay for it."""
    code = "import sys, summarizer.telemetry; print('structlog' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout == "False\n"

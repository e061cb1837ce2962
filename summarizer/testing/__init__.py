"""Real and scripted parts for tests of programs that use longsplice.

Nothing here is a mock of ours: `ScriptedModel` plays the summary model's protocol,
`LoopbackServer` speaks three providers' wire protocols over a real socket and plays
their faults, `LocalModel` runs a real small language model. Each records what it was
asked, fails on what it did not expect, and fails on what was expected and never came.

Nothing is imported before it is used, and nothing opens a socket beyond 127.0.0.1.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clocks import FakeClock, Ids
    from .faults import Fault
    from .local_model import LocalModel, LocalModelNotInstalled
    from .models import Hang, ScriptedModel, ScriptedReply
    from .processes import ProcessFailed, UrlProcess
    from .recording import RecordedRequest, read_log
    from .replies import Prompt, Reply
    from .script import ScriptMismatch, UnexpectedCall
    from .server import LoopbackServer

__all__ = [
    "FakeClock",
    "Fault",
    "Hang",
    "Ids",
    "LocalModel",
    "LocalModelNotInstalled",
    "LoopbackServer",
    "ProcessFailed",
    "Prompt",
    "RecordedRequest",
    "Reply",
    "ScriptMismatch",
    "ScriptedModel",
    "ScriptedReply",
    "UnexpectedCall",
    "UrlProcess",
    "read_log",
]

# `python -m summarizer.testing.server` warns if the package has imported the module before.
_HOME = {
    "FakeClock": "clocks",
    "Fault": "faults",
    "Hang": "models",
    "Ids": "clocks",
    "LocalModel": "local_model",
    "LocalModelNotInstalled": "local_model",
    "LoopbackServer": "server",
    "ProcessFailed": "processes",
    "Prompt": "replies",
    "RecordedRequest": "recording",
    "Reply": "replies",
    "ScriptMismatch": "script",
    "ScriptedModel": "models",
    "ScriptedReply": "models",
    "UnexpectedCall": "script",
    "UrlProcess": "processes",
    "read_log": "recording",
}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

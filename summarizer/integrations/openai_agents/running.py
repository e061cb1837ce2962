"""The SDK's own settings of a run, filled in for a session. Needs the SDK."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import MissingExtra

try:
    from agents import RunConfig
    from agents.run_config import CallModelData, ModelInputData
except ImportError as error:
    raise MissingExtra("run settings of the OpenAI Agents SDK", "openai-agents") from error

if TYPE_CHECKING:
    from .session import LongspliceSession

__all__ = ["run_config"]

Filter = Callable[[CallModelData[Any]], Any]


def run_config(session: LongspliceSession, settings: dict[str, Any]) -> RunConfig:
    """See `LongspliceSession.run_config`."""
    theirs: Filter | None = settings.pop("call_model_input_filter", None)

    async def both(data: CallModelData[Any]) -> ModelInputData:
        if theirs is not None:
            updated: Any = theirs(data)
            data = replace(data, model_data=await updated if inspect.isawaitable(updated) else updated)
        return await session.call_model_input_filter(data)

    session.runs_with(settings.get("model"), settings.get("session_input_callback"))
    return RunConfig(call_model_input_filter=both, **settings)

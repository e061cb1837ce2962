"""What goes along with the messages of a model call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import MissingExtra

try:
    from langchain_core.tools import BaseTool
    from langchain_core.utils.function_calling import convert_to_openai_tool
except ImportError as error:
    raise MissingExtra("the LangGraph integration", "langchain") from error

__all__ = ["Request", "same_items"]

Tools = Sequence[BaseTool | dict[str, Any]]


class Request:
    """What goes along with the messages of a model call, and is counted.

    Args:
        tools: The tools that the model is offered.
        model: The chat model.
    """

    def __init__(self, tools: Tools = (), model: object = None) -> None:
        self.tools = tuple(tools)
        name = getattr(model, "model_name", None) or getattr(model, "model", None)
        self.model = name if isinstance(name, str) else None

    def is_like(self, other: Request) -> bool:
        """Whether the same tool objects and model go along."""
        return self.model == other.model and same_items(self.tools, other.tools)

    def schemas(self) -> list[dict[str, Any]]:
        """The tools as the model is offered them."""
        return [_schema_of(tool) for tool in self.tools]


def same_items(some: Sequence[object], others: Sequence[object]) -> bool:
    """Whether both list the same objects."""
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


def _schema_of(tool: BaseTool | dict[str, Any]) -> dict[str, Any]:
    """A tool's schema; a provider's own tool has none, and goes by its kind."""
    if not isinstance(tool, dict):
        return convert_to_openai_tool(tool)
    if "function" in tool or "name" in tool:
        return tool
    return {"name": str(tool.get("type") or next(iter(tool), "tool")), **tool}

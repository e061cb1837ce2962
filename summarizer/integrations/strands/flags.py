"""What a tool may do to the world, said on the Strands tool itself and read by the guard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast, overload

from guards import ToolSpec

__all__ = ["spec_of", "tool_flags"]

_ATTRIBUTE: Final = "longsplice_flags"

Tool = TypeVar("Tool")


@overload
def tool_flags(tool: Tool, /, **flags: Any) -> Tool: ...
@overload
def tool_flags(tool: None = None, /, **flags: Any) -> Callable[[Tool], Tool]: ...
def tool_flags(tool: Any = None, /, **flags: Any) -> Any:
    """Say what a tool does: a decorator above or below `@tool`, or a call on a tool that exists.

        @tool_flags(destructive=True, requires_confirmation=True)
        @tool
        def refund(order_id: str, amount: float) -> str: ...

        tool_flags(mcp_tool, read_only=True)

    The tool stays the Strands tool that it is; the flags are an attribute of it.

    Args:
        tool: A Strands tool, or the function that `@tool` is to make one of.
        **flags: `read_only`, `destructive`, `requires_confirmation`, `idempotent`, and every other field of
            `guards.ToolSpec` but its name. Unsaid flags stay unknown, which the guard treats with care.

    Raises:
        ValueError: `read_only` and `destructive` at once, or a limit out of range.
        TypeError: A flag that `ToolSpec` does not have, or a tool that takes no attributes.
    """
    ToolSpec("checked", **flags)
    if tool is None:

        def decorated(given: Any) -> Any:
            return tool_flags(given, **flags)

        return decorated
    said = {**_flags_of(tool), **flags}
    inner = getattr(tool, "__wrapped__", None)
    for target in (tool, inner):  # A tool that is a method is made anew, of its function, for each instance.
        if target is not None:
            try:
                setattr(target, _ATTRIBUTE, said)
            except AttributeError:
                raise TypeError(f"{target!r} takes no attributes; give the guard a ToolSpec of it") from None
    return tool


def _flags_of(tool: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", getattr(tool, _ATTRIBUTE, None) or {})


def spec_of(tool: Any) -> ToolSpec:
    """The guard's spec of a Strands tool: its flags, and of MCP annotations what asks for more care.

    An MCP server's own hints are not trusted; `tool_flags` on the tool says what the host believes.
    """
    described = cast("Mapping[str, Any]", tool.tool_spec)
    schema = described.get("inputSchema")
    schema = cast("Mapping[str, Any]", schema).get("json", schema) if isinstance(schema, Mapping) else None
    hinted = ToolSpec.from_mcp(tool.tool_name, described.get("annotations"), parameters=schema)
    return hinted.with_flags(**_flags_of(tool))

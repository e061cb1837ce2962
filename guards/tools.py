"""What a tool is: what it does to the world, and how its calls are to be treated.

Unknown stays unknown: a flag that nobody stated is `None`, and every reader takes `None` as the
careful answer (it may write, its results are not replayed). MCP annotations are hints of whoever
wrote the server; they count only where the host says that it trusts the source.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from guards.calls import canonical_json, plain

__all__ = ["ToolSpec"]

_FLAGS: Final = ("read_only", "destructive", "idempotent", "open_world", "requires_confirmation")


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool, as the guard knows it.

    Attributes:
        name: The name that the model calls.
        read_only: It changes nothing (MCP `readOnlyHint`). `None`: unknown, treated as writing.
        destructive: It may destroy or be hard to undo (MCP `destructiveHint`); `None`: unknown.
        idempotent: The same call again changes nothing more (MCP `idempotentHint`); `None`: unknown.
        open_world: It reaches beyond the host's own system (MCP `openWorldHint`); `None`: unknown.
        requires_confirmation: A person must approve each call; `None`: the policy decides.
        replay: Whether a result may be given again; `None`: if it is read-only or idempotent.
        ttl_s: Seconds for which a result may be replayed; `None`: the cache's own limit.
        group: Category for limits, such as `discovery` or `execution`; `None`: no category.
        scope: What it reads or writes: a fixed name (`orders`), or one with argument names in braces
            (`order:{order_id}`). `None`: anything. Two tools with the same scope see each other's writes,
            two with different ones do not: put only arguments in braces that spell a thing in one way
            (ids, not paths, where `a` and `./a` are one file).
        parameters: JSON schema of the arguments, if known.
        exempt: Parameters whose values need no source (a free-text `query`, a `limit`).
        grounded: Parameters whose values must come from somewhere; `None`: the grounding check decides.
        retryable: An error may be retried by `run(retries=)`; `None`: if it is read-only or idempotent.
        timeout_s: Seconds after which a call is given up; `None`: the guard's own.
        offload_tokens: Result size in tokens above which the model sees a preview; `None`: the guard's own.
        loop_patience: Factor on the loop check's thresholds for this tool, above 0.
    """

    name: str
    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None
    requires_confirmation: bool | None = None
    replay: bool | None = None
    ttl_s: float | None = None
    group: str | None = None
    scope: str | None = None
    parameters: Mapping[str, Any] | None = None
    exempt: frozenset[str] = field(default_factory=frozenset[str])
    grounded: frozenset[str] | None = None
    retryable: bool | None = None
    timeout_s: float | None = None
    offload_tokens: int | None = None
    loop_patience: float = 1.0

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name='': a tool needs the name that the model calls")
        for limit in ("ttl_s", "timeout_s", "offload_tokens"):
            value = getattr(self, limit)
            if value is not None and not value >= 0:
                raise ValueError(f"{limit}={value!r} of tool {self.name!r}: use 0 or more, or None")
        if self.loop_patience <= 0:
            raise ValueError(
                f"loop_patience={self.loop_patience!r} of tool {self.name!r}: use a number above 0"
            )
        if self.read_only and self.destructive:
            raise ValueError(f"tool {self.name!r} is read_only and destructive; it can be one of them")

    @property
    def writes(self) -> bool:
        """Whether a call may change something: whatever is not known to be read-only."""
        return self.read_only is not True

    @property
    def may_replay(self) -> bool:
        """Whether a result may stand for an equal later call, as far as the tool's nature goes."""
        return self.read_only is True or self.idempotent is True if self.replay is None else self.replay

    @property
    def may_retry(self) -> bool:
        """Whether a failed call may be started again."""
        return self.read_only is True or self.idempotent is True if self.retryable is None else self.retryable

    def scope_of(self, arguments: Mapping[str, Any]) -> str | None:
        """The scope of one call. An argument that the scope names and the call lacks makes it anything."""
        if self.scope is None or "{" not in self.scope:
            return self.scope
        try:
            return self.scope.format_map({key: _flat(value) for key, value in arguments.items()})
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            return None

    def with_flags(self, **flags: Any) -> ToolSpec:
        """A copy with some fields changed; `None` changes nothing."""
        return replace(self, **{key: value for key, value in flags.items() if value is not None})

    @classmethod
    def from_mcp(
        cls,
        name: str,
        annotations: Mapping[str, Any] | object | None,
        *,
        trusted: bool = False,
        parameters: Mapping[str, Any] | None = None,
    ) -> ToolSpec:
        """From an MCP tool's annotations.

        Args:
            name: The tool's name.
            annotations: `readOnlyHint` and so on, a mapping or an object with these attributes or
                their snake_case forms; `None` if the server gave none.
            trusted: Whether to believe the hints. Not trusted, only what makes the guard more
                careful counts: `destructiveHint` true, `readOnlyHint` false.
            parameters: The tool's input schema.

        Source: MCP specification 2025-06-18, "Tool annotations": hints are untrusted unless the server is.
        """
        hints: dict[str, Any] = {flag: _hint(annotations, flag) for flag in _FLAGS[:4]}
        if not trusted:
            careful = {"read_only": False, "destructive": True, "idempotent": False, "open_world": True}
            hints = {flag: value if value is careful[flag] else None for flag, value in hints.items()}
        if hints["read_only"]:
            hints["destructive"] = False
        return cls(name, parameters=parameters, **hints)

    @classmethod
    def from_schema(cls, tool: Mapping[str, Any]) -> ToolSpec:
        """From an OpenAI tool definition, nested (`{"type": "function", "function": {...}}`) or flat.

        A free-text tool (`{"type": "custom", "custom": {...}}`) has a name and no parameters.

        The keys `x-read-only`, `x-destructive`, `x-idempotent`, `x-open-world` and `x-requires-confirmation`
        of the parameters' schema set the flags.

        Raises:
            ValueError: It has no name.
        """
        inner = cast("Mapping[str, Any]", tool.get("function", tool.get("custom", tool)))
        schema = cast("Mapping[str, Any]", inner.get("parameters") or {})
        flags = {flag: schema.get("x-" + flag.replace("_", "-")) for flag in _FLAGS}
        known: dict[str, Any] = {flag: value for flag, value in flags.items() if isinstance(value, bool)}
        return cls(str(inner.get("name") or ""), parameters=schema or None, **known)

    @classmethod
    def from_function(cls, function: Callable[..., Any], name: str | None = None, **flags: Any) -> ToolSpec:
        """From a callable: its name, and its parameters with their defaults as a plain schema."""
        properties: dict[str, Any] = {}
        required: list[str] = []
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            signature = inspect.Signature()
        for parameter in signature.parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            has_default = parameter.default is not parameter.empty
            default = plain(parameter.default, lenient=True) if has_default else None
            properties[parameter.name] = {"default": default} if has_default else {}
            if not has_default:
                required.append(parameter.name)
        schema = {"type": "object", "properties": properties, "required": required}
        called = name or str(getattr(function, "__name__", type(function).__name__))
        return cls(called, parameters=schema, **flags)

    def flags(self) -> dict[str, bool]:
        """The flags that are known."""
        known = {flag: getattr(self, flag) for flag in _FLAGS}
        return {flag: value for flag, value in known.items() if value is not None}


def _flat(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(value) if type(value) is int else canonical_json(value)


def _hint(annotations: Mapping[str, Any] | object | None, flag: str) -> bool | None:
    head, *rest = flag.split("_")
    for key in (head + "".join(word.title() for word in rest) + "Hint", flag + "_hint"):
        if isinstance(annotations, Mapping):
            value = cast("Mapping[str, Any]", annotations).get(key)
        else:
            value = getattr(annotations, key, None)
        if isinstance(value, bool):
            return value
    return None

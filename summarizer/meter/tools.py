"""What a list of tool schemas costs in a prompt.

OpenAI shows a model its tools as TypeScript declarations in a namespace; the text below follows
that form, as the community reconstructed it. It gives the API's own figures for the example of
OpenAI's Cookbook ("How to count tokens with tiktoken", section 7, read 2026-11): with its messages
105 on gpt-4 and 101 on gpt-4o, where JSON is 13 to 41 % too high.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from .tokens import TokenCounter

__all__ = ["tool_tokens"]

_FRAME: Final = 9
"""Tokens around the namespace: the message it stands in and its heading; fits the Cookbook's example."""
_SHARED: Final = 4
"""Of these, what is not paid twice when the request has a system message of its own."""
_DEPTH: Final = 24
"""Nesting beyond which a schema is counted as JSON."""
_PLAIN: Final = {kind: kind for kind in ("string", "number", "boolean", "null")} | {"integer": "number"}
_BEYOND: Final = ("$ref", "allOf", "not", "if", "patternProperties", "prefixItems")
"""Keywords that the declarations have no known form for."""

Schema = Mapping[str, Any]


def tool_tokens(tools: Sequence[Schema], counter: TokenCounter, *, with_system: bool = False) -> int:
    """Tokens that `tools` add to a prompt; 0 for none.

    Args:
        tools: Chat Completions, Responses, Anthropic (`input_schema`) or Gemini
            (`function_declarations`) shapes, mixed as you like. A tool whose schema has no
            known rendering, or that is no function at all, counts as compact JSON.
        counter: Whose tokens.
        with_system: Whether the request has a system message; then four tokens are shared.
    """
    declarations: list[str] = []
    tokens = 0
    for function in (f for tool in tools for f in _functions(tool)):
        declared = _declaration(function)
        if declared is None:
            tokens += counter.count(_json(function))
        else:
            declarations.append(declared)
    if declarations:
        body = "\n\n".join(("namespace functions {", *declarations, "} // namespace functions"))
        tokens += counter.count(body) + _FRAME - (_SHARED if with_system else 0)
    return tokens


def _functions(tool: Schema) -> Sequence[Schema]:
    inner = tool.get("function")
    if isinstance(inner, Mapping):
        return [cast("Schema", inner)]
    several = tool.get("function_declarations") or tool.get("functionDeclarations")
    if isinstance(several, Sequence) and not isinstance(several, str):
        return [cast("Schema", f) for f in cast("Sequence[object]", several) if isinstance(f, Mapping)]
    return [tool]


def _declaration(function: Schema) -> str | None:
    name, description = function.get("name"), function.get("description")
    schema = function.get("parameters", function.get("input_schema"))
    if not isinstance(name, str) or (schema is None and description is None):
        return None  # A provider's own tool, such as a web search, described to the model by the provider.
    lines = _comment(description, "")
    if not isinstance(schema, Mapping) or not cast("Schema", schema).get("properties"):
        return "\n".join([*lines, f"type {name} = () => any;"])
    fields = _fields(cast("Schema", schema), "", 0)
    return None if fields is None else "\n".join([*lines, f"type {name} = (_: {{", *fields, "}) => any;"])


def _fields(schema: Schema, indent: str, depth: int) -> list[str] | None:
    if any(keyword in schema for keyword in _BEYOND) or not isinstance(schema["properties"], Mapping):
        return None
    required = schema.get("required")
    required = cast("list[object]", required) if isinstance(required, list) else []
    lines: list[str] = []
    for name, field in cast("Mapping[str, Any]", schema["properties"]).items():
        shown = _type(field, indent, depth + 1)
        if shown is None:
            return None
        mark = "" if name in required else "?"
        lines += [*_comment(field.get("description"), indent), f"{indent}{name}{mark}: {shown},"]
    return lines


def _type(schema: object, indent: str, depth: int) -> str | None:
    if not isinstance(schema, Mapping) or depth > _DEPTH:
        return None
    schema = cast("Schema", schema)
    if any(keyword in schema for keyword in _BEYOND):
        return None
    if isinstance(values := schema.get("enum"), list):
        return " | ".join(map(_json, cast("list[object]", values)))
    kind = cast("object", schema.get("type"))
    choices = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(kind, list):
        kind, choices = None, [{**schema, "type": one} for one in cast("list[object]", kind)]
    if isinstance(choices, list):
        choices = cast("list[object]", choices)
        shown = [_type(choice, indent, depth + 1) for choice in choices]
        return None if None in shown else " | ".join(cast("list[str]", shown))
    return _simple_type(kind, schema, indent, depth)


def _simple_type(kind: object, schema: Schema, indent: str, depth: int) -> str | None:
    if kind == "array":
        item = _type(schema["items"], indent, depth + 1) if "items" in schema else "any"
        return None if item is None else f"({item})[]" if " | " in item else f"{item}[]"
    if kind == "object" or "properties" in schema:
        if not schema.get("properties"):
            return "object"
        fields = _fields(schema, indent + "  ", depth)
        return None if fields is None else "\n".join(["{", *fields, indent + "}"])
    return "any" if kind is None else _PLAIN.get(str(kind))


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)


def _comment(text: object, indent: str) -> list[str]:
    return [f"{indent}// {line}" for line in text.splitlines()] if isinstance(text, str) else []

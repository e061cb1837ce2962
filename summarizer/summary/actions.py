"""What was done: tool calls with their results, and shell blocks with their output. Pure, linear.

Coding agents that have no tool calls write their command as a fenced block and read its output
in the next message; both count as an action here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from ..events import Event, Origin
from ..units import pair_calls
from .drafts import clip, event_trust, least_trusted, one_line
from .redact import redact
from .speech import is_machine_made
from .values import Found, json_facts, parse_json, specificity, text_facts

__all__ = ["Action", "actions_of", "is_read", "touched_paths"]

_HEAD: Final = 24_000
_TAIL: Final = 8_000
_READS: Final = re.compile(
    r"^(?:\w*[._])?(?:get|list|search|find|read|fetch|look|lookup|check|calc|calculate|think|query"
    r"|describe|show|view|cat|grep|ls|head|tail|glob|open|browse|retrieve|count|status|select|inspect"
    r"|explain|verify|validate|web)(?:[_A-Z]|$)"
)
_SHELL_ARGUMENTS: Final = ("command", "cmd", "code", "script", "input", "keystrokes")
_SHELL_BLOCK: Final = re.compile(r"```(?:bash|sh|shell|console|mswea_bash_command)\n([\s\S]{1,20000}?)```")
_RETURN_CODE: Final = re.compile(
    r"\s{0,20}(?:<returncode>|exit(?:ed with)? code:? |returncode[=:] ?)(-?\d{1,4})", re.IGNORECASE
)
_ERROR_TEXT: Final = re.compile(
    r"\s{0,20}(?:error\b|exception\b|traceback \(most recent|failed\b|failure\b|fatal:|invalid\b"
    r"|unauthori[sz]ed|forbidden\b|not found\b|permission denied|timed? ?out)",
    re.IGNORECASE,
)
_ERROR_LINE: Final = re.compile(
    r"^(?:[\w.]{1,80}(?:Error|Exception|Warning)\b.{0,200}|(?:error|fatal|failed)\b.{0,200})",
    re.IGNORECASE | re.MULTILINE,
)
_READ_PROGRAM_NAMES: Final = """
ls cat head tail grep egrep rg find nl less more wc pwd cd echo printf which file stat diff tree
sort uniq cut awk sed env date git python python3 node type test true
"""
_READ_PROGRAMS: Final = frozenset(_READ_PROGRAM_NAMES.split())
_HEREDOC: Final = re.compile(r"<<-?\s{0,3}['\"]?(\w{1,40})['\"]?")
_REDIRECT: Final = re.compile(r"(?<![0-9&>])>{1,2}\s{0,3}(?P<path>[\w./~+-]{2,200})")
_SEGMENT: Final = re.compile(r"&&|\|\||[;|\n]")


@dataclass(frozen=True, slots=True)
class Action:
    """One call and what came of it.

    Attributes:
        name: The tool, `shell` for a fenced block.
        arguments: Parsed arguments, empty if they are no object.
        command: The command line, if the tool is a shell.
        seqs: The call, and its result if there is one.
        origin: The least trusted of both.
        result: The result's text, bounded and redacted; `None` while the call is open.
        parsed: The result, if it is a JSON container.
        failed: Whether the result is an error.
        binding: The name it is referred to by, such as `$v3`.
        call_id: The call's id.
    """

    name: str
    arguments: Mapping[str, Any]
    command: str | None
    seqs: tuple[int, ...]
    origin: Origin
    result: str | None
    parsed: Any
    failed: bool
    binding: str | None
    call_id: str

    @property
    def subject(self) -> str:
        """What a later success must share to be this call's fix: the tool, or what the shell ran."""
        if self.command is None:
            return self.name
        words = _bare_command(self.command).split()
        return " ".join([self.name, *words[-3:]])

    @property
    def reads(self) -> bool:
        """Whether it only looked, as far as its name tells."""
        if self.command is None:
            return is_read(self.name)
        return not any(verb != "read" for verb, _ in touched_paths(self.command)) and all(
            (segment.split() or ["true"])[0] in _READ_PROGRAMS
            for segment in _SEGMENT.split(_bare_command(self.command))
        )

    @property
    def about(self) -> str:
        """The first argument that is an id, as `name=value`: what a result without one is about."""
        for found in json_facts(dict(self.arguments)) if self.command is None else ():
            if found.label and specificity(found.label, found.value) >= 3.0:
                return f"{found.label}={found.value}"
            if found.entity and not found.label:
                return found.entity
        return ""

    def call_text(self, limit: int = 160) -> str:
        """The call in one line."""
        if self.command is not None:
            return clip(f"{self.name}: {redact(one_line(_bare_command(self.command)))}", limit)
        inner = ", ".join(f"{key}={redact(_compact(value))}" for key, value in self.arguments.items())
        return clip(f"{self.name}({inner})", limit)

    def error_text(self) -> str:
        """The line of the result that says what went wrong."""
        if isinstance(self.parsed, dict):
            fields = cast("dict[str, Any]", self.parsed)  # pyright: ignore[reportUnknownMemberType]
            if error := fields.get("error") or fields.get("message"):
                return clip(one_line(_compact(error)), 160)
        text = self.result or ""
        lines = _ERROR_LINE.findall(text[-_TAIL:])
        return clip(one_line(lines[-1] if lines else _RETURN_CODE.sub("", text, count=1)[:400]), 160)

    def facts(self) -> Iterator[Found]:
        """Values in the arguments, then in the result."""
        if self.command is None:
            yield from json_facts(dict(self.arguments))
        if self.result is None or self.failed:
            return
        if self.parsed is not None:
            yield from json_facts(self.parsed, self.about)
        elif (
            self.command is None
            and len(self.result) <= 120
            and "\n" not in self.result.strip()
            and self.result.strip()
        ):
            yield Found("", self.name, self.result.strip())
        elif self.command is None:
            yield from text_facts(self.result, labelled_lines=True)


def actions_of(events: Sequence[Event]) -> list[Action]:
    """Every call with its result, and every fenced shell block with the output after it, in call order."""
    messages = [event.message for event in events]
    pairing = pair_calls(messages)
    found: list[Action] = []
    for i, message in enumerate(messages):
        if message is None or message.role != "assistant":
            continue
        answers = pairing.results.get(i, {})
        for call in message.tool_calls:
            j = answers.get(call.id)
            arguments = call.arguments
            found.append(
                _action(call.name, arguments or {}, call.id, events[i], None if j is None else events[j])
            )
        if not message.tool_calls and (block := _SHELL_BLOCK.search(message.text)):
            reply = events[i + 1] if i + 1 < len(events) else None
            answered = (
                reply is not None and reply.message is not None and reply.message.role in ("user", "tool")
            )
            if (
                answered
                and reply is not None
                and reply.message is not None
                and is_machine_made(reply.message.text)
            ):
                found.append(_action("shell", {"command": block[1].strip()}, "", events[i], reply))
    return found


def _action(
    name: str, arguments: Mapping[str, Any], call_id: str, call: Event, reply: Event | None
) -> Action:
    text = None if reply is None or reply.message is None else reply.message.text
    parsed = None if text is None else parse_json(text)
    error = None if reply is None else reply.data.get("error")
    binding = None if reply is None else reply.data.get("binding")
    origins = [event_trust(event) for event in (call, reply) if event is not None]
    if (
        reply is not None
        and text is not None
        and name == "shell"
        and reply.message is not None
        and reply.message.role == "user"
    ):
        origins.append(Origin.IMPORTED)
    return Action(
        name=name,
        arguments=arguments,
        command=_command(arguments),
        seqs=tuple(sorted({event.seq for event in (call, reply) if event is not None})),
        origin=least_trusted(origins),
        result=None if text is None else bounded(text),
        parsed=parsed,
        failed=bool(error) or (text is not None and _is_failure(text, parsed)),
        binding=binding if isinstance(binding, str) else None,
        call_id=call_id,
    )


def bounded(text: str) -> str:
    """Head and end of a text, redacted: all that rules look at of a huge one."""
    return redact(text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}")


def is_read(name: str) -> bool:
    """Whether a tool only looks, by its name."""
    return _READS.match(name) is not None


def _command(arguments: Mapping[str, Any]) -> str | None:
    for key in _SHELL_ARGUMENTS:
        value = arguments.get(key)
        if isinstance(value, str) and len(arguments) <= 3:
            return value[:20_000]
    return None


def _is_failure(text: str, parsed: Any) -> bool:
    if isinstance(parsed, dict):
        fields = cast("dict[str, Any]", parsed)
        stated = fields.get("error") or fields.get("isError") or fields.get("is_error")
        denied = fields.get("success") is False or fields.get("ok") is False
        return bool(stated) or denied or fields.get("status") in ("error", "failed", "failure")
    code = _RETURN_CODE.match(text[:200])
    return code[1] != "0" if code else _ERROR_TEXT.match(text[:200]) is not None


def _compact(value: Any) -> str:
    if isinstance(value, str):
        return clip(one_line(value), 80)
    if isinstance(value, (list, dict)):
        leaves = [found.value for found in json_facts(cast("object", value))]
        return "[" + clip(" ".join(dict.fromkeys(leaves)), 80) + "]"
    return str(value)


def _bare_command(command: str) -> str:
    """The command without here-documents."""
    match = _HEREDOC.search(command)
    if match is None:
        return command
    head_end = command.find("\n", match.end())
    if head_end < 0:
        return command
    end = command.find(f"\n{match[1]}", head_end)
    return command[:head_end] + ("" if end < 0 else command[end + 1 + len(match[1]) :][:4000])


def touched_paths(command: str) -> list[tuple[str, str]]:
    """What a command does to which files: (`read`, `wrote`, `edited`, `removed`, path), at most 30."""
    bare = _bare_command(command[:20_000])
    found: list[tuple[str, str]] = [
        ("wrote", m["path"]) for m in _REDIRECT.finditer(bare) if m["path"] != "/dev/null"
    ]
    for segment in _SEGMENT.split(bare):
        words = segment.split()
        if not words:
            continue
        verb = _verb(words)
        for value in text_facts(segment[:4000], labelled_lines=False, command=True):
            if value.value.startswith(("http", "/dev/")) or not ("/" in value.value or "." in value.value):
                continue
            if _PATH_LIKE.fullmatch(value.value) and not value.value.startswith(("s/", "y/")):
                found.append((verb, value.value))
    kept: dict[str, str] = {}
    for verb, path in found:
        kept.setdefault(path, verb)
    return [(verb, path) for path, verb in list(kept.items())[:30]]


_PATH_LIKE: Final = re.compile(r"[\w.~/@+-]*[A-Za-z_][\w.~/@+-]*")


def _verb(words: Sequence[str]) -> str:
    program = words[0].rpartition("/")[2]
    if program == "rm":
        return "removed"
    if (program in ("sed", "perl") and any(word.startswith("-i") for word in words)) or program in (
        "patch",
        "mv",
        "cp",
        "touch",
        "mkdir",
        "tee",
        "chmod",
    ):
        return "edited" if program in ("sed", "perl", "patch") else "wrote"
    return "read"

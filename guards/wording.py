"""Every sentence that a model reads from the guard: data, with an id and a version.

A template names its values in braces. A host that wants other words, or another language, makes
`Wording(loop_nudge="...")` and hands it to the guard; a template that names an unknown value is refused
when it is made, not in the middle of a run. Values that come from a conversation are quoted by `quoted`,
so that text inside them reads as data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from string import Formatter
from typing import Any, Final

__all__ = ["VERSION", "Wording", "quoted"]

VERSION: Final = "guards.wording/1"

_SHOWN: Final = 120


@dataclass(frozen=True, slots=True)
class Wording:
    """The templates, by check. Each is imperative: what happened, what to do now."""

    # --- references ---
    reference_known: str = " Known: {names}."
    reference_none_known: str = " No result has a name yet."
    reference_unknown: str = (
        "{reference} names no result, so the call was not run.{known} Use a known reference, or write the "
        "value itself; double the dollar if you mean the text."
    )
    reference_path: str = (
        "{reference} leads nowhere, so the call was not run: {at} is of type {kind}.{known} Correct the "
        "path; write ${{...}} around a reference that other text follows."
    )
    reference_malformed: str = (
        '{reference} has no readable path, so the call was not run. Write steps as .key, [0] or ["a key"], '
        "or write ${{v1}} around a reference that other text follows."
    )
    reference_evicted: str = (
        "{reference} is no longer held: the result of {tool} ({size} bytes) made room for newer ones, so the "
        "call was not run. Call that tool again, or write the value itself."
    )
    reference_oversize: str = (
        "{reference} was never held: the result of {tool} has {size} bytes, more than may be kept, so the "
        "call was not run. Ask that tool for a smaller part, or write the value itself."
    )

    arguments_unreadable: str = (
        "{tool} was not run: {why}. Send the arguments again as one complete JSON object."
    )
    result_named: str = "This result is {reference}: pass it on by that name instead of copying it."
    reference_too_much: str = (
        "The references of this call stand for {size} bytes, more than the {limit} that one call may "
        "carry, so it was not run. Refer to smaller parts, such as $v1.items[0]."
    )
    preview_head: str = (
        "The result of {tool} is large and is kept as {reference}: {bytes} bytes, about {tokens} tokens. "
        "Here are its shape and its start, not all of it."
    )
    preview_shape: str = "Shape: {shape}"
    preview_use: str = (
        "To pass it on, write {reference} or a part such as {example} as an argument: the value itself is "
        'put in. To see more, call {tool} with {{"reference": {name}}} and path, offset, limit or search.'
    )
    preview_use_whole: str = (
        "To pass it on, write {reference} as an argument: the value itself is put in. To see more, call "
        '{tool} with {{"reference": {name}}} and offset, limit or search.'
    )
    read_tool: str = (
        "Read a part of an earlier tool result that was too large to show: a range of its items, lines or "
        "characters, or the places where a text occurs."
    )
    read_tool_reference: str = "The name of the result without the dollar, such as v3."
    read_tool_path: str = "The part to read, such as .items[0].lines; leave out for all."
    read_tool_offset: str = "Where to begin, from 0."
    read_tool_limit: str = "How many to read at most."
    read_tool_unit: str = "What offset and limit count; leave out for what fits the value."
    read_tool_search: str = "Show only where this text occurs, in upper or lower case."
    read_page: str = "{reference}, {unit} {first} to {last} of {total}:"
    read_next: str = "More follows: read on with offset {offset}."
    read_cut: str = "Number {index} is cut. Read it whole with {how}."
    read_matches: str = "Matches {first} to {last} of {total} for {search} in {reference}:"
    read_no_match: str = (
        "{search} does not occur in {reference}. Search for other words, or read it by offset and limit."
    )
    read_beyond: str = "{reference} has {total} {unit}; offset {offset} is beyond them. Use a smaller offset."
    read_empty: str = "{reference} is empty: it has no {unit}. Go on without it."
    read_refused: str = "{argument} is {value}. Send {wanted}."

    # --- cache and replay ---
    replayed: str = "Already called: this is the result of call {call}, {age} ago. Use it; do not call again."
    already_done: str = "Already done: this is the result of call {call}. Use it; {tool} was not run again."
    already_done_not_kept: str = (
        "Already done by call {call}, whose result is no longer kept; {tool} was not run again. Read "
        "the state with another tool if you need it."
    )
    already_failed: str = (
        "Not run again: call {call} was this very call of {tool} and failed with {error}. Mend the "
        "cause and make a new call, or tell the user."
    )
    still_running: str = (
        "Not run: call {call} is this very call of {tool} and still runs. Wait for its result."
    )
    outcome_unknown: str = (
        "Not run: call {call} began this very call of {tool}, and how it ended is unknown; it may "
        "have taken effect. Read the state to find out, or wait for a person to approve another run."
    )
    key_reused: str = (
        "Not run: the idempotency key of this call belongs to call {call}, which had another tool or "
        "other arguments. Use a new key for a new call of {tool}."
    )

    tool_failed: str = "The tool failed: {error}"
    result_cut: str = (
        "The result of {tool} is too large to show or to keep: {size} characters. Here is its start. Call "
        "the tool for a smaller part if you need more."
    )

    # --- loop ---
    loop_repeat: str = (
        "{tool} was called {count} times with the same arguments, and nothing new came of it. Use the answer "
        "that you have, ask for something else, or take another way."
    )
    loop_waiting: str = (
        "{tool} was asked {count} times, and the work still goes on. Wait longer before you look again, do "
        "something else meanwhile, or tell the user that it is not finished."
    )
    loop_cycle: str = (
        "The same {period} calls were made {count} times in the same order, and {tool} would begin another "
        "round. Nothing changes between the rounds: leave this order, and try what you have not tried."
    )
    loop_same_error: str = (
        "{tool} failed {count} times with the same error. Read what it asks for, correct that or use another "
        "tool; do not send the call again with small changes."
    )
    loop_near_duplicate: str = (
        "{tool} gave the same answer to {count} wordings of one question. Other words will not change it: "
        "use the answer that you have, or ask for something else."
    )
    loop_no_progress: str = (
        "{count} of the latest calls repeated earlier ones and brought nothing new; {tool} would be another. "
        "Say what is known and what is missing, then make a call that you have not made, or ask the user."
    )
    loop_monologue: str = (
        "The same text was written {count} times. Do not write it again: make a tool call, give the final "
        "answer, or ask the user."
    )
    loop_chant: str = (
        "The last message repeats one phrase {count} times. Do not go on with it: say once what matters, "
        "then make a tool call, give the final answer, or ask the user."
    )
    loop_segmentation: str = (
        "The context was full {count} times, and nothing new was learned in between. Do not read the same "
        "large results again: ask for smaller parts, or work with what is known."
    )
    loop_blocked: str = "{what} This call was not run."
    loop_stopped: str = "{what} The run ends here: tell the user what was tried and what is missing."

    # --- budget ---
    budget_total: str = (
        "Not run: all {limit} tool calls of this conversation are used. Answer with what you have, "
        "and say what is missing."
    )
    budget_run: str = (
        "Not run: all {limit} tool calls of this run are used. Answer with what you have, and say "
        "what is missing."
    )
    budget_turn: str = (
        "Not run: all {limit} tool calls for this request are used. Answer with what you have, and "
        "say what is missing."
    )
    budget_tool: str = (
        "Not run: all {limit} calls of {tool} are used. Use another tool, or answer with what you have."
    )
    budget_group: str = (
        "Not run: all {limit} calls of {group} tools are used. Go on with what they brought, or "
        "answer with what you have."
    )
    budget_wall: str = (
        "Not run: the {limit} s for tool calls are over. Answer with what you have, and say what is missing."
    )
    budget_tokens: str = (
        "Not run: tool results took {used} of {limit} tokens. Answer with the results that you have."
    )
    budget_cost: str = (
        "Not run: tool calls cost {used} of {limit} USD. Answer with what you have, and say what is missing."
    )
    budget_velocity: str = (
        "Not run: tool calls cost {used} USD within a minute, the limit is {limit}. Go on without "
        "paid calls, or wait a minute before the next."
    )
    budget_calls_low: str = (
        "{left} of {limit} tool calls are left after this one. Keep to what the answer needs."
    )
    budget_tool_low: str = (
        "{left} of {limit} calls of {tool} are left after this one. Keep to what the answer needs."
    )
    budget_group_low: str = (
        "{left} of {limit} calls of {group} tools are left after this one. Keep to what the answer needs."
    )
    budget_wall_low: str = "{left} of {limit} s for tool calls are left. Finish what the answer needs."
    budget_tokens_low: str = (
        "{left} of {limit} tokens for tool results are left. Ask for small parts, and only what the "
        "answer needs."
    )
    budget_cost_low: str = "{left} of {limit} USD for tool calls are left. Keep to what the answer needs."
    budget_velocity_low: str = (
        "{left} of {limit} USD for tool calls in a minute are left. Make fewer paid calls at a time."
    )

    # --- grounding ---
    grounding_warned: str = (
        "{tool} was called with {leaves}, which nobody gave: not the user, not the instructions, no tool. "
        "Check the result; look such values up, or ask the user, before you use them."
    )
    grounding_warned_similar: str = (
        "{tool} was called with {leaves}, which nobody gave: not the user, not the instructions, no tool. "
        "Did you mean {likely}? Check the result, and pass values by reference."
    )
    grounding_blocked: str = (
        "Not run: {tool} was called with {leaves}, which nobody gave: not the user, not the instructions, no "
        "tool. Look the value up with a tool, or ask the user for it; then call again."
    )
    grounding_blocked_similar: str = (
        "Not run: {tool} was called with {leaves}, which nobody gave: not the user, not the instructions, no "
        "tool. Did you mean {likely}? Call again with the reference, or ask the user."
    )
    grounding_copied: str = "{tool}: write {pairs} instead of copying the value."

    # --- permission ---
    permission_confirm: str = (
        "Not run yet: {tool} waits for a person to approve this call. Do not repeat it; do other "
        "work, or say that you wait."
    )
    permission_denied: str = (
        "Not run: {tool} is not allowed here. Do not call it again; use another tool, or say what you"
        " cannot do."
    )
    permission_rejected: str = (
        "Not run: a person rejected this call of {tool}. Do not repeat it; ask the user what to do instead."
    )
    permission_rejected_because: str = (
        "Not run: a person rejected this call of {tool}, with the reason {reason}. Do not repeat it; "
        "follow the reason, or ask the user."
    )

    def __post_init__(self) -> None:
        for f in fields(self):
            given, default = _names(getattr(self, f.name)), _names(str(f.default))
            if given - default:
                unknown = ", ".join(sorted(given - default))
                known = ", ".join(sorted(default)) or "none"
                raise ValueError(
                    f"template {f.name!r} names {unknown}, which it is not given; it may use {known}"
                )

    def say(self, template: str, **values: Any) -> str:
        """The template of that name, filled."""
        return str(getattr(self, template)).format(**values)


def quoted(value: Any, limit: int = _SHOWN) -> str:
    """A value as one line of JSON, cut to `limit` characters: data, whatever it says."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= limit else text[: limit - 4] + '..."'


def _names(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}

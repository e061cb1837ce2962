"""Generated histories of every kind of item that the OpenAI Agents SDK stores, and a session that counts."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from summarizer.integrations.openai_agents import LocalCompactionSession
from summarizer.integrations.openai_agents.items import is_user, item_tokens, pair, units

Item = dict[str, Any]

PAIRS = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "computer_call": "computer_call_output",
    "shell_call": "shell_call_output",
    "local_shell_call": "local_shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
    "tool_search_call": "tool_search_output",
    "program": "program_output",
}
PNG = "data:image/png;base64," + "A" * 200_000


def user(text: str) -> Item:
    return {"role": "user", "content": text}


def said(text: str) -> Item:
    part: Item = {"type": "output_text", "text": text, "annotations": []}
    return {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "id": "__fake_id__",
        "content": [part],
    }


def call(call_id: str, kind: str = "function_call", arguments: str = "{}") -> Item:
    return {"type": kind, "id": f"x_{call_id}", "call_id": call_id, "name": "get", "arguments": arguments}


def output(call_id: str, kind: str = "function_call", text: str = "ok") -> Item:
    return {"type": PAIRS[kind], "call_id": call_id, "output": text}


def reasoning(name: str, sealed: str = "") -> Item:
    return {"type": "reasoning", "id": f"rs_{name}", "summary": [], "encrypted_content": sealed}


def talk(turns: int, steps: int = 1) -> list[Item]:
    """A plain conversation: in each turn a question, `steps` calls with their outputs, and an answer."""
    found: list[Item] = []
    for turn in range(turns):
        found.append(user(f"question {turn}"))
        for step in range(steps):
            found += [call(f"c{turn}_{step}"), output(f"c{turn}_{step}", text=f"result {turn} " * 5)]
        found.append(said(f"answer {turn} " * 5))
    return found


class ListSession:
    """A session in memory that counts what is read from it, and may be told to be a poor one."""

    def __init__(self, items: list[Item] = [], *, heeds_limit: bool = True) -> None:  # noqa: B006 - never changed
        self.session_id = "s1"
        self.session_settings: Any = None
        self.items = list(items)
        self.heeds_limit = heeds_limit
        self.items_read = 0
        self.reads: list[int | None] = []

    async def get_items(self, limit: int | None = None) -> list[Item]:
        asked = limit if limit is not None else getattr(self.session_settings, "limit", None)
        self.reads.append(limit)
        found = list(self.items)
        if asked is not None and self.heeds_limit:
            found = found[-asked:] if asked > 0 else []
        self.items_read += len(found)
        return found

    async def add_items(self, items: list[Item]) -> None:
        self.items.extend(items)

    async def pop_item(self) -> Item | None:
        return self.items.pop() if self.items else None

    async def clear_session(self) -> None:
        self.items.clear()


@st.composite
def batches(draw: st.DrawFn, name: str) -> list[Item]:
    """One model response with tool calls of any kinds, and their outputs in any order."""
    kinds = draw(st.lists(st.sampled_from(sorted(PAIRS)), min_size=1, max_size=3))
    reused = draw(st.booleans())
    ids = [f"call_{i}" if reused else f"{name}_{i}" for i in range(len(kinds))]
    calls = [call(one, kind) for one, kind in zip(ids, kinds, strict=True)]
    long = draw(st.sampled_from(["ok", "word " * 40]))
    outputs = [output(one, kind, long) for one, kind in zip(ids, kinds, strict=True)]
    before = [reasoning(name, "E" * draw(st.sampled_from([0, 600])))] if draw(st.booleans()) else []
    return [*before, *calls, *draw(st.permutations(outputs))]


@st.composite
def steps(draw: st.DrawFn, name: str) -> list[Item]:
    """Anything that may stand between a user's message and the next."""
    which = draw(st.integers(0, 7))
    if which <= 2:
        return draw(batches(name))
    if which == 3:
        return [
            {
                "type": "mcp_approval_request",
                "id": f"m{name}",
                "name": "n",
                "arguments": "{}",
                "server_label": "s",
            },
            {"type": "mcp_approval_response", "approval_request_id": f"m{name}", "approve": True},
            {
                "type": "mcp_call",
                "id": f"mc{name}",
                "approval_request_id": f"m{name}",
                "name": "n",
                "output": "w",
            },
        ]
    if which == 4:
        caller = {"type": "program", "caller_id": f"p{name}"}
        return [
            {"type": "program", "id": "i", "call_id": f"p{name}", "code": "x()", "fingerprint": "f"},
            {**call(f"pc{name}"), "caller": caller},
            {**output(f"pc{name}"), "caller": caller},
            {
                "type": "program_output",
                "id": "o",
                "call_id": f"p{name}",
                "result": "r",
                "status": "completed",
            },
        ]
    if which == 5:
        return [{"type": "web_search_call", "id": f"w{name}", "action": {"type": "search", "query": "q"}}]
    if which == 6:
        return [{"type": "of_tomorrow", "payload": {"deep": [1, 2]}}]
    return [reasoning(name), said("thinking " * draw(st.integers(1, 30)))]


@st.composite
def histories(draw: st.DrawFn, *, max_turns: int = 12) -> list[Item]:
    """Sound histories: everything that is called is answered, but perhaps in the newest turn."""
    found: list[Item] = []
    if draw(st.booleans()):
        found.append({"role": draw(st.sampled_from(["system", "developer"])), "content": "be brief"})
    for turn in range(draw(st.integers(0, max_turns))):
        if draw(st.integers(0, 9)) == 0:
            found.append({"type": "compaction", "id": f"cmp_{turn}", "encrypted_content": "E" * 160})
        found.append(user(f"question {turn} " * draw(st.integers(1, 12))))
        for step in range(draw(st.integers(0, 3))):
            found += draw(steps(f"{turn}_{step}"))
        if draw(st.booleans()):
            found.append(said(f"answer {turn}"))
    if found and draw(st.integers(0, 4)) == 0:
        found += [user("and now?"), call("pending")]
    return found


def quarter(text: str) -> int:
    return max(1, len(text) // 4)


def weight(items: list[Item]) -> int:
    return sum(item_tokens(item, quarter) for item in items)


def is_pin(item: Item) -> bool:
    return item.get("role") in ("system", "developer") or item.get("type") == "compaction"


async def shown(items: list[Item], limit: int | None = None, **settings: Any) -> list[Item]:
    return await LocalCompactionSession(ListSession(items), **settings).get_items(limit)


def check_view(view: list[Item], history: list[Item], window: int | None, budget: int | None) -> None:
    """The laws of a view, told without the code that makes it."""
    opens = next((i for i, item in enumerate(view) if not is_pin(item)), len(view))
    tail = view[opens:]
    start = len(history) - len(tail)
    borders = {unit.start for unit in units(history)} | {len(history)}

    assert tail == history[start:], "contiguous, up to the newest item"
    assert start in borders, "no unit is parted"
    assert not pair(view).orphans
    assert not tail or is_user(tail[0]) or not any(map(is_user, history)), "opens at a user's message"
    assert all(item in history[:start] for item in view[:opens])
    fits = (window is None or len(view) <= window) and (budget is None or weight(view) <= budget)
    newest = max((i for i in borders if i < len(history) and is_user(history[i])), default=start)
    assert fits or start == newest, "only the newest turn may be over a limit"


class Scripted:
    """A summary function that tells which messages it was given."""

    def __init__(self, *, broken: bool = False) -> None:
        self.given: list[list[str]] = []
        self._broken = broken

    def __call__(self, messages: list[dict[str, Any]]) -> str:
        self.given.append([str(message["content"]) for message in messages])
        if self._broken:
            raise RuntimeError("model is down")
        return f"They spoke {len(self.given)} times about orders and refunds."

"""What the tests of guarded sessions share: the tools, and managers that know them."""

import json
from typing import Any

from guards import ToolGuard, ToolSpec
from summarizer import SessionManager
from summarizer.stores import EventStore

SPECS = (
    ToolSpec("look", read_only=True),
    ToolSpec("list_orders", read_only=True, scope="orders"),
    ToolSpec("order", read_only=False, scope="orders"),
    ToolSpec("put", read_only=False, idempotent=True, scope="orders"),
    ToolSpec("remove", read_only=False, destructive=True),
    ToolSpec("remove_all", read_only=False, destructive=True, requires_confirmation=True),
    ToolSpec("note"),
)


def session(
    store: EventStore | str, root: str = "c", owner: str | None = None, **settings: Any
) -> SessionManager:
    """A manager whose guard knows the tools of these tests."""
    tools = settings.pop("specs", SPECS)
    guard = {
        key: settings.pop(key) for key in ("memory", "limits", "loop", "offload_tokens") if key in settings
    }
    manager = SessionManager(root, store=store, owner=owner, **settings)
    manager.tools.configure(tools, **guard)
    return manager


def calls(*named: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
    """An assistant message that lists calls: (id, tool, arguments)."""
    made = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for call_id, name, arguments in named
    ]
    return {"role": "assistant", "content": None, "tool_calls": made}


def state_of(guard: ToolGuard) -> dict[str, Any]:
    """A guard's snapshot, without what belongs to one worker alone: the numbers that it has leased."""
    state = guard.snapshot()
    del state["bindings"]["leases"]
    return state

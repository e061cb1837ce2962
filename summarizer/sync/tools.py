"""The guard of a conversation's tool calls, and its virtual memory, for synchronous callers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..session_memory import SessionMemory as AsyncSessionMemory
from ..tool_calls.session_tools import SessionTools as AsyncSessionTools
from .blocking import blocking_method, direct_method

if TYPE_CHECKING:
    from guards import ToolGuard
    from procedural import ToolMemoryManager

    from ..memory import Level, VMMetrics, VMMode

__all__ = ["SessionMemory", "SessionTools"]


class SessionTools:
    """Guards the tool calls of one conversation, as `summarizer.tool_calls.SessionTools` does.

    A synchronous tool runs in the thread that calls `run` or `finish`, not in a worker thread. Past its time
    limit its result is no longer taken; the call returns when the tool does.

    Made by `SessionManager.tools`.
    """

    def __init__(self, asynchronous: AsyncSessionTools) -> None:
        self.asynchronous = asynchronous

    @property
    def guard(self) -> ToolGuard:
        """The guard inside, synchronous by itself; not to be used by two threads at once."""
        return self.asynchronous.guard

    @property
    def memory(self) -> ToolMemoryManager | None:
        """What the owner's tool calls taught, asynchronous; `None` if it is switched off."""
        return self.asynchronous.memory

    @property
    def configuration(self) -> dict[str, Any]:
        """The arguments of `configure` that make another conversation's guard like this one."""
        return self.asynchronous.configuration

    configure = direct_method(AsyncSessionTools.configure)
    active = direct_method(AsyncSessionTools.active)
    open = blocking_method(AsyncSessionTools.open)
    before_call = blocking_method(AsyncSessionTools.before_call)
    after_call = blocking_method(AsyncSessionTools.after_call)
    run = blocking_method(AsyncSessionTools.run, calls="tool")
    finish = blocking_method(AsyncSessionTools.finish, calls="tool")
    read_value = blocking_method(AsyncSessionTools.read_value)
    waiting_calls = blocking_method(AsyncSessionTools.waiting_calls)
    approve = blocking_method(AsyncSessionTools.approve)
    reject = blocking_method(AsyncSessionTools.reject)
    hints = blocking_method(AsyncSessionTools.hints)


class SessionMemory:
    """The virtual memory of one conversation, as `summarizer.session_memory.SessionMemory` is.

    Made by `SessionManager(enable_vm=True).vm`.
    """

    def __init__(self, asynchronous: AsyncSessionMemory) -> None:
        self.asynchronous = asynchronous

    @property
    def mode(self) -> VMMode:
        """What the model is asked to do with pages."""
        return self.asynchronous.mode

    @property
    def tools(self) -> list[dict[str, Any]]:
        """Schemas of the paging tools, to send along with the request; empty in PASSIVE."""
        return self.asynchronous.tools

    @property
    def metrics(self) -> VMMetrics:
        """Counts of this manager, not of the conversation."""
        return self.asynchronous.metrics

    @property
    def shown(self) -> dict[str, Level]:
        """The pages in the context that this manager built last, and how much of each."""
        return self.asynchronous.shown

    configure = direct_method(AsyncSessionMemory.configure)
    create_page = blocking_method(AsyncSessionMemory.create_page)
    page = blocking_method(AsyncSessionMemory.page)
    pages = blocking_method(AsyncSessionMemory.pages)
    pin = blocking_method(AsyncSessionMemory.pin)
    set_importance = blocking_method(AsyncSessionMemory.set_importance)
    add_to_working_set = blocking_method(AsyncSessionMemory.add_to_working_set)
    remove_from_working_set = blocking_method(AsyncSessionMemory.remove_from_working_set)
    forget = blocking_method(AsyncSessionMemory.forget)
    handle_tool_call = blocking_method(AsyncSessionMemory.handle_tool_call)
    check_citations = blocking_method(AsyncSessionMemory.check_citations)

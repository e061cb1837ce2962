"""Adapters: the conversation and its guard in the runtimes where people already work, one module for each.

In come a runtime's own messages, tool calls and events; out go its own messages again, fewer of them. Each
adapter is a translation onto `SessionManager` and `ToolGuard`; none keeps a second log. Importing a module
whose runtime is not installed raises `MissingExtra`; nothing else imports a runtime.
"""

__all__: list[str] = []

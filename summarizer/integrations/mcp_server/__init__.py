"""An MCP server over recorded conversations: five tools, which read and can write nothing.

In come calls of MCP clients; out go records of one owner's conversations, as data. The owner is fixed when
the server is made: another owner's session is a missing one. Needs `mcp` from 2.1 (extra `mcp`).
"""

from .serving import create_server, serve_stdio

__all__ = ["create_server", "serve_stdio"]

"""FastAPI and Starlette: a chat's session for each request, its answer recorded, streamed or whole.

In: a request, whoever it is from, and what a model answers. Out: the user's `SessionManager`, a turn that
records itself, our errors as HTTP statuses. FastAPI is imported where a dependency is asked for; Starlette
alone does for the rest.

    chats = LongspliceChats(current_user, token_threshold=4000)
    app = FastAPI(lifespan=chats.lifespan)
    chats.handle_errors(app)

    @app.post("/chats/{session_id}")
    async def say(said: Said, turn: Annotated[Turn, Depends(chats.turn)]) -> StreamingResponse:
        return await turn.stream(said.text, ask_model)
"""

from __future__ import annotations

from ...errors import MissingExtra

try:
    import starlette as _  # noqa: F401
except ImportError as _missing:
    raise MissingExtra("the FastAPI and Starlette adapter", "fastapi") from _missing

from .chats import LongspliceChats
from .speech import Speech
from .statuses import error_response, status_of
from .turn import Turn

__all__ = ["LongspliceChats", "Speech", "Turn", "error_response", "status_of"]

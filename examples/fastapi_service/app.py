"""A chat service with a page: streamed replies, any number of workers on one store.

    uvicorn app:app --app-dir examples/fastapi_service --workers 2

Settings: LONGSPLICE_STORE (a URL, such as sqlite:////srv/chats.db or redis://127.0.0.1:6379/0), CHAT_MODEL
(a litellm model name; without it the reply is scripted), CHAT_THRESHOLD (tokens at which a child opens),
CHAT_PAUSE_S (seconds between the words of a scripted reply).
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import BaseModel

from summarizer import SessionManager, get_session_stats
from summarizer.integrations.fastapi import LongspliceChats, Turn
from summarizer.stores import default_store

MODEL = os.environ.get("CHAT_MODEL")
THRESHOLD = int(os.environ.get("CHAT_THRESHOLD", "4000"))
PAUSE_S = float(os.environ.get("CHAT_PAUSE_S", "0.02"))
PAGE = (Path(__file__).parent / "page.html").read_text("utf-8")
FIGURES = ("total_messages", "total_tokens", "session_segments", "context_tokens")


def current_user(x_user: Annotated[str | None, Header()] = None) -> str | None:
    """Put your own authentication here: whoever controls this value controls whose chats are seen."""
    return x_user


chats = LongspliceChats(current_user, model=MODEL, token_threshold=THRESHOLD)
app = FastAPI(lifespan=chats.lifespan)
chats.handle_errors(app)

User = Annotated[str, Depends(current_user)]
Chat = Annotated[SessionManager, Depends(chats.session)]


class Said(BaseModel):
    text: str


async def ask_model(messages: list[dict[str, Any]]) -> Any:
    """A stream of the model's chunks, or of the words of a script."""
    if MODEL is None:
        return scripted(messages[-1]["content"])
    from litellm import acompletion

    usage = {"include_usage": True}
    return await acompletion(model=MODEL, messages=messages, stream=True, stream_options=usage)


async def scripted(text: str) -> AsyncIterator[str]:
    for word in f"You said: {text}".split(" "):
        await asyncio.sleep(PAUSE_S)
        yield f"{word} "


async def figures_of(chat: str, user: str) -> dict[str, Any]:
    stats = (await get_session_stats(chat, owner=user)).to_dict()
    return {"chat": chat, **{name: stats[name] for name in FIGURES}}


@app.get("/")
async def page() -> HTMLResponse:
    nonce = secrets.token_urlsafe(16)
    allowed = f"default-src 'none'; connect-src 'self'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"
    headers = {"Content-Security-Policy": f"{allowed}; base-uri 'none'; form-action 'none'"}
    return HTMLResponse(PAGE.replace("NONCE", nonce), headers=headers)


@app.get("/chats")
async def listed(user: User) -> list[dict[str, Any]]:
    if not user:
        return []
    rows = await default_store().list(user, limit=50)
    return await asyncio.gather(*(figures_of(row.conversation_id, user) for row in rows))


@app.post("/chats/{session_id}")
async def say(said: Said, turn: Annotated[Turn, Depends(chats.turn)]) -> StreamingResponse:
    return await turn.stream(said.text, ask_model)


@app.get("/chats/{session_id}")
async def history(sm: Chat) -> list[dict[str, Any]]:
    return await sm.get_conversation()


@app.get("/chats/{session_id}/stats")
async def stats(sm: Chat, user: User) -> dict[str, Any]:
    return await figures_of(sm.conversation_id, user)


@app.delete("/chats/{session_id}")
async def forget(sm: Chat, user: User) -> dict[str, int]:
    erased = await sm.store.erase(user, sm.conversation_id)
    return {"conversations": erased.conversations, "events": erased.events}


@app.get("/health")
async def health() -> dict[str, int]:
    return {"worker": os.getpid()}

"""A chat endpoint for any number of workers on one store.

    uvicorn fastapi_chat:app --app-dir examples --workers 2
    curl -s localhost:8000/chats/trip -H 'X-User: ana' -H 'Content-Type: application/json' -d '{"text": "Hi"}'

Settings: LONGSPLICE_STORE (a URL, such as sqlite:////srv/chats.db or redis://127.0.0.1:6379/0), CHAT_MODEL
(a litellm model name; without it the reply is scripted), CHAT_THRESHOLD (tokens at which a child opens).
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from summarizer import (
    InvalidMessage,
    InvalidSetting,
    SessionErased,
    SessionManager,
    SessionNotFound,
    StoreUnavailable,
    SummarizerError,
    get_conversation_history,
    get_session_stats,
    settle,
    track_conversation,
)

MODEL = os.environ.get("CHAT_MODEL")
THRESHOLD = int(os.environ.get("CHAT_THRESHOLD", "4000"))
STATUS = {
    SessionNotFound: 404,
    SessionErased: 410,
    InvalidMessage: 422,
    InvalidSetting: 422,
    StoreUnavailable: 503,
}

# Put your own authentication here: whoever controls this value controls whose chats are seen.
User = Annotated[str, Header(alias="X-User", min_length=1)]
IdempotencyKey = Annotated[str | None, Header()]


class Said(BaseModel):
    text: str


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await settle()


app = FastAPI(lifespan=lifespan)


@app.exception_handler(SummarizerError)
async def failed(_: Request, error: SummarizerError) -> JSONResponse:
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    return JSONResponse({"detail": str(error)}, status)


async def reply_to(messages: list[dict[str, Any]]) -> Any:
    """Ask the model, or answer by script."""
    if MODEL is None:
        return f"You said: {messages[-1]['content']}"
    from litellm import acompletion

    return await acompletion(model=MODEL, messages=messages)


@app.post("/chats/{chat}")
async def say(chat: str, said: Said, user: User, idempotency_key: IdempotencyKey = None) -> dict[str, Any]:
    try:
        messages = await SessionManager(chat, owner=user, model=MODEL).get_messages_for_llm()
    except SessionNotFound:
        messages = []
    response = await reply_to([*messages, {"role": "user", "content": said.text}])
    session_id = await track_conversation(
        said.text,
        response,
        model=MODEL,
        session_id=chat,
        owner=user,
        token_threshold=THRESHOLD,
        idempotency_key=idempotency_key,
    )
    answer = response if isinstance(response, str) else response.choices[0].message.content
    return {"answer": answer, "session_id": session_id, "messages_sent": len(messages) + 1}


@app.get("/chats/{chat}")
async def history(chat: str, user: User) -> list[dict[str, Any]]:
    return await get_conversation_history(chat, owner=user)


@app.get("/chats/{chat}/stats")
async def stats(chat: str, user: User) -> dict[str, Any]:
    return (await get_session_stats(chat, owner=user)).to_dict()


@app.delete("/chats/{chat}")
async def forget(chat: str, user: User) -> dict[str, int]:
    erased = await SessionManager(chat, owner=user).store.erase(user, chat)
    return {"conversations": erased.conversations, "events": erased.events}


@app.get("/health")
async def health() -> dict[str, int]:
    return {"worker": os.getpid()}

"""A chat for a synchronous server: Flask here, and Django or any WSGI application alike.

    flask --app examples/flask_chat.py run
    curl -s localhost:5000/chats/trip -H 'X-User: ana' -H 'Content-Type: application/json' -d '{"text": "Hi"}'

Settings: LONGSPLICE_STORE (a URL, such as sqlite:////srv/chats.db or redis://127.0.0.1:6379/0), CHAT_MODEL
(a litellm model name; without it the reply is scripted), CHAT_THRESHOLD (tokens at which a child opens).
"""

import os
from typing import Any

from flask import Flask, abort, request

from summarizer import InvalidMessage, InvalidSetting, SessionNotFound, StoreUnavailable
from summarizer.sync import SessionManager, run

MODEL = os.environ.get("CHAT_MODEL")
THRESHOLD = int(os.environ.get("CHAT_THRESHOLD", "4000"))

app = Flask(__name__)


@app.errorhandler(SessionNotFound)
@app.errorhandler(InvalidMessage)
@app.errorhandler(InvalidSetting)
@app.errorhandler(StoreUnavailable)
def failed(error: Exception) -> tuple[dict[str, str], int]:
    status = {SessionNotFound: 404, StoreUnavailable: 503}.get(type(error), 422)
    return {"detail": str(error)}, status


def session(chat: str, **settings: Any) -> SessionManager:
    """The user's chat. Put your own authentication here: whose id this is decides whose chats are seen."""
    owner = request.headers.get("X-User") or abort(401)
    return SessionManager(chat, owner=owner, model=MODEL, token_threshold=THRESHOLD, **settings)


def reply_to(messages: list[dict[str, Any]]) -> Any:
    """Ask the model, or answer by script."""
    if MODEL is None:
        return f"You said: {messages[-1]['content']}"
    from litellm import completion

    return completion(model=MODEL, messages=messages)


@app.post("/chats/<chat>")
def say(chat: str) -> dict[str, Any]:
    sm = session(chat)
    sm.user_says(request.get_json()["text"])
    messages = sm.get_messages_for_llm()
    sm.ai_responds(reply_to(messages))
    answer = sm.get_conversation()[-1]["content"]
    return {"answer": answer, "session_id": sm.session_id, "messages_sent": len(messages)}


@app.get("/chats/<chat>")
def history(chat: str) -> list[dict[str, Any]]:
    return session(chat).get_conversation()


@app.get("/chats/<chat>/stats")
def stats(chat: str) -> dict[str, Any]:
    return session(chat).get_stats().to_dict()


@app.delete("/chats/<chat>")
def forget(chat: str) -> dict[str, int]:
    sm = session(chat)
    erased = run(sm.store.erase(sm.owner, sm.conversation_id))  # The store itself is asynchronous.
    return {"conversations": erased.conversations, "events": erased.events}

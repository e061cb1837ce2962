"""The sessions of a server's users: opened for each request, closed with the application."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request

from ...config import parse_session_id
from ...errors import InvalidSetting, MissingExtra, SessionNotFound, SummarizerError
from ...segmentation import settle
from ...session import SessionManager
from ...stores import close_default_stores
from .speech import awaited
from .statuses import NOT_FOUND, error_response
from .turn import Turn

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["LongspliceChats"]

_MOST_KEY: Final = 255
"""Characters of an Idempotency-Key."""


class LongspliceChats:
    """Opens the chats of each request's user.

    What is kept: the user's message before the model is asked, the answer once it is whole, and of a stream
    that was cut as much as was said. Not kept: what a worker that is killed had streamed of an answer.

    Args:
        user: Who asks. For FastAPI any dependency, with dependencies of its own; for Starlette a function of
            the request; either may be async. It gives the owner of the chats, a string; nothing: 401.
        create: Whether `turn` may begin a chat under an id of the client's; `False` answers 404.
        settle_s: Seconds for which the end of the application waits for summaries under way.
        settings: Of each `SessionManager`: `store`, `model`, `token_threshold`, `summarizer`, ...

    Example:
        `Annotated[Turn, Depends(LongspliceChats(current_user).turn)]`
    """

    def __init__(
        self, user: Callable[..., Any], *, create: bool = True, settle_s: float = 10.0, **settings: Any
    ) -> None:
        self._user = user
        self._create = create
        self._settle_s = settle_s
        self._settings = settings
        self._saving: set[asyncio.Task[Any]] = set()

    # For FastAPI

    @cached_property
    def session(self) -> Callable[..., Any]:
        """A dependency: the user's session `session_id` of the path, which must exist; else 404."""

        async def session(owner: Any, session_id: str) -> SessionManager:
            return await self._open(owner, session_id, create=False)

        return _dependency(session, self._user)

    @cached_property
    def turn(self) -> Callable[..., Any]:
        """A dependency: a `Turn` in the session of the path, which its first write may create.

        What `Turn.answer` was given is recorded once the response is sent.
        """

        async def turn(
            owner: Any, session_id: str, idempotency_key: str | None = None
        ) -> AsyncGenerator[Turn]:
            async with self._turn(await self._open(owner, session_id), idempotency_key) as opened:
                yield opened

        return _dependency(turn, self._user, takes_key=True)

    # For Starlette

    async def open(
        self, request: Request, session_id: str | None = None, *, create: bool = False
    ) -> SessionManager:
        """The session of the request's user, by the path's `session_id` if none is given.

        Args:
            request: The request.
            session_id: Any id of the chat; with `create`, `None` makes a new, unguessable one.
            create: Whether a write may create it; otherwise it must exist.

        Raises:
            HTTPException: 401 without a user, 404 for a foreign or missing id, 422 for one that is none.
            StoreError: The store could not be asked.
        """
        owner = await awaited(self._user(request))
        if session_id is None:
            session_id = request.path_params.get("session_id")
        return await self._open(owner, session_id, create=create)

    @asynccontextmanager
    async def open_turn(self, request: Request, session_id: str | None = None) -> AsyncGenerator[Turn]:
        """A turn in a session; see `open` and `turn`. What `Turn.answer` was given is recorded at its end."""
        sm = await self.open(request, session_id, create=self._create)
        async with self._turn(sm, request.headers.get("idempotency-key")) as turn:
            yield turn

    # For both

    @asynccontextmanager
    async def lifespan(self, _: Any = None) -> AsyncGenerator[None]:
        """An application's lifespan: at its end nothing is under way, and stores opened by URL are closed.

        A summary that takes longer than `settle_s` stays due; the next worker goes on with it. Within a
        lifespan of your own: `async with chats.lifespan(): yield`.
        """
        try:
            yield
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settle_s):
                    if self._saving:
                        await asyncio.wait(set(self._saving))
                    await settle()
            await close_default_stores()

    def handle_errors(self, app: Starlette) -> None:
        """Answer our errors with their statuses; see `error_response`."""
        app.add_exception_handler(SummarizerError, error_response)

    async def _open(
        self, owner: Any, session_id: str | None, *, create: bool | None = None
    ) -> SessionManager:
        if owner is None or owner == "":
            raise HTTPException(401, "not authenticated")
        if not isinstance(owner, str):
            raise InvalidSetting(f"the user is a {type(owner).__name__}; return the owner's id, a string")
        if session_id is not None:
            try:
                parse_session_id(session_id)
            except InvalidSetting as error:
                raise HTTPException(422, str(error)) from error
        create = self._create if create is None else create
        sm = SessionManager(session_id, owner=owner, create=create, **self._settings)
        if not create:
            try:
                await sm.open_segment()
            except SessionNotFound as error:
                raise HTTPException(404, NOT_FOUND) from error
        return sm

    @asynccontextmanager
    async def _turn(self, sm: SessionManager, key: str | None) -> AsyncGenerator[Turn]:
        if key is not None and not 0 < len(key) <= _MOST_KEY:
            raise HTTPException(422, f"an Idempotency-Key has 1 to {_MOST_KEY} characters")
        turn = Turn(sm, key, self._saving)
        try:
            yield turn
        finally:
            await turn.save()


def _dependency(
    function: Callable[..., Any], user: Callable[..., Any], *, takes_key: bool = False
) -> Callable[..., Any]:
    """The function with the parameters that FastAPI is to fill in."""
    try:
        from fastapi import Depends, Header
    except ImportError as error:
        raise MissingExtra("a dependency of FastAPI", "fastapi") from error
    given: dict[str, Any] = {"owner": Annotated[Any, Depends(user)], "session_id": str}
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind)
        for name, kind in given.items()
    ]
    if takes_key:
        key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=_MOST_KEY)]
        named = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter("idempotency_key", named, default=None, annotation=key))
    function.__dict__["__signature__"] = inspect.Signature(parameters)
    return function

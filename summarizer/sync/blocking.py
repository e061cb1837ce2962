"""The asynchronous interface as blocking calls: signature, types and docstring are those of the original."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from .background import Caller, run

__all__ = ["Blocking", "blocking", "blocking_method", "direct_method"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Blocking(Protocol):
    """The blocking face of an asynchronous object."""

    @property
    def asynchronous(self) -> Any:
        """The object inside."""
        ...


def blocking(
    function: Callable[_P, Coroutine[Any, Any, _R]], *, calls: str | None = None
) -> Callable[_P, _R]:
    """A coroutine function as a function that waits for it.

    Args:
        function: The original.
        calls: Its parameter that takes a function of the user; a synchronous one runs in the calling thread.
    """
    signature = inspect.signature(function)

    def waits(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        if calls is None:
            return run(function(*args, **kwargs))
        caller, bound = Caller(), signature.bind(*args, **kwargs)
        bound.arguments[calls] = caller.runs(bound.arguments[calls])
        return run(function(*bound.args, **bound.kwargs), caller=caller)

    return _described(waits, function)


def blocking_method(
    method: Callable[Concatenate[Any, _P], Coroutine[Any, Any, _R]], *, calls: str | None = None
) -> Callable[Concatenate[Blocking, _P], _R]:
    """A method of an asynchronous object as one of its blocking face; see `blocking`."""
    waits = blocking(method, calls=calls)

    def of_face(self: Blocking, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return waits(self.asynchronous, *args, **kwargs)

    return _described(of_face, method)


def direct_method(method: Callable[Concatenate[Any, _P], _R]) -> Callable[Concatenate[Blocking, _P], _R]:
    """A method that waits for nothing, as one of the blocking face."""

    def of_face(self: Blocking, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return method(self.asynchronous, *args, **kwargs)

    return _described(of_face, method)


def _described(function: Callable[_P, _R], original: Callable[..., Any]) -> Callable[_P, _R]:
    """Name, docstring and signature of the original, whose own nature (a coroutine function) stays hidden."""
    functools.update_wrapper(function, original)
    del function.__dict__["__wrapped__"]
    function.__dict__["__signature__"] = inspect.signature(original)
    return function

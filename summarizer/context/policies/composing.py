"""What a policy is, and how policies are put together."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator
from typing import ClassVar, Protocol, cast, runtime_checkable

from ...errors import InvalidSetting
from .views import View

__all__ = ["Compose", "ContextPolicy", "Policies", "Stage"]


@runtime_checkable
class ContextPolicy(Protocol):
    """A view in, a view out.

    `apply` must be a pure function of the view: two workers that see one log must show one context.
    What is left out should change in steps, else each call costs the provider's prompt cache. Only
    `View.without`, `View.pin` and `View.rewrite` are needed; a view made otherwise is checked, and
    not used if it is no valid request.
    """

    def apply(self, view: View, /) -> View | Awaitable[View]:
        """The view after this policy."""
        ...


class Stage:
    """Gives a policy `|`, and its place in a composition.

    Attributes:
        order: -1 before all others (pins), 1 after all others (token budgets), else 0.
    """

    __slots__ = ()
    order: ClassVar[int] = 0

    def __or__(self, other: Policies) -> Compose:
        return Compose([cast("ContextPolicy", self), other])

    def __ror__(self, other: Policies) -> Compose:
        return Compose([other, cast("ContextPolicy", self)])


class Compose(Stage):
    """Policies that act one after another, in the order given.

    Pins act first wherever they stand, so that nothing pinned is left out; token budgets act last,
    so that they measure what the others leave, and hold.

    Args:
        policies: Policies, or compositions of them.

    Raises:
        InvalidSetting: Something without an `apply`.
    """

    __slots__ = ("policies",)

    def __init__(self, policies: Iterable[Policies]) -> None:
        flat = [policy for given in policies for policy in _flat(given)]
        self.policies: tuple[ContextPolicy, ...] = tuple(
            sorted(flat, key=lambda policy: policy.order if isinstance(policy, Stage) else 0)
        )

    def __iter__(self) -> Iterator[ContextPolicy]:
        return iter(self.policies)

    def __repr__(self) -> str:
        return f"Compose({list(self.policies)!r})"


Policies = ContextPolicy | Compose | Iterable[ContextPolicy | Compose]
"""One policy, a composition, or a list of them."""


def _flat(given: Policies) -> Iterator[ContextPolicy]:
    if isinstance(given, Compose):
        yield from given.policies
    elif isinstance(given, ContextPolicy) and not isinstance(given, type):
        yield given
    elif isinstance(given, Iterable) and not isinstance(given, str | type):  # pyright: ignore[reportUnnecessaryIsInstance]
        for policy in given:
            yield from _flat(policy)
    else:
        raise InvalidSetting(
            f"{given!r} is no context policy: give an object with a method apply(view) that returns a view"
        )

"""What the model is sent: a conversation's context, put together from what each part of the house adds."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from .access import Access
from .context import Context
from .context.policies import Policies
from .conversation import Conversation
from .gauge import Gauge
from .messages import jsonable
from .recalling import Recaller

__all__ = ["Viewer"]


class Viewer:
    """Builds the contexts of the conversation that `access` leads to.

    Args:
        access: The conversation.
        gauge: What the host said of its model.
    """

    def __init__(self, access: Access, gauge: Gauge) -> None:
        self._access = access
        self._gauge = gauge

    async def context(self, max_tokens: int | None, *, recall: bool, policies: Policies | None) -> Context:
        """See `SessionManager.context`."""
        access = self._access
        if access.fresh and access.seen is None:
            budget = self._gauge.window_budget(None) if max_tokens is None else max_tokens
            return self._gauge.first_request(access.session_id, access.system_prompt, budget)
        conversation = await access.current()
        budget = self._gauge.window_budget(conversation) if max_tokens is None else max_tokens
        view = partial(self._view, policies)
        if recall:
            built = await Recaller(access).context(conversation, budget, view)
        else:
            built = await view(conversation, budget)
        return replace(
            built, messages=[_copied(message) for message in built.messages], parts=dict(built.parts)
        )

    async def _view(
        self, policies: Policies | None, conversation: Conversation, budget: int | None
    ) -> Context:
        if policies is not None:
            return await self._gauge.request_by(policies, conversation, budget)
        return conversation.view(
            (budget, self._gauge.model, self._gauge.tools_tokens),
            lambda: self._gauge.request(conversation, budget),
        )


def _copied(message: dict[str, Any]) -> dict[str, Any]:
    """A copy that a caller may change without changing the next one."""
    copy = dict(message)
    for key, value in message.items():
        if isinstance(value, list | dict):
            copy[key] = jsonable(value)
    return copy

"""Creating conversations: what names one first, then its data in one script."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from ...config import TOMBSTONE_S
from ...errors import SessionErased, SessionExists, ValueTooLarge
from ..protocol import Beginning, Head, Owner
from . import scripts
from .client import Client
from .codec import encode_beginning, encode_json, keys_of
from .forks import Forks
from .listing import Listing
from .removing import Removal

__all__ = ["Creation"]


class Creation:
    """Creates conversations.

    Args:
        client: The way to the servers.
        prefix: What all keys begin with.
        listing: Where conversations are listed.
        forks: Where forks are entered.
        removal: Takes back a fork whose ancestor was removed meanwhile.
        ttl_ms: Milliseconds for which conversations are kept, 0 for ever.
        max_event_bytes: Largest encoded event.
    """

    def __init__(
        self,
        client: Client,
        prefix: str,
        listing: Listing,
        forks: Forks,
        removal: Removal,
        *,
        ttl_ms: int,
        max_event_bytes: int,
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._listing = listing
        self._forks = forks
        self._removal = removal
        self._ttl_ms = ttl_ms
        self._max_event_bytes = max_event_bytes

    async def create(
        self, owner: Owner, root: str, settings: Mapping[str, Any], beginning: Beginning | None
    ) -> Head:
        """See `EventStore.create`."""
        if beginning is not None:
            beginning.check(root)
        ancestor = None if beginning is None else beginning.ancestor
        if ancestor is None:
            return await self._alone(owner, root, settings, beginning)
        forks = self._forks
        await forks.enter(owner, ancestor, root)
        try:
            head = await self._alone(owner, root, settings, beginning)
        except (SessionErased, ValueTooLarge):
            await forks.drop(owner, ancestor, root)
            raise  # Where it exists, or may, the entry stays: it may be a fork of this very ancestor.
        if not await forks.still_entered(owner, ancestor, root):
            await self._removal.with_forks(owner, root, TOMBSTONE_S)
            raise SessionErased(ancestor)
        return head

    async def _alone(
        self, owner: Owner, root: str, settings: Mapping[str, Any], beginning: Beginning | None
    ) -> Head:
        created, entered = await self._listing.enter(owner, root)
        token = f"{created} {secrets.token_hex(8)}"
        head, rest = encode_beginning(beginning, root, created, self._max_event_bytes)
        values = (token.encode(), b"%d" % self._ttl_ms, head, encode_json(settings), *rest)
        reply = await self._client.run(scripts.CREATE, keys_of(self._prefix, owner, root), values)
        if reply == b"E":
            raise SessionExists(root)
        if reply == b"X":
            await self._listing.drop(owner, root, created)
            raise SessionErased(root)
        if not entered:
            # An older entry was there: of a create that died, or of an expiry that is about to drop it.
            await self._listing.confirm(owner, root, created)
        return Head(root) if beginning is None else beginning.head

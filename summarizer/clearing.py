"""Beginning a conversation anew: a child that opens without a seed, behind everything there is."""

from __future__ import annotations

import asyncio
import contextlib

from .errors import StoreConflict
from .events import Event, EventKind, Origin, new_event_id
from .handover import opening_record
from .policy import Plan, Trigger
from .segmentation import Segmentation
from .standing import standing_in
from .stores.protocol import Loaded
from .summary import Summary, SummaryOutcome
from .telemetry import log
from .units import Cut

__all__ = ["clear"]


async def clear(job: Segmentation) -> None:
    """Open a child that begins with nothing; a segmentation under way loses its lease.

    What another worker writes meanwhile is behind the cut. Nothing to leave behind changes nothing.

    Raises:
        StoreError: The store failed; nothing was changed.
    """
    while True:
        loaded = standing_in(await job.store.load(job.owner, job.conversation_id))
        if not loaded.head.seed_tokens and not any(event.message for event in loaded.events):
            return
        with contextlib.suppress(StoreConflict):  # A child was opened meanwhile: clear that one.
            if await _left_behind(job, loaded):
                log.info("conversation.cleared", conversation_id=job.conversation_id)
                return


async def _left_behind(job: Segmentation, loaded: Loaded) -> bool:
    """Cut behind the newest event; `False` if another session is the tip by now."""
    store, owner, root, head = job.store, job.owner, job.conversation_id, loaded.head
    claim = await store.claim(owner, root, index=head.index, lease_s=job.policy.lease_s, preempt=True)
    if claim.fence is None:
        return False
    planned = Plan(Cut(head.last_seq, turn_border=True), 0, 0, head.seed_tokens + head.segment_tokens)
    nothing = SummaryOutcome(Summary(head.last_seq, model_through=head.last_seq), "", 0)
    record = opening_record(nothing, planned, Trigger.MANUAL, loaded, None) | {"cleared": True}
    try:
        await store.segment(
            owner,
            root,
            index=head.index,
            cut=head.last_seq,
            summary={"v": 1, "seed": "", "summary": nothing.summary.to_dict()},
            seed_tokens=0,
            fence=claim.fence,
            events=[Event(EventKind.SEGMENTED, new_event_id(), job.clock(), Origin.SYSTEM, data=record)],
        )
    finally:
        await asyncio.shield(job.release(claim.fence))
    return True

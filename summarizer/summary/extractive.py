"""The summary that needs no model: rules alone, synchronous and the same for the same input."""

from __future__ import annotations

from .extraction import extract_rules
from .ledger import fit, ledger_budget, merge
from .record import Summary, SummaryOutcome, SummaryRequest
from .seed import render_seed

__all__ = ["ExtractiveSummarizer", "extract"]


def extract(request: SummaryRequest) -> SummaryOutcome:
    """The summary of everything up to the cut, by rules.

    The previous ledger is carried and brought up to date; a model's narrative is carried as it was and
    says up to where it reaches. `model_through` does not move, so a later model reads on from there.

    Cost: linear in the text of `request.events`, of which at most 32,000 characters a message are
    looked at. Never fails for what a text contains.
    """
    previous = request.previous or Summary(through=0)
    found = extract_rules(
        request.events, system_prompt=request.system_prompt, opening=request.previous is None
    )
    ledger = merge(previous.entries, found, previous.next_entry)
    fitted = fit(ledger.entries, ledger_budget(request.seed_budget), request.counter)
    summary = Summary(
        through=request.cut,
        model_through=previous.model_through,
        entries=fitted.entries,
        narrative=previous.narrative,
        narrative_model=previous.narrative_model,
        writer="extractive",
        omitted=previous.omitted + ledger.omitted + fitted.omitted,
        next_entry=ledger.next_entry,
    )
    seed, tokens, notes = render_seed(
        summary,
        budget=request.seed_budget,
        counter=request.counter,
        running_user=request.running_user,
        system_prompt=request.system_prompt,
    )
    return SummaryOutcome(summary, seed, tokens, notes=notes)


class ExtractiveSummarizer:
    """`summarizer="extractive"`: never asks a model, never fails, costs no money."""

    async def summarize(self, request: SummaryRequest) -> Summary:
        """The summary of everything up to `request.cut`."""
        return extract(request).summary

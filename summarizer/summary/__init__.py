"""What stands for a segment: events and the previous summary in, a checked summary and its seed out.

Rules always fill the ledger; a model, where there is one, may amend it within the laws.
Never here: storing, or changing the log.
"""

from .choose import resolve_summarizer
from .extractive import ExtractiveSummarizer, extract
from .ladder import LlmSummarizer, summarize
from .record import (
    Entry,
    EntryKind,
    EntryStatus,
    LivePrefix,
    ModelCall,
    Rejection,
    Summarizer,
    Summary,
    SummaryOutcome,
    SummaryRequest,
)
from .redact import redact
from .seed import render_seed

__all__ = [
    "Entry",
    "EntryKind",
    "EntryStatus",
    "ExtractiveSummarizer",
    "LivePrefix",
    "LlmSummarizer",
    "ModelCall",
    "Rejection",
    "Summarizer",
    "Summary",
    "SummaryOutcome",
    "SummaryRequest",
    "extract",
    "redact",
    "render_seed",
    "resolve_summarizer",
    "summarize",
]

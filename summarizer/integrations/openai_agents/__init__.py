"""OpenAI Agents SDK: sessions whose history never outgrows the model.

`session` is one of any length, `compaction` bounds any that exists, `policies` shortens what it holds,
`items` knows what belongs together. None of these imports the SDK; `tools`, `hooks` and `running` need it.
"""

from __future__ import annotations

from .compaction import CompactionPolicy, LocalCompactionSession
from .counters import DefaultTokenCounter, TiktokenCounter
from .policies import LastTurns, SummaryPolicy
from .session import LongspliceSession

__all__ = [
    "CompactionPolicy",
    "DefaultTokenCounter",
    "LastTurns",
    "LocalCompactionSession",
    "LongspliceSession",
    "SummaryPolicy",
    "TiktokenCounter",
]

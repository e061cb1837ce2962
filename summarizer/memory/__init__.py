"""Virtual memory: pages in; a prompt within its budget, and tools that bring anything back, out.

A page's original is never changed or lost; what is shown of it is derived, level by level.
It never asks a store by itself, never calls a model but `summarize_fn`, and knows nothing of sessions.
"""

from __future__ import annotations

from .citations import CitationReport, Statement
from .compressors import Compressor, CompressorRegistry, MediaCompressor, StructuredCompressor, TextCompressor
from .eviction import (
    Candidate,
    EvictionPolicy,
    ImportanceWeightedLRU,
    LRUEvictionPolicy,
    ModalityAwareLRU,
    Step,
)
from .layout import MemoryContext
from .manager import MemoryManager
from .metrics import VMMetrics
from .page_store import InMemoryPageStore, PageStore
from .pages import Level, Modality, Page, PageNotFound, PageType
from .wording import VMMode
from .working_set import Resident, WorkingSetConfig

__all__ = [
    "Candidate",
    "CitationReport",
    "Compressor",
    "CompressorRegistry",
    "EvictionPolicy",
    "ImportanceWeightedLRU",
    "InMemoryPageStore",
    "LRUEvictionPolicy",
    "Level",
    "MediaCompressor",
    "MemoryContext",
    "MemoryManager",
    "Modality",
    "ModalityAwareLRU",
    "Page",
    "PageNotFound",
    "PageStore",
    "PageType",
    "Resident",
    "Statement",
    "Step",
    "StructuredCompressor",
    "TextCompressor",
    "VMMetrics",
    "VMMode",
    "WorkingSetConfig",
]

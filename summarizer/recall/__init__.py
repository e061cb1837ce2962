"""Search over the whole log.

In come a query in anybody's words and a conversation; out go its best passages as values, or as a record
that a model may read. It writes nothing but its own index, which can be made anew from the log at any time.
"""

from .embedding import LitellmEmbeddings
from .hits import Gap, Recalled, RecallHit
from .index import Index
from .meaning import Meaning, meaning_of
from .path import search_path
from .rendering import render
from .resident import forget_index
from .search import MOST_HITS, Log
from .wording import RECALL_SCHEMA

__all__ = [
    "MOST_HITS",
    "RECALL_SCHEMA",
    "Gap",
    "Index",
    "LitellmEmbeddings",
    "Log",
    "Meaning",
    "RecallHit",
    "Recalled",
    "forget_index",
    "meaning_of",
    "render",
    "search_path",
]

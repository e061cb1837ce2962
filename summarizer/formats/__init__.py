"""Files: transcripts of others in, as wire messages; trees of conversations out, and in again.

In comes text that somebody recorded elsewhere; out go its conversations and the steps that record them.
Never here: a model, or a guess about what a file means.
"""

from .openai import InvalidTranscript, Transcript, parse_transcripts, read_transcripts
from .repair import Step, canonical_json, steps_of
from .tree import export_tree, import_tree

__all__ = [
    "InvalidTranscript",
    "Step",
    "Transcript",
    "canonical_json",
    "export_tree",
    "import_tree",
    "parse_transcripts",
    "read_transcripts",
    "steps_of",
]

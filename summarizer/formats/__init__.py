"""Transcripts of others: files in, wire messages out.

In comes text that somebody recorded elsewhere; out go its conversations and the steps that record them.
Never here: a store, a model, or a guess about what a file means.
"""

from .openai import InvalidTranscript, Transcript, parse_transcripts, read_transcripts
from .repair import Step, canonical_json, steps_of

__all__ = [
    "InvalidTranscript",
    "Step",
    "Transcript",
    "canonical_json",
    "parse_transcripts",
    "read_transcripts",
    "steps_of",
]

"""Summary models that know what was planted: one without fault, one that forgets.

Both read the prompt as any model would: the ledger and the transcript in it, and nothing else. What they
recognize is given to them, so they show what the machinery around a model keeps, not how good a model is.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from summarizer.summary import LlmSummarizer
from summarizer.testing import ScriptedModel

from .judge import stands
from .planted import Kind, Planted

__all__ = ["scripted_summarizer"]

_KINDS: Final[dict[Kind, str]] = {
    "fact": "fact",
    "number": "fact",
    "name": "fact",
    "changed": "fact",
    "constraint": "constraint",
    "obligation": "open",
}
_NARRATIVE: Final = (
    "The user talked with the assistant about several subjects and told it some things to keep in mind."
)
_FORGOTTEN: Final = 0.3
"""Share of what it reads that the forgetful model does not write down."""


def scripted_summarizer(planted: Sequence[Planted], *, forgetful: int | None = None) -> LlmSummarizer:
    """A summarizer over a scripted model.

    Args:
        planted: What it recognizes.
        forgetful: A seed; the model then leaves out three in ten, and never takes anything back.
    """
    memory = _Memory(planted, forgetful)

    def make(_name: str, **_options: Any) -> ScriptedModel:
        return ScriptedModel(answer=memory.answer)

    return LlmSummarizer(["scripted"], model_factory=make, window=200_000, prompt="full")


class _Memory:
    def __init__(self, planted: Sequence[Planted], forgetful: int | None) -> None:
        self.planted = planted
        self.retires = forgetful is None
        self.known = range(len(planted))
        if forgetful is not None:
            rng = random.Random(forgetful)
            self.known = [i for i in self.known if rng.random() >= _FORGOTTEN]

    def answer(self, request: Any) -> str:
        rows = list(_rows(request.messages[-1]["content"]))
        entries = [row for row in rows if "kind" in row]
        records = [row for row in rows if "role" in row]
        return json.dumps({"narrative": _NARRATIVE, "operations": list(self._operations(entries, records))})

    def _operations(
        self, entries: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        seen = {i: row["seq"] for row in records for i in self.known if self._says(row, i)}
        for i, seq in seen.items():
            each = self.planted[i]
            if self.retires and each.superseded_by in seen:
                continue
            if self.retires:
                yield from self._retirements(i, seq, entries)
            if each.kind == "obligation" and any(
                _demands(row) and stands(each, row["text"]) for row in entries
            ):
                continue
            yield _operation("add", kind=_KINDS[each.kind], text=each.text, sources=[seq])

    def _says(self, row: Mapping[str, Any], i: int) -> bool:
        return self.planted[i].text.casefold() in row["text"].casefold()

    def _retirements(
        self, i: int, seq: int, entries: Sequence[Mapping[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        """Entries that say what this one replaces."""
        new = self.planted[i]
        for old in (one for one in self.planted if one.superseded_by == i):
            for entry in entries:
                if stands(old, entry["text"]) and not stands(new, entry["text"]):
                    yield _operation("retire", id=entry["id"], sources=[seq], reason="changed")


def _demands(entry: Mapping[str, Any]) -> bool:
    return entry["kind"] in ("constraint", "open")


def _operation(op: str, **given: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"id": "", "kind": "fact", "text": "", "sources": [], "reason": ""}
    return {"op": op} | empty | given


def _rows(prompt: str) -> Iterator[dict[str, Any]]:
    """The JSON lines of a prompt: entries of the ledger, records of the transcript."""
    for line in prompt.splitlines():
        if line.startswith("{"):
            yield json.loads(line)

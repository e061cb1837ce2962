"""What the model reads: every sentence, word for word, from one place."""

import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import guards
from guards import ToolGuard, Wording
from guards.wording import VERSION, quoted

GOLDEN = Path(__file__).parent / "golden" / "wording.json"
TEMPLATES = asdict(Wording())
SENTENCE = re.compile(r"\s*[A-Z][^.]*\s[^.]*\s.*\.\s*", re.DOTALL)
NAMES = {
    name: {field for _, field, _, _ in Formatter().parse(text) if field} for name, text in TEMPLATES.items()
}


def test_every_sentence_word_for_word() -> None:
    """A changed sentence is a changed product: `python -m tests.guards.test_wording` writes the file anew."""
    assert json.loads(GOLDEN.read_text(encoding="utf-8")) == {"version": VERSION, **TEMPLATES}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_takes_its_values(name: str) -> None:
    """Filled, no brace is left, and each value stands in it."""
    said = Wording().say(name, **{value: f"<{value}>" for value in NAMES[name]}, other="not used")

    assert all(f"<{value}>" in said for value in NAMES[name])
    assert not re.search(r"\{[a-z_]*\}", said.replace("${...}", "").replace("${v1}", ""))


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_can_be_replaced(name: str) -> None:
    """A host writes its own words, with the values that it wants."""
    assert Wording(**{name: "Stop."}).say(name) == "Stop."


def test_a_template_with_an_unknown_value_is_refused_when_it_is_made() -> None:
    """The error names the template, the value and those that it may use."""
    with pytest.raises(ValueError, match=r"'replayed' names who.*may use age, call"):
        Wording(replayed="Ask {who}.")


def test_the_words_of_the_host_are_what_the_model_reads() -> None:
    """A replaced template reaches the verdict."""
    guard = ToolGuard(wording=Wording(reference_unknown="Unbekannt: {reference}.{known}"))

    assert guard.before_call("use", {"x": "$v9"}).message.startswith('Unbekannt: "$v9".')


def test_every_template_is_used() -> None:
    """What nobody says any more leaves the list."""
    source = "".join(file.read_text(encoding="utf-8") for file in modules() if file.name != "wording.py")
    families = ("budget_", "permission_", "loop_", "grounding_", "reference_", "read_")
    unused = [
        field.name
        for field in fields(Wording)
        if field.name not in source and not field.name.startswith(families)
    ]

    assert unused == []


def test_no_sentence_stands_anywhere_else() -> None:
    """Outside of `wording`, text that begins with a capital and ends with a full stop is a docstring."""
    found = [
        f"{file.name}:{line}: {text}"
        for file in modules()
        if file.name != "wording.py"
        for line, text in sentences(ast.parse(file.read_text(encoding="utf-8")))
    ]

    assert found == []


def modules() -> list[Path]:
    """The sources of the package."""
    return sorted(Path(guards.__path__[0]).rglob("*.py"))


def sentences(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The texts of three or more words that read as sentences, without docstrings."""
    spoken = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and id(node) not in spoken else None
        if isinstance(text, str) and SENTENCE.fullmatch(text):
            yield node.lineno, text


@given(st.text())
def test_what_is_quoted_cannot_leave_its_line(text: str) -> None:
    """Text of a conversation reads as data: one line of JSON, bounded."""
    shown = quoted(text)

    assert len(shown) <= 120
    assert "\n" not in shown
    assert shown.startswith('"')
    assert shown.endswith('"')


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({"version": VERSION, **TEMPLATES}, indent=2) + "\n", encoding="utf-8")
    sys.exit(0)

"""Constraints in the forms that docs/summaries.md promises to find, one subject for each form.

Unlike `wordings`, these are written with the list of forms at hand.
"""

from __future__ import annotations

from typing import Final

from .wordings import Subject

__all__ = ["DOCUMENTED"]


def _form(a: str, label: str, question: str, text: str) -> Subject:
    return Subject(a, (label,), question, (text,), ())


DOCUMENTED: Final = (
    _form("folder", "delete", "What may you not delete?", "Never delete {a}."),
    _form("database", "{service}", "What does {service} have to use?", "{service} must use {a}."),
    _form("language", "comments", "How are comments written?", "Always write comments in {a}."),
    _form("person", "budget", "Whom may you not tell the budget?", "Do not tell {a} about the budget."),
    _form("clock", "alarm", "When may the alarm go off?", "You may not set the alarm before {a}."),
    _form("money", "{thing}", "What may the {thing} cost?", "No more than {a} for the {thing}."),
    _form("drink", "serve", "What should be served?", "Only serve {a}, nothing else."),
    _form("food", "allergic", "What am I allergic to?", "My son is allergic to {a}."),
    _form("colour", "chairs", "Which chairs do I like?", "I prefer {a} chairs."),
    _form("weekday", "meetings", "When are there no meetings?", "Avoid meetings on {a}."),
    _form(
        "person",
        "{thing}",
        "Who has to agree to the {thing}?",
        "Before you touch the {thing}, {a} is required to agree.",
    ),
    _form("date", "{thing}", "What is the deadline for the {thing}?", "The deadline for the {thing} is {a}."),
    _form("unit", "lengths", "In what are lengths given?", "From now on give lengths in {a}."),
    _form("town", "deliver", "Where may you not deliver?", "Under no circumstances deliver to {a}."),
    _form(
        "person", "calls", "Whose calls do you put through?", "Make sure that calls from {a} come through."
    ),
    _form("plate", "gate", "Which car may pass the gate?", "The gate has to stay open for {a}."),
)

"""How values and labels are drawn: names made of syllables, numbers in the shapes that people write."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["SORTS", "letters", "number", "word"]

_HEADS: Final = (
    "Bran",
    "Tam",
    "Ol",
    "Vess",
    "Kor",
    "Mir",
    "Had",
    "Lun",
    "Pell",
    "Ros",
    "Dag",
    "Sel",
    "Yor",
    "Ned",
    "Fen",
)
_TAILS: Final = (
    "nock",
    "sin",
    "wen",
    "dale",
    "rik",
    "ela",
    "mund",
    "ava",
    "gard",
    "ino",
    "ette",
    "burn",
    "kin",
    "ora",
)
_MONTHS: Final = ("January", "March", "April", "June", "July", "September", "October", "November")
_BRANDS: Final = ("Supplies", "& Sons", "Trading", "Logistics", "Brothers", "Works")


def word(rng: random.Random) -> str:
    """An invented name of two syllables."""
    return rng.choice(_HEADS) + rng.choice(_TAILS)


def number(rng: random.Random, digits: int) -> str:
    """Digits, the first one not zero."""
    return str(rng.randrange(10 ** (digits - 1), 10**digits))


def letters(rng: random.Random, count: int) -> str:
    """Capitals."""
    return "".join(rng.choices("ABCDEFGHJKLMNPRSTUVWXYZ", k=count))


def _one_of(*words: str) -> Callable[[random.Random], str]:
    return lambda rng: rng.choice(words)


SORTS: Final[Mapping[str, Callable[[random.Random], str]]] = {
    "who": word,
    "person": word,
    "town": lambda rng: word(rng) + rng.choice(("ton", "haven", "ford", "bury")),
    "codename": lambda rng: (
        f"{rng.choice(('Blue', 'Silent', 'Iron', 'Paper', 'Seventh'))} "
        f"{rng.choice(('Heron', 'Lantern', 'Anvil', 'Comet', 'Ferry'))}"
    ),
    "company": lambda rng: f"{word(rng)} {rng.choice(_BRANDS)}",
    "digits4": lambda rng: number(rng, 4),
    "money": lambda rng: rng.choice(("{} euros", "${}", "{} dollars", "€{}")).format(
        f"{rng.randrange(3, 980) * 10 + 5:,}"
    ),
    "order_id": lambda rng: rng.choice(
        (f"{letters(rng, 2)}-{number(rng, 5)}", number(rng, 7), f"{letters(rng, 3)}{number(rng, 4)}")
    ),
    "clock": lambda rng: rng.choice(
        (
            f"{rng.randrange(6, 23)}:{rng.randrange(1, 12) * 5:02d}",
            f"{rng.randrange(1, 12)}:{rng.randrange(1, 12) * 5:02d} pm",
        )
    ),
    "version": lambda rng: f"{rng.randrange(1, 19)}.{rng.randrange(0, 30)}.{rng.randrange(0, 30)}",
    "measure": lambda rng: f"{rng.randrange(2, 19)}.{rng.randrange(11, 99)}",
    "plate": lambda rng: f"{letters(rng, 2)} {number(rng, 3)} {letters(rng, 2)}",
    "date": lambda rng: f"{rng.choice(_MONTHS)} {rng.randrange(2, 29)}",
    "weekday": _one_of("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "colour": _one_of(
        "teal", "ochre", "maroon", "turquoise", "salmon", "olive", "lilac", "amber", "ivory", "crimson"
    ),
    "food": _one_of("cashews", "shellfish", "sesame", "celery", "mustard", "lupin", "penicillin", "kiwi"),
    "drink": _one_of("oolong", "rooibos", "cocoa", "espresso", "lemonade", "chai", "buttermilk", "cider"),
    "database": _one_of(
        "Postgres", "MongoDB", "Cassandra", "MariaDB", "DynamoDB", "Firestore", "CouchDB", "Oracle"
    ),
    "language": _one_of("Portuguese", "Dutch", "Korean", "Finnish", "Hungarian", "Greek", "Welsh"),
    "unit": _one_of("metres", "feet", "yards", "inches", "kilometres", "miles"),
    "folder": lambda rng: f"{rng.choice(('src', 'lib', 'services', 'infra'))}/{word(rng).lower()}",
    "hiding": _one_of(
        "under the blue flowerpot",
        "behind the fuse box",
        "in the tin with the buttons",
        "on top of the meter",
        "inside the old clock",
        "in the left boot",
        "below the window sill",
    ),
    "reason": _one_of(
        "a burst pipe",
        "the bus strike",
        "a measles outbreak",
        "the flooded cellar",
        "a missing permit",
        "the power cut",
    ),
    "thing": _one_of(
        "boiler",
        "projector",
        "espresso machine",
        "forklift",
        "newsletter",
        "label printer",
        "greenhouse",
        "catalogue",
        "shuttle bus",
        "coat rack",
        "sailing boat",
        "grant report",
        "insurance file",
        "trade licence",
        "piano",
        "roof terrace",
        "compost bin",
        "sewing machine",
        "floor plan",
        "tax return",
        "hedge trimmer",
        "wine fridge",
    ),
    "place": _one_of(
        "cellar",
        "archive",
        "bike shed",
        "attic",
        "loading bay",
        "studio",
        "boathouse",
        "server room",
        "rehearsal room",
        "workshop",
        "north gate",
        "staff kitchen",
        "waiting room",
        "stables",
    ),
    "event": _one_of(
        "summer party",
        "board meeting",
        "choir concert",
        "open day",
        "book fair",
        "regatta",
        "harvest supper",
        "safety drill",
        "graduation",
        "flea market",
        "chess night",
        "staff outing",
        "plant sale",
        "film evening",
    ),
    "service": _one_of(
        "Billing",
        "Checkout",
        "Ledgerly",
        "Gateway",
        "Onboarding",
        "Notifier",
        "Scheduler",
        "Warehouse",
        "Profiles",
    ),
    "relative": _one_of("sister", "uncle", "grandmother", "cousin", "godfather", "nephew", "stepmother"),
}

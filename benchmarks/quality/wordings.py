"""What the planted messages say: several wordings for each subject, blunt and oblique.

Written as people talk, without a look at any rule of extraction, and not to be tuned to them. A
wording's holes are filled by `planted`: `{a}` and `{b}` are values, `{who}` a person, `{thing}`,
`{place}`, `{event}` labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CHANGEABLE", "CONSTRAINTS", "FACTS", "NAMES", "NUMBERS", "OBLIGATIONS", "Subject"]


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing that can be said, asked, and sometimes changed.

    Attributes:
        a: How its value is drawn: the name of a drawing function in `planted`.
        labels: Words of which one must stand with the value; holes are filled.
        question: Asks for it in other words.
        blunt: Wordings that say it outright.
        oblique: Wordings that let it be understood.
        changes: Wordings of a later change; without them it never changes.
        b: How a second value is drawn; empty for none.
    """

    a: str
    labels: Sequence[str]
    question: str
    blunt: Sequence[str]
    oblique: Sequence[str]
    changes: Sequence[str] = ()
    b: str = ""


NUMBERS = (
    Subject(
        "digits4",
        ("{place}",),
        "What do I have to type in at the {place}?",
        ("The door code for the {place} is {a}.", "Code for the {place}: {a}."),
        ("If you ever stand in front of the {place}, punch in {a}.", "{a} is what opens the {place}."),
        ("They changed the lock at the {place}, {a} opens it now.", "New door code for the {place}: {a}."),
    ),
    Subject(
        "money",
        ("{event}",),
        "How much money do we have for the {event}?",
        ("Our budget for the {event} is {a}.", "We have {a} to spend on the {event}."),
        (
            "The board has let us have {a} for the {event}.",
            "For the {event} they granted {a}, believe it or not.",
        ),
        ("The budget for the {event} was changed to {a}.", "It turns out we only get {a} for the {event}."),
    ),
    Subject(
        "order_id",
        ("{thing}",),
        "Under which number does the {thing} run?",
        ("The order number of the {thing} is {a}.", "The {thing} has the order number {a}."),
        ("Got the confirmation for the {thing}, it says {a}.", "The {thing} is on its way, {a} if they ask."),
        ("The {thing} had to be ordered again, it runs under {a} now.",),
    ),
    Subject(
        "digits4",
        ("{who}",),
        "How do I reach {who} by phone?",
        ("{who}'s extension is {a}.", "The extension of {who} is {a}."),
        ("You get hold of {who} on {a}.", "Dial {a} and {who} picks up."),
        ("{who} moved desks and is on {a} from today.", "{who}'s extension is no longer right, use {a}."),
    ),
    Subject(
        "clock",
        ("{event}",),
        "When does the {event} begin?",
        ("The {event} starts at {a}.", "Start of the {event} is {a}."),
        ("Everybody has to be seated for the {event} by {a}.", "They open with the {event} at {a} sharp."),
        ("They moved the {event} to {a} after all.", "Correction: the {event} starts at {a}."),
    ),
    Subject(
        "version",
        ("{service}",),
        "Which release of {service} are we on?",
        ("{service} runs version {a} in production.", "We use {service} {a}."),
        ("Last week we finally got {service} up to {a}.", "Ops won't go past {a} with {service}."),
        ("We rolled {service} back, it is {a} that runs now.", "{service} was upgraded to {a} this morning."),
    ),
    Subject(
        "measure",
        ("{place}",),
        "How large is the {place}?",
        ("The {place} is {a} m wide and {b} m deep.", "The {place} measures {a} by {b} metres."),
        ("I took the tape to the {place}: {a} m one way, {b} the other.",),
        (),
        "measure",
    ),
    Subject(
        "plate",
        ("{who}",),
        "Which car does {who} come with?",
        ("{who}'s licence plate is {a}.", "{who} drives a car with the plate {a}."),
        ("When you see {a} in the yard, {who} is in.",),
        ("{who} has a new car, look out for {a}.",),
    ),
)

NAMES = (
    Subject(
        "person",
        ("{thing}",),
        "Who looks after the {thing}?",
        ("{a} is responsible for the {thing}.", "The {thing} is {a}'s job."),
        ("For the {thing} you talk to {a}.", "If the {thing} breaks it is {a} who gets woken up."),
        ("{a} has taken over the {thing}.", "From now on the {thing} is with {a}."),
    ),
    Subject(
        "person",
        ("{relative}",),
        "What is my {relative} called?",
        ("My {relative}'s name is {a}.", "My {relative} is called {a}."),
        ("I grew up with {a}, that is my {relative}.", "{a} (yes, my {relative}) is visiting."),
    ),
    Subject(
        "company",
        ("{thing}",),
        "Where do we buy the {thing}?",
        ("Our supplier for the {thing} is {a}.", "We buy the {thing} from {a}."),
        ("The {thing} comes in a van from {a} as ever.", "{a} does the {thing} for us."),
        ("We switched suppliers, {a} delivers the {thing} now.",),
    ),
    Subject(
        "codename",
        ("{service}",),
        "What do people in the house call the {service} project?",
        ("The code name of the {service} project is {a}.",),
        ("Around here nobody says {service}, it's all {a} this and {a} that.",),
        ("Marketing renamed it: the {service} project is {a} now.",),
    ),
    Subject(
        "town",
        ("{who}",),
        "Where does {who} live?",
        ("{who} lives in {a}.", "{who}'s home town is {a}."),
        ("It takes {who} an hour to come in from {a}.", "{who} has a garden in {a} to go home to."),
        ("{who} has moved to {a}.", "{who} is not there any more, {a} is home now."),
    ),
)

FACTS = (
    Subject(
        "colour",
        ("{place}",),
        "What does the {place} look like since the painters were there?",
        ("The {place} is painted {a}.", "The colour of the {place} is {a}."),
        ("We went for {a} in the {place}, and I still like it.",),
        ("We repainted the {place}, {a} this time.",),
    ),
    Subject(
        "hiding",
        ("{thing}",),
        "Where can I find the key of the {thing}?",
        ("The key of the {thing} is {a}.", "The {thing}'s key is kept {a}."),
        ("Should you need to lock the {thing}, look {a} for the key.",),
        ("I put the key of the {thing} somewhere else: {a}.",),
    ),
    Subject(
        "database",
        ("{service}",),
        "What does {service} keep its data in?",
        ("{service} stores its data in {a}.", "The database of {service} is {a}."),
        ("With {service} everything ends up in {a} sooner or later.",),
        ("{service} was migrated, the data lives in {a} now.",),
    ),
    Subject(
        "drink",
        ("{who}",),
        "What should I offer {who}?",
        ("{who}'s favourite drink is {a}.", "{who} likes {a} best."),
        ("You won't see {who} without a cup of {a}.", "Give {who} some {a} and all is well."),
        ("{who} is off that now, it has to be {a}.",),
    ),
    Subject(
        "weekday",
        ("{event}",),
        "On what day is the {event}?",
        ("The {event} is on {a}.", "The {event} takes place on {a}."),
        ("Keep {a} free, that's when they do the {event}.",),
        ("The {event} was moved to {a}.", "The {event} is {a} now, the hall was taken."),
    ),
    Subject(
        "reason",
        ("{event}",),
        "Why was there no {event} last year?",
        ("Last year's {event} was cancelled because of {a}.",),
        ("I still remember how {a} ruined last year's {event}.",),
    ),
)

CHANGEABLE = tuple(subject for subject in (*NUMBERS, *NAMES, *FACTS) if subject.changes)

CONSTRAINTS = (
    Subject(
        "food",
        ("allergic", "allergy", "hives", "hospital"),
        "What must not be in my food?",
        ("I am allergic to {a}.", "I have a severe {a} allergy."),
        ("{a} gives me hives, every single time.", "One bite of {a} and I'm in hospital."),
    ),
    Subject(
        "weekday",
        ("deploy", "deploys", "release", "releases", "production"),
        "When may we not release?",
        ("No deploys on a {a}, please.", "Don't release anything on a {a}."),
        ("Production stays as it is on a {a}, we've been burned before.",),
    ),
    Subject(
        "person",
        ("copy", "cc", "mail", "mails", "emails", "loop"),
        "Who should not see my mails?",
        ("Never copy {a} on my mails.", "{a} must not be in cc of any mail."),
        ("I'd rather you left {a} out of the loop when you write emails.",),
    ),
    Subject(
        "money",
        ("{thing}",),
        "What is the most I would pay for a {thing}?",
        ("Don't spend more than {a} on the {thing}.", "The {thing} must cost less than {a}."),
        ("{a} is where it ends for me, as far as the {thing} goes.",),
    ),
    Subject(
        "language",
        ("{who}",),
        "How do I have to write to {who}?",
        ("Always write to {who} in {a}.", "Messages to {who} have to be in {a}."),
        ("{who} only reads {a}, so anything else goes in the bin.",),
    ),
    Subject(
        "database",
        ("{service}",),
        "What can we not use for {service}?",
        ("We can't use {a} for {service}, legal said no.", "{service} must run without {a}."),
        ("Legal would have our heads if {a} turned up in {service}.",),
    ),
    Subject(
        "clock",
        ("call", "calls", "ring", "phone"),
        "From what time on do I want to be left alone?",
        ("Please make no calls to me after {a}.", "I don't take calls after {a}."),
        ("The phone is off from {a}, the baby sleeps.",),
    ),
    Subject(
        "unit",
        ("distances", "lengths", "units"),
        "In what units should things be given?",
        ("Give all distances in {a}.", "Please use {a} for all lengths."),
        ("I was brought up on {a}, other units mean nothing to me.",),
    ),
    Subject(
        "folder",
        ("touch", "edit", "hands"),
        "Which folder is off limits?",
        ("Do not touch the files in {a}.", "Please don't edit anything under {a}."),
        ("Hands off {a}, another team owns that.",),
    ),
    Subject(
        "colour",
        ("logo", "slides", "brand"),
        "Which colour is wrong for our slides?",
        ("Our slides should never be {a}.", "Avoid {a} on the slides, it is not our brand."),
        ("Whoever puts {a} on our slides will hear from the brand people.",),
    ),
)

OBLIGATIONS = (
    Subject(
        "person",
        ("{thing}",),
        "Whom did we want to ring about the {thing}?",
        (
            "Remind me to call {a} about the {thing}.",
            "I need to call {a} about the {thing} before the week is over.",
        ),
        ("Don't let me go home before I've talked to {a} about the {thing}.",),
    ),
    Subject(
        "date",
        ("{thing}",),
        "Until when do I need the {thing}?",
        ("The {thing} is due on {a}.", "You have until {a} for the {thing}."),
        ("I promised them the {thing} for {a}, so let's not be late.",),
    ),
    Subject(
        "order_id",
        ("{who}",),
        "Which invoice is still to be sent to {who}?",
        (
            "Please send invoice {a} to {who} once it is approved.",
            "We still have to send invoice {a} to {who}.",
        ),
        ("{who} keeps waiting for invoice {a}, that's on us.",),
    ),
    Subject(
        "money",
        ("{who}",),
        "What do I owe {who}?",
        ("I owe {who} {a}, don't let me forget.", "We have to pay {who} back {a}."),
        ("{who} lent me {a} for lunch last week and has not seen it since.",),
    ),
)

"""The quality benchmark counts what is there: conversations are planted by hand, so that it is known."""

import random
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.agent_report.recordings import Run
from benchmarks.quality import badges, evidence, judge, planted, selections
from benchmarks.quality.documented import DOCUMENTED
from benchmarks.quality.filler import recorded_talk, small_talk
from benchmarks.quality.generations import Case, measure
from benchmarks.quality.planted import Planted, plant
from benchmarks.quality.report import Report, lists_of
from summarizer.summary.speech import binds


def code(text: str = "The code of the cellar is 4711.", value: str = "4711") -> Planted:
    return Planted("number", text, (value,), "Which code?", 0, labels=("cellar",))


def test_the_same_seed_gives_the_same_conversation() -> None:
    """Seeds decide everything; what was planted stands in the user's message of its turn."""
    messages, told = plant(5, 60, filler=recorded_talk)

    assert (messages, told) == plant(5, 60, filler=recorded_talk)
    assert messages != plant(6, 60, filler=recorded_talk)[0]
    assert [m["role"] for m in messages] == ["user", "assistant"] * 60
    assert all(t.text.casefold() in messages[2 * t.turn]["content"].casefold() for t in told)


@pytest.mark.parametrize("seed", range(20))
def test_what_was_changed_names_what_changed_it(seed: int) -> None:
    """A newer value comes later, with the same question and other values; everything else stands."""
    _, told = plant(seed, 50)
    changed = [t for t in told if t.superseded_by is not None]
    newer = [told[t.superseded_by or 0] for t in changed]

    assert len(changed) == planted.COUNTS["changed"]
    assert all(old.turn < new.turn for old, new in zip(changed, newer, strict=True))
    assert all(old.question == new.question for old, new in zip(changed, newer, strict=True))
    assert all(old.values != new.values for old, new in zip(changed, newer, strict=True))
    assert [t.turn for t in told] == sorted({t.turn for t in told})


def test_more_to_plant_than_turns_is_a_mistake() -> None:
    """Nothing planted is left out in silence."""
    with pytest.raises(ValueError, match="give more turns"):
        plant(1, 10)


def test_talk_goes_on() -> None:
    """Both kinds of talk have no end, and no empty message."""
    for talk in (small_talk, recorded_talk):
        pairs = list(islice(talk(random.Random(1)), 400))

        assert len(pairs) == 400
        assert all(asked.strip() and answered.strip() for asked, answered in pairs)


def test_documented_forms_are_found() -> None:
    """Rules find every form that docs/summaries.md promises, in the benchmark's sentences."""
    _, told = plant(3, 80, documented=DOCUMENTED)
    missed = [t.text for t in told if t.form == "documented" and not binds(t.text)]

    assert missed == []


def test_the_forms_in_the_docs_are_found() -> None:
    """Each form that docs/summaries.md lists is recognized in the sentence beside it."""
    page = (Path(__file__).parents[1] / "docs" / "summaries.md").read_text(encoding="utf-8")
    rows = page.partition("| form | for example |")[2].partition("\n\n")[0].splitlines()[2:]
    examples = [row.strip("| ").rpartition(" | ")[2] for row in rows]

    assert len(examples) == 10
    assert [example for example in examples if not binds(example)] == []


@pytest.mark.parametrize(
    ("line", "there"),
    [
        ("The code of the cellar is 4711.", True),
        ("- cellar code=4711; attic code=12", True),
        ("4711 is what opens the CELLAR", True),
        ("code=4711", False),
        ("The cellar has 14711 bottles.", False),
        ("The cellar is damp." + " And so on." * 12 + " 4711", False),
    ],
)
def test_a_value_counts_with_its_label(line: str, there: bool) -> None:
    """A bare number, a part of a longer one, or a label far away is not knowledge."""
    assert judge.stands(code(), line) is there


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["Nothing."], "absent"),
        (["The cellar opens with 1234."], "stale"),
        (["The cellar opens with 4711.", "The cellar opens with 1234."], "stale"),
        (["The cellar opens with 1234.", "The cellar opens with 4711."], "beside"),
        (["The cellar opens with 1234. [superseded by event 9]"], "absent"),
        (["The cellar no longer has 1234 but 4711."], "absent"),
    ],
)
def test_an_old_value_is_stale_unless_the_newer_one_follows(lines: list[str], found: str) -> None:
    """What a reader would believe decides."""
    old = code("The code of the cellar is 1234.", "1234")

    assert judge.staleness(old, code(), lines) == found


def test_inventions_are_what_nobody_said() -> None:
    """Numbers of events are the notes' own; every other token with a digit must have been said."""
    notes = (
        "[Notes on events 1-30]\n- code=4711; room=B7 [superseded by event 12]\n[End of notes; 5 more entries"
    )

    assert judge.invented(notes, "the code is 4711") == ["B7"]


def test_shares_have_intervals() -> None:
    """Wilson's interval: 10 of 12 lies between 55 and 95 percent; nothing of nothing is unknown."""
    assert judge.Share(10, 12).told == "83 [55-95] n=12"
    assert (judge.Share().percent, judge.Share().interval) == (None, (0.0, 100.0))


def test_selections_keep_their_budget() -> None:
    """The newest, the ends, and what answers a question, each within the tokens given."""
    log = [selections.Said(f"message {i} about {'boats' if i == 3 else 'trains'}", 6) for i in range(20)]
    bm25 = selections.Bm25()
    try:
        found = bm25.find(log, 'what about "boats"?', 10)
    finally:
        bm25.close()

    assert selections.keep_last(log, 30) == [said.text for said in log[-3:]]
    assert selections.head_and_tail(log, 40) == [said.text for said in (*log[:2], *log[-2:])]
    assert found == ["message 3 about boats"]


@pytest.mark.skipif(not selections.can_rank(), reason="sumy is not installed")
def test_text_rank_says_something() -> None:
    """The rolling summary holds sentences of what overflowed, and what is open, within its budget."""
    ranking = selections.TextRank(200, lambda text: len(text.split()))
    for i in range(60):
        ranking.add(selections.Said(f"The harbour of town {i} has a light. Ships see town {i}.", 16))
    lines = ranking.lines(200)

    assert any(line.startswith("Ships") or line.endswith("a light.") for line in lines)
    assert 20 < sum(len(line.split()) for line in lines) <= 200


def test_evidence_is_what_was_read_before() -> None:
    """Words of a call's arguments count if they carry a digit, @, _ or / and stand in an earlier text."""
    arguments = '{"order_id": "#W77", "mail": "a@b.org", "note": "please hurry", "other": ["W88x"]}'

    assert evidence.needed_values(arguments, "order #W77 of a@b.org, W88xy, hurry") == ["#W77", "a@b.org"]
    assert evidence.needed_values("no json", "no json") == []


async def test_a_run_is_weighed_before_each_call() -> None:
    """A value that the context still shows counts; one that only the log holds does not for keep last."""
    told = [{"role": "user", "content": "My order is W-1001. " + "And so on. " * 300}]
    told.append({"role": "user", "content": "Cancel it, please. " + "I am in a hurry. " * 150})
    call = {"id": "x", "function": {"name": "cancel", "arguments": '{"order": "W-1001"}'}}
    told += [{"role": "assistant", "content": "", "tool_calls": [call]}]
    run = Run("r", "test", None, [*told, {"role": "tool", "tool_call_id": "x", "content": "ok"}])
    found = await evidence.weigh(run, 1_000, ranks=False)

    assert found.calls == 1
    assert (found.shares["keep last"], found.gone["ours, rules"].of) == (judge.Share(0, 1), 1)


def test_a_method_that_went_along_at_one_budget_has_a_row_for_all() -> None:
    """Rows of a table have the same keys; what was not measured is a dash."""
    both, one = (
        {"keep last": judge.Share(1, 2), "TextRank": judge.Share(0, 2)},
        {"keep last": judge.Share(2, 2)},
    )
    told = Report(evidence={1_000: [evidence.Evidence(both, {}, 1)], 4_000: [evidence.Evidence(one, {}, 1)]})
    rows = next(iter(lists_of(told).values()))

    assert rows == [
        {"method": "keep last", "1,000 tokens": "50 [9-91] n=2", "4,000 tokens": "100 [34-100] n=2"},
        {"method": "TextRank", "1,000 tokens": "0 [0-66] n=2", "4,000 tokens": "-"},
    ]


@pytest.mark.slow
async def test_a_conversation_is_measured_by_every_method() -> None:
    """What is planted is counted for each method; a perfect model leaves nothing stale."""
    tally = await measure(Case(1, 2_000, (1, 3), ranks=False))
    documented = ("constraint, documented",)

    assert tally.share("ours, perfect model", 3, "fact", "number", "name", "changed") == judge.Share(12, 12)
    assert tally.share("ours, rules", 3, *documented) == judge.Share(6, 6)
    assert tally.share("ours, perfect model", 3, "stale") == judge.Share(0, 3)
    assert tally.share("keep last", 3, *documented) == judge.Share(0, 6)
    assert tally.share("ours, rules", 3, "invented").hits == 0


async def test_recall_is_asked_for_each_fact() -> None:
    """Hits and contexts are counted over all planted facts."""
    talk = [
        {"role": "user" if i % 2 else "assistant", "content": f"We spoke of topic {i}."} for i in range(30)
    ]
    found = await badges.find([Run("r", "test", None, talk)], 5, 30)

    assert (found.messages, found.five.of, found.first.of) == (30, 5, 5)
    assert found.five.hits >= 3

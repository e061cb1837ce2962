"""The citation check: what has to cite, which citations hold, what counts as use."""

import pytest
from hypothesis import given, settings

from summarizer.memory import VMMode
from summarizer.memory.citations import check_citations
from tests.summarizer.memory.paged import memory, texts

PAGES = {"p1": "Decision: use JWT for auth.", "p2": "ORD-17 costs 1,250.50 EUR, due 2026-03-01."}


def test_a_statement_that_cites_nothing_is_named() -> None:
    """Each sentence stands for itself; one citation serves its own sentence only."""
    report = check_citations("Auth uses JWT tokens [p1]. The order is due in March.", PAGES.get)

    assert report.uncited == ("The order is due in March.",)
    assert report.cited == ("p1",)
    assert not report.ok


@pytest.mark.parametrize(
    "answer",
    [
        "Auth uses JWT tokens [p1].",
        "Auth uses JWT tokens. [p1]",
        "Auth uses JWT, and ORD-17 costs 1250.50 EUR [p1, p2].",
        "ORD-17 costs 1,250.50 EUR [p1][p2].",
        "- Auth uses JWT tokens [p1]\n- ORD-17 is due 2026-03-01 [p2]",
        "Shall I go on? I will look it up. Thank you. Sure!",
        "No page says anything about it.",
        "",
    ],
)
def test_an_answer_that_cites_passes(answer: str) -> None:
    """Before or after the full stop, one or several; questions, offers and thanks need none."""
    assert check_citations(answer, PAGES.get).ok


def test_a_page_that_does_not_exist_is_named() -> None:
    """A made-up id is no citation that holds."""
    report = check_citations("Auth uses JWT tokens [p9].", PAGES.get)

    assert (report.unknown, report.cited, report.ok) == (("p9",), (), False)


def test_a_value_that_the_page_does_not_hold_is_named() -> None:
    """A number or identifier must stand in a page that is cited."""
    report = check_citations("ORD-17 costs 1,350 EUR [p2]. ORD-18 is paid [p2].", PAGES.get)

    assert [one.unsupported for one in report.statements] == [("1,350",), ("ORD-18",)]
    assert len(report.unsupported) == 2


def test_a_link_is_no_citation() -> None:
    """`[text](url)` names no page."""
    assert check_citations("The auth guide is [here](https://example.com).", PAGES.get).unknown == ()


@settings(max_examples=60, deadline=None)
@given(answer=texts)
def test_any_answer_can_be_checked(answer: str) -> None:
    """Nothing a model writes raises."""
    check_citations(answer, PAGES.get)


async def test_a_page_that_is_cited_counts_as_used() -> None:
    """It is a hit if it was shown, and it is younger than what was not cited."""
    vm = memory(mode=VMMode.STRICT)
    for text in PAGES.values():
        await vm.add_to_working_set(vm.create_page(text))
    vm.build_context()
    vm.check_citations("Auth uses JWT tokens [p1].")
    first, second = vm.residents

    assert vm.metrics.hits == 1
    assert first.order > second.order

"""Who gives way: pins, protection, importance, type, modality, and policies that are wrong."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from summarizer.memory import (
    Candidate,
    ImportanceWeightedLRU,
    Level,
    LRUEvictionPolicy,
    ModalityAwareLRU,
    Page,
    PageType,
    Step,
    WorkingSetConfig,
)
from tests.summarizer.memory.paged import IMAGE, WORDS, contents, memory, weight

POLICIES = [ImportanceWeightedLRU(), LRUEvictionPolicy(), ModalityAwareLRU()]


def candidate(page_id: str, order: int, *, protected: bool = False, idle: int = 0, **page: Any) -> Candidate:
    return Candidate(Page(page_id, "text", **page), Level.FULL, idle, protected, order)


def leaving(policy: Any, *candidates: Candidate) -> list[str]:
    """Who is taken out, in order."""
    return [step.page_id for step in policy.plan(candidates) if step.level is None]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    pages=st.lists(st.tuples(contents, st.booleans()), min_size=1, max_size=12),
    policy=st.sampled_from(POLICIES),
    budget=st.integers(700, 2500),
)
async def test_a_pin_never_leaves(pages: list[tuple[Any, bool]], policy: Any, budget: int) -> None:
    """Whatever comes in behind it, a pinned page that was let in stays, in full or shorter."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=budget, protected_turns=0), eviction_policy=policy)
    pinned: set[str] = set()
    for content, pin in pages:
        page = vm.create_page(content, pinned=pin)
        resident = await vm.add_to_working_set(page)
        if pin and resident is not None:
            pinned.add(page.id)
        vm.build_context()

        assert pinned <= {one.page_id for one in vm.residents}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_page_is_shortened_before_it_is_taken_out(policy: Any) -> None:
    """Each page's steps go down in detail, and taking it out is the last."""
    steps = policy.plan(
        [candidate("a", 1), candidate("b", 2, pinned=True), candidate("c", 3, protected=True)]
    )
    levels = {name: [step.level for step in steps if step.page_id == name] for name in "abc"}

    assert levels == {
        "a": [Level.REDUCED, Level.ABSTRACT, None],
        "b": [Level.REDUCED, Level.ABSTRACT, Level.REFERENCE],
        "c": [Level.REDUCED, Level.ABSTRACT, None],
    }
    assert [step.page_id for step in steps] == ["a"] * 3 + ["c"] * 3 + ["b"] * 3


def test_least_recently_used_goes_by_use_alone() -> None:
    """Neither importance nor type counts."""
    old, new = candidate("old", 1, importance=1.0, type=PageType.CLAIM), candidate("new", 2, importance=0.0)

    assert leaving(LRUEvictionPolicy(), new, old) == ["old", "new"]


@pytest.mark.parametrize("policy", [ImportanceWeightedLRU(), ModalityAwareLRU()])
def test_importance_and_type_outweigh_age(policy: Any) -> None:
    """An important page that is older stays longer, and of two equal ones the claim."""
    worth = leaving(
        policy, candidate("dear", 1, idle=2, importance=1.0), candidate("cheap", 2, importance=0.1)
    )
    kind = leaving(policy, candidate("claim", 1, type=PageType.CLAIM), candidate("talk", 2))
    age = leaving(policy, candidate("old", 1, idle=50, importance=1.0), candidate("new", 2, importance=0.3))

    assert (worth, kind, age) == (["cheap", "dear"], ["talk", "claim"], ["old", "new"])


async def test_media_give_up_pixels_before_text_gives_up_words() -> None:
    """With room for one of both, the image is shown by its caption and the text stays whole."""
    vm = memory(
        config=WorkingSetConfig(max_l0_tokens=4300, protected_turns=0), eviction_policy=ModalityAwareLRU()
    )
    image = vm.create_page(IMAGE, caption="A floor plan.", importance=1.0)
    vm.build_context()
    await vm.add_to_working_set(image)
    for n in range(2):
        await vm.add_to_working_set(vm.create_page(f"{n} {WORDS[:2800]}", importance=0.3))
    shown = vm.build_context()["shown"]

    assert shown == {"p1": "reduced", "p2": "full", "p3": "full"}


async def test_what_was_just_used_is_spared_while_others_can_give_way() -> None:
    """Protection is in turns, and turns advance with each prompt: an old page of no worth may stay longer."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=2600, protected_turns=2))
    old = vm.create_page(f"Old. {WORDS[:1500]}", importance=1.0, page_type=PageType.CLAIM)
    await vm.add_to_working_set(old)
    for _ in range(3):
        vm.build_context()
    fresh = vm.create_page(f"Fresh. {WORDS[:1500]}", importance=0.0)
    await vm.add_to_working_set(fresh)
    for name in ("Newer", "Newest"):
        await vm.add_to_working_set(vm.create_page(f"{name}. {WORDS[:1500]}"))
    levels = {resident.page_id: resident.level for resident in vm.residents}

    assert levels[fresh.id] is Level.FULL
    assert levels.get(old.id) is not Level.FULL


class Wrong:
    """A policy that plans what it is told, whatever it is."""

    def __init__(self, *plan: Any) -> None:
        self._steps = plan

    def plan(self, candidates: Sequence[Candidate]) -> Any:
        if not self._steps:
            raise RuntimeError("no idea")
        return self._steps


@pytest.mark.parametrize(
    "steps",
    [
        (),
        (Step("nobody", None),),
        (Step("p1", None),),
        (Step("p2", Level.FULL),),
        (("p2", "low"),),
        (Step("p2", Level.REDUCED),) * 3,
        (None,),
        (Step(["p2"], None),),  # pyright: ignore[reportArgumentType]
    ],
)
async def test_a_policy_that_is_wrong_costs_neither_pins_nor_budget(steps: tuple[Any, ...]) -> None:
    """It raises, names nobody, a pin, a richer level or nonsense: the default plans, and it is counted."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=1500, protected_turns=0), eviction_policy=Wrong(*steps))
    await vm.add_to_working_set(vm.create_page(f"Pinned. {WORDS[:600]}", pinned=True))
    for n in range(6):
        await vm.add_to_working_set(vm.create_page(f"{n} {WORDS[:900]}"))
    context = vm.build_context()

    assert weight(context) <= 1500
    assert "p1" in context["shown"]
    assert vm.metrics.policy_faults > 0

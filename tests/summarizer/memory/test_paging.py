"""The paging tools: limits, pages of any length, bad arguments, what counts as a hit, a fault, thrash."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from summarizer.errors import InvalidSetting
from summarizer.memory import CompressorRegistry, Level, MemoryManager, WorkingSetConfig
from summarizer.meter import count_tokens
from tests.summarizer.memory.paged import WORDS, memory, texts


def record(answer: str) -> dict[str, Any]:
    """The record under the first line of an answer."""
    return json.loads(answer.splitlines()[1])


async def fault(vm: MemoryManager, page_id: str, **more: Any) -> str:
    return await vm.handle_tool_call("page_fault", {"page_id": page_id, **more})


async def test_a_fault_answers_with_the_page() -> None:
    """The answer holds the original, marked as recorded data; JSON text serves as arguments too."""
    vm = memory()
    page = vm.create_page('He said: "keep\nthis".')
    answer = await vm.handle_tool_call("page_fault", json.dumps({"page_id": page.id}))

    assert answer.startswith("Page p1 as recorded data")
    assert record(answer)["text"] == page.text


async def test_what_was_asked_for_comes_in_with_the_next_turn() -> None:
    """During the turn its text stands in the answer, once; later it is resident."""
    vm = memory()
    page = vm.create_page("The code is 4711.")
    vm.build_context()
    await fault(vm, page.id)
    during = vm.build_context(new_turn=False)
    after = vm.build_context()

    assert page.id not in during["shown"]
    assert after["shown"] == {page.id: "full"}


async def test_a_page_that_is_shown_costs_no_fault() -> None:
    """The answer points to it; nothing is charged twice, no limit is used, and it counts as a hit."""
    vm = memory()
    page = vm.create_page("The code is 4711.")
    await vm.add_to_working_set(page)
    before = vm.build_context()["tokens"]
    answers = [await fault(vm, page.id) for _ in range(9)]

    assert {"4711" in answer for answer in answers} == {False}
    assert (vm.metrics.hits, vm.metrics.faults, vm.metrics.hit_rate) == (9, 0, 1.0)
    assert vm.build_context()["tokens"] == before


async def test_faults_are_limited_a_turn_from_one_place() -> None:
    """As many as the rules say are served, the next is refused in words, a new turn lifts the limit."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=1500, faults_per_turn=2, searches_per_turn=1))
    for n in range(4):
        vm.create_page(f"Page {n}.")
    rules = vm.build_context()["developer_message"]
    served = [await fault(vm, f"p{n}") for n in (1, 2, 3)]
    searched = [await vm.handle_tool_call("search_pages", {"query": "page"}) for _ in range(2)]
    vm.build_context()

    assert "2 page_fault calls and 1 search_pages calls" in rules
    assert [answer.startswith("Page p") for answer in served] == [True, True, False]
    assert "2 page_fault calls were served" in served[2]
    assert "1 search_pages calls were served" in searched[1]
    assert (await fault(vm, "p4")).startswith("Page p4")


@settings(max_examples=40, deadline=None)
@given(text=texts.filter(bool), copies=st.integers(1, 5), most=st.sampled_from([128, 200, 400]))
async def test_a_page_of_any_length_can_be_read_to_its_end(text: str, copies: int, most: int) -> None:
    """Answers are bounded; read on from offset to offset, they give the page to the byte."""
    config = WorkingSetConfig(max_l0_tokens=4000, fault_tokens=most, faults_per_turn=10_000)
    vm = memory(config=config)
    page = vm.create_page(text * copies)
    got = ""
    while len(got) < len(page.text):
        answer = await fault(vm, page.id, offset=len(got))
        got += record(answer)["text"]

        assert count_tokens(answer) <= most
    assert got == page.text


async def test_calls_at_once_are_served_no_more_than_the_limit() -> None:
    """While a gist is written other calls are served, and pages forgotten: both are said in words."""

    async def slow(*_: Any) -> str:
        await asyncio.sleep(0)
        return "A gist."

    config = WorkingSetConfig(max_l0_tokens=1500, faults_per_turn=2)
    vm = memory(config=config, compressor_registry=CompressorRegistry.default(summarize_fn=slow))
    for n in range(4):
        vm.create_page(f"Part {n} weighs 7 kg. " * 80)
    served = await asyncio.gather(*(fault(vm, f"p{n}", level="abstract") for n in (1, 2, 3)))
    vm.build_context()
    late = asyncio.create_task(fault(vm, "p4", level="abstract"))
    await asyncio.sleep(0)
    vm.forget("p4")
    answer = await late

    assert sum(answer.startswith("Page p") for answer in served) == 2
    assert vm.metrics.faults == 2
    assert "p4" in answer


async def test_a_level_is_what_it_says() -> None:
    """An abstract is short and says that it is one; the whole is there for the asking."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=32_000))
    page = vm.create_page(WORDS)
    abstract = record(await fault(vm, page.id, level="abstract"))
    whole = record(await fault(vm, page.id))

    assert abstract["level"] == "abstract"
    assert len(abstract["text"]) < len(WORDS) / 5
    assert (whole["level"], whole["text"]) == ("full", WORDS)


async def test_search_finds_words_anywhere_in_a_page() -> None:
    """Words in any order, deep in a long page or a result; the snippet shows where."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=16_000))
    vm.create_page(WORDS)
    vm.create_page(f"{WORDS} The database of choice is now Postgres. {WORDS}")
    vm.create_page({"order": "ORD-17", "state": "shipped"})
    both = await vm.handle_tool_call("search_pages", {"query": "postgres database"})
    exact = await vm.handle_tool_call("search_pages", {"query": "ORD-17", "limit": 1})

    assert record(both)["page"] == "p2"
    assert "Postgres" in record(both)["text"]
    assert record(exact)["page"] == "p3"


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("page_fault", "{not json", "no JSON object"),
        ("page_fault", "[1]", "no JSON object"),
        ("page_fault", {}, "page_id must be a text"),
        ("page_fault", {"page_id": 7}, "page_id must be a text"),
        ("page_fault", {"page_id": "p1", "level": "most"}, "level must be one of full, reduced, abstract"),
        ("page_fault", {"page_id": "p1", "level": ["full"]}, "level must be one of"),
        ("page_fault", {"page_id": "p1", "offset": -1}, "offset must be a whole number"),
        ("page_fault", {"page_id": "p99"}, 'No page has the id "p99"'),
        ("search_pages", {"query": " "}, "query must be a text"),
        ("search_pages", {"query": "x", "limit": 0}, "limit must be a whole number from 1 to 10"),
        ("search_pages", {"query": "zebra"}, 'No page matches "zebra"'),
    ],
)
async def test_what_the_model_got_wrong_is_said_to_it(name: str, arguments: Any, said: str) -> None:
    """The answer says what to correct; nothing is raised, and no fault is counted."""
    vm = memory()
    vm.create_page("One.")
    answer = await vm.handle_tool_call(name, arguments)

    assert said in answer
    assert vm.metrics.faults == 0


async def test_a_foreign_tool_is_the_hosts_mistake() -> None:
    """The error names the tools that are served."""
    with pytest.raises(InvalidSetting, match="'page_fault' and 'search_pages'"):
        await memory().handle_tool_call("read_file", {})


async def test_a_fault_on_what_just_left_is_thrash() -> None:
    """Asked for within `thrash_turns` of leaving it counts; later, or never resident, it does not."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=1200, protected_turns=0, thrash_turns=2))
    vm.create_page("Never let in.")
    first = vm.create_page(f"First. {WORDS[:800]}")
    await vm.add_to_working_set(first)
    vm.build_context()
    while first.id in {resident.page_id for resident in vm.residents}:
        await vm.add_to_working_set(vm.create_page(WORDS[:800]))
    vm.build_context()
    await fault(vm, "p1")
    await fault(vm, first.id)

    assert (vm.metrics.faults, vm.metrics.thrash, vm.metrics.thrash_rate) == (2, 1, 0.5)
    assert vm.metrics.evictions >= 1


async def test_rates_of_nothing_are_unknown() -> None:
    """Without a wanted page there is no hit rate, and without a fault no thrash rate."""
    assert (memory().metrics.hit_rate, memory().metrics.thrash_rate) == (None, None)


async def test_a_shortened_page_that_is_asked_for_comes_back_whole() -> None:
    """Its level in the working set rises with the next turn."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=6000))
    page = vm.create_page(WORDS[:2000])
    await vm.add_to_working_set(page, Level.ABSTRACT)
    vm.build_context()
    await fault(vm, page.id)
    after = vm.build_context()

    assert after["shown"] == {page.id: "full"}

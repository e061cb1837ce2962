"""The laws of virtual memory: the budget, the way back, the frame, and the promised lines."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from summarizer.errors import InvalidSetting, SchemaTooNew, TokenLimitExceeded
from summarizer.memory import (
    CompressorRegistry,
    ImportanceWeightedLRU,
    InMemoryPageStore,
    Level,
    LRUEvictionPolicy,
    MemoryManager,
    ModalityAwareLRU,
    PageNotFound,
    PageType,
    VMMode,
    WorkingSetConfig,
)
from summarizer.meter import count_tokens
from tests.summarizer.memory.paged import IMAGE, WORDS, contents, memory, texts, weight

TAGS = (
    "<VM:RULES>",
    "</VM:RULES>",
    "<VM:CONTEXT>",
    "</VM:CONTEXT>",
    "<VM:MANIFEST_JSON>",
    "</VM:MANIFEST_JSON>",
)
slow = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


async def test_the_promised_lines_run() -> None:
    """The lines that users of an older library know run as they are."""
    vm = MemoryManager(
        session_id="my_session",
        config=WorkingSetConfig(max_l0_tokens=32_000),
        eviction_policy=ImportanceWeightedLRU(),
        compressor_registry=CompressorRegistry.default(),
    )
    page = vm.create_page("Decision: Use JWT for auth", page_type=PageType.CLAIM)
    await vm.add_to_working_set(page)
    ctx = vm.build_context(system_prompt="You are helpful.")
    message = ctx["developer_message"]

    assert [message.count(tag) for tag in TAGS] == [1] * len(TAGS)
    assert message.startswith("You are helpful.\n")
    assert "Decision: Use JWT for auth" in message
    assert json.loads(json.dumps(ctx)) == ctx


@slow
@given(
    pages=st.lists(st.tuples(contents, st.booleans(), st.sampled_from(PageType)), max_size=12),
    budget=st.integers(700, 3000),
    mode=st.sampled_from(VMMode),
    policy=st.sampled_from([ImportanceWeightedLRU(), LRUEvictionPolicy(), ModalityAwareLRU()]),
    question=st.one_of(st.none(), texts),
)
async def test_the_prompt_is_never_longer_than_the_budget(
    pages: list[tuple[Any, bool, PageType]], budget: int, mode: VMMode, policy: Any, question: str | None
) -> None:
    """Whatever the pages, pins, mode, policy and question: the whole request is within its budget."""
    config = WorkingSetConfig(max_l0_tokens=budget)
    vm = memory(config=config, mode=mode, eviction_policy=policy)
    for content, pinned, kind in pages:
        await vm.add_to_working_set(vm.create_page(content, page_type=kind, pinned=pinned))
    for _ in range(2):
        context = vm.build_context("Answer in one sentence.", question=question)

        assert weight(context) <= context["tokens"] <= budget
        assert count_tokens(context["developer_message"]) <= budget


@slow
@given(
    said=st.lists(contents, min_size=1, max_size=10),
    policy=st.sampled_from([LRUEvictionPolicy(), ModalityAwareLRU()]),
)
async def test_the_original_always_comes_back(said: list[Any], policy: Any) -> None:
    """Shortened, taken out, saved and restored: each page's text is what came in, to the byte."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=900), eviction_policy=policy)
    made = [vm.create_page(content) for content in said]
    originals = {page.id: (page.text, page.part) for page in made}
    for page in made:
        await vm.add_to_working_set(page)
        vm.build_context()
    again = MemoryManager.restore(json.loads(json.dumps(vm.snapshot())))

    for manager in (vm, again):
        assert {page.id: (page.text, page.part) for page in manager.pages()} == originals
        assert {page.id: manager.text(page.id) for page in made} == {page.id: page.text for page in made}


@slow
@given(said=st.lists(texts, min_size=1, max_size=6), question=texts)
async def test_a_page_cannot_leave_its_frame(said: list[str], question: str) -> None:
    """Each tag stands once, and each record is one line whose JSON gives the text back."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=20_000))
    pages = {page.id: page for page in (vm.create_page(text) for text in said)}
    for page in list(pages.values())[::2]:
        await vm.add_to_working_set(page)
    context = vm.build_context("Help.", question=question)
    message = context["developer_message"]
    inner = message.partition("<VM:CONTEXT>\n")[2].partition("</VM:CONTEXT>")[0]
    records = [json.loads(line) for line in inner.splitlines()]

    assert [message.count(tag) for tag in TAGS] == [1] * len(TAGS)
    assert [record["page"] for record in records] == list(pages)[::2]
    assert [record["text"] for record in records] == [pages[record["page"]].text for record in records]
    for name, arguments in (("page_fault", {"page_id": "p1"}), ("search_pages", {"query": said[0] or "x"})):
        answer = await vm.handle_tool_call(name, arguments)

        assert not any(tag in answer for tag in TAGS)
        assert {json.loads(line)["page"] for line in answer.splitlines()[1:]} <= set(pages)


async def test_pages_stand_in_a_user_message() -> None:
    """No page is sent as a system or developer message; the host's prompt and the rules are."""
    vm = memory()
    await vm.add_to_working_set(vm.create_page("The gate code is 4711."))
    vm.create_page("The lift is out of order.")
    context = vm.build_context("Help.", question="Which lift?")
    system, *others = context["messages"]

    assert [system["role"], *(message["role"] for message in others)] == ["system", "user", "user"]
    assert "4711" not in system["content"]
    assert "lift" not in system["content"]
    assert "4711" in others[0]["content"]
    assert "lift" in others[1]["content"]


async def test_the_prompt_only_grows_at_its_end_while_nothing_leaves() -> None:
    """Pages come in behind those that are there; what serves one question stands in the last message."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=8000))
    await vm.add_to_working_set(vm.create_page("Alpha is first."))
    first = vm.build_context("Help.", question="What is alpha?")["messages"]
    await vm.add_to_working_set(vm.create_page("Beta is second."))
    vm.create_page("Gamma is not shown.")
    second = vm.build_context("Help.", question="What is gamma?")["messages"]

    assert first[0] == second[0]
    assert second[1]["content"].startswith(first[1]["content"].removesuffix("</VM:CONTEXT>"))


async def test_an_overflow_frees_a_step_at_once() -> None:
    """After an overflow there is room for some time, so that the prefix rarely changes."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=6000, protected_turns=0))
    changes = 0
    for n in range(60):
        before = {r.page_id: r.level for r in vm.residents}
        await vm.add_to_working_set(vm.create_page(f"Note {n}. {WORDS[:800]}"))
        after = {r.page_id: r.level for r in vm.residents}
        changes += any(after.get(page_id) is not level for page_id, level in before.items())
        vm.build_context()

    assert changes <= 15


async def test_with_virtual_memory_the_prompt_is_shorter_than_without() -> None:
    """Once the pages exceed the budget, the prompt is shorter than the pages."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=2000))
    said = [f"Turn {n}. {WORDS[:1200]}" for n in range(20)]
    plain = 0
    for text in said:
        plain += count_tokens(text)
        await vm.add_to_working_set(vm.create_page(text))
        tokens = vm.build_context("Help.")["tokens"]

        assert tokens <= 2000
    assert plain > 3 * tokens


async def test_a_system_prompt_larger_than_the_budget_is_said() -> None:
    """What cannot be made shorter is a typed error, with both numbers."""
    with pytest.raises(TokenLimitExceeded, match="the limit is 1500"):
        memory().build_context("word " * 2000)


async def test_a_longer_system_prompt_makes_pages_give_way() -> None:
    """The budget is the whole prompt's: what the host needs, pages free."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=3000))
    for n in range(4):
        await vm.add_to_working_set(vm.create_page(f"Note {n}. {WORDS[:1500]}"))
    before = vm.build_context("Help.")
    after = vm.build_context("word " * 1500)

    assert before["left_out"] == after["left_out"] == []
    assert weight(after) <= 3000
    assert list(after["shown"].values()) != list(before["shown"].values())


async def test_pins_that_find_no_room_are_named() -> None:
    """More pins than the budget holds: what is left out is in the report, and nothing is unpinned."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=800))
    pages = [
        vm.create_page(f"Rule {n}: never sell item {n} below {n} euros.", pinned=True) for n in range(60)
    ]
    for page in pages:
        await vm.add_to_working_set(page)
    context = vm.build_context()

    assert context["left_out"] != []
    assert {*context["left_out"], *context["shown"]} == {resident.page_id for resident in vm.residents}
    assert all(page.pinned for page in vm.pages())
    assert weight(context) <= 800


async def test_the_page_that_bears_on_the_question_is_fetched() -> None:
    """Among 200 pages that were never let in, the one that answers stands in the prompt, whole."""
    vm = memory()
    for n in range(200):
        vm.create_page(f"Customer {n} ordered part P-{n} for {n * 3} euros.")
    target = vm.create_page("The database is Postgres 16, on host db-7, since the outage in March.")
    context = vm.build_context(question="Which postgres database do we use?")

    assert context["prefetched"][0] == target.id
    assert target.text in context["developer_message"]


async def test_of_a_large_page_the_part_that_bears_on_the_question_is_fetched() -> None:
    """A result ten times the room: what it says of the question stands in the prompt, marked as a part."""
    vm = memory()
    needle = "The harbour crane lifts 40 t."
    page = vm.create_page(f"{WORDS * 8} {needle} {WORDS * 8}")
    context = vm.build_context(question="How much does the crane in the harbour lift?")

    assert context["prefetched"] == [page.id]
    assert needle in context["developer_message"]
    assert '"level":"reduced"' in context["developer_message"]
    assert weight(context) <= 1500


async def test_the_manifest_lists_what_bears_on_the_question_first() -> None:
    """Relevance goes before importance and age; the list is bounded, the count is whole."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=1500, manifest_tokens=200, prefetch_pages=0))
    for n in range(300):
        vm.create_page(f"Customer {n} ordered bolts.", importance=0.9)
    target = vm.create_page("The harbour crane lifts 40 t.", importance=0.0)
    message = vm.build_context(question="How much can the crane lift?")["developer_message"]
    manifest = json.loads(message.partition("<VM:MANIFEST_JSON>\n")[2].partition("\n</VM:")[0])

    assert manifest["not_shown"] == 301
    assert manifest["pages"][0]["page"] == target.id
    assert 1 <= len(manifest["pages"]) < 15


async def test_without_a_question_the_newest_is_listed_first() -> None:
    """A page that left last is not invisible behind older ones."""
    vm = memory()
    pages = [vm.create_page(f"Line {n}.") for n in range(120)]
    message = vm.build_context()["developer_message"]
    manifest = json.loads(message.partition("<VM:MANIFEST_JSON>\n")[2].partition("\n</VM:")[0])

    assert manifest["pages"][0]["page"] == pages[-1].id


async def test_passive_offers_no_tools() -> None:
    """PASSIVE: no schemas, no word of tools, no list; what is missing is counted, questions are served."""
    vm = memory(mode=VMMode.PASSIVE)
    target = vm.create_page("The crane lifts 40 t.")
    vm.create_page("Lunch is at noon.")
    context = vm.build_context(question="What does the crane lift?")

    assert context["tools"] == []
    assert "page_fault" not in context["developer_message"]
    assert '{"not_shown":1,"pages":[]}' in context["developer_message"]
    assert context["prefetched"] == [target.id]
    with pytest.raises(InvalidSetting, match="'passive'"):
        await vm.handle_tool_call("page_fault", {"page_id": target.id})


async def test_a_medium_goes_along_while_it_is_shown_whole() -> None:
    """An image in full is a content part of the pages' message; shortened, its caption speaks for it."""
    vm = memory(config=WorkingSetConfig(max_l0_tokens=8000))
    page = vm.create_page(IMAGE, caption="A floor plan with two exits.")
    await vm.add_to_working_set(page)
    whole = vm.build_context()
    vm.remove_from_working_set(page)
    await vm.add_to_working_set(page, Level.REDUCED)
    reduced = vm.build_context()

    assert IMAGE in whole["messages"][1]["content"]
    assert "two exits" in whole["developer_message"]
    assert isinstance(reduced["messages"][1]["content"], str)
    assert "two exits" in reduced["messages"][1]["content"]
    assert weight(reduced) < weight(whole)


async def test_what_is_saved_is_loaded() -> None:
    """Pages, residents, levels, pins, turn, limits and counters cross a restart."""
    vm = memory()
    for n in range(8):
        await vm.add_to_working_set(vm.create_page(f"{n} {WORDS[:900]}", pinned=n == 3))
        vm.build_context(question="hall")
    await vm.handle_tool_call("page_fault", {"page_id": "p1"})
    saved = vm.snapshot()
    await vm.save()
    vm.forget("p2")
    vm.create_page("Made after the save.")

    assert await vm.load()
    assert vm.snapshot() == saved
    assert MemoryManager.restore(json.loads(json.dumps(saved)), config=vm.config).snapshot() == saved
    assert not await memory().load()


async def test_a_snapshot_of_a_newer_version_is_refused() -> None:
    """It is named as such; so is a value that is none."""
    with pytest.raises(SchemaTooNew):
        MemoryManager.restore({**memory().snapshot(), "schema": 99})
    with pytest.raises(InvalidSetting, match="no snapshot"):
        MemoryManager.restore({"messages": []})


@pytest.mark.parametrize("key", ["pages", "residents", "metrics", "turn"])
async def test_a_damaged_snapshot_costs_nothing_of_what_is_there(key: str) -> None:
    """Loading it is a typed error, and the memory is as it was."""
    store = InMemoryPageStore()
    vm = memory(store=store)
    await vm.add_to_working_set(vm.create_page("The gate code is 4711."))
    before = vm.snapshot()
    await store.save("s", {name: value for name, value in before.items() if name != key})

    with pytest.raises(InvalidSetting, match="damaged"):
        await vm.load()
    assert vm.snapshot() == before


async def test_a_page_that_no_longer_exists_is_named() -> None:
    """To the host it is a typed error; to the model, words."""
    vm = memory()
    page = vm.create_page("Here today.")
    await vm.add_to_working_set(page)
    vm.forget(page)

    assert vm.residents == ()
    assert "No page has the id" in await vm.handle_tool_call("page_fault", {"page_id": page.id})
    assert "Here today" not in vm.build_context(question="Here today?")["developer_message"]
    with pytest.raises(PageNotFound, match=page.id):
        await vm.add_to_working_set(page)


@pytest.mark.parametrize(
    "arguments",
    [
        {"content": "x", "page_id": "a b"},
        {"content": "x", "importance": 1.5},
        {"content": "x", "seqs": (3, 2)},
        {"content": b"x"},
    ],
)
def test_what_cannot_be_a_page_is_refused(arguments: dict[str, Any]) -> None:
    """The error names the value and what to give instead."""
    with pytest.raises(InvalidSetting):
        memory().create_page(**arguments)


def test_an_id_is_given_once() -> None:
    """Ids of the host's own and made ones never meet."""
    vm = memory()
    vm.create_page("a", page_id="p2")

    assert [vm.create_page(text).id for text in "bc"] == ["p3", "p4"]
    with pytest.raises(InvalidSetting, match="taken"):
        vm.create_page("d", page_id="p3")


def test_an_unknown_mode_is_refused() -> None:
    """The error lists the modes."""
    with pytest.raises(InvalidSetting, match="strict, relaxed, passive"):
        memory(mode="loose")

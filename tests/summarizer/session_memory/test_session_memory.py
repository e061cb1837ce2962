"""`sm.vm`: modes, tools, limits, citations; and what goes wrong said clearly."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from summarizer import InvalidSetting, SessionManager, SessionNotFound
from summarizer.context.policies import Optimizer, View
from summarizer.conversation import cache_of
from summarizer.events import Event, EventKind, Origin
from summarizer.memory import (
    LRUEvictionPolicy,
    Modality,
    PageNotFound,
    PageType,
    VMMode,
    WorkingSetConfig,
)
from summarizer.session_memory import facts
from summarizer.session_memory.facts import Marks
from summarizer.stores import MemoryStore
from tests.summarizer.session_memory.logged import paged, parcels
from tests.summarizer.talk import calls_tool


def test_settings_that_contradict_each_other_are_refused() -> None:
    """With the way out in the text; nothing is read or written."""
    with pytest.raises(
        InvalidSetting, match=r"vm_mode=<VMMode.STRICT: 'strict'> has no effect.*enable_vm=True"
    ):
        SessionManager(store="memory://", vm_mode=VMMode.STRICT)
    with pytest.raises(
        InvalidSetting, match="vm_mode='loose' is unknown; use one of strict, relaxed, passive"
    ):
        SessionManager(store="memory://", enable_vm=True, vm_mode="loose")
    with pytest.raises(InvalidSetting, match="enable_vm=True"):
        _ = SessionManager(store="memory://").vm


@pytest.mark.parametrize(
    ("mode", "names"),
    [(None, ["page_fault", "search_pages"]), ("strict", ["page_fault", "search_pages"]), ("passive", [])],
)
async def test_a_mode_decides_the_tools(mode: str | None, names: list[str]) -> None:
    """PASSIVE has none, and fetches what bears on the question all the same."""
    sm = paged(MemoryStore(), vm_mode=mode)
    await sm.vm.create_page("The gate code is 4711.")
    await sm.user_says("What is the gate code?")
    context = await sm.context()

    assert [tool["function"]["name"] for tool in sm.vm.tools] == names
    assert (context.parts["tools"] > 0) == bool(names)
    assert "The gate code is 4711." in context.messages[-1]["content"]
    if not names:
        with pytest.raises(InvalidSetting, match="none in 'passive'"):
            await sm.vm.handle_tool_call("page_fault", {"page_id": "p1"})


async def test_limits_hold_for_a_turn() -> None:
    """The next question lifts them; a page that is shown costs none."""
    sm = paged(MemoryStore())
    await parcels(sm, 40)
    await sm.user_says("What of them?")
    await sm.context(2000)
    resident = next(page for page in sm.vm.shown if page.startswith("e"))
    answers = [await sm.vm.handle_tool_call("page_fault", {"page_id": f"e{n}-{n + 1}"}) for n in (1, 3, 5, 7)]

    assert "is shown already" in await sm.vm.handle_tool_call("page_fault", {"page_id": resident})
    assert [answer.startswith("3 page_fault calls were served") for answer in answers] == [False] * 3 + [True]
    await sm.turn("And now?", "So it is.")
    assert (await sm.vm.handle_tool_call("page_fault", {"page_id": "e7-8"})).startswith("Page e7-8")
    assert sm.vm.metrics.faults == 4
    assert sm.vm.metrics.turns == 2


@pytest.mark.parametrize("arguments", ["{", "[]", {}, {"page_id": 3}, {"page_id": "p1", "level": "all"}])
async def test_what_the_model_got_wrong_is_answered(arguments: object) -> None:
    """With what to correct."""
    sm = paged(MemoryStore())
    await sm.user_says("Hello.")

    answer = await sm.vm.handle_tool_call("page_fault", arguments)

    assert answer.startswith("The call was not served:")


async def test_what_the_model_read_comes_in_when_it_slides_out() -> None:
    """Its call is in the log, so every worker lets the page in; the answer itself is on no page twice."""
    sm = paged(MemoryStore(), None)
    await parcels(sm, 30)
    await sm.user_says("What does P-2 weigh?")
    await sm.record(calls_tool("c1", "page_fault", '{"page_id": "e5-6"}'))
    answer = await sm.vm.handle_tool_call("page_fault", {"page_id": "e5-6"})
    await sm.record({"role": "tool", "tool_call_id": "c1", "content": answer})
    await sm.ai_responds("P-2 weighs 6 kg.")
    await parcels(sm, 12, 40)
    context = await sm.context(2000)
    again = paged(sm.store, sm.session_id)

    assert "e5-6" in sm.vm.shown
    assert "[pages of this memory]" in (await sm.vm.page("e61-64")).text
    assert (await again.context(2000)).messages == context.messages


async def test_the_tools_run_behind_the_guard() -> None:
    """`sm.tools.run` records call and answer; the guard shows the model the whole of it."""
    sm = paged(MemoryStore())
    await sm.user_says("Where is it?")
    page = await sm.vm.create_page("Hall 3. " * 200)

    async def page_fault(**arguments: str) -> str:
        return await sm.vm.handle_tool_call("page_fault", arguments)

    done = await sm.tools.run(page_fault, "page_fault", {"page_id": page.id})
    context = await sm.context(4000)

    assert done.ok
    assert json.loads(done.content.split("\n", 1)[1])["text"] == page.text
    assert context.messages[-2]["content"] == done.content


async def test_citations_are_checked_against_the_log() -> None:
    """Any page of the log may be cited, by any worker; one that does not exist is named."""
    sm = paged(MemoryStore(), vm_mode="strict")
    await parcels(sm, 3)
    report = await sm.vm.check_citations(
        "P-1 weighs 3 kg [e3-4]. P-2 weighs 7 kg [r6]. It was late [e900-901]. Nobody was at home there."
    )

    assert report.cited == ("e3-4", "r6")
    assert report.unknown == ("e900-901",)
    assert report.statements[1].unsupported == ("7",)
    assert report.uncited == ("Nobody was at home there.",)


async def test_pages_of_the_summary_can_be_cited() -> None:
    """The seed is page `s1`; what of the ledger it does not show are claims."""
    sm = paged(MemoryStore(), vm_mode="strict")
    await sm.user_says("Never call customers before 9:30.")
    await sm.ai_responds("Understood.")
    await parcels(sm, 10)
    await sm.segment()
    await sm.user_says("When may I call?")
    context = await sm.context(4000)
    report = await sm.vm.check_citations("Customers are never called before 9:30 [s1].")

    assert '"page":"s1","type":"summary"' in context.messages[2]["content"]
    assert report.ok
    assert (await sm.vm.page("s1")).text == context.messages[1]["content"]


async def test_pages_are_checked_before_anything_is_written() -> None:
    """What cannot be a page leaves no event; an id that no page has is an error of the host's."""
    sm = paged(MemoryStore())
    await sm.user_says("Hello.")
    for wrong in (
        sm.vm.create_page("x", importance=2.0),
        sm.vm.set_importance("r1", -1),
        sm.vm.create_page(3),
        sm.vm.create_page("x", page_type="note"),
        sm.vm.create_page("x", modality="smell"),
        sm.vm.create_page("x", origin="nobody"),
        sm.vm.create_page({"type": "image_url"}, caption=3),
        sm.vm.create_page("\ud800"),
        sm.vm.add_to_working_set("r1", 9),
    ):
        with pytest.raises(InvalidSetting):
            await wrong
    for missing in (sm.vm.pin("p9"), sm.vm.add_to_working_set("e7-9"), sm.vm.forget("what")):
        with pytest.raises(PageNotFound):
            await missing

    assert (await sm.store.load(None, "talk")).head.last_seq == 1
    with pytest.raises(SessionNotFound):
        await paged(MemoryStore()).vm.page("p1")


async def test_pages_count_as_nothing() -> None:
    """No message, no token, no turn: totals are those of the conversation without them."""
    sm = paged(MemoryStore(), max_turns_per_segment=3)
    await sm.user_says("Hello.")
    before = await sm.get_stats()
    await sm.vm.create_page("word " * 1000, pinned=True)
    await sm.vm.pin("r1")
    after = await sm.get_stats()
    rows = await sm.get_conversation()

    assert (after.total_messages, after.total_tokens) == (before.total_messages, before.total_tokens)
    assert [row["content"] for row in rows] == ["Hello."]


async def test_media_are_pages() -> None:
    """The medium stands in the context where its page is shown whole."""
    sm = paged(MemoryStore())
    image = {"type": "image_url", "image_url": {"url": "https://example.com/plan.png", "detail": "low"}}
    page = await sm.vm.create_page(image, caption="The plan of hall 3.", pinned=True)
    await sm.user_says("Where is the gate?")
    context = await sm.context(16_000)

    assert page.modality is Modality.IMAGE
    assert context.messages[1]["content"][1] == image
    assert context.parts["pages"] > 2833  # What gpt-4o-mini counts for the image.


async def test_it_is_configured_before_its_first_use() -> None:
    """Its budget is that of contexts without `max_tokens`, within the model's window."""
    sm = paged(MemoryStore())
    sm.vm.configure(WorkingSetConfig(max_l0_tokens=2000), eviction_policy=LRUEvictionPolicy())
    await parcels(sm, 60)
    context = await sm.context()

    assert context.budget == 2000
    assert context.tokens <= 2000
    with pytest.raises(InvalidSetting, match="before its first use"):
        sm.vm.configure()


async def test_a_page_taken_out_is_listed_again() -> None:
    """`remove_from_working_set` lets a pin go; the page itself stays."""
    sm = paged(MemoryStore())
    page = await sm.vm.create_page("The gate code is 4711.", page_type=PageType.CLAIM, pinned=True)
    await sm.user_says("Hello?")
    await sm.context(1500)
    assert page.id in sm.vm.shown
    await sm.vm.remove_from_working_set(page)
    context = await sm.context(1500)

    assert page.id not in sm.vm.shown
    assert page.id in context.messages[-1]["content"]


def fact(seq: int, data: dict[str, object], kind: EventKind = EventKind.MEMORY) -> Event:
    return Event(kind, f"e{seq}", datetime(2026, 11, 21, tzinfo=UTC), Origin.SYSTEM, data=data, seq=seq)


said = st.one_of(
    st.just({"made": {"text": "x"}}),
    st.just({"made": {"text": "x"}, "mark": {"pinned": True}}),
    st.builds(
        lambda page, mark: {"page": page, "mark": mark},
        st.sampled_from(["p1", "p2", "e5-6"]),
        st.sampled_from(
            [
                {"pinned": True},
                {"pinned": False},
                {"used": True, "level": 1},
                {"used": False},
                {"forgotten": True},
            ]
        ),
    ),
)


@settings(max_examples=100, deadline=None)
@given(given=st.lists(said, max_size=20), at=st.integers(0, 20), late=st.integers(0, 3))
def test_a_snapshot_stands_for_what_lies_before_it(
    given: list[dict[str, object]], at: int, late: int
) -> None:
    """Marks are the same, whether folded from the beginning or from a snapshot that missed the last facts."""
    events = [fact(seq, data) for seq, data in enumerate(given, 1)]
    whole, part, cold = Marks(), Marks(), Marks()
    whole.fold(events, 100)
    part.fold(events[: max(0, at - late)], max(0, at - late))
    snapshot = fact(at, json.loads(json.dumps(part.snapshot())), EventKind.MEMORY_SNAPSHOT)
    tail = [event for event in events if event.seq > part.seq]
    cold.fold([snapshot, *tail], 100)

    assert list(cold.listed().items()) == list(whole.listed().items())
    assert cold.changed_seq == whole.changed_seq


def test_marks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest page that is neither pinned nor in the working set goes first."""
    monkeypatch.setattr(facts, "MOST_MARKS", 3)
    marks = Marks()
    marks.fold([fact(seq, {"made": {}, "mark": {"pinned": seq == 1}}) for seq in range(1, 7)], 6)

    assert list(marks.listed()) == ["p1", "p5", "p6"]


def test_pages_that_were_forgotten_take_no_room_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there were, a new page is listed; they are bounded by themselves."""
    monkeypatch.setattr(facts, "MOST_MARKS", 3)
    monkeypatch.setattr(facts, "MOST_FORGOTTEN", 4)
    marks = Marks()
    for seq in range(1, 13, 2):
        marks.fold(
            [fact(seq, {"made": {}}), fact(seq + 1, {"page": f"p{seq}", "mark": {"forgotten": True}})], 0
        )
    marks.fold([fact(13, {"made": {}})], 13)

    assert list(marks.listed()) == ["p13"]
    assert [marks.get(f"p{seq}").forgotten for seq in (3, 5, 11)] == [False, True, True]


async def test_contexts_at_once_do_not_disturb_each_other() -> None:
    """With different budgets, from one manager, while pages come."""
    sm = paged(MemoryStore())
    await parcels(sm, 30)
    await sm.user_says("And?")
    budgets = [1200, 1600, 2400] * 4
    built = await asyncio.gather(
        *(sm.context(budget) for budget in budgets), *(sm.vm.create_page(f"Page {n}.") for n in range(5))
    )

    for budget, context in zip(budgets, built, strict=False):
        assert context.tokens <= budget
    assert (await sm.context(1200)).messages == (await paged(sm.store).context(1200)).messages


async def test_reading_writes_nothing() -> None:
    """Contexts, faults, searches and checks leave the log as it was."""
    sm = paged(MemoryStore())
    await parcels(sm, 30)
    await sm.user_says("What does P-2 weigh?")
    before = (await sm.store.load(None, "talk")).head
    await sm.context(1500, recall=True)
    await sm.vm.handle_tool_call("page_fault", {"page_id": "e5-6"})
    await sm.vm.handle_tool_call("search_pages", {"query": "depot"})
    await sm.vm.check_citations("P-2 weighs 6 kg [e5-6].")
    await sm.vm.pages()

    assert (await sm.store.load(None, "talk")).head == before


async def test_a_search_finds_what_the_running_turn_has_lost() -> None:
    """In one long turn of tool rounds, not the search itself."""
    sm = paged(MemoryStore())
    await sm.user_says("Go through all depots.")
    for n in range(40):
        await sm.tool_used("look", {"depot": n}, f"Depot D-{n}: shelf S-{n * 17}, {n * 3} parcels. " * 4)
    await sm.record(calls_tool("c1", "search_pages", '{"query": "shelf S-51"}'))
    answer = await sm.vm.handle_tool_call("search_pages", {"query": "shelf S-51"})
    context = await sm.context(2000)

    assert "Depot D-3: shelf S-51" in answer
    assert "search_pages" not in answer
    assert context.messages[1]["content"].startswith("<VM:CONTEXT>")


async def test_marks_for_the_providers_cache_stand_before_what_changes() -> None:
    """On rules, pages and messages; never on what serves one question."""
    sm = paged(MemoryStore(), cache_control=True)
    await parcels(sm, 40)
    await sm.user_says("What does P-2 weigh?")
    plain = await sm.context(2000, cache_control=False)
    context = await sm.context(2000)
    marked = [i for i, message in enumerate(context.messages) if "cache_control" in str(message)]

    assert context.volatile == 1
    assert {0, 1} <= set(marked)
    assert len(context.messages) - 1 not in marked
    assert len(context.messages) == len(plain.messages)
    assert await sm.get_messages_for_llm(2000) == context.messages


async def test_a_page_of_the_log_that_was_forgotten_is_shown_no_more() -> None:
    """Neither among the resident pages, nor fetched for a question, listed, or found."""
    sm = paged(MemoryStore())
    await parcels(sm, 40)
    await sm.user_says("What does P-2 weigh?")
    await sm.context(2000)
    resident = next(page for page in sm.vm.shown if page.startswith("e"))
    for page in (resident, "e5-6"):
        await sm.vm.forget(page)
    context = await sm.context(2000)
    found = await sm.vm.handle_tool_call("search_pages", {"query": "parcel P-2 weighs 6"})

    assert not {resident, "e5-6"} & sm.vm.shown.keys()
    assert '"page":"e5-6"' not in str(context.messages) + found


async def test_a_forgotten_page_is_not_found_before_the_next_context() -> None:
    """A search lists what is served, whatever was at hand for the context before."""
    sm = paged(MemoryStore())
    await sm.user_says("Where is the zebra?")
    page = await sm.vm.create_page("The zebra is in hall 3.")
    await sm.context(2000)
    await sm.vm.forget(page)

    assert (await sm.vm.handle_tool_call("search_pages", {"query": "zebra"})).startswith("No page matches")


async def test_a_forgotten_seed_is_no_page() -> None:
    """It stands in its message, and no line makes it a page that can be cited."""
    sm = paged(MemoryStore())
    await parcels(sm, 10)
    await sm.segment()
    await sm.user_says("And?")
    await sm.context(4000)
    assert "s1" in sm.vm.shown
    await sm.vm.forget("s1")
    context = await sm.context(4000)

    assert "s1" not in sm.vm.shown
    assert '"not_shown":-' not in str(context.messages)


async def test_a_page_is_shown_already_only_in_the_newest_context() -> None:
    """A worker whose own context another worker's has overtaken reads the page out."""
    first = paged(MemoryStore())
    second = paged(first.store)
    await parcels(first, 40)
    await first.user_says("And?")
    await first.context(2000)
    page = next(page for page in first.vm.shown if page.startswith("e"))
    call = ("page_fault", {"page_id": page})
    assert "is shown already" in await first.vm.handle_tool_call(*call)
    await parcels(second, 20, 40)
    await second.user_says("And now?")
    await second.context(2000)

    assert page not in second.vm.shown
    assert (await first.vm.handle_tool_call(*call)).startswith(f"Page {page} as recorded data")


async def test_a_page_made_while_a_policy_waits_comes_in() -> None:
    """With the next context, though nothing else changes."""
    made: list[str] = []

    async def waits(view: View) -> View:
        if not made:
            made.append((await sm.vm.create_page("The gate code is 4711.", pinned=True)).id)
        return view

    sm = paged(MemoryStore(), context_policies=Optimizer(waits, above=100))
    await parcels(sm, 40)
    await sm.user_says("And?")
    await sm.context(2000)

    assert "4711" in str((await sm.context(2000)).messages)


async def test_pages_count_in_what_a_process_keeps() -> None:
    """The cache of conversations is bounded in bytes, so it must weigh what a page holds."""
    sm = paged(MemoryStore())
    await sm.vm.create_page("word " * 100_000)
    known = cache_of(sm.store).get(None, "talk")

    assert known is not None
    assert known.weight > 500_000


async def test_an_offset_behind_the_end_says_where_the_page_ends() -> None:
    """And no more."""
    sm = paged(MemoryStore())
    await sm.vm.create_page("x" * 150)

    answer = await sm.vm.handle_tool_call("page_fault", {"page_id": "p1", "offset": 9999})

    assert "characters 150 to 150 of 150" in answer

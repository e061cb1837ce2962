"""Runs of the real OpenAI Agents SDK in a session of ours, and the session by itself."""

import asyncio
import runpy
import subprocess
import sys
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guards import LoopPolicy, ToolGuard, ToolSpec
from summarizer import SessionManager, TokenLimitExceeded, ToolCall, count_tokens
from summarizer.errors import InvalidSetting, StoreUnavailable
from summarizer.integrations.openai_agents import LongspliceSession
from summarizer.integrations.openai_agents.items import is_summary, kind_of, output_key, pair, text_of
from summarizer.meter import Usage as Reported
from summarizer.stores.memory import MemoryStore
from summarizer.testing import LoopbackServer, Reply
from tests.integrations import openai_histories as items
from tests.integrations.runtimes import needs, version_of
from tests.test_examples import EXAMPLES

pytestmark = needs("openai-agents")

if version_of("openai-agents") is not None:
    from agents import (
        Agent,
        AgentHooks,
        CodeInterpreterTool,
        GuardrailFunctionOutput,
        OpenAIChatCompletionsModel,
        OutputGuardrailTripwireTriggered,
        RunConfig,
        RunHooks,
        Runner,
        RunState,
        Usage,
        function_tool,
        output_guardrail,
        set_tracing_disabled,
    )
    from agents.memory import Session
    from agents.run_internal.session_persistence import rewind_session_items
    from openai import AsyncOpenAI
    from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails

    from summarizer.integrations.openai_agents.tools import guard_tools, stop_on_loop
    from tests.integrations.openai_runs import FakeModel, call, cold, reasoning, said

    set_tracing_disabled(disabled=True)

    @function_tool
    def look_up(key: str) -> str:
        """Look something up."""
        return f"value of {key}: " + "word " * 20


NUMBERS = count()
Item = dict[str, Any]


def fresh(**settings: Any) -> LongspliceSession:
    """A session in a store that other managers of this process may open."""
    return LongspliceSession(f"s{next(NUMBERS)}", store="memory://openai-agents", **settings)


def twin(session: LongspliceSession, **settings: Any) -> LongspliceSession:
    """Another worker's session of the same conversation."""
    return LongspliceSession(session.session_id, store="memory://openai-agents", **settings)


def kinds(given: list[Item]) -> list[str]:
    return [item.get("type") or item["role"] for item in given]


def tokens_of(given: list[Item]) -> int:
    return sum(count_tokens(text_of(item), model="gpt-4o-mini") for item in given)


def assert_sound(view: list[Item]) -> None:
    """A request's history: a user's message first, no answer without its call, no reasoning by itself."""
    pairing = pair(view)
    alone = [
        item
        for item, after in zip_longest(view, view[1:])
        if kind_of(item) == "reasoning"
        and (after is None or after.get("role") == "user" or output_key(after))
    ]

    assert pairing.orphans == ()
    assert alone == []
    assert not view or is_summary(view[0]) or view[0].get("role") in ("user", "system", "developer")


# The session by itself


async def test_the_session_keeps_the_sdks_protocol() -> None:
    """It is a `Session` by its shape alone."""
    session = fresh()

    assert isinstance(session, Session)
    assert await session.get_items() == []
    assert await session.get_items(limit=3) == []
    assert await session.pop_item() is None
    assert await session.clear_session() is None


def test_the_session_does_without_the_sdk() -> None:
    """Without the SDK the session works, and what needs it names the line that installs it."""
    script = (
        "import asyncio, sys\n"
        "sys.modules['agents'] = None\n"
        "from summarizer.integrations.openai_agents import LongspliceSession\n"
        "session = LongspliceSession(store='memory://')\n"
        "asyncio.run(session.add_items([{'role': 'user', 'content': 'hi'}]))\n"
        "for call in (session.hooks, session.run_config):\n"
        "    try:\n"
        "        call()\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
    )
    script += "import summarizer.integrations.openai_agents.tools\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.stdout.count("pip install 'longsplice[openai-agents]'") == 2
    assert done.stderr.strip().endswith("pip install 'longsplice[openai-agents]'")


@given(history=items.histories(max_turns=6), data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_the_tail_is_exact(history: list[Item], data: st.DataObject) -> None:
    """`get_items(limit=n)` gives the newest n items as they were stored, across borders, in any worker."""
    session = fresh()
    stored: list[Item] = []
    while stored != history:
        size = data.draw(st.integers(1, 6))
        await session.add_items(history[len(stored) : len(stored) + size])
        stored = history[: len(stored) + size]
        if data.draw(st.booleans()):
            await session.manager.segment()
    other = twin(session)

    for limit in (0, 1, 2, 5, len(history), len(history) + 1):
        expected = history[-limit:] if limit else []
        assert await other.get_items(limit=limit) == expected
    assert await other.get_items(limit=-1) == history


@given(history=items.histories(max_turns=6), threshold=st.sampled_from([60, 200, 600]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_every_view_is_a_sound_request(history: list[Item], threshold: int) -> None:
    """At whatever point a history is summarized, the view parts no pair and leaves no reasoning alone."""
    session = fresh(token_threshold=threshold, segmentation="inline")
    for item in history:
        await session.add_items([item])
        assert_sound(await session.get_items())


async def test_the_view_opens_with_the_summary_and_keeps_the_budget() -> None:
    """After segmentations the view is the seed as a user's message, then whole turns within the budget."""
    session = fresh(token_threshold=400, segmentation="inline", max_tokens=900)
    for turn in range(30):
        await session.add_items([items.user(f"My order number {turn} is O-{1000 + turn}.")])
        await session.add_items([items.said(f"Noted: {turn}. " * 10)])
    view = await session.get_items()

    assert len(await session.manager.get_session_chain()) > 3
    assert view[0]["role"] == "user"
    assert "O-1000" in view[0]["content"]
    assert view[1:] == (await session.get_items(limit=len(view) - 1))
    assert tokens_of(view) <= 900


async def test_unknown_kinds_are_kept_and_counted() -> None:
    """An item of a kind that nobody knows comes back as it came, and weighs what its JSON weighs."""
    session = fresh()
    item = {"type": "of_tomorrow", "id": "x", "payload": {"text": "word " * 500, "deep": [1, {"a": None}]}}
    await session.add_items([items.user("hi"), item])

    assert await session.get_items() == [items.user("hi"), item]
    assert (await session.manager.get_stats()).total_tokens > 500


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = (
    "type",
    "role",
    "id",
    "call_id",
    "name",
    "arguments",
    "input",
    "output",
    "content",
    "status",
    "caller",
)
KINDS = (*items.PAIRS, *items.PAIRS.values(), "message", "reasoning", "mcp_approval_response", "user", "x")


@given(
    given_items=st.lists(
        st.dictionaries(st.sampled_from(KEYS), JSON | st.sampled_from(KINDS), min_size=1), max_size=5
    )
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_whatever_an_item_holds_it_is_kept(given_items: list[Item]) -> None:
    """No item is refused, dropped or changed, and none makes a view unreadable."""
    session = fresh()
    for item in given_items:
        await session.add_items([item])
    await session.get_items()

    assert await session.get_items(limit=-1) == given_items


async def test_a_round_is_one_message() -> None:
    """The calls of a round are one assistant message with parallel calls, which other runtimes can read."""
    session = fresh()
    batch = [items.reasoning("a"), items.call("a"), items.call("b"), items.output("a"), items.output("b")]
    await session.add_items([items.user("hi")])
    await session.add_items(batch)
    messages = await session.manager.get_messages_for_llm()

    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool"]
    assert [one["id"] for one in messages[1]["tool_calls"]] == ["a", "b"]
    assert await session.get_items(limit=5) == batch


async def test_one_session_serves_other_runtimes_too() -> None:
    """What was recorded through the manager is shown as items."""
    session = fresh()
    await session.manager.user_says("hi")
    await session.manager.tool_used("clock", {"zone": "UTC"}, result="12:00")
    await session.manager.ai_responds("noon")

    assert kinds(await session.get_items()) == ["user", "function_call", "function_call_output", "assistant"]


@pytest.mark.parametrize("segments", [False, True])
async def test_pop_takes_back_the_newest_item(*, segments: bool) -> None:
    """Popped items are gone for every worker, also one of several in a message, also across a border."""
    session = fresh()
    history = [items.user("one"), items.said("uno"), items.user("two"), items.call("a"), items.call("b")]
    await session.add_items(history[:2])
    if segments:
        await session.manager.segment()
    await session.add_items(history[2:])
    for left in range(len(history) - 1, -1, -1):
        popped = await session.pop_item()

        assert popped == history[left]
        assert await twin(session).get_items(limit=-1) == history[:left]
    assert await session.pop_item() is None
    if not segments:
        assert await twin(session).get_items() == []
        assert await twin(session).manager.get_messages_for_llm() == []


async def test_what_was_popped_stays_out_of_later_summaries(tmp_path: Path) -> None:
    """A message that was taken back is in no view and no summary, in a worker that starts cold."""
    session = cold(tmp_path)
    await session.add_items([items.user("My order is O-1001."), items.said("Noted.")])
    await session.add_items([items.user("My order is O-6666.")])
    await session.pop_item()
    await session.add_items([items.user("It is late."), items.said("Yes. " * 200)])
    other = cold(tmp_path)
    before = await other.get_items()
    await other.manager.segment()
    after = await cold(tmp_path).get_items()

    assert "O-6666" not in str(before) + str(after)
    assert "O-1001" in str(after)
    assert await other.get_items(limit=1) == [items.said("Yes. " * 200)]


async def test_the_sdks_rewind_and_retry_works() -> None:
    """The SDK pops a retry's items one by one, finds the tail as it expects it, and stores them again."""
    session = fresh()
    await session.add_items([items.user("one"), items.said("uno")])
    retried = [items.user("two"), items.call("a"), items.output("a")]
    await session.add_items(retried)
    await rewind_session_items(session, retried)
    rewound = await session.get_items(limit=-1)
    await session.add_items(retried)

    assert rewound == [items.user("one"), items.said("uno")]
    assert await twin(session).get_items() == [items.user("one"), items.said("uno"), *retried]


async def test_two_workers_pop_two_items() -> None:
    """Of two workers that pop at once, each gets another item."""
    session = fresh()
    await session.add_items([items.user(str(number)) for number in range(6)])
    other = twin(session)
    popped = await asyncio.gather(*(one.pop_item() for one in (session, other, session, other)))

    assert sorted(item["content"] for item in popped if item) == ["2", "3", "4", "5"]
    assert await session.get_items() == [items.user("0"), items.user("1")]


async def test_clear_empties_the_session_for_everybody() -> None:
    """After a clear every worker begins anew; the log still knows what was said, but no summary does."""
    session, other = (one := fresh(token_threshold=300)), twin(one, token_threshold=300)
    await session.add_items(items.talk(5))
    await other.get_items()
    await session.clear_session()

    assert await other.get_items() == await other.get_items(limit=-1) == []
    assert await other.pop_item() is None
    await other.add_items([items.user("anew"), items.said("yes " * 100)])
    await other.manager.segment()
    assert "question" not in str(await session.get_items())
    assert await session.get_items(limit=-1) == [items.user("anew"), items.said("yes " * 100)]
    assert (await session.manager.get_conversation())[0]["content"] == "question 0"


async def test_settings_are_checked() -> None:
    """What contradicts itself is refused before anything is written."""
    with pytest.raises(InvalidSetting, match="pass either"):
        LongspliceSession("a", manager=SessionManager())
    with pytest.raises(InvalidSetting, match="max_tokens=0"):
        LongspliceSession(max_tokens=0)


# Real runs


async def test_a_long_conversation_runs_across_restarts(tmp_path: Path) -> None:
    """Turns with tools cross segmentations and restarts: each worker starts cold, the view stays small."""
    models = []
    for turn in range(12):
        session = cold(tmp_path, token_threshold=700, segmentation="inline", model="gpt-4o-mini")
        calls = [call(f"c{turn}_{i}", "look_up", key=f"K-{turn}{i}") for i in range(2)]
        model = FakeModel([[reasoning(str(turn)), *calls], [said(f"Answer {turn}. " * 10)]])
        agent = Agent(name="a", model=model, tools=guard_tools([look_up], session, read_only=["look_up"]))
        result = await Runner.run(
            agent,
            f"Question {turn}?",
            session=session,
            hooks=session.hooks(),
            run_config=session.run_config(),
        )
        models.append(model)
        await session.settle()

        assert result.final_output.startswith(f"Answer {turn}")
    final = cold(tmp_path)
    stored = await final.get_items(limit=-1)

    assert len(await final.manager.get_session_chain()) >= 3
    assert len(stored) == 12 * 7
    assert kinds(stored)[:7] == [
        "user",
        "reasoning",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
        "message",
    ]
    assert max(tokens_of(seen) for model in models for seen in model.seen) < 1400
    for model in models:
        for seen in model.seen:
            assert_sound(seen)
    stats = await final.manager.get_stats()
    assert (stats.input_tokens, stats.output_tokens, stats.cost_coverage) == (2400, 240, 1.0)


async def test_the_budget_holds_inside_a_run() -> None:
    """In a run of 14 tool calls of 1,000 tokens each, no model call is sent more than the budget."""

    @function_tool
    def fetch(number: int) -> str:
        """Fetch a page."""
        return f"page {number}: " + "word " * 1000

    budget = 4000
    session = fresh(max_tokens=budget, model="gpt-4o-mini")
    model = FakeModel([*([call(f"c{i}", "fetch", number=i)] for i in range(14)), [said("done")]])
    agent = Agent(name="a", model=model, tools=[fetch], instructions="Fetch all pages.")
    await Runner.run(agent, "go", session=session, max_turns=20, run_config=session.run_config())
    sizes = [tokens_of(seen) for seen in model.seen]

    assert len(sizes) == 15
    assert max(sizes) <= budget
    assert max(sizes) > budget / 2
    for seen in model.seen:
        assert_sound(seen)
        assert seen[0] == {"content": "go", "role": "user"}
    assert len(await session.get_items(limit=-1)) == 30


async def test_the_budget_holds_with_a_summary_of_the_running_turn() -> None:
    """With a threshold, what is left out of a running turn stands in the seed of the next model call."""

    @function_tool
    def fetch(number: int) -> str:
        """Fetch a page."""
        return f"ticket=T-{9000 + number} " + "word " * 1000

    session = fresh(max_tokens=4000, token_threshold=2500, segmentation="inline", model="gpt-4o-mini")
    model = FakeModel([*([call(f"c{i}", "fetch", number=i)] for i in range(12)), [said("done")]])
    agent = Agent(name="a", model=model, tools=[fetch])
    await Runner.run(agent, "go", session=session, max_turns=20, run_config=session.run_config())

    assert max(tokens_of(seen) for seen in model.seen) <= 4000
    assert "T-9000" in str(model.seen[-1][0])
    for seen in model.seen:
        assert_sound(seen)


async def test_a_round_is_stored_once_whatever_happens_in_it(tmp_path: Path) -> None:
    """Segments that open while a round's tools run, behind its calls or its results, double nothing."""

    @function_tool
    async def fetch(number: int) -> str:
        """Fetch a page."""
        await asyncio.sleep(0.01 * (number % 3))
        return f"page {number}: " + "word " * 700

    script = [
        [reasoning(str(i)), *(call(f"c{i}_{k}", "fetch", number=i + k) for k in range(3))] for i in range(5)
    ]
    model = FakeModel([*script, [said("done")]])
    session = cold(
        tmp_path, token_threshold=1500, segmentation="inline", max_tokens=9000, model="gpt-4o-mini"
    )
    agent = Agent(name="a", model=model, tools=guard_tools([fetch], session))
    await Runner.run(
        agent, "go", session=session, hooks=session.hooks(), run_config=session.run_config(), max_turns=20
    )
    stored = await cold(tmp_path).get_items(limit=-1)
    round_kinds = ["reasoning", *["function_call"] * 3, *["function_call_output"] * 3]

    assert len(await session.manager.get_session_chain()) > 2
    assert kinds(stored) == ["user", *round_kinds * 5, "message"]
    assert [item["call_id"] for item in stored if "output" in item] == [
        f"c{i}_{k}" for i in range(5) for k in range(3)
    ]
    for seen in model.seen:
        assert_sound(seen)


async def test_a_round_of_very_many_calls_is_stored_once() -> None:
    """However many calls an answer has, those that were announced are known when the round is stored."""
    session = fresh()
    names = [f"c{number}" for number in range(300)]
    await session.add_items([items.user("go")])
    for name in names:
        await session.announce(items.call(name))
    await session.manager.record_all(
        [{"role": "tool", "tool_call_id": name, "content": "r"} for name in names],
        data=[{"tool": {"guarded": True}} for _ in names],
    )
    batch = [*map(items.call, names), *map(items.output, names)]
    await session.add_items(batch)

    assert await twin(session).get_items(limit=-1) == [items.user("go"), *batch]


async def test_a_fork_is_a_session() -> None:
    """A session of a fork has the items up to the fork, and goes its own way."""
    session = fresh()
    await session.add_items(items.talk(3))
    await session.manager.segment()
    await session.add_items([items.user("left"), items.said("or")])
    fork = LongspliceSession(manager=await session.manager.fork(turns=3))
    await fork.add_items([items.user("right")])

    assert await fork.get_items(limit=-1) == [*items.talk(3), items.user("right")]
    assert (await session.get_items(limit=1)) == [items.said("or")]


async def test_foreign_input_is_cut_to_the_budget() -> None:
    """Input that the session did not store (an agent of its own, a host's filter) loses its oldest units."""
    session = fresh(max_tokens=600, model="gpt-4o-mini")
    model = FakeModel([[said("ok")]])
    given = items.talk(40)
    await Runner.run(Agent(name="a", model=model), given, run_config=session.run_config())

    assert tokens_of(model.seen[0]) <= 600
    assert model.seen[0][-1] == given[-1]
    assert_sound(model.seen[0])


async def test_a_message_that_cannot_fit_is_a_typed_error() -> None:
    """Where instructions and the newest message alone exceed the budget, the run says so and asks nobody."""
    session = fresh(max_tokens=200, model="gpt-4o-mini")
    model = FakeModel([[said("ok")]])

    with pytest.raises(TokenLimitExceeded):
        await Runner.run(
            Agent(name="a", model=model), "word " * 500, session=session, run_config=session.run_config()
        )
    assert model.seen == []


async def test_a_filter_of_the_hosts_runs_before_ours() -> None:
    """`run_config` takes the host's own filter along."""
    session = fresh(max_tokens=600, model="gpt-4o-mini")
    model = FakeModel([[said("ok")]])

    def shout(data: Any) -> Any:
        data.model_data.instructions = "SHOUT"
        return data.model_data

    config = session.run_config(call_model_input_filter=shout)
    await Runner.run(Agent(name="a", model=model), "hi", session=session, run_config=config)

    assert isinstance(config, RunConfig)
    assert model.instructions == ["SHOUT"]


async def test_the_wire_of_a_real_client(tmp_path: Path) -> None:
    """Through OpenAI's client and a server: tools, segmentations, usage, and a worker that starts cold."""
    replies: list[Any] = []
    for turn in range(6):
        replies.append(Reply(tool_calls=(ToolCall("call_1", "look_up", f'{{"key": "K-{turn}"}}'),)))
        used = Reported(input_tokens=300, output_tokens=30, cache_read_tokens=200, reasoning_tokens=10)
        replies.append(Reply(f"Answer {turn}. " * 20, usage=used, model="gpt-4o-mini"))
    async with LoopbackServer(replies) as server:
        client = AsyncOpenAI(base_url=server.openai_url, api_key="k", max_retries=0)
        model = OpenAIChatCompletionsModel(model="gpt-4o-mini", openai_client=client)
        for turn in range(6):
            session = cold(tmp_path, token_threshold=500, segmentation="inline")
            tools = guard_tools([look_up], session)
            result = await Runner.run(
                Agent(name="a", model=model, tools=tools),
                f"Question {turn}?",
                session=session,
                hooks=session.hooks(),
                run_config=session.run_config(),
            )
            assert result.final_output.startswith(f"Answer {turn}")
        await client.close()
    stored = await cold(tmp_path).get_items(limit=-1)
    stats = await session.manager.get_stats()
    roles = [message["role"] for message in server.requests[-1].body["messages"]]

    assert kinds(stored) == ["user", "function_call", "function_call_output", "message"] * 6
    assert len({item.get("id") for item in stored}) == 2  # One fake id for all, and none for users.
    assert "Question 0?" not in [message["content"] for message in server.requests[-1].body["messages"]]
    assert roles[0] == "user"
    assert roles[-2:] == ["assistant", "tool"]
    assert stats.session_segments > 1
    assert (stats.cache_read_tokens, stats.reasoning_tokens) == (1200, 60)
    assert stats.cost_usd is not None


async def test_streaming() -> None:
    """A streamed run stores, books and bounds like any other."""
    session = fresh(model="gpt-4o-mini")
    model = FakeModel([[call("c1", "look_up", key="a")], [said("done")]])
    tools = guard_tools([look_up], session)
    result = Runner.run_streamed(
        Agent(name="a", model=model, tools=tools),
        "hi",
        session=session,
        hooks=session.hooks(),
        run_config=session.run_config(),
    )
    events = [event async for event in result.stream_events()]

    assert events
    assert kinds(await session.get_items()) == ["user", "function_call", "function_call_output", "message"]
    assert (await session.manager.get_stats()).input_tokens == 200


async def test_handoffs() -> None:
    """A handoff is stored like any call, and each answer is booked under the model that gave it."""
    session = fresh()
    first, second = FakeModel([[call("h1", "transfer_to_second")]]), FakeModel([[said("I am second.")]])
    first.model, second.model = "gpt-4o", "gpt-4o-mini"
    last = Agent(name="second", model=second)
    agent = Agent(name="first", model=first, handoffs=[last])
    result = await Runner.run(
        agent, "hi", session=session, hooks=session.hooks(), run_config=session.run_config()
    )
    events = await session.manager.read(include_all_segments=True)
    booked = [event.data["model"] for event in events if event.data.get("usage")]

    assert result.final_output == "I am second."
    assert kinds(await session.get_items()) == ["user", "function_call", "function_call_output", "message"]
    assert booked == ["gpt-4o", "gpt-4o-mini"]


async def test_usage_is_booked_once() -> None:
    """Cached and reasoning tokens are booked for each model call, once, and hooks of the host's go on."""
    used = Usage(
        requests=1,
        input_tokens=1000,
        output_tokens=100,
        total_tokens=1100,
        input_tokens_details=InputTokensDetails.model_construct(cached_tokens=400, cache_write_tokens=0),
        output_tokens_details=OutputTokensDetails(reasoning_tokens=60),
    )
    heard: list[str] = []

    class Mine(RunHooks[Any]):
        async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
            heard.append("llm_end")

        async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
            heard.append("tool_end")

    session = fresh()
    model = FakeModel([[call("c1", "look_up", key="a")], [said("done")]], used)
    agent = Agent(name="a", model=model, tools=[look_up])
    result = await Runner.run(agent, "hi", session=session, hooks=session.hooks(Mine()))
    stats = await twin(session).manager.get_stats()

    assert result.context_wrapper.usage.input_tokens == stats.input_tokens == 2000
    assert (stats.cache_read_tokens, stats.reasoning_tokens, stats.ai_messages) == (800, 120, 2)
    assert stats.cost_coverage == 1.0
    assert heard == ["llm_end", "tool_end", "llm_end"]


async def test_the_models_own_count_is_learned_from_what_was_sent() -> None:
    """Instructions and schemas, which the log does not hold, leave the learned ratio as it is."""
    session = fresh(model="gpt-4o-mini")
    instructions = "Be exact. " * 1000
    model = FakeModel(
        [step for i in range(6) for step in ([call(f"c{i}", "look_up", key="a")], [said("ok")])]
    )
    agent = Agent(name="a", model=model, tools=[look_up], instructions=instructions)
    for turn in range(6):
        size = count_tokens(instructions, model="gpt-4o-mini") + 60 + 60 * turn
        model.usage = Usage(requests=1, input_tokens=size, output_tokens=10, total_tokens=size + 10)
        await Runner.run(agent, "hi", session=session, hooks=session.hooks())

    assert 0.8 < (await session.manager.context()).ratio < 1.2


async def test_an_answer_that_a_guardrail_blocks_is_not_stored() -> None:
    """A final answer that an output guardrail rejects is booked, and not in the session."""

    @output_guardrail
    async def never(*_: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    session = fresh()
    agent = Agent(name="a", model=FakeModel([[said("a secret")]]), output_guardrails=[never])
    with pytest.raises(OutputGuardrailTripwireTriggered):
        await Runner.run(agent, "hi", session=session, hooks=session.hooks())

    assert "a secret" not in str(await session.get_items(limit=-1))
    assert (await session.manager.get_stats()).billed_tokens == 110


async def test_hooks_of_an_agent_book_too() -> None:
    """`answered` is what the run hooks call: an agent's own hooks may call it instead."""
    session = fresh()

    class Books(AgentHooks[Any]):
        async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
            await session.answered(response.to_input_items(), usage=response.usage, model="gpt-4o")

    model = FakeModel([[call("c1", "look_up", key="a")], [said("done")]])
    await Runner.run(Agent(name="a", model=model, tools=[look_up], hooks=Books()), "hi", session=session)
    stats = await session.manager.get_stats()

    assert (stats.input_tokens, stats.cost_coverage) == (200, 1.0)


# The guard


async def test_a_stopped_loop_ends_the_run() -> None:
    """A model that repeats itself is nudged, then blocked; the run ends with the guard's message."""
    ran: list[str] = []

    @function_tool
    def poll(job: str) -> str:
        """Ask for a job."""
        ran.append(job)
        return "nothing new"

    session = fresh()
    session.manager.tools.configure(loop=LoopPolicy.strict())
    model = FakeModel([[call(f"c{i}", "poll", job="j")] for i in range(40)])
    tools = guard_tools([poll], session)
    agent = Agent(name="a", model=model, tools=tools, tool_use_behavior=stop_on_loop())
    result = await Runner.run(agent, "go", session=session, max_turns=40)
    stored = await session.get_items(limit=-1)

    assert len(ran) == 3
    assert len(model.seen) == 6
    assert "poll" in result.final_output
    assert kinds(stored) == ["user"] + ["function_call", "function_call_output"] * 6 + (
        ["message"] if kinds(stored)[-1] == "message" else []
    )
    model.script = [[said("Sorry.")]]
    again = await Runner.run(agent, "and now?", session=session)
    assert again.final_output == "Sorry."


@pytest.mark.parametrize("hooks", [True, False])
async def test_parallel_calls_are_numbered_in_their_order(*, hooks: bool) -> None:
    """`$vN` follows the order in which the model listed the calls, whichever ends first."""

    @function_tool
    async def wait_for(name: str, seconds: float) -> dict[str, str]:
        """Wait."""
        await asyncio.sleep(seconds)
        return {"name": name}

    @function_tool
    def join(first: str, second: str) -> str:
        """Join two."""
        return f"{first}+{second}"

    session = fresh()
    tools = guard_tools([wait_for, join], session)
    slow_first = [
        call("a", "wait_for", name="slow", seconds=0.1),
        call("b", "wait_for", name="fast", seconds=0.0),
    ]
    model = FakeModel([slow_first, [call("c", "join", first="$v1.name", second="$v2.name")], [said("ok")]])
    agent = Agent(name="a", model=model, tools=tools)
    await Runner.run(agent, "go", session=session, hooks=session.hooks() if hooks else None)
    stored = await session.get_items(limit=-1)

    assert [item["call_id"] for item in stored if "call_id" in item] == ["a", "b", "a", "b", "c", "c"]
    assert stored[6]["output"] == "slow+fast"
    assert await twin(session).get_items() == stored


async def test_duplicates_are_replayed_and_errors_are_not() -> None:
    """An equal call of a read-only tool is answered from memory; one that failed runs again."""
    ran: list[str] = []

    @function_tool
    def read(key: str) -> str:
        """Read."""
        ran.append(key)
        if len(ran) == 1:
            raise ValueError("try later")
        return f"value of {key}"

    session = fresh()
    tools = guard_tools([read], session, read_only=["read"])
    model = FakeModel([*([call(f"c{i}", "read", key="k")] for i in range(3)), [said("ok")]])
    await Runner.run(Agent(name="a", model=model, tools=tools), "go", session=session)
    outputs = [item["output"] for item in await session.get_items() if "output" in item]

    assert len(ran) == 2
    assert "try later" in outputs[0]
    assert outputs[1] == "value of k"
    assert outputs[2].endswith("value of k")


async def test_a_tools_own_words_for_its_errors_are_kept() -> None:
    """A failure function of the tool's own says what the model reads; without one the run fails."""

    def sorry(_: Any, error: Exception) -> str:
        return f"sorry: {error}"

    @function_tool(failure_error_function=sorry)
    def polite() -> str:
        """Fail politely."""
        raise ValueError("no")

    @function_tool(failure_error_function=None)
    def rude() -> str:
        """Fail."""
        raise ValueError("never")

    session = fresh()
    tools = guard_tools([polite, rude], session)
    model = FakeModel([[call("a", "polite")], [said("ok")], [call("b", "rude")]])
    agent = Agent(name="a", model=model, tools=tools)
    await Runner.run(agent, "go", session=session)
    with pytest.raises(Exception, match="never"):
        await Runner.run(agent, "again", session=session)
    view = await session.get_items()

    assert "sorry: no" in view[2]["output"]
    assert view[4] == items.user("again")
    assert_sound(view)


async def test_other_tools_and_a_bare_guard() -> None:
    """Hosted tools and agents are given back as they are; a guard without a session works too."""
    hosted = CodeInterpreterTool(tool_config={"type": "code_interpreter", "container": {"type": "auto"}})
    nested = Agent(name="n").as_tool("nested", "An agent.")
    guard = ToolGuard()
    ours = guard_tools([hosted, look_up, nested], guard, read_only=["look_up"])
    model = FakeModel([[call("a", "look_up", key="k")], [call("b", "look_up", key="k")], [said("ok")]])
    result = await Runner.run(Agent(name="a", model=model, tools=[ours[1]]), "go")

    assert ours[0] is hosted
    assert ours[2] is nested
    assert ours[1] is not look_up
    assert guard.spec_of("look_up").read_only
    assert "Already called" in result.new_items[3].output
    with pytest.raises(InvalidSetting, match="no function tool 'lookup'"):
        guard_tools([look_up], guard, read_only=["lookup"])


@pytest.mark.parametrize("others", [0, 2])
async def test_an_approval_is_resumed_by_another_worker(tmp_path: Path, others: int) -> None:
    """A run that waits for a person goes on elsewhere, from JSON; the tool runs once, and nothing is lost.

    So it is if others went on with the session meanwhile.
    """
    ran: list[str] = []

    @function_tool
    def wipe(path: str) -> str:
        """Delete."""
        ran.append(path)
        return f"wiped {path}"

    def worker(script: list[Any]) -> tuple[LongspliceSession, Any]:
        session = cold(tmp_path)
        tools = guard_tools([wipe], session, destructive=["wipe"], approve_destructive=True)
        return session, Agent(name="a", model=FakeModel(script), tools=tools)

    session, agent = worker([[call("w1", "wipe", path="/tmp/a")]])
    paused = await Runner.run(agent, "wipe it", session=session, hooks=session.hooks())
    pending = await cold(tmp_path).get_items(limit=-1)
    blob = paused.to_state().to_json()
    between = items.talk(others)
    await cold(tmp_path).add_items(between)
    await cold(tmp_path).manager.segment()

    session, agent = worker([[said("done")]])
    state = await RunState.from_json(agent, blob)
    state.approve(state.get_interruptions()[0])
    result = await Runner.run(agent, state, session=session, hooks=session.hooks())

    assert kinds(pending) == ["user", "function_call"]
    assert ran == ["/tmp/a"]
    assert result.final_output == "done"
    final = await cold(tmp_path).get_items(limit=-1)
    assert final[2:-2] == between
    assert kinds([*final[:2], *final[-2:]]) == ["user", "function_call", "function_call_output", "message"]
    assert "wiped /tmp/a" in str(await cold(tmp_path).get_items())


async def test_a_guard_that_asks_is_answered_by_the_sdks_approval() -> None:
    """What the guard itself wants confirmed runs once the SDK has approved it."""

    @function_tool(needs_approval=True)
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    session = fresh()
    tools = guard_tools([pay], session, specs=[ToolSpec("pay", destructive=True, requires_confirmation=True)])
    model = FakeModel([[call("p1", "pay", amount=5)], [said("done")]])
    agent = Agent(name="a", model=model, tools=tools)
    paused = await Runner.run(agent, "pay", session=session)
    state = paused.to_state()
    state.approve(state.get_interruptions()[0])
    await Runner.run(agent, state, session=session)

    assert (await session.get_items())[2]["output"] == "paid 5"


# Faults


async def test_the_users_message_survives_a_failing_model() -> None:
    """A run that fails leaves the user's message, and the next run goes on behind it."""
    session = fresh()
    model = FakeModel(
        [RuntimeError("down"), [call("c1", "look_up", key="a")], RuntimeError("down"), [said("ok")]]
    )
    agent = Agent(name="a", model=model, tools=guard_tools([look_up], session))
    for text in ("first", "second"):
        with pytest.raises(RuntimeError, match="down"):
            await Runner.run(agent, text, session=session, hooks=session.hooks())
    await Runner.run(agent, "third", session=session, hooks=session.hooks())

    assert kinds(model.seen[-1]) == ["user", "user", "function_call", "function_call_output", "user"]
    assert_sound(await session.get_items())


async def test_a_store_that_fails_fails_the_run() -> None:
    """A write that fails is an error of the run, and stores no part of a batch."""

    class Failing(MemoryStore):
        fails = False

        async def append(self, *args: Any, **options: Any) -> Any:
            if self.fails:
                raise StoreUnavailable("out of order")
            return await super().append(*args, **options)

    store = Failing()
    session = LongspliceSession("a", store=store)

    def breaks() -> Any:
        store.fails = True
        return [call("c1", "look_up", key="a"), call("c2", "look_up", key="b")]

    model = FakeModel([breaks, [said("ok")]])
    agent = Agent(name="a", model=model, tools=[look_up])
    with pytest.raises(StoreUnavailable):
        await Runner.run(agent, "hi", session=session)
    store.fails = False

    assert await session.get_items(limit=-1) == [items.user("hi")]
    assert (await Runner.run(agent, "again", session=session)).final_output == "ok"


async def test_a_cancelled_run_leaves_a_sound_session() -> None:
    """A run that is cancelled in its tool leaves the user's message, and no call without an answer."""
    started = asyncio.Event()

    @function_tool
    async def hang() -> str:
        """Hang."""
        started.set()
        await asyncio.sleep(60)
        return "never"

    session = fresh()
    model = FakeModel([[call("c1", "hang")], [said("ok")]])
    agent = Agent(name="a", model=model, tools=guard_tools([hang], session))
    task = asyncio.create_task(Runner.run(agent, "go", session=session, hooks=session.hooks()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    view = await twin(session).get_items()
    await Runner.run(agent, "still there?", session=session, hooks=session.hooks())

    assert view[0] == items.user("go")
    assert_sound(view)
    assert_sound(model.seen[-1])


async def test_ids_that_a_model_uses_again_are_no_trouble() -> None:
    """Local models number their calls anew in each turn: every call is stored, with its own result."""
    session = fresh()
    model = FakeModel(
        [step for i in range(3) for step in ([call("call_0", "look_up", key=str(i))], [said(str(i))])]
    )
    agent = Agent(name="a", model=model, tools=guard_tools([look_up], session))
    for turn in range(3):
        await Runner.run(
            agent, f"turn {turn}", session=session, hooks=session.hooks(), run_config=session.run_config()
        )
    stored = await session.get_items(limit=-1)

    assert kinds(stored) == ["user", "function_call", "function_call_output", "message"] * 3
    assert [item["output"][:10] for item in stored if "output" in item] == [f"value of {i}" for i in range(3)]
    for seen in model.seen:
        assert_sound(seen)
        assert pair(seen).open == ()
        assert len({item["call_id"] for item in seen if "arguments" in item}) == kinds(seen).count(
            "function_call"
        )


async def test_two_workers_lose_nothing(tmp_path: Path) -> None:
    """Two workers run turns of one conversation at once: every item of both is stored, whole turns apart."""

    async def work(name: str) -> None:
        session = cold(tmp_path, token_threshold=600)
        for turn in range(4):
            model = FakeModel([[call(f"{name}{turn}", "look_up", key=name)], [said(f"{name} {turn}")]])
            agent = Agent(name="a", model=model, tools=[look_up])
            await Runner.run(agent, f"{name} asks {turn}", session=session)
            for seen in model.seen:
                assert_sound(seen)
        await session.settle()

    await asyncio.gather(work("left"), work("right"))
    stored = await cold(tmp_path).get_items(limit=-1)

    assert len(stored) == 2 * 4 * 4
    assert pair(stored).orphans == pair(stored).open == ()


async def test_two_runs_in_one_session_store_each_round_once() -> None:
    """Runs that share a session object, its hooks and its guarded tools: no call is stored twice."""

    @function_tool
    async def fetch(key: str) -> str:
        """Fetch."""
        await asyncio.sleep(0.001)
        return f"page {key}"

    session = fresh()

    async def work(name: str) -> None:
        for turn in range(3):
            model = FakeModel([[call(f"{name}{turn}{k}", "fetch", key=name) for k in "ab"], [said("ok")]])
            agent = Agent(name="a", model=model, tools=guard_tools([fetch], session))
            await Runner.run(agent, name, session=session, hooks=session.hooks())

    await asyncio.gather(work("left"), work("right"))
    stored = await twin(session).get_items(limit=-1)

    assert len(stored) == 2 * 3 * 6
    assert pair(stored).orphans == pair(stored).open == ()


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example shows a bounded loop, a stopped loop, and what it cost."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "openai_agents.py"), run_name="__main__")
    printed = capsys.readouterr().out

    assert "segments" in printed
    assert "stopped" in printed

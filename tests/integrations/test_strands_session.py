"""The session manager in a real Strands agent: nothing lost, restarts, segmentations, odd messages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from summarizer.events import EventKind
from tests.integrations.runtimes import needs, version_of

pytestmark = [needs("strands-agents"), pytest.mark.filterwarnings("ignore:context_window_limit is not set")]

if version_of("strands-agents") is not None:
    from strands import Agent
    from strands import tool as strands_tool
    from strands.types.exceptions import EventLoopException, SessionException

    from summarizer import sync
    from summarizer.integrations.strands import (
        LongspliceGuard,
        LongspliceSessionManager,
        Reduced,
        SlidingWindowManager,
        SummarizingManager,
    )
    from summarizer.integrations.strands.blocks import (
        blocks_of,
        decoded,
        from_chat,
        is_plain_user,
        mark_of,
        pieces_of,
    )
    from summarizer.integrations.strands.testing import ScriptedModel
    from tests.integrations.strands_agents import (
        agent_of,
        assert_valid,
        assistant,
        kinds,
        page,
        result,
        used,
        user,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    yield f"sqlite:///{tmp_path / 'log.db'}"
    cold()


def cold() -> None:
    """Forget all that this process knows: stores closed, caches gone, as in another process."""
    sync.close()


def texts(messages: Any) -> str:
    return json.dumps([m["content"] for m in messages], default=str)


def rows(session: LongspliceSessionManager) -> list[dict[str, Any]]:
    return session.run(lambda sm: sm.get_conversation())


def test_every_message_is_durable_and_comes_back_as_it_was(store: str) -> None:
    """A restarted agent has the same messages, ids included, and goes on."""
    script = [[("t1", "add", {"a": 1, "b": 2}), ("t2", "add", {"a": 3, "b": 4})], "3 and 7"]
    agent = agent_of(
        script, session_manager=LongspliceSessionManager("s", store=store), system_prompt="Be brief."
    )
    agent("add them")
    agent.state.set("mood", "fine")
    agent("and now?") if agent.model.script else None
    cold()
    again = agent_of(
        ["hi"], session_manager=LongspliceSessionManager("s", store=store), system_prompt="Be brief."
    )

    assert [(m["content"], m["tracking_id"]) for m in again.messages if not _has_results(m)] == [
        (m["content"], m["tracking_id"]) for m in agent.messages if not _has_results(m)
    ]
    assert texts(again.messages) == texts(agent.messages)
    again("more")
    assert_valid(again.model.seen[0])


def _has_results(message: Any) -> bool:
    return any("toolResult" in block for block in message["content"])


def test_several_segmentations_bound_the_view_and_lose_nothing(store: str) -> None:
    """With a token threshold the agent's messages become the new segment's view, in a running turn too."""
    told: list[Reduced] = []
    settings: dict[str, Any] = {"store": store, "token_threshold": 500, "segmentation": "inline"}
    session = LongspliceSessionManager("s", on_reduced=told.append, **settings)
    calls = [[(f"t{i}", "page", {"number": i})] for i in range(24)]
    agent = agent_of([*calls, "read"], session_manager=session, tools=[page])
    agent("Read the pages 0 to 23, for order O-4711.")
    for seen in agent.model.seen:
        assert_valid(seen)

    assert len(told) >= 3
    assert all(r.reason == "segmented" and r.tokens_after < r.tokens_before for r in told)
    assert max(len(json.dumps(seen, default=str)) for seen in agent.model.seen) < 12_000
    assert all("O-4711" in json.dumps(seen[0]) for seen in agent.model.seen)
    assert mark_of(agent.messages[0]) == "seed"
    assert [r["role"] for r in rows(session)].count("tool") == 24
    assert len(session.run(lambda sm: sm.get_session_chain())) == len(told) + 1
    view = texts(agent.messages)
    cold()
    again = agent_of(["yes"], session_manager=LongspliceSessionManager("s", **settings), tools=[page])
    assert texts(again.messages) == view
    again("done?")
    assert "O-4711" in json.dumps(again.model.seen[0])


def test_background_segmentation_reaches_the_agent(store: str) -> None:
    """A segment that a background task opened is the agent's view by the next model call."""
    session = LongspliceSessionManager("s", store=store, token_threshold=400)
    agent = agent_of(["noted " * 40] * 12, session_manager=session)
    for i in range(12):
        agent(f"Order O-{1000 + i}. " + "words " * 40)
        session.run(lambda sm: sm.settle())

    assert "Notes on events" in json.dumps(agent.model.seen[-1][0])
    assert max(map(len, agent.model.seen)) < 14
    assert len(rows(session)) == 24


@pytest.mark.parametrize("prompt", ["are you there?", None])
def test_a_restart_in_the_middle_of_a_tool_round(store: str, prompt: str | None) -> None:
    """A process that died with a call under way: Strands resumes it, or says that it was interrupted."""
    session = LongspliceSessionManager("s", store=store)
    agent = agent_of([], session_manager=session, tools=[page])
    for message in (user("read"), used("t1", "page", {"number": 1})):
        agent.messages.append(message)
        session.append_message(message, agent)
    cold()
    again = agent_of(["sorry"], session_manager=LongspliceSessionManager("s", store=store), tools=[page])
    assert kinds(again.messages) == ["user:text", "assistant:toolUse"]
    outcome = again(prompt)
    seen = again.model.seen[0]

    assert outcome.stop_reason == "end_turn"
    assert kinds(seen)[:3] == ["user:text", "assistant:toolUse", "user:toolResult"]
    assert ("Page 1" in texts(seen)) is (prompt is None)
    assert [r["role"] for r in rows(LongspliceSessionManager("s", store=store))][:3] == [
        "user",
        "assistant",
        "tool",
    ]


def test_a_model_that_raises_keeps_the_users_message(store: str) -> None:
    """The turn failed; what the user said is in the log, and the next agent sees it."""
    agent = agent_of(
        [RuntimeError("provider down")], session_manager=LongspliceSessionManager("s", store=store)
    )
    with pytest.raises((RuntimeError, EventLoopException)):
        agent("Remember O-4711.")
    cold()
    again = agent_of(["ok"], session_manager=LongspliceSessionManager("s", store=store))
    again("What did I say?")

    assert "O-4711" in texts(again.model.seen[0])
    assert [r["role"] for r in rows(LongspliceSessionManager("s", store=store))] == [
        "user",
        "user",
        "assistant",
    ]


async def test_a_cancelled_invocation_keeps_what_was_said(store: str) -> None:
    """Cancelled while the model speaks: the message is recorded, and the session goes on."""
    speaking = asyncio.Event()
    agent = agent_of(["never"], session_manager=LongspliceSessionManager("s", store=store))

    async def hang(*args: Any, **kwargs: Any) -> Any:
        speaking.set()
        await asyncio.sleep(60)
        yield {}

    agent.model.stream = hang
    task = asyncio.create_task(agent.invoke_async("Remember O-4711."))
    await speaking.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    again = agent_of(["ok"], session_manager=LongspliceSessionManager("s", store=store))

    assert "O-4711" in texts(again.messages)


def test_two_requests_at_one_session_lose_nothing(store: str) -> None:
    """Two agents on one session at once: each message of both is in the log, once, and the view is valid."""

    async def both() -> None:
        agents = [
            agent_of(["one"] * 5, session_manager=LongspliceSessionManager("s", store=store))
            for _ in range(2)
        ]

        async def talk(n: int) -> None:
            for i in range(5):
                await agents[n].invoke_async(f"{n}-{i}")

        await asyncio.gather(talk(0), talk(1))

    asyncio.run(both())
    cold()
    agent = agent_of(["ok"], session_manager=LongspliceSessionManager("s", store=store))
    agent("and?")
    said = texts(agent.model.seen[0])

    assert all(f'"{n}-{i}"' in said for n in range(2) for i in range(5))
    assert len(rows(LongspliceSessionManager("s", store=store))) == 22
    assert_valid(agent.model.seen[0])


ODD: list[dict[str, Any]] = [
    {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "abc"}}},
    {"reasoningContent": {"redactedContent": b"\x00\x01"}},
    {"hologram": {"rays": 3, "source": {"bytes": b"\x00\xff"}}},
    {"cachePoint": {"type": "default"}},
    {"document": {"format": "pdf", "name": "d", "source": {"bytes": b"%PDF-1"}}},
    {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}},
    {"video": {"format": "mp4", "source": {"location": {"type": "s3", "uri": "s3://b/k"}}}},
    {"guardContent": {"text": {"text": "ok?", "qualifiers": ["query"]}}},
    {"text": ""},
    {"text": "plain"},
]


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_blocks_of_every_kind_are_kept_verbatim(store: str, role: str) -> None:
    """What chat messages have no word for, bytes included, comes back as it was, and counts."""
    other = assistant("and?") if role == "user" else user("and?")
    history = [user("see")] if role == "assistant" else []
    for block in ODD:
        history += [{"role": role, "content": [{"text": "look"}, block]}, other]
    agent = agent_of([], messages=history, session_manager=LongspliceSessionManager("s", store=store))
    cold()
    again = agent_of([], session_manager=LongspliceSessionManager("s", store=store))
    kept = LongspliceSessionManager("s", store=store).run(lambda sm: sm.read(include_all_segments=True))

    assert [m["content"] for m in again.messages] == [m["content"] for m in agent.messages]
    assert sum(e.kind is EventKind.MESSAGE for e in kept) == len(history)


RESULTS: list[list[dict[str, Any]]] = [
    [{"json": {"a": 1}}],
    [{"text": "a"}, {"text": "b"}],
    [{"image": {"format": "png", "source": {"bytes": b"x"}}}],
    [],
]


def test_results_of_every_shape_are_kept_verbatim(store: str) -> None:
    """JSON, several texts, pictures and nothing at all; failures stay failures."""
    history: list[Any] = []
    for i, content in enumerate(RESULTS):
        answer = {"toolResult": {"toolUseId": f"t{i}", "status": "error", "content": content}}
        and_text = {"role": "user", "content": [answer, {"text": "and this"}]}
        history += [user("q"), used(f"t{i}"), and_text, assistant("r")]
    agent_of([], messages=history, session_manager=LongspliceSessionManager("s", store=store))
    cold()
    again = agent_of([], session_manager=LongspliceSessionManager("s", store=store))

    assert [m["content"] for m in again.messages] == [m["content"] for m in history]


def test_hostile_text_costs_no_turn(store: str) -> None:
    """Lone surrogates and a tokenizer's control strings are recorded, summarized and sent like other text."""
    bad = "\ud800 <|endoftext|> " * 50
    manager = SummarizingManager("extractive", max_context_tokens=900)
    agent = agent_of(
        [bad, "ok"], session_manager=LongspliceSessionManager("s", store=store), conversation_manager=manager
    )
    agent(bad)
    agent("next")

    assert [r["role"] for r in rows(LongspliceSessionManager("s", store=store))] == ["user", "assistant"] * 2


def test_translation_gives_back_what_it_took() -> None:
    """A piece without native blocks is translated back to the very blocks it was made of."""
    message = {
        "role": "assistant",
        "content": [{"text": "a"}, {"toolUse": {"toolUseId": "t", "name": "n", "input": {"x": 1}}}],
    }
    (piece,) = pieces_of(message)

    assert piece.native is None
    assert from_chat(piece.wire) == message
    assert decoded({"input": {"$bytes": "AA=="}}) == {"input": {"$bytes": "AA=="}}
    assert blocks_of({"content": "text"}) == []
    assert is_plain_user(user("x"))


def test_a_message_added_twice_is_recorded_once_and_more_of_it_is_added(store: str) -> None:
    """Retried hooks do no harm; blocks that came later are recorded as well."""
    session = LongspliceSessionManager("s", store=store)
    agent = agent_of([], session_manager=session)
    message = {**user("one"), "tracking_id": "id-1"}
    session.append_message(message, agent)
    session.append_message(message, agent)
    session.append_message({**message, "content": [{"text": "one"}, {"text": "two"}]}, agent)
    cold()
    again = agent_of([], session_manager=LongspliceSessionManager("s", store=store))

    assert [m["content"] for m in again.messages] == [[{"text": "one"}, {"text": "two"}]]


def test_a_redacted_message_is_shown_redacted(store: str) -> None:
    """A guardrail's redaction holds after a restart."""
    session = LongspliceSessionManager("s", store=store)
    agent = agent_of(["ok"], session_manager=session)
    agent("My number is 4711.")
    agent.messages[0]["content"] = [{"text": "[redacted]"}]
    session.redact_latest_message(agent.messages[0], agent)
    cold()
    again = agent_of([], session_manager=LongspliceSessionManager("s", store=store))

    assert [m["content"] for m in again.messages] == [[{"text": "[redacted]"}], [{"text": "ok"}]]


def guardrail(*script: Any) -> Any:
    """A model whose provider redacts what it is sent, as Bedrock's guardrails do."""

    class Redacting(ScriptedModel):
        async def stream(self, messages: Any, *given: Any, **later: Any) -> Any:
            if "4711" in json.dumps(messages[-1]):
                yield {"redactContent": {"redactUserContentMessage": "[redacted]"}}
            async for event in super().stream(messages, *given, **later):
                yield event

    return Redacting(script)


@pytest.mark.parametrize("guarded", [False, True])
def test_no_later_summary_has_what_was_redacted(store: str, guarded: bool) -> None:
    """A provider's redaction, of what the user said and of a tool's result, holds in views and summaries."""

    @strands_tool
    def find() -> str:
        """Find."""
        return "Found: my number is 4711."

    session = LongspliceSessionManager("s", store=store)
    agent = Agent(
        model=guardrail("blocked", [("t1", "find", {})], "blocked too"),
        callback_handler=None,
        tools=[find],
        session_manager=session,
        hooks=[LongspliceGuard(session)] if guarded else [],
    )
    agent("My number is 4711.")
    agent("Find it.")
    cold()
    again = agent_of([], session_manager=LongspliceSessionManager("s", store=store))
    shown = [[kind for b in m["content"] for kind in b] for m in again.messages]

    assert shown == [["text"], ["text"], ["text"], ["toolUse"], ["toolResult"], ["text"]]
    assert_valid(again.messages)
    assert "4711" not in json.dumps(again.messages)
    assert "[redacted]" in json.dumps(again.messages)

    async def summarized(sm: Any) -> Any:
        await sm.user_says("Something else. " * 200)
        await sm.ai_responds("Well.")
        outcome = await sm.segment()
        return outcome.status, json.dumps(await sm.get_messages_for_llm())

    status, sent = LongspliceSessionManager("s", store=store).run(summarized)
    assert status == "segmented"
    assert "4711" not in sent


def test_state_and_interrupts_come_back(store: str) -> None:
    """Free state is written when it changes, and only then."""
    agent = agent_of(["a", "b"], session_manager=LongspliceSessionManager("s", store=store))
    agent.state.set("mood", {"level": 3})
    agent("one")
    agent("two")
    session = LongspliceSessionManager("s", store=store)
    notes = [
        e for e in session.run(lambda sm: sm.read(include_all_segments=True)) if e.kind is EventKind.NOTE
    ]
    cold()
    again = agent_of([], session_manager=LongspliceSessionManager("s", store=store))

    assert again.state.get("mood") == {"level": 3}
    assert len(notes) == 1


@pytest.mark.parametrize("kind", ["window", "summary", "pinned"])
def test_a_conversation_managers_view_survives_a_restart(store: str, kind: str) -> None:
    """What it had left out stays out, the summary and pins stay, the count goes on."""

    def manager() -> Any:
        if kind == "summary":
            return SummarizingManager("extractive", max_context_tokens=900)
        return SlidingWindowManager(8, pin_first=1 if kind == "pinned" else None)

    filler = "Some more words that say little about anything at all. " * 4
    agent = agent_of(
        ["noted " + filler] * 12,
        session_manager=LongspliceSessionManager("s", store=store),
        conversation_manager=manager(),
    )
    for i in range(12):
        agent(f"Order O-{1000 + i} ships on Friday. {filler}")
    cold()
    again = agent_of(
        ["ok"], session_manager=LongspliceSessionManager("s", store=store), conversation_manager=manager()
    )

    assert texts(again.messages) == texts(agent.messages)
    assert (
        again.conversation_manager.removed_message_count
        == agent.conversation_manager.removed_message_count
        > 0
    )
    again("next")
    assert_valid(again.model.seen[0])
    assert len(rows(LongspliceSessionManager("s", store=store))) == 26


def test_another_conversation_manager_gets_the_whole_view(store: str) -> None:
    """A changed configuration does not brick the session."""
    agent = agent_of(
        ["a"] * 9,
        session_manager=LongspliceSessionManager("s", store=store),
        conversation_manager=SlidingWindowManager(4),
    )
    for i in range(9):
        agent(f"{i}")
    again = agent_of(
        [],
        session_manager=LongspliceSessionManager("s", store=store),
        conversation_manager=SummarizingManager("extractive"),
    )

    assert again.messages[-1]["content"] == agent.messages[-1]["content"]
    assert_valid(again.messages[:-1]) if again.messages else None


def test_usage_and_cost_are_booked_with_each_answer() -> None:
    """Tokens as the provider reported them, cached parts inside input, priced by the model's name."""
    session = LongspliceSessionManager("s", store="memory://")
    agent = agent_of([[("t", "add", {"a": 1, "b": 2})], "3"], session_manager=session)
    outcome = agent("add")
    stats = session.run(lambda sm: sm.get_stats())

    assert stats.input_tokens == outcome.metrics.accumulated_usage["inputTokens"]
    assert stats.output_tokens == 10
    assert stats.cost_coverage == 1.0
    assert stats.cost_usd > 0


def test_agents_of_one_session_have_conversations_of_their_own(store: str) -> None:
    """Each agent id its own history; the same id twice in one session is refused."""
    session = LongspliceSessionManager("s", store=store)
    one = agent_of(["a"], session_manager=session)
    two = agent_of(["b"], session_manager=session, agent_id="two")
    one("to one")
    two("to two")

    assert [r["content"] for r in rows(session)] == ["to one", "a"]
    assert len(session.run(lambda sm: sm.get_conversation(), agent_id="two")) == 2
    with pytest.raises(SessionException, match="agent_id='two'"):
        agent_of([], session_manager=session, agent_id="two")


def test_another_owners_session_is_a_missing_one(store: str) -> None:
    """An id alone gives nobody somebody else's conversation."""
    agent_of(["a"], session_manager=LongspliceSessionManager("s", store=store, owner="ana"))("mine")

    assert (
        agent_of([], session_manager=LongspliceSessionManager("s", store=store, owner="bob")).messages == []
    )


def test_a_graph_goes_on_where_it_stopped(store: str) -> None:
    """A multi-agent run's state is kept with the session."""
    from strands.multiagent import GraphBuilder

    def graph() -> Any:
        builder = GraphBuilder()
        builder.add_node(agent_of(["a"], agent_id="one"), "one")
        builder.add_node(agent_of(["b"], agent_id="two"), "two")
        builder.add_edge("one", "two")
        builder.set_session_manager(LongspliceSessionManager("g", store=store))
        builder.set_graph_id("g1")
        builder.set_max_node_executions(10)
        return builder.build()

    outcome = graph()("go")
    cold()
    session = LongspliceSessionManager("g", store=store)
    notes = session.run(lambda sm: sm.read(include_all_segments=True))

    assert outcome.status.value == "completed"
    assert any("strands_multi_agent" in e.data for e in notes)
    graph()


async def test_an_agent_in_a_running_loop(store: str) -> None:
    """`invoke_async` and `stream_async` record without blocking the loop for a thread."""
    agent = agent_of(["a", "b"], session_manager=LongspliceSessionManager("s", store=store))
    await agent.invoke_async("one")
    async for _ in agent.stream_async("two"):
        pass

    assert [m["content"][0]["text"] for m in agent.messages] == ["one", "a", "two", "b"]
    found = await asyncio.to_thread(lambda: rows(LongspliceSessionManager("s", store=store)))
    assert len(found) == 4


def test_results_with_text_beside_them_become_two_messages() -> None:
    """One `tool` message for each result, in order, and a user's message for what stands beside."""
    message = {
        "role": "user",
        "content": [result("a")["content"][0], result("b")["content"][0], {"text": "go on"}],
    }

    assert [piece.wire["role"] for piece in pieces_of(message)] == ["tool", "tool", "user"]
    assert kinds([message]) == ["user:toolResult+toolResult+text"]

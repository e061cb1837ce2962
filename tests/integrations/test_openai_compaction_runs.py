"""`LocalCompactionSession` under the real Runner of the OpenAI Agents SDK, with a scripted model."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from summarizer.integrations.openai_agents import LocalCompactionSession, SummaryPolicy
from summarizer.integrations.openai_agents.items import is_user, pair
from tests.integrations.openai_histories import ListSession, user
from tests.integrations.runtimes import needs, version_of

pytestmark = needs("openai-agents")

if version_of("openai-agents") is not None:
    from agents import (
        Agent,
        Model,
        ModelResponse,
        OpenAIResponsesCompactionSession,
        RunConfig,
        Runner,
        RunState,
        SQLiteSession,
        Usage,
        function_tool,
        set_tracing_disabled,
    )
    from agents.memory import Session, SessionSettings
    from openai.types.responses import (
        ResponseFunctionToolCall,
        ResponseOutputMessage,
        ResponseOutputText,
        ResponseReasoningItem,
    )

    class Scripted(Model):
        """Answers by a script: texts, reasoning as a number, calls as (id, tool, arguments)."""

        def __init__(self, script: list[list[Any]], response_id: str | None = None) -> None:
            self.script = list(script)
            self.response_id = response_id
            self.seen: list[list[Any]] = []

        async def get_response(self, *args: Any, **request: Any) -> ModelResponse:
            given = request["input"]
            self.seen.append([user(given)] if isinstance(given, str) else list(given))
            made = [self._item(one) for one in self.script.pop(0)]
            return ModelResponse(output=made, usage=Usage(requests=1), response_id=self.response_id)

        def _item(self, one: Any) -> Any:
            if isinstance(one, int):
                return ResponseReasoningItem(id=f"rs_{one}", type="reasoning", summary=[])
            if isinstance(one, str):
                text = ResponseOutputText(type="output_text", text=one, annotations=[])
                return ResponseOutputMessage(
                    id="__fake_id__", type="message", role="assistant", status="completed", content=[text]
                )
            call_id, name, arguments = one
            return ResponseFunctionToolCall(
                type="function_call",
                id="__fake_id__",
                call_id=call_id,
                name=name,
                arguments=json.dumps(arguments),
            )

        def stream_response(self, *args: Any, **request: Any) -> Any:
            raise NotImplementedError

    @function_tool
    def fetch(n: int) -> str:
        """Fetch a page."""
        return f"page {n}: " + "word " * 40


@pytest.fixture(autouse=True)
def _untraced() -> Iterator[None]:
    set_tracing_disabled(True)
    yield
    set_tracing_disabled(False)


def turn(n: int) -> list[list[Any]]:
    """Reasoning and two parallel calls, a third, an answer: with the question 9 items."""
    calls = [(f"call_{n}_{i}", "fetch", {"n": n + i}) for i in range(2)]
    return [[n, *calls], [(f"call_{n}_2", "fetch", {"n": n})], [f"done {n}"]]


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Any]:
    session = SQLiteSession("u1", tmp_path / "chat.db")
    yield session
    session.close()


def check_request(request: list[Any]) -> None:
    pairing = pair(request)
    assert (pairing.open, pairing.orphans) == ((), ())
    assert is_user(request[0])


async def test_a_long_talk_stays_within_the_window(stored: Any) -> None:
    """Twelve runs with parallel tools: every request is sound, none outgrows the window and its own turn."""
    model = Scripted([step for n in range(12) for step in turn(n)])
    agent = Agent(name="t", model=model, tools=[fetch])
    session = LocalCompactionSession(stored, window_size=20, token_budget=4000)

    for n in range(12):
        result = await Runner.run(agent, f"go {n}", session=session)
        assert result.final_output == f"done {n}"

    assert isinstance(session, Session)
    assert len(await stored.get_items()) == 12 * 9
    assert max(map(len, model.seen)) <= 20 + 8
    for request in model.seen:
        check_request(request)


async def test_a_restart_in_the_middle_goes_on(tmp_path: Path) -> None:
    """A fresh session over the same file shows what the one before it stored."""
    for n in range(6):
        model = Scripted(turn(n))
        stored = SQLiteSession("u1", tmp_path / "chat.db")
        session = LocalCompactionSession(stored, window_size=20)
        await Runner.run(Agent(name="t", model=model, tools=[fetch]), f"go {n}", session=session)
        stored.close()

    assert model.seen[0][-1]["content"] == "go 5"
    assert [item["content"] for item in model.seen[0] if is_user(item)] == ["go 3", "go 4", "go 5"]


async def test_the_stored_history_is_compacted_between_rounds(tmp_path: Path) -> None:
    """With an archive and notes, the Runner goes on as if nothing had happened, and no item is lost."""
    file = tmp_path / "chat.db"
    stored, archive = SQLiteSession("u1", file), SQLiteSession("u1:archive", file)
    policy = SummaryPolicy("extractive", keep_turns=2)
    session = LocalCompactionSession(stored, window_size=30, archive=archive, policy=policy)
    model = Scripted([step for n in range(10) for step in turn(n)])
    agent = Agent(name="t", model=model, tools=[fetch])

    for n in range(10):
        await Runner.run(agent, f"go {n}", session=session)

    kept = [*(await archive.get_items()), *(await stored.get_items())]
    users = [str(item["content"]) for item in kept if is_user(item)]
    assert [text for text in users if text.startswith("go")] == [f"go {n}" for n in range(10)]
    assert len(await stored.get_items()) <= 30
    assert str(model.seen[-1][0]["content"]).startswith("[Notes on the earlier part")
    for request in model.seen:
        check_request(request)
    stored.close()
    archive.close()


async def test_an_approval_is_resumed_by_another_process(stored: Any) -> None:
    """A run that paused for a confirmation ends in a new Runner with a new session."""
    session = LocalCompactionSession(stored, window_size=3)
    tool = dataclasses.replace(fetch, needs_approval=True)
    model = Scripted([*turn(0), [("p", "fetch", {"n": 7})], ["seven"], ["bye"]])
    plain = Agent(name="t", model=model, tools=[fetch])
    agent = Agent(name="t", model=model, tools=[tool])
    await Runner.run(plain, "go", session=session)

    paused = await Runner.run(agent, "seven please", session=session)
    blob = json.dumps(paused.to_state().to_json())
    state = await RunState.from_json(agent, json.loads(blob))
    state.approve(state.get_interruptions()[0])
    result = await Runner.run(agent, state, session=LocalCompactionSession(stored, window_size=3))
    await Runner.run(agent, "thanks", session=session)

    assert result.final_output == "seven"
    assert [item["output"][:6] for item in await stored.get_items(6) if "output" in item] == ["page 7"]
    for request in model.seen:
        check_request(request)


async def test_a_limit_of_the_runs_settings_is_a_window(stored: Any) -> None:
    """`SessionSettings(limit=...)` of the run or of the wrapped session cuts at a turn's border too."""
    session = LocalCompactionSession(stored, window_size=60)
    model = Scripted([*turn(0), *turn(1), ["a"], ["b"]])
    agent = Agent(name="t", model=model, tools=[fetch])
    for text in ("go 0", "go 1"):
        await Runner.run(agent, text, session=session)

    await Runner.run(
        agent, "three", session=session, run_config=RunConfig(session_settings=SessionSettings(limit=12))
    )
    stored.session_settings = SessionSettings(limit=13)
    await Runner.run(agent, "four", session=session)

    assert [len(request) for request in model.seen[-2:]] == [9 + 1, 9 + 2 + 1]
    for request in model.seen:
        check_request(request)


async def test_a_run_that_fails_keeps_the_users_message(stored: Any) -> None:
    """What was asked is stored before the model is; the next run shows it."""
    session = LocalCompactionSession(stored, window_size=20)
    with pytest.raises(IndexError):
        await Runner.run(Agent(name="t", model=Scripted([])), "will fail", session=session)
    model = Scripted([["ok"]])

    await Runner.run(Agent(name="t", model=model), "again", session=session)

    assert [item["content"] for item in model.seen[0]] == ["will fail", "again"]


async def test_a_session_that_compacts_by_itself_still_does(stored: Any) -> None:
    """The Runner finds the wrapped session's `run_compaction`; the next run opens with its summary."""

    async def compact(**_: Any) -> Any:
        return SimpleNamespace(output=[{"type": "compaction", "id": "cmp", "encrypted_content": "E"}])

    client: Any = SimpleNamespace(responses=SimpleNamespace(compact=compact), base_url="http://127.0.0.1")
    aware = OpenAIResponsesCompactionSession(
        "u1", stored, client=client, should_trigger_compaction=lambda _: True, compaction_mode="input"
    )
    model = Scripted([["one"], ["two"]], response_id="resp")
    agent = Agent(name="t", model=model)

    await Runner.run(agent, "first", session=LocalCompactionSession(aware, window_size=10))
    await Runner.run(agent, "second", session=LocalCompactionSession(aware, window_size=10))

    assert [item.get("type", "message") for item in model.seen[1]] == ["compaction", "message"]


async def test_a_duck_typed_session_will_do() -> None:
    """Nothing of the SDK is needed of the session that is wrapped."""
    inner = ListSession()
    model = Scripted([step for n in range(5) for step in turn(n)])
    for n in range(5):
        await Runner.run(
            Agent(name="t", model=model, tools=[fetch]), f"go {n}", session=LocalCompactionSession(inner, 20)
        )

    assert len(inner.items) == 45
    assert len(model.seen[-1]) == 2 * 9 + 8

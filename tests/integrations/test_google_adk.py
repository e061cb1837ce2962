"""Google ADK: real runners and session services with a scripted model, over sessions on a file."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards import LoopPolicy, ToolSpec
from summarizer import SessionManager
from tests.integrations.runtimes import needs, version_of
from tests.test_examples import run

if version_of("google-adk") is not None:
    from google.adk.agents import LlmAgent
    from google.adk.agents.run_config import RunConfig, StreamingMode
    from google.adk.apps import App
    from google.adk.models import BaseLlm
    from google.adk.models.llm_request import LlmRequest
    from google.adk.models.llm_response import LlmResponse
    from google.adk.runners import Runner
    from google.adk.sessions import InMemorySessionService
    from google.genai import types
    from google.genai.types import Content, FunctionCall, FunctionResponse, Part

    from summarizer.integrations.google_adk import LongsplicePlugin
    from summarizer.integrations.google_adk.translation import CallIds, arranged, pieces_of

    class Scripted(BaseLlm):
        """A model that answers by a function of the request's contents."""

        model: str = "scripted"
        answer: Callable[[list[Content]], Any]
        sent: list[list[Content]]

        async def generate_content_async(
            self, llm_request: LlmRequest, stream: bool = False
        ) -> AsyncGenerator[LlmResponse, None]:
            self.sent.append(llm_request.contents)
            parts = self.answer(llm_request.contents)
            if stream:
                yield LlmResponse(content=Content(role="model", parts=parts[:1]), partial=True)
            yield LlmResponse(
                content=Content(role="model", parts=parts),
                model_version="gemini-2.5-flash",
                usage_metadata=types.GenerateContentResponseUsageMetadata(
                    prompt_token_count=100, candidates_token_count=10, total_token_count=110
                ),
            )


pytestmark = [
    needs("google-adk"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:google"),
    pytest.mark.filterwarnings(r"ignore:\[EXPERIMENTAL\]:UserWarning"),
]

FILLER = "The train leaves at nine and reaches the coast by noon. " * 6
SPECS = [ToolSpec("stops_of", read_only=True), ToolSpec("fare", read_only=True)]


def stops_of(line: int) -> dict[str, Any]:
    """The stops of a line."""
    return {"line": line, "stops": [f"stop {line}-{n}" for n in range(3)]}


def fare(stops: int) -> float:
    """The fare for a number of stops."""
    return stops * 1.5


def call(name: str, **args: Any) -> "Part":
    return Part(function_call=FunctionCall(name=name, args=args))


def results_in(contents: "list[Content]") -> list[dict[str, Any]]:
    """The results that the newest content brings."""
    parts = contents[-1].parts or []
    return [part.function_response.response for part in parts if part.function_response]


def traveller(contents: "list[Content]") -> "list[Part]":
    """Asks two tools at once for each question, and answers when it has their results."""
    if results_in(contents):
        return [Part(text="I have it.", thought=True), Part(text=f"Answered. {FILLER}")]
    line = int(str(contents[-1].parts[-1].text).rpartition(" ")[2])
    return [call("stops_of", line=line), call("fare", stops=3)]


class Desk:
    """An app with one agent, its session service, and sessions on a file."""

    def __init__(self, folder: Path, answer: Any, *tools: Any, **settings: Any) -> None:
        agent = {key: settings.pop(key) for key in ("instruction", "static_instruction") if key in settings}
        self.specs = settings.pop("specs", SPECS)
        self.url = f"sqlite:///{folder}/log.db"
        self.settings = settings
        self.sessions: dict[str, SessionManager] = {}
        self.model = Scripted(answer=answer, sent=[])
        self.agent = LlmAgent(name="guide", model=self.model, tools=list(tools), **agent)
        self.service = InMemorySessionService()

    def session_of(self, context: Any) -> SessionManager:
        name = f"{context.session.id}.{context.agent_name}"
        if name not in self.sessions:
            self.sessions[name] = SessionManager(
                name, owner=context.session.user_id, store=self.url, **self.settings
            )
            self.sessions[name].tools.configure(self.specs, loop=LoopPolicy())
        return self.sessions[name]

    @property
    def sm(self) -> SessionManager:
        return self.sessions["s1.guide"]

    async def restart(self) -> None:
        """Another process: stores, managers, plugin and runner are new; ADK's own session stays."""
        for sm in self.sessions.values():
            await sm.settle()
            await sm.store.close()
        self.sessions.clear()
        app = App(name="desk", root_agent=self.agent, plugins=[LongsplicePlugin(self.session_of)])
        self.runner = Runner(app=app, session_service=self.service)

    async def __aenter__(self) -> Self:
        await self.service.create_session(app_name="desk", user_id="ana", session_id="s1")
        await self.restart()
        return self

    async def __aexit__(self, *error: object) -> None:
        for sm in self.sessions.values():
            await sm.settle()
            await sm.store.close()

    async def say(self, text: str, **options: Any) -> list[Any]:
        message = Content(role="user", parts=[Part(text=text)])
        run = self.runner.run_async(user_id="ana", session_id="s1", new_message=message, **options)
        return [event async for event in run]


async def test_an_agent_goes_on_over_segments_and_restarts(tmp_path: Path) -> None:
    """Every message, result and usage is in the log once, in order, over segments and a cold restart."""
    settings = {"token_threshold": 600, "segmentation": "inline", "instruction": "You plan trips."}
    async with Desk(tmp_path, traveller, stops_of, fare, **settings) as desk:
        for n in range(8):
            if n == 4:
                await desk.restart()
            await desk.say(f"{FILLER}Tell me of line {n}")
        rows, stats = await desk.sm.get_conversation(), await desk.sm.get_stats()
        context, tree = await desk.sm.context(), await desk.sm.tree()

    assert [row["role"] for row in rows] == ["user", "assistant", "tool", "tool", "assistant"] * 8
    assert [row["content"][-6:] for row in rows if row["role"] == "user"] == [f"line {n}" for n in range(8)]
    assert rows[4]["reasoning_content"] == "I have it."
    assert stats.session_segments >= 3
    assert (stats.input_tokens, stats.output_tokens) == (1600, 160)
    assert max(map(len, desk.model.sent)) < 14
    assert "You plan trips." in context.messages[0]["content"]
    assert {node.session_id.partition("~")[0] for node in tree} == {"s1.guide"}


async def test_requests_are_what_gemini_accepts(tmp_path: Path) -> None:
    """Each round's results stand in one content behind its calls, as many as there are calls."""
    async with Desk(tmp_path, traveller, stops_of, fare, token_threshold=400, segmentation="inline") as desk:
        for n in range(5):
            await desk.say(f"{FILLER}Tell me of line {n}")

    for contents in desk.model.sent:
        assert contents[0].role == "user"
        for before, after in pairwise(contents):
            calls = sum(part.function_call is not None for part in before.parts)
            assert sum(part.function_response is not None for part in after.parts) == calls


async def test_a_loop_of_equal_calls_is_stopped(tmp_path: Path) -> None:
    """A model that makes one call again and again is told so, and the tool does not run each time."""
    ran: list[str] = []

    def search(query: str) -> str:
        """Search."""
        ran.append(query)
        return "nothing found"

    def stubborn(contents: "list[Content]") -> "list[Part]":
        results = results_in(contents)
        if results and "nothing found" not in str(results):
            return [Part(text="I give up.")]
        return [call("search", query="fares")]

    async with Desk(tmp_path, stubborn, search, specs=[ToolSpec("search")]) as desk:
        events = await desk.say("What are the fares?")

    assert events[-1].content.parts[0].text == "I give up."
    assert len(ran) < 10


async def test_references_follow_the_order_of_the_calls(tmp_path: Path) -> None:
    """Parallel calls are numbered as the model listed them; values keep their type; unknown ones are told."""
    taken: list[Any] = []
    heard: list[str] = []

    async def slow() -> dict[str, int]:
        """Slow."""
        await asyncio.sleep(0.05)
        return {"line": 7}

    async def quick() -> float:
        """Quick."""
        return 4.5

    def take(line: int, price: float) -> str:
        """Take."""
        taken.append((line, price))
        return "taken"

    def model(contents: "list[Content]") -> "list[Part]":
        results = results_in(contents)
        if not results:
            return [call("slow"), call("quick")]
        if len(results) == 2:
            return [call("take", line="$v1.line", price="$v2")]
        heard.append(str(results))
        return [Part(text="Done.")] if len(heard) == 2 else [call("take", line="$v9", price="$v2")]

    async with Desk(tmp_path, model, slow, quick, take, specs=[]) as desk:
        await desk.say("Take line 7.")

    assert taken == [(7, 4.5)]
    assert "names no result" in heard[1]


async def test_large_results_reach_the_model_as_previews(tmp_path: Path) -> None:
    """The log keeps the whole of a large result; the model reads a preview, and any part by `read_value`."""
    seen: list[str] = []

    def orders() -> list[dict[str, int]]:
        """All orders."""
        return [{"id": n, "price": n} for n in range(5000)]

    def model(contents: "list[Content]") -> "list[Part]":
        results = results_in(contents)
        if not results:
            return [call("orders")]
        seen.append(str(results))
        return [call("read_value", reference="v1", path="[4321]")] if len(seen) == 1 else [Part(text="Many.")]

    async with Desk(tmp_path, model, orders) as desk:
        await desk.say("How many orders?")

    assert len(seen[0]) < 20_000
    assert "4321" not in seen[0]
    assert "4321" in seen[1]


async def test_a_model_that_fails_leaves_the_users_message(tmp_path: Path) -> None:
    """The error reaches the caller; the message is in the log, and the next turn goes on from there."""
    fails = [True]

    def model(contents: "list[Content]") -> "list[Part]":
        if fails:
            fails.clear()
            raise RuntimeError("upstream is down")
        return [Part(text="Here I am.")]

    async with Desk(tmp_path, model) as desk:
        with pytest.raises(RuntimeError, match="upstream is down"):
            await desk.say("Hello?")
        await desk.say("Are you there?")
        rows = await desk.sm.get_conversation()

    assert [row["content"] for row in rows] == ["Hello?", "Are you there?", "Here I am."]


async def test_a_tool_that_fails_is_recorded(tmp_path: Path) -> None:
    """What a tool raises ends the run as without us, and stands in the log as the call's result."""

    def broken() -> str:
        """Broken."""
        raise OSError("disk is gone")

    async with Desk(tmp_path, lambda contents: [call("broken")], broken) as desk:
        with pytest.raises(OSError, match="disk is gone"):
            await desk.say("Try it.")
        rows = await desk.sm.get_conversation()

    assert [row["role"] for row in rows] == ["user", "assistant", "tool"]
    assert "disk is gone" in rows[2]["content"]


async def test_a_cancelled_run_leaves_a_log_that_can_be_sent(tmp_path: Path) -> None:
    """Cancelled while its tool runs, a run ends cancelled; as ADK drops the call, a fork goes on."""
    began = asyncio.Event()

    async def slow() -> str:
        """Slow."""
        began.set()
        await asyncio.sleep(60)
        return "late"

    def model(contents: "list[Content]") -> "list[Part]":
        return [call("slow")] if contents[-1].parts[-1].text == "Go." else [Part(text="Stopped.")]

    async with Desk(tmp_path, model, slow) as desk:
        task = asyncio.create_task(desk.say("Go."))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        events = await desk.say("What happened?")
        rows, tree = await desk.sm.get_conversation(), await desk.sm.tree()
        fork = desk.sm.sibling(tree[-1].session_id)
        context = await fork.context()

    assert events[-1].content.parts[0].text == "Stopped."
    assert "cancelled" in rows[-1]["content"]
    assert [message["content"] for message in context.messages[1:]] == ["Go.", "What happened?", "Stopped."]


async def test_streams_are_recorded_once(tmp_path: Path) -> None:
    """Partial answers are passed over; the whole one is recorded."""
    async with Desk(tmp_path, traveller, stops_of, fare) as desk:
        await desk.say("Tell me of line 3", run_config=RunConfig(streaming_mode=StreamingMode.SSE))
        rows = await desk.sm.get_conversation()

    assert [row["role"] for row in rows] == ["user", "assistant", "tool", "tool", "assistant"]


async def test_instructions_of_one_request_are_not_recorded(tmp_path: Path) -> None:
    """What ADK puts among the user's messages for one request stays there, and opens no fork."""

    def model(contents: "list[Content]") -> "list[Part]":
        return [Part(text="Go on.")] if results_in(contents[:-1]) else [call("fare", stops=3)]

    settings = {"static_instruction": "You plan trips.", "instruction": "Today is a holiday."}
    async with Desk(tmp_path, model, fare, **settings) as desk:
        for n in range(3):
            await desk.say(f"Tell me of line {n}")
        rows, tree = await desk.sm.get_conversation(), await desk.sm.tree()

    texts = [[part.text for part in content.parts] for content in desk.model.sent[-1]]
    assert "Today is a holiday." in str(texts)
    assert "Today is a holiday." not in str(rows)
    assert len(tree) == 1


async def test_two_agents_have_a_conversation_each(tmp_path: Path) -> None:
    """A sub-agent that takes over sees the session in its own way, and is recorded on its own."""

    def helper(contents: "list[Content]") -> "list[Part]":
        return [Part(text="I took over.")]

    def guide(contents: "list[Content]") -> "list[Part]":
        return [call("transfer_to_agent", agent_name="helper")]

    async with Desk(tmp_path, guide) as desk:
        desk.agent = LlmAgent(
            name="guide",
            model=desk.model,
            sub_agents=[LlmAgent(name="helper", model=Scripted(answer=helper, sent=[]))],
        )
        await desk.restart()
        await desk.say("Help.")
        await desk.say("More.")
        rows = {name: await sm.get_conversation() for name, sm in desk.sessions.items()}

    assert set(rows) == {"s1.guide", "s1.helper"}
    assert [row["content"] for row in rows["s1.helper"] if row["role"] == "assistant"] == ["I took over."] * 2


async def test_an_agent_without_a_history_is_left_alone(tmp_path: Path) -> None:
    """An agent that sees its turn alone has nothing to keep: its requests are as ADK makes them."""
    async with Desk(tmp_path, traveller, stops_of, fare) as desk:
        desk.agent = LlmAgent(name="guide", model=desk.model, tools=[stops_of, fare], include_contents="none")
        await desk.restart()
        for n in range(3):
            await desk.say(f"Tell me of line {n}")

    assert desk.sessions == {}
    assert [len(contents) for contents in desk.model.sent] == [1, 3] * 3


async def test_the_plugin_opens_sessions_by_itself(tmp_path: Path) -> None:
    """Without a function of the caller's, the user owns one session for each agent and ADK session."""
    plugin = LongsplicePlugin(store=f"sqlite:///{tmp_path}/log.db", token_threshold=4000)
    agent = LlmAgent(name="guide", model=Scripted(answer=traveller, sent=[]), tools=[stops_of, fare])
    runner = Runner(
        app=App(name="desk", root_agent=agent, plugins=[plugin]), session_service=InMemorySessionService()
    )
    await runner.session_service.create_session(app_name="desk", user_id="ana", session_id="s1")
    message = Content(role="user", parts=[Part(text="Tell me of line 3")])
    async for _ in runner.run_async(user_id="ana", session_id="s1", new_message=message):
        pass
    await plugin.close()
    sm = SessionManager("s1.guide", owner="ana", store=f"sqlite:///{tmp_path}/log.db")
    rows = await sm.get_conversation()
    await sm.store.close()

    assert len(rows) == 5


# Translation


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=12)


def parts_of_model() -> "st.SearchStrategy[Any]":
    arguments = st.dictionaries(texts, st.integers() | texts, max_size=2)
    calls = st.builds(lambda name, args: call(name, **args), texts.filter(lambda t: t != "name"), arguments)
    code = Part(executable_code=types.ExecutableCode(code="1+1", language=types.Language.PYTHON))
    said = st.builds(lambda text: Part(text=text), texts)
    return st.lists(calls | said | st.just(code), min_size=1, max_size=4)


def parts_of_user() -> "st.SearchStrategy[Any]":
    image = Part(inline_data=types.Blob(data=b"\x89PNG", mime_type="image/png"))
    sound = Part(inline_data=types.Blob(data=b"RIFF", mime_type="audio/wav"))
    paper = Part(inline_data=types.Blob(data=b"%PDF", mime_type="application/pdf", display_name="a.pdf"))
    link = Part(file_data=types.FileData(file_uri="gs://bucket/a.mp4", mime_type="video/mp4"))
    said = st.builds(lambda text: Part(text=text), texts)
    return st.lists(said | st.sampled_from([image, sound, paper, link]), min_size=1, max_size=3)


@st.composite
def histories(draw: st.DrawFn) -> "list[Content]":
    """Contents as ADK sends them: calls without ids, their results behind them in one content."""
    contents: list[Content] = []
    for _ in range(draw(st.integers(1, 4))):
        contents.append(Content(role="user", parts=draw(parts_of_user())))
        contents.append(Content(role="model", parts=draw(parts_of_model())))
        made = [part.function_call for part in contents[-1].parts if part.function_call]
        answers = [FunctionResponse(name=one.name, response={"result": draw(texts)}) for one in made]
        if answers:
            contents.append(Content(role="user", parts=[Part(function_response=one) for one in answers]))
    return contents


@pytest.mark.skipif(version_of("google-adk") is None, reason="not installed: google-adk")
@settings(max_examples=60)
@given(st.deferred(histories))
def test_contents_come_back(contents: Any) -> None:
    """Shown whole, contents are the host's own; made anew from chat messages, they say the same."""
    pieces = pieces_of(contents, CallIds())
    again = pieces_of(contents, CallIds())
    whole = arranged(contents, pieces, range(len(pieces)))
    anew = arranged([], [], [piece.wire for piece in pieces])

    assert [piece.wire for piece in again] == [piece.wire for piece in pieces]
    assert all(a is b for a, b in zip(whole, contents, strict=True))
    assert [piece.wire for piece in pieces_of(anew, CallIds())] == [piece.wire for piece in pieces]


@pytest.mark.skipif(version_of("google-adk") is None, reason="not installed: google-adk")
@given(st.deferred(histories))
@settings(max_examples=30)
def test_results_answer_calls(contents: Any) -> None:
    """Made-up ids pair every result with a call of its own."""
    wires = [piece.wire for piece in pieces_of(contents, CallIds())]
    calls = [call["id"] for wire in wires for call in wire.get("tool_calls") or ()]
    answered = [wire["tool_call_id"] for wire in wires if wire["role"] == "tool"]

    assert len(set(calls)) == len(calls)
    assert answered == calls


def test_the_import_without_the_runtime_names_the_extra() -> None:
    """Without ADK the adapter's import says what to install."""
    code = (
        "import sys; sys.modules['google.adk'] = None\n"
        "from summarizer.errors import MissingExtra\n"
        "try:\n    import summarizer.integrations.google_adk\n"
        "except MissingExtra as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert "pip install 'longsplice[google-adk]'" in done.stdout


@pytest.mark.slow
def test_the_example_is_stopped(tmp_path: Path) -> None:
    """The example's loops of equal calls end, its requests stay small, its log has all."""
    printed = run("google_adk_agent.py", folder=tmp_path).splitlines()

    assert (
        printed.count("agent: There is no train to Faro today. Shall I look for a bus, or for tomorrow?") == 6
    )
    assert " segments" in printed[-2]
    assert " calls ran" in printed[-1]

"""Pydantic AI: real agents with a scripted `FunctionModel`, over sessions on a file."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards import PermissionPolicy, ToolSpec
from summarizer import SessionManager
from tests.integrations.runtimes import needs, version_of
from tests.test_examples import run

if version_of("pydantic-ai-slim") is not None:
    from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, ModelRetry, RunContext
    from pydantic_ai.capabilities import ProcessHistory
    from pydantic_ai.messages import (
        BinaryContent,
        CompactionPart,
        FilePart,
        ImageUrl,
        ModelMessage,
        ModelMessagesTypeAdapter,
        ModelRequest,
        ModelResponse,
        NativeToolCallPart,
        NativeToolReturnPart,
        RetryFeedbackPart,
        RetryInfo,
        SystemPromptPart,
        TextContent,
        TextPart,
        ThinkingPart,
        ToolCallPart,
        ToolReturnPart,
        UserPromptPart,
    )
    from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
    from pydantic_ai.usage import RequestUsage

    from summarizer.integrations.pydantic_ai import LongspliceCapability, history_processor
    from summarizer.integrations.pydantic_ai.translation import chat_of, from_native, item_of, native_of_item

pytestmark = needs("pydantic-ai-slim")

FILLER = "The train leaves at nine and reaches the coast by noon. " * 6
SPECS = [ToolSpec("stops_of", read_only=True), ToolSpec("fare", read_only=True)]
Made = Callable[..., Any]


def question_in(messages: "list[ModelMessage]") -> str | None:
    """The question that the model is to answer now; `None` behind results of tools."""
    last = messages[-1].parts[-1]
    return str(last.content) if isinstance(last, UserPromptPart) else None


def calling(*calls: tuple[str, Any]) -> "ModelResponse":
    parts = [ToolCallPart(name, args) for name, args in calls]
    return ModelResponse(parts=parts, usage=RequestUsage(input_tokens=100, output_tokens=10))


def saying(text: str) -> "ModelResponse":
    return ModelResponse(parts=[TextPart(text)], usage=RequestUsage(input_tokens=100, output_tokens=10))


class Traveller:
    """Asks two tools at once for each question, and answers when it has their results."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def __call__(self, messages: "list[ModelMessage]", info: "AgentInfo") -> "ModelResponse":
        self.sent.append(len(messages))
        asked = question_in(messages)
        if asked is None:
            return saying(f"Answered. {FILLER}")
        line = int(asked.rpartition(" ")[2])
        return calling(("stops_of", {"line": line}), ("fare", '{"stops": 3}'))


def agent_of(model: Made, *capabilities: Any, **settings: Any) -> "Agent[Any, Any]":
    agent = Agent(FunctionModel(model), capabilities=list(capabilities), **settings)

    @agent.tool_plain
    async def stops_of(line: int) -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return {"line": line, "stops": [f"stop {line}-{n}" for n in range(3)]}

    @agent.tool_plain
    def fare(stops: int) -> float:
        return stops * 1.5

    return agent


def session(folder: Path, name: str = "trip", **settings: Any) -> SessionManager:
    """A manager on the file in the folder; its store is opened anew and knows nothing."""
    sm = SessionManager(name, store=f"sqlite:///{folder}/log.db", **settings)
    sm.tools.configure(SPECS)
    return sm


@pytest.mark.parametrize("kind", ["session", "history", "processor"])
async def test_an_agent_goes_on_over_segments_and_restarts(kind: str, tmp_path: Path) -> None:
    """Every message, result and usage is in the log once, in order, over segments and a cold restart."""
    model, history = Traveller(), None
    for half in range(2):
        sm = session(tmp_path, token_threshold=600, segmentation="inline")
        made = ProcessHistory(history_processor(sm)) if kind == "processor" else LongspliceCapability(sm)
        agent = agent_of(model, made, system_prompt="You plan trips.")
        for n in range(4):
            result = await agent.run(f"{FILLER}Tell me of line {half * 4 + n}", message_history=history)
            history = None if kind == "session" else result.all_messages()
        await sm.settle()
        await sm.store.close()
    sm = session(tmp_path)
    rows, stats, tree = await sm.get_conversation(), await sm.get_stats(), await sm.tree()
    await sm.store.close()
    whole = ["user", "assistant", "tool", "tool", "assistant"] * 8

    assert [row["role"] for row in rows] == (whole[:-1] if kind == "processor" else whole)
    assert [row["content"][-6:] for row in rows if row["role"] == "user"] == [f"line {n}" for n in range(8)]
    assert stats.session_segments >= 3
    assert {node.session_id.partition("~")[0] for node in tree} == {"trip"}
    assert stats.input_tokens == (1500 if kind == "processor" else 1600)
    assert max(model.sent) < 12


async def test_the_callers_history_stays_whole(tmp_path: Path) -> None:
    """The capability changes requests, not the history: all messages are there, as the same objects."""
    sm = session(tmp_path, token_threshold=400, segmentation="inline")
    agent = agent_of(Traveller(), LongspliceCapability(sm))
    first = await agent.run(f"{FILLER}Tell me of line 1")
    second = await agent.run(f"{FILLER}Tell me of line 2", message_history=first.all_messages())
    await sm.store.close()

    assert len(second.all_messages()) == 8
    assert all(a is b for a, b in zip(second.all_messages(), first.all_messages(), strict=False))


async def test_a_loop_of_equal_calls_is_stopped(tmp_path: Path) -> None:
    """A model that makes one call again and again is told so, and the tool does not run each time."""
    ran: list[str] = []

    def stubborn(messages: "list[ModelMessage]", info: "AgentInfo") -> "ModelResponse":
        last = messages[-1].parts[-1]
        if isinstance(last, ToolReturnPart) and "nothing found" not in str(last.content):
            return saying("I give up.")
        return calling(("search", {"query": "fares"}))

    sm = session(tmp_path)
    agent = Agent(FunctionModel(stubborn), capabilities=[LongspliceCapability(sm)])

    @agent.tool_plain
    def search(query: str) -> str:
        ran.append(query)
        return "nothing found"

    result = await agent.run("What are the fares?")
    await sm.store.close()

    assert result.output == "I give up."
    assert len(ran) < 10


async def test_references_are_put_in_before_validation(tmp_path: Path) -> None:
    """`$vN` goes by call order, whichever ends first, and is a number where a number is wanted."""
    taken: list[Any] = []

    def model(messages: "list[ModelMessage]", info: "AgentInfo") -> "ModelResponse":
        last = messages[-1].parts[-1]
        if isinstance(last, UserPromptPart):
            return calling(("stops_of", {"line": 7}), ("fare", {"stops": 3}))
        if "taken" in str(last.content):
            return saying("Done.")
        return calling(("take", {"line": "$v1.line", "price": "$v2"}))

    sm = session(tmp_path)
    agent = agent_of(model, LongspliceCapability(sm))

    @agent.tool_plain
    def take(line: int, price: float) -> str:
        taken.append((line, price))
        return "taken"

    await agent.run("Take line 7.")
    await sm.store.close()

    assert taken == [(7, 4.5)]


async def test_a_reference_to_nothing_is_told_to_the_model(tmp_path: Path) -> None:
    """A call with an unknown `$vN` does not run; the model reads why, and goes on."""
    heard: list[str] = []

    def model(messages: "list[ModelMessage]", info: "AgentInfo") -> "ModelResponse":
        last = messages[-1].parts[-1]
        if isinstance(last, UserPromptPart):
            return calling(("fare", {"stops": "$v9"}))
        heard.append(str(last.content))
        return saying("Sorry.")

    sm = session(tmp_path)
    await agent_of(model, LongspliceCapability(sm)).run("What is the fare?")
    rows = await sm.get_conversation()
    await sm.store.close()

    assert '"$v9" names no result' in heard[0]
    assert rows[2]["content"] == heard[0]


async def test_a_model_that_fails_leaves_the_users_message(tmp_path: Path) -> None:
    """The error reaches the caller; the prompt is in the log, and the next run goes on from there."""
    fails = [True]

    def model(messages: "list[ModelMessage]", info: "AgentInfo") -> "ModelResponse":
        if fails.pop() if fails else False:
            raise RuntimeError("upstream is down")
        return saying("Here I am.")

    sm = session(tmp_path)
    agent = agent_of(model, LongspliceCapability(sm))
    with pytest.raises(RuntimeError, match="upstream is down"):
        await agent.run("Hello?")
    await agent.run("Are you there?")
    rows = await sm.get_conversation()
    await sm.store.close()

    assert [row["content"] for row in rows] == ["Hello?", "Are you there?", "Here I am."]


async def test_a_tool_that_fails_is_recorded(tmp_path: Path) -> None:
    """What a tool raises ends the run, and stands in the log as the call's result."""
    sm = session(tmp_path)
    agent = Agent(
        FunctionModel(lambda messages, info: calling(("broken", {}))),
        capabilities=[LongspliceCapability(sm)],
    )

    @agent.tool_plain
    def broken() -> str:
        raise OSError("disk is gone")

    with pytest.raises(OSError, match="disk is gone"):
        await agent.run("Try it.")
    rows = await sm.get_conversation()
    context = await sm.context()
    await sm.store.close()

    assert [row["role"] for row in rows] == ["user", "assistant", "tool"]
    assert "disk is gone" in rows[2]["content"]
    assert [message["role"] for message in context.messages] == ["user", "assistant", "tool"]


async def test_a_retry_is_one_result(tmp_path: Path) -> None:
    """A tool that asks for another try has one result in the log, under its call, and so has the next."""
    sm = session(tmp_path)
    tries: list[int] = []

    def model(messages: "list[ModelMessage]", info: "AgentInfo") -> "ModelResponse":
        return saying("Done.") if len(tries) == 2 else calling(("picky", {"n": len(tries)}))

    agent = Agent(FunctionModel(model), capabilities=[LongspliceCapability(sm)])

    @agent.tool_plain
    def picky(n: int) -> str:
        tries.append(n)
        if n == 0:
            raise ModelRetry("take a larger one")
        return "fine"

    await agent.run("Try it.")
    rows = await sm.get_conversation()
    await sm.store.close()

    assert [row["role"] for row in rows] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert "take a larger one" in rows[2]["content"]
    assert rows[4]["content"] == "fine"


async def test_a_cancelled_run_leaves_a_log_that_can_be_sent(tmp_path: Path) -> None:
    """Cancelled while its tools run, a run ends cancelled; the next one works on the same session."""
    sm, began = session(tmp_path), asyncio.Event()
    agent = Agent(
        FunctionModel(
            lambda messages, info: (
                calling(("slow", {}), ("slow", {"n": 2}))
                if question_in(messages) == "Go."
                else saying("Stopped.")
            )
        ),
        capabilities=[LongspliceCapability(sm)],
    )

    @agent.tool_plain
    async def slow(n: int = 1) -> str:
        began.set()
        await asyncio.sleep(60)
        return "late"

    task = asyncio.create_task(agent.run("Go."))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    result = await agent.run("What happened?")
    rows = await sm.get_conversation()
    await sm.store.close()

    assert result.output == "Stopped."
    assert [row["role"] for row in rows] == ["user", "assistant", "tool", "tool", "user", "assistant"]
    assert all("cancelled" in row["content"] for row in rows[2:4])


async def test_runs_of_one_agent_do_not_meet(tmp_path: Path) -> None:
    """Side by side, each run writes to the session that its dependencies name."""
    store = session(tmp_path).store
    sessions = {
        name: SessionManager(name, store=store, token_threshold=400, segmentation="inline")
        for name in ("ana", "ben", "eve")
    }

    async def session_of(ctx: "RunContext[str]") -> SessionManager:
        return sessions[ctx.deps]

    agent = agent_of(Traveller(), LongspliceCapability(session_of), deps_type=str)
    for _ in range(2):
        await asyncio.gather(*(agent.run(f"{FILLER}{name} asks of line 3", deps=name) for name in sessions))
    rows = {name: await sm.get_conversation() for name, sm in sessions.items()}
    await store.close()

    for name, said in rows.items():
        assert [row["role"] for row in said] == ["user", "assistant", "tool", "tool", "assistant"] * 2
        assert all(name in row["content"] for row in said if row["role"] == "user")


async def test_a_rewritten_history_opens_a_fork(tmp_path: Path) -> None:
    """A run from an earlier point goes on in a fork; the first conversation stays as it was."""
    sm = session(tmp_path)
    agent = agent_of(Traveller(), LongspliceCapability(sm))
    first = await agent.run("Tell me of line 1")
    await agent.run("Tell me of line 2", message_history=first.all_messages())
    await agent.run("Tell me of line 3", message_history=first.all_messages())
    rows = await sm.get_conversation()
    tree = await sm.tree()
    await sm.store.close()

    asked = [row["content"] for row in rows if row["role"] == "user"]
    assert asked == ["Tell me of line 1", "Tell me of line 2"]
    assert len(tree) == 2


async def test_a_call_waits_for_approval_over_runs(tmp_path: Path) -> None:
    """What the guard wants confirmed is deferred; approved in a later run, it runs once."""
    ran: list[str] = []

    def model(messages: "list[ModelMessage]", info: "AgentInfo") -> "ModelResponse":
        return calling(("refund", {"order": "O-1"})) if question_in(messages) else saying("Refunded.")

    sm = SessionManager("desk", store=f"sqlite:///{tmp_path}/log.db")
    sm.tools.configure(
        [ToolSpec("refund", destructive=True)], permissions=PermissionPolicy(confirm_destructive=True)
    )
    agent = Agent(
        FunctionModel(model),
        output_type=[str, DeferredToolRequests],
        capabilities=[LongspliceCapability(sm, approvals=True)],
    )

    @agent.tool_plain
    def refund(order: str) -> str:
        ran.append(order)
        return f"refunded {order}"

    asked = await agent.run("Refund O-1.")
    assert isinstance(asked.output, DeferredToolRequests)
    (call,) = asked.output.approvals
    assert ran == []

    done = await agent.run(
        message_history=asked.all_messages(),
        deferred_tool_results=DeferredToolResults(approvals={call.tool_call_id: True}),
    )
    messages = await sm.get_messages_for_llm()
    await sm.store.close()

    assert (done.output, ran) == ("Refunded.", ["O-1"])
    assert "refunded O-1" in [message["content"] for message in messages]


async def test_tools_that_ask_themselves_are_deferred(tmp_path: Path) -> None:
    """A tool with `requires_approval` waits as without us, in a session that owns the history too."""
    ran: list[str] = []

    def model(messages: "list[ModelMessage]", info: "AgentInfo") -> "ModelResponse":
        asked = question_in(messages)
        return calling(("wipe", {"disk": asked})) if asked == "sda" else saying("Done.")

    sm = session(tmp_path)
    agent = Agent(
        FunctionModel(model),
        output_type=[str, DeferredToolRequests],
        capabilities=[LongspliceCapability(sm)],
    )

    @agent.tool_plain(requires_approval=True)
    def wipe(disk: str) -> str:
        ran.append(disk)
        return "wiped"

    await agent.run("Hello.")
    asked = await agent.run("sda")
    assert isinstance(asked.output, DeferredToolRequests)
    call_id = asked.output.approvals[0].tool_call_id
    results = DeferredToolResults(approvals={call_id: True})
    await agent.run(message_history=asked.all_messages(), deferred_tool_results=results)
    rows = await sm.get_conversation()
    await sm.store.close()

    assert ran == ["sda"]
    assert [row["content"] for row in rows] == ["Hello.", "Done.", "sda", None, "wiped", "Done."]


async def test_a_structured_answer_closes_its_call(tmp_path: Path) -> None:
    """The call of an output tool has its result in the log when the run ends."""
    sm = session(tmp_path)

    def model(messages: "list[ModelMessage]", info: "AgentInfo") -> "ModelResponse":
        return calling((info.output_tools[0].name, {"response": 3}))

    agent = Agent(FunctionModel(model), output_type=int, capabilities=[LongspliceCapability(sm)])
    outputs = [(await agent.run("How many?")).output for _ in range(2)]
    rows = await sm.get_conversation()
    await sm.store.close()

    assert outputs == [3, 3]
    assert [row["role"] for row in rows] == ["user", "assistant", "tool"] * 2


async def test_streams_are_recorded(tmp_path: Path) -> None:
    """A streamed run records the same: calls, results, the answer."""

    async def model(
        messages: "list[ModelMessage]", info: "AgentInfo"
    ) -> "AsyncIterator[str | dict[int, DeltaToolCall]]":
        if question_in(messages):
            yield {0: DeltaToolCall("fare", '{"stops"', tool_call_id="c1")}
            yield {0: DeltaToolCall(json_args=": 3}")}
        else:
            for word in ("It ", "is ", "4.50."):
                yield word

    sm = session(tmp_path)
    agent = Agent(FunctionModel(stream_function=model), capabilities=[LongspliceCapability(sm)])

    @agent.tool_plain
    def fare(stops: int) -> float:
        return stops * 1.5

    async with agent.run_stream("What is the fare?") as streamed:
        text = [piece async for piece in streamed.stream_text(delta=True)]
    rows = await sm.get_conversation()
    await sm.store.close()

    assert "".join(text) == "It is 4.50."
    assert [row["content"] for row in rows] == ["What is the fare?", None, "4.5", "It is 4.50."]


async def test_all_kinds_of_parts_come_back_to_the_model(tmp_path: Path) -> None:
    """In a session that owns the history, an earlier run's parts are sent as they were, by any worker."""
    image = BinaryContent(b"\x89PNG", media_type="image/png")
    prompt = ["Look:", image, ImageUrl("https://example.com/a.png"), TextContent("noted", metadata={"a": 1})]
    answer = [
        ThinkingPart("Hm.", signature="c2ln", provider_name="x"),
        NativeToolCallPart("web_search", {"query": "a"}, "n1", provider_name="x"),
        NativeToolReturnPart("web_search", [{"url": "u"}], "n1", provider_name="x"),
        TextPart("A train."),
        FilePart(image),
    ]
    seen: list[list[ModelMessage]] = []

    def model(messages: "list[ModelMessage]", info: "AgentInfo") -> "ModelResponse":
        seen.append(messages)
        return ModelResponse(parts=list(answer)) if len(seen) == 1 else saying("Yes.")

    for text in (prompt, "Sure?"):
        sm = session(tmp_path)
        await Agent(FunctionModel(model), capabilities=[LongspliceCapability(sm)]).run(text)
        await sm.store.close()

    assert told(seen[1][0].parts[0]) == told(UserPromptPart(prompt))
    assert told(seen[1][1]) == told(ModelResponse(parts=answer))


async def test_large_results_reach_the_model_as_previews(tmp_path: Path) -> None:
    """The log keeps the whole of a large result; the model reads a preview, and any part by `read_value`."""
    seen: list[str] = []

    def model(messages: "list[ModelMessage]", info: "AgentInfo") -> "ModelResponse":
        last = messages[-1].parts[-1]
        if isinstance(last, UserPromptPart):
            return calling(("orders", {}))
        seen.append(str(last.content))
        return (
            calling(("read_value", {"reference": "v1", "path": "[4321]"}))
            if len(seen) == 1
            else saying("Many.")
        )

    sm = session(tmp_path)
    agent = Agent(FunctionModel(model), capabilities=[LongspliceCapability(sm)])

    @agent.tool_plain
    def orders() -> list[dict[str, int]]:
        return [{"id": n, "price": n} for n in range(5000)]

    await agent.run("How many orders?")
    guard = await sm.tools.open()
    await sm.store.close()

    assert len(seen[0]) < 20_000
    assert "4321" not in seen[0]
    assert "4321" in seen[1]
    assert len(guard.bindings.get("v1").value) == 5000


@pytest.mark.parametrize("kind", ["capability", "processor"])
async def test_ids_of_calls_may_come_back(kind: str, tmp_path: Path) -> None:
    """Models that number each answer's calls anew get each result, not the last round's."""

    def model(messages: "list[ModelMessage]", info: "AgentInfo") -> "ModelResponse":
        asked = question_in(messages)
        if asked is None:
            return saying(f"It says {messages[-1].parts[-1].content}.")
        return ModelResponse(parts=[ToolCallPart("echo", {"text": asked}, tool_call_id="call_0")])

    said: list[str] = []
    for text in ("one", "two", "three"):
        sm = session(tmp_path)
        made = LongspliceCapability(sm) if kind == "capability" else ProcessHistory(history_processor(sm))
        agent = Agent(FunctionModel(model), capabilities=[made])

        @agent.tool_plain
        def echo(text: str) -> str:
            return text

        said.append((await agent.run(text)).output)
        rows = await sm.get_conversation()
        await sm.store.close()

    assert said == ["It says one.", "It says two.", "It says three."]
    assert [row["content"] for row in rows if row["role"] == "tool"] == ["one", "two", "three"]


# Translation


def told(item: Any) -> Any:
    """The parts of an item as Pydantic AI stores them, without their times; arguments as an object."""
    message = item if isinstance(item, ModelResponse) else ModelRequest(parts=[item])
    (stored,) = ModelMessagesTypeAdapter.dump_python([message], mode="json")
    return settled(stored["parts"])


def settled(value: Any) -> Any:
    if isinstance(value, list):
        return [settled(one) for one in value]
    if not isinstance(value, dict):
        return value
    made = {key: settled(one) for key, one in value.items() if key != "timestamp"}
    if "args" in made and not isinstance(made["args"], dict):
        made["args"] = json.loads(made["args"] or "{}")
    return made


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=12)


def items() -> "st.SearchStrategy[Any]":
    """Responses and parts of requests, of every kind."""
    image = BinaryContent(b"\x89PNG", media_type="image/png")
    sound = BinaryContent(b"RIFF", media_type="audio/wav")
    paper = BinaryContent(b"%PDF", media_type="application/pdf")
    contents = st.lists(
        texts | st.sampled_from([image, sound, paper, ImageUrl("https://e.com/a.png")]), max_size=3
    )
    arguments = st.dictionaries(texts, st.integers() | texts, max_size=2) | st.just('{"a": 1}') | st.none()
    calls = st.builds(ToolCallPart, texts, arguments, texts)
    thoughts = st.builds(lambda text: ThinkingPart(text, signature="s", provider_name="p"), texts)
    native = st.builds(lambda text: NativeToolCallPart("search", {"q": text}, "n1", provider_name="p"), texts)
    said = st.lists(st.builds(TextPart, texts) | calls | thoughts | native, min_size=1, max_size=4)
    returned = texts | st.dictionaries(texts, st.integers(), max_size=2) | st.just(["see", image])
    return st.one_of(
        st.builds(lambda parts: ModelResponse(parts=parts), said),
        st.builds(SystemPromptPart, texts),
        st.builds(UserPromptPart, texts | contents),
        st.builds(ToolReturnPart, texts, returned, texts),
        st.builds(lambda text: RetryFeedbackPart(text, retry=RetryInfo(cause="model_retry")), texts),
        st.builds(CompactionPart, texts),
    )


@pytest.mark.skipif(version_of("pydantic-ai-slim") is None, reason="not installed: pydantic-ai-slim")
@settings(max_examples=60)
@given(st.deferred(items))
def test_items_come_back(item: Any) -> None:
    """A part or response comes back from its chat message, and where that cannot be, from its native form."""
    native = native_of_item(item)
    back = from_native(native) if native is not None else item_of(chat_of(item), {})

    assert type(back) is type(item)
    assert told(back) == told(item)


def test_the_import_without_the_runtime_names_the_extra() -> None:
    """Without Pydantic AI the adapter's import says what to install."""
    code = (
        "import sys; sys.modules['pydantic_ai'] = None\n"
        "from summarizer.errors import MissingExtra\n"
        "try:\n    import summarizer.integrations.pydantic_ai\n"
        "except MissingExtra as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert "pip install 'longsplice[pydantic-ai]'" in done.stdout


@pytest.mark.slow
def test_the_example_holds_its_history(tmp_path: Path) -> None:
    """The example's log has all of its messages; equal look-ups run once."""
    printed = run("pydantic_ai_agent.py", folder=tmp_path).splitlines()

    assert printed[-2].startswith("72 messages in the log, ")
    assert printed[-1].endswith(" 3 of 24 look-ups ran")

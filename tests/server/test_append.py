"""`append` mode: clients send what is new, and the model sees the conversation."""

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest

from summarizer import SessionManager, open_store
from summarizer.messages import ToolCall
from summarizer.server.sessions import owner_of
from summarizer.stores import MemoryStore
from summarizer.testing import Fault, LoopbackServer, Reply
from tests.server.endpoints import KEY, contents, conversations, endpoint, sent, serving

TOOL = {
    "type": "function",
    "function": {
        "name": "lookup",
        "parameters": {"type": "object", "properties": {"id": {"type": "string"}}},
    },
}
OWNER = owner_of({"authorization": f"Bearer {KEY}"})


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def named(session_id: str, **more: str) -> dict[str, str]:
    return {"X-Longsplice-Session-Id": session_id, **more}


async def test_the_model_sees_what_was_said_before() -> None:
    """A client that sends its new message alone has the whole conversation answered."""
    async with serving(["Ana, hello.", "Your name is Ana."]) as (upstream, served):
        client = served.client()
        raw = client.chat.completions.with_raw_response
        first = await raw.create(model="gpt-4o-mini", messages=user("I am Ana."))
        session_id = first.headers["x-longsplice-session-id"]
        second = await raw.create(
            model="gpt-4o-mini", messages=user("Who am I?"), extra_headers=named(session_id)
        )

        seen = contents(sent(upstream)["messages"])

    assert second.parse().choices[0].message.content == "Your name is Ana."
    assert seen == [("user", "I am Ana."), ("assistant", "Ana, hello."), ("user", "Who am I?")]
    assert second.headers["x-longsplice-session-id"] == session_id
    assert second.headers["x-longsplice-segment"] == "0"
    assert int(second.headers["x-longsplice-context-tokens"]) > 10
    assert second.headers["x-longsplice-compacted"] == "false"
    assert "x-longsplice-passed-through" not in second.headers


async def test_another_caller_cannot_open_a_session_by_its_id() -> None:
    """A copied header names a conversation of the copier's own, which is empty."""
    async with serving(answer="ok") as (upstream, served):
        for key in (KEY, "sk-somebody-else"):
            await served.client(key).chat.completions.create(
                model="gpt-4o-mini", messages=user(f"my key is {key[-4:]}"), extra_headers=named("desk")
            )

        assert contents(sent(upstream)["messages"]) == [("user", "my key is else")]
        assert len(await conversations(served.store)) == 2


async def test_the_leading_system_message_is_the_sessions_prompt() -> None:
    """A system prompt stays until another is sent, and is sent as the client wrote it."""
    system = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    async with serving(answer="ok") as (upstream, served):

        async def say(*messages: Any) -> list[Any]:
            await served.client().chat.completions.create(
                model="gpt-4o-mini", messages=list(messages), extra_headers=named("desk")
            )
            return sent(upstream)["messages"]

        first = await say(system, *user("one"))
        second = await say(*user("two"))
        third = await say({"role": "system", "content": "Be long."}, *user("three"))
        fourth = await say(system, *user("four"))

    assert first[0] == system
    assert second[0] == {"role": "system", "content": "Be brief."}
    assert third[0] == {"role": "system", "content": "Be long."}
    assert fourth[0] == system
    assert [m["content"] for m in fourth if m["role"] == "user"] == ["one", "two", "three", "four"]


async def test_many_turns_are_segmented_and_nothing_is_lost() -> None:
    """Over several segmentations the request stays small, and the log keeps every message."""
    async with serving(answer=lambda p: f"Answer to {p.messages[-1]['content'][:40]}", threshold=600) as (
        upstream,
        served,
    ):
        client = served.client().chat.completions.with_raw_response
        for n in range(40):
            text = f"Question {n}: how far is it from stop {n} to stop {n + 1}, and what does it cost?"
            answer = await client.create(
                model="gpt-4o-mini", messages=user(text), extra_headers=named("trip")
            )
        sm = SessionManager("trip", store=served.store, owner=OWNER)
        await sm.settle()
        rows = await sm.get_conversation()
        chain = await sm.get_session_chain()

    assert len(chain) >= 3
    assert int(answer.headers["x-longsplice-segment"]) >= 2
    assert answer.headers["x-longsplice-compacted"] == "true"
    assert int(answer.headers["x-longsplice-context-tokens"]) < 1000
    assert [row["role"] for row in rows] == ["user", "assistant"] * 40
    assert len(sent(upstream)["messages"]) < 30


async def test_tool_calls_cross_the_endpoint_and_stand_in_the_log() -> None:
    """The client runs its tools; call and result are in the next request as they were."""
    call = ToolCall("call_1", "lookup", '{"id": "A-7"}')
    async with serving([Reply(tool_calls=(call,)), "It is red."]) as (upstream, served):
        client = served.client().chat.completions
        asked = await client.create(
            model="gpt-4o-mini",
            messages=user("What colour is A-7?"),
            tools=[TOOL],
            extra_headers=named("t"),
        )
        made = asked.choices[0].message.tool_calls[0]
        told = await client.create(
            model="gpt-4o-mini",
            messages=[{"role": "tool", "tool_call_id": made.id, "content": "red"}],
            tools=[TOOL],
            extra_headers=named("t"),
        )
        seen = sent(upstream)

    assert (made.function.name, made.function.arguments) == ("lookup", '{"id": "A-7"}')
    assert told.choices[0].message.content == "It is red."
    assert [m["role"] for m in seen["messages"]] == ["user", "assistant", "tool"]
    assert seen["messages"][1]["tool_calls"][0]["id"] == "call_1"
    assert seen["tools"] == [TOOL]


async def test_a_request_that_is_tried_again_is_recorded_once() -> None:
    """What an earlier try recorded and nobody answered is the same message, not a second one."""
    steps = [Fault.status(500), Fault.status(429, retry_after=0), "hello"]
    async with serving(steps) as (_upstream, served):
        client = served.client(max_retries=2).chat.completions
        answer = await client.create(model="gpt-4o-mini", messages=user("hi"), extra_headers=named("again"))
        rows = await SessionManager("again", store=served.store, owner=OWNER).get_conversation()

    assert answer.choices[0].message.content == "hello"
    assert [(row["role"], row["content"]) for row in rows] == [("user", "hi"), ("assistant", "hello")]


@pytest.mark.parametrize("again", [{"Idempotency-Key": "key-1"}, {"x-stainless-retry-count": "1"}])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_was_lost_on_its_way_is_given_again(again: dict[str, str], stream: bool) -> None:
    """A request that is resent behind its recorded answer gets that answer, and nothing stands twice."""
    call = ToolCall("call_1", "lookup", '{"id": "A-7"}')
    first = {name: "0" if value == "1" else value for name, value in again.items()}
    async with serving([Reply("Let me look.", tool_calls=(call,))]) as (upstream, served):
        client = served.client().chat.completions.with_raw_response
        ask: dict[str, Any] = {"model": "gpt-4o-mini", "messages": user("What colour is A-7?")}
        await client.create(**ask, extra_headers=named("s", **first))
        given = await client.create(**ask, stream=stream, extra_headers=named("s", **again))
        if stream:
            chunks = [chunk.choices[0] async for chunk in given.parse()]
            ended, said = chunks[-1].finish_reason, chunks[1].delta
        else:
            ended, said = given.parse().choices[0].finish_reason, given.parse().choices[0].message
        rows = await SessionManager("s", store=served.store, owner=OWNER).get_conversation()

    assert (said.content, said.tool_calls[0].function.arguments) == ("Let me look.", '{"id": "A-7"}')
    assert ended == "tool_calls"
    assert given.headers["x-longsplice-replayed"] == "true"
    assert given.headers["x-longsplice-segment"] == "0"
    assert [row["role"] for row in rows] == ["user", "assistant"]
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "key-2"}])
async def test_the_same_words_again_are_a_new_question(headers: dict[str, str]) -> None:
    """Only a request that says that it is the same one is taken for it."""
    async with serving(answer="ok") as (upstream, served):
        for given in ({"Idempotency-Key": "key-1"}, headers):
            await served.client().chat.completions.create(
                model="gpt-4o-mini", messages=user("go on"), extra_headers=named("s", **given)
            )

    assert len(sent(upstream)["messages"]) == 3


async def test_a_message_stays_when_the_upstream_fails() -> None:
    """An upstream's error reaches the client, and the user's message waits for its answer."""
    async with serving([Fault.status(500), "both answered"]) as (upstream, served):
        client = served.client().chat.completions
        with pytest.raises(openai.InternalServerError):
            await client.create(model="gpt-4o-mini", messages=user("one"), extra_headers=named("s"))
        await client.create(model="gpt-4o-mini", messages=user("two"), extra_headers=named("s"))

        assert contents(sent(upstream)["messages"]) == [("user", "one"), ("user", "two")]


async def test_a_restart_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    """A second server on the same file goes on where the first one stopped."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    async with LoopbackServer(answer=lambda p: f"{len(p.messages)} messages") as upstream:
        answers = []
        for text in ("one", "two", "three"):
            store = open_store(url)
            async with endpoint(upstream.openai_url, store=store) as served:
                said = await served.client().chat.completions.create(
                    model="gpt-4o-mini", messages=user(text), extra_headers=named("s")
                )
                answers.append(said.choices[0].message.content)
            await store.close()

    assert answers == ["1 messages", "3 messages", "5 messages"]


async def test_parallel_requests_of_one_session_lose_nothing() -> None:
    """Twenty requests at once on one session are all in its log."""
    async with serving(answer="ok") as (_upstream, served):
        client = served.client().chat.completions
        await asyncio.gather(
            *(
                client.create(model="gpt-4o-mini", messages=user(f"n{n}"), extra_headers=named("many"))
                for n in range(20)
            )
        )
        rows = await SessionManager("many", store=served.store, owner=OWNER).get_conversation()

    assert sorted(row["content"] for row in rows if row["role"] == "user") == sorted(
        f"n{n}" for n in range(20)
    )
    assert sum(row["role"] == "assistant" for row in rows) == 20


@pytest.mark.parametrize(
    "headers",
    [
        {"x-longsplice-session-id": "mine", "x-litellm-session-id": "other-name"},
        {"x-litellm-session-id": "litellm-1"},
        {"x-acme-session-id": "acme-123"},
        {"x-session-id": "plain-123"},
        {"baggage": "user.id=7, session.id=baggage-1"},
        {"session-id": "codex-123", "user-agent": "codex_cli/1.0"},
    ],
)
async def test_a_session_is_known_by_the_headers_that_clients_send(headers: dict[str, str]) -> None:
    """The first known header names the session; the same header finds it again."""
    async with serving(answer="ok") as (upstream, served):
        body = {"model": "gpt-4o-mini", "messages": user("hi")}
        for _ in range(2):
            answer = await served.http.post("/v1/chat/completions", json=body, headers=headers)

    named_by = next(value for key, value in headers.items() if key != "user-agent").rpartition("=")[2]
    assert answer.headers["x-longsplice-session-id"] == named_by
    assert len(sent(upstream)["messages"]) == 3


async def test_a_session_in_the_body_is_ours_and_not_the_upstreams() -> None:
    """`metadata.session_id` names the session, and is not passed on."""
    async with serving(answer="ok") as (upstream, served):
        metadata = {"session_id": "from-body", "team": "blue"}
        body = {"model": "gpt-4o-mini", "messages": user("hi"), "metadata": metadata}
        answer = await served.http.post("/v1/chat/completions", json=body)

    assert answer.headers["x-longsplice-session-id"] == "from-body"
    assert sent(upstream)["metadata"] == {"team": "blue"}


async def test_without_a_name_each_request_is_a_session_of_its_own() -> None:
    """In append mode nothing is guessed from what a message says."""
    async with serving(answer="ok") as (upstream, served):
        client = served.client().chat.completions.with_raw_response
        ids = [
            (await client.create(model="gpt-4o-mini", messages=user("hi"))).headers["x-longsplice-session-id"]
            for _ in range(2)
        ]

    assert ids[0] != ids[1]
    assert len(sent(upstream)["messages"]) == 1


async def test_credentials_reach_the_upstream_and_nothing_else() -> None:
    """The key goes on with the call, and stands neither in the log nor in the names of it."""
    store = MemoryStore()
    async with serving(answer="ok", store=store) as (upstream, served):
        await served.client().chat.completions.create(
            model="gpt-4o-mini", messages=user("hi"), extra_headers=named("s")
        )
        rows = await conversations(store)
        events = await SessionManager("s", store=store, owner=OWNER).read(include_all_segments=True)

    assert upstream.requests[0].headers["authorization"] == "***"
    assert not any(name.startswith("x-longsplice") for name in upstream.requests[0].headers)
    assert KEY not in repr(rows) + repr(events)

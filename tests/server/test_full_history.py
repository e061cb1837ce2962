"""`full-history` mode: clients resend everything, and it is known by its beginning."""

from pathlib import Path
from typing import Any

from summarizer import SessionManager, open_store
from summarizer.events import EventKind
from summarizer.server.sessions import owner_of
from tests.server.endpoints import KEY, Endpoint, conversations, sent, serving

OWNER = owner_of({"authorization": f"Bearer {KEY}"})
SYSTEM = {"role": "system", "content": "Answer in one sentence."}


async def chat(
    served: Endpoint, history: list[Any], text: str, *, stream: bool = False, **headers: str
) -> Any:
    """One turn of a client that holds its own history."""
    history.append({"role": "user", "content": text})
    raw = await served.client().chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=history, extra_headers=headers, stream=stream
    )
    if stream:
        said = "".join([chunk.choices[0].delta.content or "" async for chunk in raw.parse()])
    else:
        said = raw.parse().choices[0].message.content
    history.append({"role": "assistant", "content": said})
    return raw.headers


async def test_a_history_that_is_resent_is_recorded_once_and_segmented_once() -> None:
    """Only the base URL was changed: no header names the session, and the request stays small."""
    async with serving(
        answer=lambda p: f"Answer to {p.messages[-1]['content'][:50]}", mode="full-history", threshold=600
    ) as (upstream, served):
        history: list[Any] = [SYSTEM]
        for n in range(40):
            text = f"Question {n}: how far is it from stop {n} to stop {n + 1}, and what does it cost?"
            headers = await chat(served, history, text, stream=n % 2 == 0)
        ids = {row.conversation_id for row in await conversations(served.store)}
        sm = SessionManager(headers["x-longsplice-session-id"], store=served.store, owner=OWNER)
        await sm.settle()
        events = await sm.read(include_all_segments=True)
        last = sent(upstream)["messages"]

    assert len(ids) == 2  # The first request, which nothing could be known by, and all that came behind it.
    assert headers["x-longsplice-session-id"].startswith("history-")
    assert headers["x-longsplice-compacted"] == "true"
    assert int(headers["x-longsplice-segment"]) >= 2
    assert sum(e.message is not None for e in events) == 80
    assert sum(e.kind is EventKind.SEGMENTED for e in events) == len(await sm.get_session_chain()) - 1
    assert last[0] == SYSTEM
    assert last[-1] == {"role": "user", "content": text}
    assert len(last) < 30


async def test_a_rewritten_history_opens_a_fork() -> None:
    """A client that has another answer given goes on in a fork; the first branch stays as it was."""
    async with serving(answer=lambda p: f"{len(p.messages)} messages", mode="full-history") as (
        upstream,
        served,
    ):
        history: list[Any] = []
        named = {"X-Longsplice-Session-Id": "mine"}
        for text in ("one", "two", "three"):
            first = await chat(served, history, text, **named)
        rewritten = history[:2]
        second = await chat(served, rewritten, "two, said otherwise", **named)
        third = await chat(served, rewritten, "and on", **named)
        back = await chat(served, history, "four", **named)

        assert [m["content"] for m in sent(upstream, -2)["messages"]] == [
            "one", "1 messages", "two, said otherwise", "3 messages", "and on",
        ]  # fmt: skip
        assert len(sent(upstream)["messages"]) == 7

    assert second["x-longsplice-forked"] == "true"
    assert "x-longsplice-forked" not in third
    assert first["x-longsplice-session-id"] == back["x-longsplice-session-id"]
    assert second["x-longsplice-session-id"] == third["x-longsplice-session-id"]
    assert second["x-longsplice-session-id"] != first["x-longsplice-session-id"]


async def test_the_clients_own_messages_go_on_as_it_wrote_them() -> None:
    """Marks for caches, names and unknown keys are not lost on the way."""
    history: list[Any] = [
        {
            "role": "system",
            "content": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        },
        {"role": "user", "content": "hi", "name": "ana"},
        {"role": "assistant", "content": "hello", "refusal": None, "annotations": []},
        {
            "role": "user",
            "content": [{"type": "text", "text": "bye", "cache_control": {"type": "ephemeral"}}],
        },
    ]
    async with serving(answer="ok") as (upstream, served):
        for _ in range(2):
            await served.client().chat.completions.create(
                model="gpt-4o-mini",
                messages=history,
                extra_headers={"X-Longsplice-Mode": "full-history", "X-Longsplice-Session-Id": "mine"},
            )

        assert sent(upstream)["messages"] == history


async def test_a_history_without_a_name_is_known_by_its_beginning() -> None:
    """From the second question on; whatever its system prompt says by then, and over a fork."""
    async with serving(answer=lambda p: f"re: {p.messages[-1]['content']}", mode="full-history") as (
        upstream,
        served,
    ):
        history: list[Any] = [SYSTEM]
        ids = []
        for n, text in enumerate(("one", "two", "three", "four")):
            history[0] = {"role": "system", "content": f"It is {n} o'clock."}
            ids.append((await chat(served, history, text))["x-longsplice-session-id"])
        fork = history[:5]
        headers = [await chat(served, fork, text) for text in ("three, said otherwise", "five")]
        assert [m["content"] for m in sent(upstream)["messages"]] == [m["content"] for m in fork[:-1]]

    assert len(set(ids)) == 2
    assert headers[0]["x-longsplice-forked"] == "true"
    assert headers[1]["x-longsplice-session-id"] == headers[0]["x-longsplice-session-id"] != ids[-1]


async def test_a_changed_system_prompt_is_no_rewritten_history() -> None:
    """Clients put dates and reminders there; the conversation goes on."""
    async with serving(answer="ok", mode="full-history") as (upstream, served):
        named = {"X-Longsplice-Session-Id": "mine"}
        history: list[Any] = [{"role": "system", "content": "It is Monday."}]
        await chat(served, history, "one", **named)
        history[0] = {"role": "system", "content": "It is Tuesday."}
        headers = await chat(served, history, "two", **named)

        assert len(await conversations(served.store)) == 1
        assert [m["content"] for m in sent(upstream)["messages"]] == ["It is Tuesday.", "one", "ok", "two"]

    assert "x-longsplice-forked" not in headers


async def test_two_conversations_that_begin_alike_part_where_they_differ() -> None:
    """Without a name they share their beginning, and neither sees what the other said."""
    async with serving(answer=lambda p: f"re: {p.messages[-1]['content']}", mode="full-history") as (
        upstream,
        served,
    ):
        ana: list[Any] = []
        ben: list[Any] = []
        await chat(served, ana, "hi")
        await chat(served, ben, "hi")
        await chat(served, ana, "I am Ana")
        await chat(served, ben, "I am Ben")
        await chat(served, ana, "who am I?")

        assert [m["content"] for m in sent(upstream)["messages"]] == [m["content"] for m in ana[:-1]]


async def test_a_request_that_is_tried_again_is_recorded_once() -> None:
    """The same list again is the same list."""
    async with serving(answer="ok", mode="full-history") as (upstream, served):
        for _ in range(3):
            await chat(served, [], "hi", **{"X-Longsplice-Session-Id": "mine"})
        rows = await SessionManager("mine", store=served.store, owner=OWNER).get_conversation()

    assert [row["content"] for row in rows] == ["hi", "ok"]
    assert len(upstream.requests) == 3


async def test_a_restart_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    """A second server on the same file knows the history again, over segmentations and a fork."""
    history: list[Any] = [SYSTEM]
    ids = set()
    for begin in (0, 15, 30):
        store = open_store(f"sqlite:///{tmp_path / 'log.db'}")
        async with serving(
            answer=lambda p: f"Answer to {p.messages[-1]['content'][:50]}",
            mode="full-history",
            threshold=600,
            store=store,
        ) as (upstream, served):
            for n in range(begin, begin + 15):
                text = f"Question {n}: how far is it from stop {n} to stop {n + 1}, and what does it cost?"
                headers = await chat(served, history, text)
                ids.add(headers["x-longsplice-session-id"])
            last = sent(upstream)["messages"]
        await store.close()

    assert len(ids) == 2
    assert headers["x-longsplice-compacted"] == "true"
    assert len(last) < 30

"""Recall by meaning: vectors beside words, and words alone wherever vectors fail."""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
import structlog

from summarizer import InvalidSetting, SessionManager
from summarizer.recall import Gap, LitellmEmbeddings, meaning
from summarizer.stores import MemoryStore
from summarizer.summary.redact import REDACTED
from summarizer.testing.http1 import HttpResponse, encode, read_request
from tests.summarizer.test_recall import filled, filled_more

_CONCEPTS = {
    "physician": "doctor", "medic": "doctor", "cost": "price", "fee": "price", "charge": "price",
    "car": "vehicle", "automobile": "vehicle", "lives": "home", "resides": "home", "address": "home",
}  # fmt: skip
"""Synonyms, as an embedding model knows them."""


def vector(text: str) -> list[float]:
    """Words, synonyms as one, hashed into 2,048 places."""
    made = [0.0] * 2048
    for word in re.findall(r"\w+", text.lower()):
        if len(word) > 4 or word in _CONCEPTS:
            made[zlib.crc32(_CONCEPTS.get(word, word).encode()) % 2048] += 1.0
    return made


class Embeddings:
    """A callable that keeps what it was given."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: list[str]) -> list[list[float]]:
        self.asked += texts
        return [vector(text) for text in texts]


async def talk(embeddings: object, turns: int = 40, **given) -> SessionManager:
    manager = await filled(MemoryStore(), turns, recall_embeddings=embeddings, **given)
    await filled_more(manager.store, 1, "Our physician is Ada Quist.", "The fee for the hall is 250.")
    await filled_more(manager.store, turns, "Another matter.")
    return manager


async def test_a_paraphrase_that_shares_no_word_is_found() -> None:
    """What words alone miss, meaning finds; the hit says which way found it."""
    manager = await talk(Embeddings())
    by_words = SessionManager("talk", store=manager.store)

    hits = await manager.recall("What is our doctor called?")

    assert "Ada Quist" not in "".join(hit.text for hit in await by_words.recall("doctor called?"))
    assert (hits[0].text, hits[0].found_by) == ("Our physician is Ada Quist.", ("meaning",))
    assert hits.gaps == ()


async def test_what_both_ways_find_comes_first() -> None:
    """The rankings are fused: a passage that words and meaning find stands before those of one way."""
    manager = await talk(Embeddings())

    hits = await manager.recall("What is the fee of the hall, the price or charge?")

    assert (hits[0].text, set(hits[0].found_by)) == ("The fee for the hall is 250.", {"words", "meaning"})
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


async def test_a_context_brings_what_is_near_in_meaning() -> None:
    """Unasked too, where it stands out."""
    manager = await talk(Embeddings(), 100)
    await manager.user_says("Is there a doctor?")

    context = await manager.context(700, recall=True)

    assert "Ada Quist" in context.messages[-1]["content"]


async def test_nothing_is_near_where_nothing_stands_out() -> None:
    """The nearest of what bears on nothing is no hit."""
    manager = await talk(Embeddings())

    assert await manager.recall("quantum umbrellas") == ()


async def test_quotes_are_sought_word_for_word() -> None:
    """Meaning has no say where the words are given."""
    embeddings = Embeddings()
    manager = await talk(embeddings)

    hits = await manager.recall('"physician is Ada"')

    assert [hit.found_by for hit in hits] == [("words",)]
    assert embeddings.asked == []


async def raising(_texts: list[str]) -> list[list[float]]:
    raise OSError("unreachable")


@pytest.mark.parametrize(
    "broken",
    [
        raising,
        lambda texts: [[1.0]] * (len(texts) + 1),
        lambda texts: [[float("nan")]] * len(texts),
        lambda texts: [[1.0] * (n + 1) for n in range(len(texts))] if len(texts) > 1 else None,
        lambda _texts: "no vectors",
        lambda texts: [[] for _ in texts],
        lambda texts: [next(iter(())) for _ in texts],
    ],
)
async def test_an_embedding_model_that_fails_leaves_words(broken: Callable) -> None:
    """Words answer alone, the gap is named, and a log line says so."""
    manager = await talk(broken)

    with structlog.testing.capture_logs() as logged:
        hits = await manager.recall("AB-7731")
        context = await manager.context(700, recall=True)
        told = await manager.handle_recall({"query": "lighthouse"})

    last = (await manager.store.load(None, "talk")).head.last_seq
    assert (hits[0].seq, hits[0].found_by) == (1, ("words",))
    assert hits.gaps == (Gap("meaning", "model_failed", last),)
    assert context.tokens <= 700
    assert "could not look it up" in told
    assert {line["event"] for line in logged} == {"recall.embedding_failed"}
    assert all("AB-7731" not in json.dumps(line, default=str) for line in logged)


async def test_a_slow_model_is_waited_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not embedded in time is named, and the next query goes on where this one stopped."""
    monkeypatch.setattr(meaning, "DEADLINE_S", 0.2)
    monkeypatch.setattr(meaning, "_EVENTS_AT_ONCE", 20)
    waits = [True]

    async def slow(texts: list[str]) -> list[list[float]]:
        if waits[0] and any("north gate" in text for text in texts):
            await asyncio.sleep(30)
        return [vector(text) for text in texts]

    manager = await talk(slow)

    partial = await manager.recall("What is our doctor called?")
    waits[0] = False
    whole = await manager.recall("What is our doctor called?")

    (gap,) = partial.gaps
    assert (gap.way, gap.reason_code) == ("meaning", "out_of_time")
    assert 1 <= gap.through < 30
    assert partial[0].text == "Our physician is Ada Quist."
    assert whole.gaps == ()


async def test_each_passage_is_embedded_once() -> None:
    """Later queries, of other managers too, embed only the query and what is new."""
    embeddings = Embeddings()
    manager = await talk(embeddings)
    await manager.recall("doctor")
    first = len(embeddings.asked)
    await manager.user_says("The medic is in.")

    other = SessionManager("talk", store=manager.store, recall_embeddings=embeddings)
    await other.recall("doctor in the house")

    assert embeddings.asked[first:] == ["doctor in the house", "The medic is in."]


async def test_vectors_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest passages are kept, and what is not covered is named."""
    monkeypatch.setattr(meaning, "MOST_VECTORS", 50)
    monkeypatch.setattr(meaning, "MOST_BYTES", 1_000_000)
    manager = await talk(Embeddings())
    await manager.recall("doctor")
    for n in range(60):
        await manager.user_says(f"Line {n}.")

    hits = await manager.recall("doctor")
    for n in range(3):
        await (await filled(manager.store, 60, f"other-{n}", recall_embeddings=Embeddings())).recall("gate")

    last = (await manager.store.load(None, "talk")).head.last_seq
    (gap,) = hits.gaps
    assert (gap.way, gap.reason_code) == ("meaning", "index_full")
    assert last - 70 <= gap.through <= last - 40
    kept = meaning._shelf_of(manager.store)
    assert sum(each.weight for each in kept.values()) < 1_500_000
    assert all(len(each.of) <= 50 + 20 for each in kept.values())


async def test_one_huge_result_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a result with more passages than are kept, the last ones are, and the rest is named."""
    monkeypatch.setattr(meaning, "MOST_VECTORS", 50)
    manager = await talk(Embeddings())
    await manager.tool_used(
        "read_log", {}, "\n".join(f"row {n}: all is quiet at the pump" for n in range(8000))
    )

    first = await manager.recall("doctor")
    again = await manager.recall("doctor")

    last = (await manager.store.load(None, "talk")).head.last_seq
    (kept,) = meaning._shelf_of(manager.store).values()
    assert len(kept.of) == 50
    assert first.gaps == again.gaps == (Gap("meaning", "index_full", last),)


async def test_erased_passages_leave_their_vectors() -> None:
    """Vectors go with the conversation, and an id used anew finds nothing of the old one."""
    manager = await talk(Embeddings())
    await manager.recall("doctor")
    await manager.store.expire(None, idle_s=-1)
    left = len(meaning._shelf_of(manager.store))
    again = SessionManager("talk", store=manager.store, recall_embeddings=Embeddings())
    await again.user_says("A new beginning.")

    assert left == 0
    assert await again.recall("doctor") == ()


async def test_secrets_do_not_leave_for_a_model() -> None:
    """Texts go out redacted, and only where the host asked for it."""
    embeddings = Embeddings()
    manager = await talk(embeddings)
    await manager.user_says("The api key is sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD for now.")

    await manager.recall("which api_key=hunter2hunter2 was it?")

    sent = "\n".join(embeddings.asked)
    assert "sk-proj" not in sent
    assert "hunter2" not in sent
    assert REDACTED in sent


@pytest.mark.parametrize("wrong", ["", "  ", 7, ["a"]])
def test_embeddings_that_are_none_are_named(wrong) -> None:
    """A name or a callable, nothing else."""
    with pytest.raises(InvalidSetting):
        SessionManager("talk", store="memory://", recall_embeddings=wrong)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[str, list[dict]]]:
    """An OpenAI-compatible `/embeddings` on loopback, and the bodies it was sent."""
    bodies: list[dict] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader, writer, 1 << 20)
        assert request is not None
        body = json.loads(request.body)
        bodies.append(body)
        rows = [{"index": n, "embedding": vector(text)} for n, text in enumerate(body["input"])]
        told = {"object": "list", "model": body["model"], "data": rows[::-1]}
        told["usage"] = {"prompt_tokens": 7, "total_tokens": 7}
        response = HttpResponse(200, (json.dumps(told).encode(),), keep_alive=False)
        writer.write(b"".join(encode(response)))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", bodies


APART = "RECALL_EMBEDDINGS_APART"
needs_litellm = pytest.mark.skipif(APART not in os.environ, reason="runs in a process of its own, below")


async def test_litellm_embeds_in_a_process_of_its_own() -> None:
    """What litellm keeps of its embedding clients would meet the servers of later tests."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-k", "test_a_model_", __file__]
    environment = {**os.environ, APART: "1"}
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, env=environment)

    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


@needs_litellm
async def test_a_model_is_reached_through_litellm() -> None:
    """By its litellm name: vectors in the order of the texts, tokens and cost counted and logged."""
    async with served() as (url, bodies):
        model = LitellmEmbeddings("openai/text-embedding-3-small", api_base=url, api_key="k")
        manager = await talk(model, 10)
        with structlog.testing.capture_logs() as logged:
            hits = await manager.recall("What is our doctor called?")

    requests = len(bodies)
    assert hits[0].text == "Our physician is Ada Quist."
    assert {body["model"] for body in bodies} == {"text-embedding-3-small"}
    assert model.spent.requests == requests >= 2
    assert model.spent.input_tokens == 7 * requests
    assert model.spent.cost_usd == Decimal("0.00000002") * 7 * requests
    assert {line["event"] for line in logged} == {"recall.embedded"}


@needs_litellm
async def test_a_model_that_cannot_be_reached_leaves_words() -> None:
    """A refused connection is a failure of the model, not of recall."""
    model = LitellmEmbeddings("openai/text-embedding-3-small", api_base="http://127.0.0.1:9/v1", api_key="k")
    manager = await talk(model, 5)

    hits = await manager.recall("AB-7731")

    assert hits[0].seq == 1
    assert [gap.reason_code for gap in hits.gaps] == ["model_failed"]


async def test_a_model_that_changes_its_vectors_looks_like_silence() -> None:
    """Vectors of other lengths do not compare: that is named, and the next query embeds anew."""
    sizes = [2048]

    def changing(texts: list[str]) -> list[list[float]]:
        return [vector(text)[: sizes[0]] for text in texts]

    manager = await talk(changing)
    await manager.recall("doctor")
    sizes[0] = 2040

    failed = await manager.recall("the price of it")
    mended = await manager.recall("the price of it")

    last = (await manager.store.load(None, "talk")).head.last_seq
    assert failed.gaps == (Gap("meaning", "model_failed", last),)
    assert mended.gaps == ()
    assert mended[0].text == "The fee for the hall is 250."


async def test_a_callable_that_hangs_takes_no_thread_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many queries it hung, words answer, and so does all else that runs in threads."""
    monkeypatch.setattr(meaning, "DEADLINE_S", 0.05)
    loop_ends = threading.Event()

    def hanging(_texts: list[str]) -> list[list[float]]:
        loop_ends.wait(60)
        return []

    manager = await talk(hanging)
    for n in range(40):
        hits = await manager.recall(f"AB-7731 {n}")
    found = await asyncio.wait_for(asyncio.to_thread(int, "7"), 5)
    waiting = [one for one in threading.enumerate() if one.name == "longsplice-embeddings"]
    loop_ends.set()

    assert (found, len(waiting)) == (7, 4)
    assert (hits[0].seq, hits.gaps[0].reason_code) == (1, "out_of_time")
    assert all(one.daemon for one in waiting)
    for one in waiting:
        one.join(5)


async def test_retention_does_not_embed_again_what_stays() -> None:
    """Vectors cost money: those of events that stay are kept, those of events that go are not found."""
    embeddings = Embeddings()
    manager = await talk(embeddings)
    await manager.segment()
    await filled_more(manager.store, 40, "Her medic is Ines Roth.")
    await manager.recall("doctor")
    asked = len(embeddings.asked)
    await manager.store.retain(None, "talk", before_index=1)

    hits = await manager.recall("a doctor now")

    assert len(embeddings.asked) == asked + 1
    assert [hit.text for hit in hits] == ["Her medic is Ines Roth."]
    assert hits.gaps == ()


@pytest.mark.parametrize("start", range(0, 1001, 125))
async def test_a_secret_across_two_passages_does_not_leave(start: int) -> None:
    """A key is recognized by its beginning, so it is looked for before a text is cut into passages."""
    embeddings = Embeddings()
    lines = [f"MIIEvQ{n:02}" + "s3cr3t" * 9 for n in range(24)]
    key = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"])
    manager = SessionManager("talk", store=MemoryStore(), recall_embeddings=embeddings)
    await manager.user_says("word " * (start // 5) + key + "\nThe lighthouse is white. " + "word " * 200)

    await manager.recall("lighthouse")

    sent = "\n".join(embeddings.asked)
    assert "s3cr3t" not in sent
    assert REDACTED in sent
    assert "lighthouse is white" in sent

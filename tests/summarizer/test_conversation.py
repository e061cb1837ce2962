"""What a process keeps at hand is a cache: right in whatever order answers come, and dispensable."""

import asyncio
import gc
import random
from dataclasses import replace

import pytest

from summarizer import SessionManager
from summarizer.conversation import Conversation, ConversationCache, cache_of
from summarizer.stores import MemoryStore
from tests.summarizer.stores.contract import message, started
from tests.summarizer.stores.factories import FACTORIES
from tests.summarizer.talk import SMALL, chain_of, fresh, said, soft_only, talk


@pytest.mark.parametrize("name", list(FACTORIES))
async def test_answers_in_any_order_give_the_log(name: str) -> None:
    """Many writes at once, by two instances, leave in each cache what a cold load brings."""
    async with fresh(name) as made:
        stores = [made.store, await made.second()]
        managers = [SessionManager("c", store=stores[i % 2]) for i in range(8)]
        await managers[0].user_says("first")
        await asyncio.gather(*(manager.user_says(said(i)) for i, manager in enumerate(managers * 4)))
        contexts = [await manager.get_messages_for_llm() for manager in managers]
        log = await (await made.second()).read(None, "c")

        assert all(context == contexts[0] for context in contexts)
        assert [m["content"] for m in contexts[0]] == [e.message.text for e in log if e.message]


async def test_shuffled_answers_give_the_log() -> None:
    """The answers of concurrent appends, taken in in any order, and then one load, give the open segment."""
    store = MemoryStore()
    await started(store)
    for seed in range(20):
        conversation = Conversation.of(await store.load(None, "c"))
        batches = [[message(f"{seed}.{i}"), message(f"{seed}.{i}'")] for i in range(6)]
        answers = [
            await store.append(None, "c", batch, after_seq=conversation.known_seq) for batch in batches
        ]
        order = list(zip(answers, batches, strict=True))
        random.Random(seed).shuffle(order)
        for answer, batch in order:
            conversation.absorb_append(answer, batch)
        after = conversation.resume_seq
        conversation.absorb_load(await store.load(None, "c", after_seq=after), after)

        assert tuple(conversation.events) == await store.read(None, "c")
        assert conversation.head.last_seq == conversation.known_seq


async def test_a_snapshot_behind_a_segmentation_does_not_connect() -> None:
    """A load that brings a new session but not its seed asks for a full load, which then holds."""
    store = MemoryStore()
    manager = SessionManager("c", store=store)
    await talk(manager, 6)
    known = Conversation.of(await store.load(None, "c"))
    await manager.segment()
    await talk(manager, 1, 6)
    loaded = await store.load(None, "c", after_seq=known.known_seq)
    if not known.absorb_load(loaded, known.known_seq):
        known.absorb_load(await store.load(None, "c"), None)
    whole = await store.load(None, "c")

    assert (known.head, known.summary, tuple(known.events)) == (whole.head, whole.summary, whole.events)
    assert known.events[0].seq == whole.head.start_seq


@pytest.mark.parametrize("settled_by", ["read", "write"])
@pytest.mark.parametrize("name", ["memory", "sqlite"])
async def test_what_expired_is_seen_no_more(name: str, settled_by: str) -> None:
    """A manager that remembers a conversation which expired and was begun anew shows the new one alone."""
    async with fresh(name) as made:
        old = SessionManager("c", store=made.store)
        await talk(old, 5)
        second = await made.second()
        await second.expire(None, idle_s=0)
        await SessionManager("c", store=second).user_says("new")
        if settled_by == "write":
            await old.user_says("newer")
        texts = [m["content"] for m in await old.get_messages_for_llm()]

        assert texts == ["new", "newer"][: len(texts)]
        assert len(texts) == 1 + (settled_by == "write")
        assert (await old.get_stats()).total_messages == len(texts)


async def test_an_unchanged_context_is_built_once() -> None:
    """Asked again with nothing new, the same context comes back, and a change brings a new one."""
    manager = SessionManager("c", store=MemoryStore())
    await talk(manager, 3)
    first, again = await manager.context(), await manager.context()
    await manager.user_says("more")
    third = await manager.context()

    assert again == first
    assert len(third.messages) == len(first.messages) + 1


async def test_a_batch_is_placed_by_the_store_or_here_alike() -> None:
    """A store that answers with the events at their places, and one that does not, leave the same."""
    store = MemoryStore()
    await started(store)
    batch = [message("a", tokens=3), message("b", tokens=4)]
    with_places, without = [Conversation.of(await store.load(None, "c")) for _ in range(2)]
    appended = await store.append(None, "c", batch, after_seq=with_places.known_seq)
    with_places.absorb_append(appended, batch)
    without.absorb_append(replace(appended, placed=()), batch)

    assert with_places.events == without.events == list(await store.read(None, "c"))
    assert with_places.weight == without.weight


async def test_a_conversation_weighs_what_it_holds() -> None:
    """What a segmentation leaves behind no longer counts against the cache."""
    store = MemoryStore()
    manager = SessionManager("c", store=store)
    await talk(manager, 6)
    await manager.segment()
    known, read = cache_of(store).get(None, "c"), Conversation.of(await store.load(None, "c"))

    assert known is not None
    assert known.events == read.events
    assert known.weight == read.weight


async def test_the_cache_keeps_within_its_limit() -> None:
    """The least recently used is let go first, and what was let go is read again, alike."""
    store = MemoryStore()
    cache = ConversationCache(3 * 4096 + 100)
    kept = {}
    for root in ("a", "b", "c"):
        await started(store, root=root)
        kept[root] = Conversation.of(await store.load(None, root))
        cache.keep(None, root, kept[root])
    cache.keep(None, "a", kept["a"])
    await started(store, root="d")
    cache.keep(None, "d", Conversation.of(await store.load(None, "d")))

    assert len(cache) == 3
    assert cache.get(None, "b") is None
    assert cache.get(None, "a") is kept["a"]
    assert cache.get("ann", "a") is None


async def test_without_a_cache_everything_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cache of no size a conversation goes on over segments, and nothing is lost."""
    monkeypatch.setenv("LONGSPLICE_CACHE_BYTES", "0")
    store = MemoryStore()
    for number in range(20):
        await SessionManager("c", store=store, policy=soft_only(SMALL // 2), segmentation="inline").user_says(
            f"{said(number)} {said(number + 1)}"
        )
    events, chain = await chain_of(store, "c")

    assert len(cache_of(store)) == 0
    assert len(chain) > 1
    assert sum(e.message is not None for e in events) == 20


async def test_a_dropped_store_takes_its_cache_along() -> None:
    """The cache of a store lives no longer than the store."""
    store = MemoryStore()
    await SessionManager("c", store=store).user_says("hi")
    kept = cache_of(store)
    assert len(kept) == 1
    del store
    gc.collect()

    assert len(cache_of(MemoryStore())) == 0

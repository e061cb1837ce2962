"""A tree as JSON lines, and back."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from summarizer import SessionManager
from summarizer.errors import SchemaTooNew, SessionExists, SessionNotFound
from summarizer.formats import InvalidTranscript, export_tree, import_tree
from summarizer.stores import EventStore, MemoryStore
from tests.summarizer.stores.factories import FACTORIES, Fresh
from tests.summarizer.talk import soft_only, talk


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def fresh(request: pytest.FixtureRequest) -> AsyncIterator[Fresh]:
    async with FACTORIES[request.param]() as made:
        yield made


async def grown(store: EventStore) -> SessionManager:
    """A chain, two forks of it, and a fork of one of these, some gone on with."""
    sm = SessionManager("c", store=store, policy=soft_only(), summarizer="extractive", segmentation="inline")
    await talk(sm, 30)
    fork = await sm.fork(turns=25, session_id="f")
    await talk(fork, 20, 100)
    await sm.fork(turns=3, session_id="g")
    deep = await fork.fork(session_id="deep")
    await deep.user_says("Ünïcode: 再见 🌍")
    return sm


async def lines_of(store: EventStore, root: str = "c") -> list[str]:
    return [line async for line in export_tree(store, None, root)]


async def everything(store: EventStore, root: str = "c") -> Any:
    """All that a reader can see of a tree."""
    nodes = await SessionManager(root, store=store, create=False).tree()
    roots = [node.session_id for node in nodes if "~" not in node.session_id]
    seen: list[Any] = [nodes]
    for name in roots:
        manager = SessionManager(name, store=store, create=False)
        seen += [
            await manager.get_conversation(),
            await manager.read(include_all_segments=True),
            await manager.segments(),
            await manager.get_stats(),
            (await manager.context()).messages,
            await store.forks(None, name),
        ]
    return seen


async def test_what_was_exported_is_put_back(fresh: Fresh) -> None:
    """The same tree, to the byte; a second export is the same file."""
    source = MemoryStore()
    await grown(source)
    lines = await lines_of(source)
    names = await import_tree(fresh.store, None, lines)

    assert names == ("c", "g", "f", "deep")
    assert await everything(await fresh.second()) == await everything(source)
    assert await lines_of(await fresh.second()) == lines


async def test_an_imported_tree_goes_on(fresh: Fresh) -> None:
    """Writing, segmenting, forking and erasing are as before."""
    source = MemoryStore()
    await grown(source)
    await import_tree(fresh.store, None, await lines_of(source))
    deep = SessionManager("deep", store=fresh.store, policy=soft_only(), segmentation="inline", create=False)
    await talk(deep, 20, 300)
    await deep.fork(turns=2)

    assert len(await deep.get_session_chain()) > 1
    assert (await fresh.store.erase(None, "c")).conversations == 5


async def test_each_event_is_written_once(fresh: Fresh) -> None:
    """What a fork copied stands with its ancestor alone."""
    sm = await grown(fresh.store)
    told = [json.loads(line) for line in await lines_of(fresh.store)]
    ids = [line["event_id"] for line in told if "event" in line]
    heads = [(await fresh.store.load(None, name)).head for name in ("c", "f", "g", "deep")]

    assert len(ids) == len(set(ids)) < sum(head.last_seq - head.first_seq + 1 for head in heads)
    assert len([line for line in told if "session" in line]) == len(await sm.tree())


async def test_a_subtree_stands_on_its_own(fresh: Fresh) -> None:
    """A fork is exported with what it copied, and is nobody's fork where its ancestor is not."""
    await grown(fresh.store)
    other = MemoryStore()
    names = await import_tree(other, None, await lines_of(fresh.store, "f~1"))
    here, there = (SessionManager("deep", store=one, create=False) for one in (await fresh.second(), other))
    whole, left = await here.get_conversation(), await there.get_conversation()

    assert names == ("f", "deep")
    assert (await here.context()).messages == (await there.context()).messages
    assert left == whole[-len(left) :]
    assert 0 < len(left) < len(whole)


async def test_copies_go_along_where_the_ancestor_has_none(fresh: Fresh) -> None:
    """An ancestor that retention shortened: the fork's events are written with the fork."""
    sm = await grown(fresh.store)
    await fresh.store.retain(None, "c", before_index=len(await sm.segments()) - 1)
    other = MemoryStore()
    await import_tree(other, None, await lines_of(fresh.store))

    assert await everything(other) == await everything(await fresh.second())


async def test_nothing_is_written_over() -> None:
    """If one of the ids is taken, nothing is imported."""
    store, other = MemoryStore(), MemoryStore()
    await grown(store)
    await other.create(None, "f", {})
    with pytest.raises(SessionExists):
        await import_tree(other, None, await lines_of(store))
    with pytest.raises(SessionNotFound):
        await other.load(None, "c")


async def test_a_missing_conversation_is_not_exported() -> None:
    """Not found is an error, not an empty file."""
    with pytest.raises(SessionNotFound):
        await lines_of(MemoryStore())


def without(lines: Sequence[str], part: str) -> list[str]:
    """The lines but for the first of a kind."""
    at = next(i for i, line in enumerate(lines) if part in line)
    return [*lines[:at], *lines[at + 1 :]]


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (lambda lines: [], None),
        (lambda lines: lines[:1], None),
        (lambda lines: lines[1:], "line 1"),
        (lambda lines: [lines[0], "", lines[5]], "line 3"),
        (lambda lines: [*lines[:3], "{", *lines[3:]], "line 4"),
        (lambda lines: [*lines[:3], "[1]", *lines[3:]], "line 4"),
        (lambda lines: without(lines, '"event_id"'), "line 2"),
        (lambda lines: without(lines, '"session"'), "line 2"),
        (lambda lines: lines[:-1], "line"),
    ],
)
async def test_a_file_that_is_not_whole_is_refused(spoil: Any, where: str | None) -> None:
    """The error names the line; nothing is imported."""
    store, other = MemoryStore(), MemoryStore()
    await grown(store)
    with pytest.raises(InvalidTranscript, match=where or "no conversation"):
        await import_tree(other, None, spoil(await lines_of(store)))

    assert await other.list(None) == ()


def changed(part: str, change: Callable[[dict[str, Any]], object]) -> Callable[[list[str]], list[str]]:
    """The lines, the first that holds `part` changed."""

    def spoil(lines: list[str]) -> list[str]:
        at = next(i for i, line in enumerate(lines) if part in line)
        line = json.loads(lines[at])
        change(line)
        return [*lines[:at], json.dumps(line), *lines[at + 1 :]]

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        changed('"conversation":"c"', lambda line: line["head"].update(last_seq=10**12)),
        changed('"conversation":"c"', lambda line: line["head"].update(total_tokens="9")),
        changed('"conversation":"c"', lambda line: line["head"]["counters"].__setitem__(0, -1)),
        changed('"conversation":"c"', lambda line: line["head"].update(report={"tokens": 1})),
        changed('"conversation":"c"', lambda line: line["settings"].pop("counter")),
        changed('"conversation":"c"', lambda line: line["settings"]["policy"].update(token_threshold="x")),
        changed('"conversation":"c"', lambda line: line.pop("fork_of")),
        changed('"conversation":"g"', lambda line: line.pop("settings")),
        changed('"conversation":"g"', lambda line: line["fork_of"].update(conversation="elsewhere")),
        changed('"conversation":"g"', lambda line: line.update(fork_of=None, copied=False)),
        changed('"conversation":"g"', lambda line: line["settings"]["fork"].pop("total_tokens")),
        changed('"session":"c~1"', lambda line: line.update(start_seq=line["start_seq"] + 1)),
        changed('"session":"c~1"', lambda line: line.update(opened_at="2026-01-01T00:00:00")),
        changed('"session":"c~1"', lambda line: line["summary"].update(seed=None)),
        changed('"session":"c~1"', lambda line: line["summary"]["summary"].update(narrative=7)),
        changed('"event_id"', lambda line: line["event"].update(at="2026-01-01T00:00:00")),
        changed('"event_id"', lambda line: line["event"].update(tokens=True)),
        changed('"event_id"', lambda line: line["event"]["message"].update(role="\x00")),
        changed('"event_id"', lambda line: line["event"]["message"].update(content=7)),
        changed('"event_id"', lambda line: line["event"]["message"].update(content="\ud800")),
        changed('"event_id"', lambda line: line.update(cumulative_tokens=float("nan"))),
        lambda lines: [*lines, *lines[1:]],
        lambda lines: [lines[0], '{"a":' * 10_000 + "1" + "}" * 10_000, *lines[1:]],
    ],
)
async def test_a_file_that_was_tampered_with_is_refused(spoil: Any) -> None:
    """Wrong types, numbers that do not add up, another's conversation as ancestor: nothing is imported."""
    store, other = MemoryStore(), MemoryStore()
    await grown(store)
    await other.create(None, "elsewhere", {})
    with pytest.raises(InvalidTranscript, match="line"):
        await import_tree(other, None, spoil(await lines_of(store)))

    assert [row.conversation_id for row in await other.list(None)] == ["elsewhere"]
    assert await other.forks(None, "elsewhere") == ()


async def test_no_file_names_what_stands_in_it() -> None:
    """The error of a file that is refused tells the field, not its value."""
    store = MemoryStore()
    await grown(store)
    spoil = changed('"conversation":"c"', lambda line: line["settings"].update(system_prompt=["secret"]))
    with pytest.raises(InvalidTranscript) as refused:
        await import_tree(MemoryStore(), None, spoil(await lines_of(store)))

    assert "system_prompt" in str(refused.value)
    assert "secret" not in str(refused.value)


async def test_a_newer_file_is_refused() -> None:
    """With what to do."""
    with pytest.raises(SchemaTooNew):
        await import_tree(MemoryStore(), None, ['{"longsplice":"tree","v":2,"root":"c"}'])

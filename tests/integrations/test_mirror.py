"""The log of a conversation whose history somebody else owns."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from summarizer import SessionManager, open_store
from summarizer.conversation import cache_of
from summarizer.integrations.mirror import Mirror


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


def calling(*ids, text=None):
    calls = [
        {"id": i, "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}} for i in ids
    ]
    return {"role": "assistant", "content": text, "tool_calls": calls}


def result(call_id, text="done"):
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def manager(store, **given):
    given.setdefault("session_id", "s")
    return SessionManager(given.pop("session_id"), store=store, segmentation="inline", **given)


def cold(sm):
    """A manager of the same conversation that remembers nothing."""
    cache_of(sm.store).drop(sm.owner, sm.conversation_id)
    return SessionManager(sm.conversation_id, store=sm.store, segmentation="inline")


async def texts(sm):
    """What the log holds, from its first message on, ancestors included."""
    events = await sm.read(include_all_segments=True)
    return [event.message.text or "calls" for event in events if event.message is not None]


async def test_only_what_is_new_is_recorded():
    """The log grows with the host's list, whoever recorded the answers."""
    sm = manager("memory://")
    mirror = Mirror(sm)
    host = [user("one")]

    first = await mirror.sync(host)
    await mirror.record(said("eins"), usage={"prompt_tokens": 5, "completion_tokens": 2}, model="gpt-4o-mini")
    host += [said("eins"), user("two")]
    second = await mirror.sync(host)
    again = await Mirror(cold(sm)).sync(host)

    assert (first.recorded, second.recorded, again.recorded) == (1, 1, 0)
    assert [first.forked, second.forked, again.forked] == [False] * 3
    assert await texts(sm) == ["one", "eins", "two"]
    assert (await sm.get_stats()).billed_tokens == 7


async def test_a_list_that_is_handed_over_whole_is_summarized_once():
    """However often the host sends everything, each message stands once in the chain of segments."""
    sm = manager("memory://", token_threshold=400)
    host = []
    for i in range(40):
        host.append(user(f"question {i}: what about the harbour of number {i}?"))
        mirror = Mirror(cold(sm) if i % 3 == 0 else sm)
        await mirror.sync(host)
        host.append(said(f"answer {i}: it has room for {i} ships, and a crane."))
        await mirror.record(host[-1])
    await mirror.sync(host)

    assert len(await sm.get_session_chain()) > 3
    assert await texts(sm) == [message["content"] for message in host]
    shown = await mirror.view()
    own = [part for part in shown.parts if isinstance(part, int)]
    assert own == list(range(own[0], 80))
    assert own[0] > 20
    assert [part["role"] for part in shown.parts if not isinstance(part, int)] == ["user"]


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        pytest.param([user("one"), said("EINS"), user("two")], 1, id="an answer"),
        pytest.param([user("ONE"), said("eins"), user("two")], 0, id="the first message"),
        pytest.param([user("one"), said("eins"), user("zwei")], 2, id="the newest message"),
        pytest.param([user("one")], 1, id="asked again"),
        pytest.param([], 0, id="emptied"),
    ],
)
async def test_a_rewritten_history_opens_a_fork(changed, where):
    """What was recorded stays as it was; the fork holds what the host holds now, in every worker."""
    sm = manager("memory://")
    host = [user("one"), said("eins"), user("two"), said("zwei")]
    await Mirror(sm).sync(host)

    mirror, other = Mirror(sm), Mirror(cold(sm))
    synced = await mirror.sync(changed)
    elsewhere = await other.sync(changed)

    assert (synced.forked, elsewhere.forked) == (True, False)
    assert mirror.sm.conversation_id == other.sm.conversation_id != sm.conversation_id
    assert synced.recorded == len(changed) - where
    assert await texts(sm) == ["one", "eins", "two", "zwei"]
    if changed:
        assert await texts(mirror.sm) == [message["content"] for message in changed]


async def test_answers_to_one_question_are_branches_beside_each_other():
    """Asked again and again, each answer has its fork, and the host's next list finds the one it holds."""
    sm = manager("memory://")
    answers = ["red", "green", "blue"]
    for answer in answers:
        mirror = Mirror(cold(sm))
        await mirror.sync([user("a colour?")])
        await mirror.record(said(answer))

    found = []
    for answer in answers:
        mirror = Mirror(cold(sm))
        await mirror.sync([user("a colour?"), said(answer), user("why?")])
        found.append(mirror.sm.conversation_id)
        assert await texts(mirror.sm) == ["a colour?", answer, "why?"]

    assert len(set(found)) == 3


async def test_two_workers_record_a_list_once():
    """Workers that are handed lists of different length at once write each message once."""
    store = open_store("memory://shared-mirror")
    host = [user("one"), said("eins"), user("two"), said("zwei"), user("three")]

    for _ in range(5):
        await asyncio.gather(*(Mirror(manager(store)).sync(host[:n]) for n in (5, 3, 5, 4, 5)))
    synced = await Mirror(manager(store)).sync(host)

    assert await texts(synced.sm) == [message["content"] for message in host]


async def test_two_answers_at_once_do_not_mix():
    """Two requests with one list both record their answers, each in a conversation of its own."""
    store = open_store("memory://two-answers")
    one, two = Mirror(manager(store)), Mirror(manager(store))
    await one.sync([user("a colour?")])
    await two.sync([user("a colour?")])

    await one.record(said("red"))
    await two.record(said("green"))

    assert await texts(one.sm) == ["a colour?", "red"]
    assert await texts(two.sm) == ["a colour?", "green"]


async def test_results_that_the_guard_recorded_are_known():
    """A tool that ran through the session's guard is not recorded again, in whichever order results came."""
    sm = manager("memory://")
    mirror = Mirror(sm)
    await mirror.sync([user("look")])
    await mirror.record(calling("x", "y"))
    await sm.tools.run(lambda a: "second", "look", {"a": 1}, call_id="y")
    await sm.tools.run(lambda a: "first", "look", {"a": 1}, call_id="x")
    host = [user("look"), calling("x", "y"), result("x", "first"), result("y", "second"), user("thanks")]

    synced = await Mirror(cold(sm)).sync(host)
    again = Mirror(cold(sm))
    await again.sync(host)
    shown = await again.view()

    assert (synced.recorded, synced.forked) == (1, False)
    assert shown.parts == (0, 1, 2, 3, 4)


async def test_results_that_the_host_shortens_are_no_rewriting():
    """Clearing old results, reordering keys of arguments and marking for caches is not another history."""
    sm = manager("memory://")
    host = [user("look"), calling("x"), result("x", "long " * 50), said("done"), user("and?")]
    await Mirror(sm).sync(host)
    call = {"id": "x", "type": "function", "function": {"name": "look", "arguments": '{\n"a":1}'}}
    changed = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}}],
        },
        {"role": "assistant", "content": "", "tool_calls": [call], "audio": None},
        result("x", "[cleared]"),
        *host[3:],
    ]

    synced = await Mirror(cold(sm)).sync(changed)

    assert (synced.recorded, synced.forked) == (0, False)


async def test_call_ids_that_come_back_are_results_of_their_own():
    """A model that numbers its calls anew each turn loses no result."""
    sm = manager("memory://")
    host = []
    for i in range(4):
        host += [user(f"look {i}"), calling("call_0"), result("call_0", f"seen {i}"), said(f"told {i}")]
        await Mirror(cold(sm) if i else sm).sync(host)

    assert [text for text in await texts(sm) if text.startswith("seen")] == [
        "seen 0",
        "seen 1",
        "seen 2",
        "seen 3",
    ]


async def test_a_host_that_took_the_seed_goes_on_behind_it():
    """A host that replaced its old messages by the seed has not rewritten its history."""
    sm = manager("memory://", token_threshold=300)
    mirror, host = Mirror(sm), []
    while len(await sm.get_session_chain() if host else []) < 2:
        host += [user(f"question {len(host)} about the harbour"), said(f"answer {len(host)} about its ships")]
        await mirror.sync(host)
    shown = await mirror.view()
    trimmed = [host[part] if isinstance(part, int) else part for part in shown.parts]

    synced = await Mirror(cold(sm)).sync([*trimmed, user("and now?")])
    later = await Mirror(cold(sm)).sync([*trimmed, user("and now?"), said("now this")])

    assert (synced.recorded, synced.forked, later.recorded, later.forked) == (1, False, 1, False)
    assert (await texts(sm))[-3:] == [host[-1]["content"], "and now?", "now this"]


async def test_a_fork_in_a_closed_segment_begins_where_the_lists_part():
    """A message of long ago that was edited opens a fork there, and what follows is recorded in it."""
    sm = manager("memory://", token_threshold=300)
    host = [said(f"line {i} of a long story about ships") if i % 2 else user(f"go on {i}") for i in range(60)]
    await Mirror(sm).sync(host)
    for i in range(60, 80):
        host.append(said(f"line {i} of a long story about ships") if i % 2 else user(f"go on {i}"))
        await Mirror(sm).sync(host)
    edited = [*host[:10], user("tell another"), *host[11:]]

    mirror = Mirror(cold(sm))
    synced = await mirror.sync(edited)

    assert synced.forked
    assert await texts(mirror.sm) == [message["content"] for message in edited]


async def test_objects_of_the_host_are_read_once():
    """With `wire_of`, messages that were handed over before are not translated again."""
    read, sm = [], manager("memory://")

    class Item:
        def __init__(self, text):
            self.text = text

    def wire_of(item):
        read.append(item.text)
        return user(item.text)

    items, mirror = [Item("a"), Item("b")], Mirror(sm)
    await mirror.sync(items, wire_of)
    read.clear()
    items.append(Item("c"))
    await mirror.sync(items, wire_of)

    assert set(read) == {"c"}
    assert await texts(sm) == ["a", "b", "c"]


async def test_what_the_host_lost_with_the_removed_beginning(tmp_path: Path):
    """Where the log's beginning was removed by retention, a host that still sends it all is recognized."""
    sm = SessionManager(
        "s", store=f"sqlite:///{tmp_path}/r.db", token_threshold=300, retain=0, segmentation="inline"
    )
    host = []
    for i in range(30):
        host += [user(f"question {i} about the harbour"), said(f"answer {i} about its many ships")]
        synced = await Mirror(sm).sync(host)

    assert not synced.forked
    assert (await sm.read(include_all_segments=True))[0].seq > 1
    assert (await sm.get_stats()).total_messages == 60


@pytest.mark.parametrize("url", ["memory://", "sqlite"])
@pytest.mark.parametrize("retain", [None, 0])
async def test_a_log_whose_open_segment_is_empty_is_known(url: str, retain: int | None, tmp_path: Path):
    """Where each turn fills a segment, and retention removes it at once, nothing is recorded twice."""
    store = open_store(f"sqlite:///{tmp_path}/r.db" if url == "sqlite" else url)
    sm, host = manager(store, token_threshold=250, retain=retain), []
    for i in range(4):
        host += [user(f"question {i} " + "ships " * 150), said(f"answer {i} " + "harbour " * 150)]
        cold(sm)
        await Mirror(manager(store, token_threshold=250, retain=retain)).sync(host)
        again = await Mirror(manager(store, token_threshold=250, retain=retain)).sync(host)

        assert (again.recorded, again.forked) == (0, False)
    assert (await sm.get_stats()).total_messages == 8
    assert len(await sm.segments()) == 5


async def test_another_list_than_the_one_that_was_removed_is_a_fork(tmp_path: Path):
    """Where retention has left nothing to compare with, a list that was never recorded is not mixed in."""
    sm = manager(f"sqlite:///{tmp_path}/r.db", token_threshold=250, retain=0)
    await Mirror(sm).sync([user("question " + "ships " * 150), said("answer " + "harbour " * 150)])

    mirror = Mirror(cold(sm))
    synced = await mirror.sync([user("something else")])

    assert synced.forked
    assert await texts(mirror.sm) == ["something else"]


async def test_what_was_taken_back_is_not_compared(tmp_path: Path):
    """A message that was taken back, and that the host has dropped too, is no other history."""
    sm = manager(f"sqlite:///{tmp_path}/r.db")
    host = [user("one"), said("eins")]
    await Mirror(sm).sync([*host, user("two")])
    newest = (await sm.open_segment())[-1].seq
    await sm.take_back([newest], expect=newest)
    host.append(user("three"))
    first = await Mirror(cold(sm)).sync(host)
    await sm.segment()
    host.append(said("drei"))
    second = await Mirror(cold(sm)).sync(host)

    assert [(s.recorded, s.forked) for s in (first, second)] == [(1, False), (1, False)]
    assert await texts(second.sm) == ["one", "eins", "two", "three", "drei"]


async def trimmed(host, told, k, text):
    """The host's list with one message for its first `k`, and what that stands for."""
    return [user(text), *host[k:]], told.stand_in(k)


async def test_a_stand_in_is_known_also_when_it_is_trimmed_again():
    """A host that puts its own words for old messages goes on in the same log, however often it does so."""
    sm, host, whole = manager("memory://", token_threshold=250), [], []
    mirror, stood = Mirror(sm), None
    for i in range(20):
        new = [user(f"question {i} about the harbour"), said(f"answer {i} about its ships")]
        host, whole = [*host, *new], [*whole, *new]
        mirror = Mirror(cold(sm)) if i % 3 else mirror
        synced = await mirror.sync(host, stands_for=stood)
        shown = await mirror.view()
        own = [part for part in shown.parts if isinstance(part, int)]
        assert (synced.recorded, synced.forked, own[-1]) == (2, False, len(host) - 1)
        if i % 4 == 3:
            host, stood = await trimmed(host, mirror, 5, f"[what was said until {i}]")
            assert (await mirror.sync(host, stands_for=stood)).recorded == 0

    assert await texts(sm) == [message["content"] for message in whole]


async def test_a_stand_in_of_a_fork_is_known_there():
    """Trimmed in a fork, edited behind, and back in the first list: each goes on where it was."""
    sm = manager("memory://", session_id="a^b")
    host = [user("one"), said("eins"), user("two"), said("zwei")]
    mirror = Mirror(sm)
    await mirror.sync(host)
    await mirror.sync([*host[:2], user("other"), said("anders")])
    fork = mirror.sm.conversation_id
    short, stood = await trimmed([*host[:2], user("other"), said("anders")], mirror, 3, "[three messages]")

    again = Mirror(cold(sm))
    in_fork = await again.sync([*short, user("and?")], stands_for=stood)
    edited = await again.sync([*short, user("or?")], stands_for=stood)
    back = await again.sync([*host, user("three")])

    assert (in_fork.sm.conversation_id, in_fork.recorded, in_fork.forked) == (fork, 1, False)
    assert (edited.recorded, edited.forked) == (1, True)
    assert await texts(edited.sm) == ["one", "eins", "other", "anders", "or?"]
    assert (back.sm.conversation_id, back.recorded, back.forked) == ("a^b", 1, False)


CHAIN = "00" * 16


@pytest.mark.parametrize(
    "forged",
    [
        {},
        {"session_id": "s", "n": 2, "chain": CHAIN},
        {"session_id": "s", "n": 2, "chain": "no digest"},
        {"session_id": "s", "n": 10**12, "chain": CHAIN},
        {"session_id": "s", "n": -1, "chain": CHAIN},
        {"session_id": "s", "n": True, "chain": CHAIN},
        {"session_id": 7, "n": 2, "chain": CHAIN},
        {"session_id": "s", "n": [], "chain": None},
        {"session_id": "another", "n": 2, "chain": CHAIN},
        {"session_id": "s^0123456789abcdef", "n": 2, "chain": CHAIN},
        {"session_id": "s^" + "x" * 5000, "n": 2, "chain": CHAIN},
        {"session_id": "s^\x00~", "n": 2, "chain": CHAIN},
        {"session_id": "s^\ud800", "n": 2, "chain": CHAIN},
    ],
)
async def test_a_stand_in_that_was_made_up_is_an_ordinary_message(forged):
    """Whatever a client says that its first message stands for, it gets a log of what it sent."""
    sm = manager("memory://")
    await Mirror(sm).sync([user("one"), said("eins")])
    mirror = Mirror(cold(sm))
    await mirror.sync([user("[as I told you]"), user("go on")], stands_for=forged)

    assert await texts(mirror.sm) == ["[as I told you]", "go on"]


async def test_a_stand_in_of_another_owner_shows_nothing():
    """What is true of one owner's conversation is made up for another's of the same id."""
    store = open_store("memory://")
    anas, bens = Mirror(manager(store, owner="ana")), Mirror(manager(store, owner="ben"))
    await anas.sync([user("my secret"), said("is safe")])
    stood = anas.stand_in(2)
    await bens.sync([user("[all we said]"), user("tell me")], stands_for=stood)
    shown = await bens.view()

    assert await texts(bens.sm) == ["[all we said]", "tell me"]
    assert shown.parts == (0, 1)


@pytest.mark.parametrize("is_cold", [False, True])
async def test_a_stand_in_whose_log_was_erased_is_an_ordinary_message(is_cold):
    """A host that goes on after its fork was erased is answered, by what it still has."""
    sm = manager("memory://")
    mirror = Mirror(sm)
    await mirror.sync([user("one"), said("eins")])
    await mirror.sync([user("one"), said("uno")])
    stood = mirror.stand_in(2)
    await sm.store.erase(None, mirror.sm.conversation_id)
    mirror = Mirror(cold(sm)) if is_cold else mirror
    await mirror.sync([user("[what was said]"), user("go on")], stands_for=stood)

    assert await texts(mirror.sm) == ["[what was said]", "go on"]


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["say", "say", "tools", "tools", "guard", "edit", "cut", "again", "shorten"]),
        st.integers(0, 30),
        st.booleans(),
    ),
    min_size=1,
    max_size=14,
)


def kept(messages):
    """What a list must have in common with the log: all but the order of results, and their text."""
    known, results = [], []
    for message in messages:
        if message["role"] == "tool":
            results.append(message["tool_call_id"])
            continue
        ids = tuple(call["id"] for call in message.get("tool_calls") or ())
        known += [*sorted(results), (message["role"], message["content"], ids)]
        results = []
    return [*known, *sorted(results)]


async def logged(sm):
    events = await sm.read(include_all_segments=True)
    return kept([event.message.to_wire() for event in events if event.message is not None])


async def called(mirror, host, number, at, *, guarded):
    """A round of parallel calls, of ids that come back, whose results arrive in another order."""
    ids = [f"call_{i}" for i in range(1 + at % 3)]
    host = [*host, user(f"look {number}"), calling(*ids)]
    await mirror.sync(host[:-1])
    if guarded:
        await mirror.record(host[-1])
        for i in reversed(ids):
            await mirror.sm.tools.run(lambda a: f"seen {a}", "look", {"a": f"{number}-{i}"}, call_id=i)
    host += [result(i, f"seen {number}") for i in ids]
    return [*host, said(f"told {number}")] if at % 2 else host


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(OPERATIONS)
def test_the_log_holds_what_the_host_holds(operations):
    """Whatever a host does to its list, the mirror's conversation holds that list, to the last message."""

    async def run():
        sm, host = manager("memory://", token_threshold=200), [user("begin with the harbour")]
        mirror = Mirror(sm)
        for number, (kind, at, is_cold) in enumerate(operations):
            asked = [i for i, message in enumerate(host) if message["role"] == "user"]
            place = asked[at % len(asked)]
            if kind == "say":
                host = [*host, user(f"message {number} says a little"), said(f"and {number} is answered so")]
            elif kind in {"tools", "guard"}:
                host = await called(mirror, host, number, at, guarded=kind == "guard")
            elif kind == "edit":
                host = [*host[:place], user(f"edited in step {number}"), *host[place + 1 :]]
            elif kind == "cut":
                host = host[: place + 1]
            elif kind == "shorten":
                host = [{**m, "content": "[cleared]"} if m["role"] == "tool" else m for m in host]
            if is_cold:
                mirror = Mirror(cold(sm))
            await mirror.sync(host)
            again = await mirror.sync(host)
            shown = await mirror.view()

            assert await logged(mirror.sm) == kept(host)
            assert (again.recorded, again.forked) == (0, False)
            places = [part for part in shown.parts if isinstance(part, int)]
            assert sorted(set(places)) == sorted(places)
            pairs = zip(shown.parts, shown.context.messages, strict=True)
            assert all(kept([host[part]]) == kept([wire]) for part, wire in pairs if isinstance(part, int))

    asyncio.run(run())

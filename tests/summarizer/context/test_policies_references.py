"""Results that `sm.tools` bound are named by their `$vN` once they are shown in part, and named once."""

from dataclasses import replace

import pytest

from summarizer import SessionManager
from summarizer.context.policies import ClearToolResults, Offload, view_of
from summarizer.context.policies.references import references_in
from summarizer.events import EventKind
from tests.summarizer.histories import answering, calling, count, event, events_of, user

RIVERS = "The Elbe is 12 metres deep at Hamburg.\n" * 100


async def looked_up(sm, city, result):
    """A guarded call, as a host makes it."""
    key = f"call_{city}"
    await sm.user_says(f"What of {city}?")
    await sm.record(calling(key))
    await sm.tools.run(lambda **_: result, "look_up", {"city": city}, call_id=key)
    await sm.ai_responds("It is deep.")


async def tool_texts(sm, policies):
    return [m["content"] for m in await sm.get_messages_for_llm(policies=policies) if m["role"] == "tool"]


async def test_a_preview_and_a_cleared_line_name_the_binding():
    """What the guard bound is `$v1`, what it did not is its event; a template says `{ref}`."""
    async with SessionManager(store="memory://") as sm:
        await looked_up(sm, "Hamburg", RIVERS)
        await sm.tool_used("look_up", {"city": "Hull"}, RIVERS)
        await sm.ai_responds("It is deep.")
        seqs = [row["seq"] for row in await sm.get_conversation() if row["role"] == "tool"]

        bound, plain = await tool_texts(sm, Offload(over=100, characters=80))
        assert "recorded in full as $v1.]" in bound
        assert f"recorded in full as event {seqs[1]}.]" in plain
        await sm.user_says("And then?")
        await sm.ai_responds("It rains.")
        bound, plain = await tool_texts(sm, ClearToolResults(keep=1, batch=1))
        assert "recorded as $v1." in bound
        assert plain == RIVERS
        template = {"look_up": "Look at {ref} for {city}."}
        bound, _ = await tool_texts(sm, ClearToolResults(keep=1, batch=1, templates=template))
        assert bound == "Look at $v1 for Oslo."
        assert (await sm.tools.open()).resolve({"it": "$v1"}).arguments == {"it": RIVERS}


async def test_a_name_that_the_text_shows_is_not_said_twice():
    """Where the guard itself names the result below it, the preview names the event."""
    async with SessionManager(store="memory://") as sm:
        sm.tools.configure(name_results=True)
        await looked_up(sm, "Hamburg", RIVERS)
        shown = (await tool_texts(sm, Offload(over=100, characters=400)))[0]

        assert shown.count("$v1") == 1
        assert "recorded in full as event " in shown


async def test_previews_of_the_guard_itself_stay_as_they_are():
    """A result that the guard offloaded names its `$vN` and is small: the policy has nothing to do."""
    async with SessionManager(store="memory://") as sm:
        sm.tools.configure(offload_tokens=200)
        await looked_up(sm, "Hamburg", RIVERS)
        before = await tool_texts(sm, [])
        after = await tool_texts(sm, Offload(over=600))

        assert "$v1" in before[0]
        assert after == before


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"facts": None},
        {"facts": [None, 3, {"fact": "finished"}]},
        {"facts": [{"record": {"call_id": "a", "outcome": "ok", "binding": None}}]},
        {"facts": [{"record": {"call_id": "a", "outcome": "error", "binding": "v1"}}]},
        {"facts": [{"record": {"call_id": "b", "outcome": "ok", "binding": "v1"}}]},
    ],
)
def test_records_that_bind_nothing_name_nothing(data):
    """Refused and failed calls, calls without a result here, and shapes of another version give no name."""
    log = events_of([user(), calling("a"), answering("a")])
    record = replace(event(4, None), kind=EventKind.GUARD, data=data)

    assert references_in([*log, record]) == {}
    assert view_of([*log, record], count).references == {}


def test_an_id_that_is_used_again_names_its_own_result():
    """Of two results under one id, each has the name that was written behind it."""
    log = events_of([user(), calling("a"), answering("a"), None, calling("a"), answering("a"), None])
    bound = [{"call_id": "a", "outcome": "ok", "binding": f"v{n}"} for n in (1, 2)]
    for at, record in zip((3, 6), bound, strict=True):
        log[at] = replace(log[at], kind=EventKind.GUARD, data={"facts": [{"record": record}]})

    assert references_in(log) == {3: "$v1", 6: "$v2"}

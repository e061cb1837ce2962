"""Does the cache work? An alarm where it does not, and none where nothing is wrong."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.economy import cache_rule
from summarizer.economy.cache_health import MISSES, MOST_CALLS, Call, calls_of, health_of
from summarizer.events import Event, EventKind, Origin
from summarizer.messages import Message
from summarizer.meter import Usage

AT = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
AUTOMATIC = "gpt-4o-mini"
MARKED = "anthropic/claude-sonnet-4-5"
UNLISTED = "openai/my-own-model"
PROMPT = 3000
GROWTH = 400


def talk(
    reads,
    *,
    model=AUTOMATIC,
    created=None,
    pause=30,
    prompt=PROMPT,
    growth=GROWTH,
    grown=GROWTH,
    blocks=2,
    changes=(),
    size=True,
):
    """Calls of a conversation that grows by so much; `reads` are shares of the call before, or figures."""
    calls = []
    for i, share in enumerate(reads):
        whole = prompt + i * growth
        before = prompt + max(0, i - 1) * growth
        read = None if share is None else int(share * before) // 128 * 128
        usage = Usage(whole, 50, read, whole - (read or 0) if created else created)
        changed = frozenset(changes[i]) if i < len(changes) else frozenset()
        at = AT + timedelta(seconds=i * pause)
        known = prompt + i * grown if size else None
        calls.append(Call(at, model, usage, i * grown, known, blocks, changed))
    return calls


def status(calls, **options):
    health = health_of(calls, **options)
    return health.status, health.likely_cause


def alarms(calls, **options):
    """After which calls it is called a collapse."""
    return [i for i in range(len(calls)) if health_of(calls[: i + 1], **options).status == "collapsed"]


def test_no_calls_no_judgement():
    """An empty conversation is unknown, not well."""
    assert status([]) == ("unknown", "no_calls")


def test_a_cache_that_works_is_ok():
    """What the call before left there is read, but for a step and the newest turn."""
    health = health_of(talk([0, 1, 1, 1]))

    assert (health.status, health.likely_cause, health.misses) == ("ok", None, 0)
    assert health.expected_tokens == PROMPT + 2 * GROWTH
    assert health.reported_tokens is not None


@pytest.mark.parametrize("model", [AUTOMATIC, "azure/gpt-4o", "gpt-4.1"])
def test_a_clock_in_the_prompt_is_found_from_the_first_calls_on(model):
    """Nothing of ours changed, nothing is read: something outside changes the prefix."""
    calls = talk([0] * 8, model=model)

    assert status(calls) == ("collapsed", "prefix_changed_outside")
    assert alarms(calls) == list(range(MISSES, 8))


def test_a_clock_is_found_where_caches_are_marked():
    """Each call writes its whole prompt, and none is read."""
    assert status(talk([0] * 5, model=MARKED, created=True)) == ("collapsed", "prefix_changed_outside")


def test_a_cache_that_stops_working_is_found():
    """A host that begins to insert something: three misses after any number of hits."""
    calls = talk([0, 1, 1, 1, 0, 0, 0])

    assert alarms(calls) == [6]
    assert health_of(calls).misses == MISSES


def test_a_part_that_is_still_read_tells_where_the_prefix_changes():
    """The system prompt is read, the rest never is: a collapse, and a figure that says how far it holds."""
    calls = [
        Call(AT + timedelta(seconds=i), AUTOMATIC, Usage(9000 + 300 * i, 9, 1024 if i else 0), 300 * i)
        for i in range(6)
    ]
    health = health_of(calls)

    assert (health.status, health.reported_tokens) == ("collapsed", 1024)


def test_one_miss_is_no_collapse():
    """Providers promise no hit: a miss now and then is theirs."""
    calls = talk([0, 1, 0, 1, 0, 0, 1])

    assert alarms(calls) == []
    assert status(calls[:6]) == ("cold", "missed")


@pytest.mark.parametrize("cause", ["settings_changed", "tools_changed", "view_changed"])
def test_a_change_of_the_hosts_is_cold_once_and_a_collapse_each_time(cause):
    """One change costs one call; a change at each call is what is wrong."""
    once = talk([0, 1, 0, 1], changes=[(), (), (cause,), ()])
    always = talk([0] * 6, changes=[(), *[(cause,)] * 5])

    assert status(once[:3]) == ("cold", cause)
    assert alarms(once) == []
    assert status(always) == ("collapsed", cause)


def test_wide_rounds_beyond_the_look_back_are_named():
    """Where marks are set and more blocks come between two calls than are looked at."""
    calls = talk([0] * 5, model=MARKED, created=True, blocks=60)

    assert status(calls) == ("collapsed", "lookback_exceeded")


# No false alarm


def test_the_first_call_is_cold():
    """Nothing can be read before something was written."""
    assert status(talk([0])) == ("cold", "first_call")


def test_a_segmentation_makes_one_cold_call():
    """The prefix is new behind the system prompt; and the next call reads again."""
    calls = talk([0, 1, 0, 1, 0, 1], changes=[(), (), ("segmented",), (), ("segmented",), ()])

    assert status(calls[:3]) == ("cold", "segmented")
    assert alarms(calls) == []


def test_a_segmentation_at_every_call_is_no_alarm():
    """It is the policy's choice, and stands in the log."""
    assert alarms(talk([0] * 8, changes=[("segmented",)] * 8)) == []


def test_idle_gaps_are_cold():
    """Later than the cache's life, whoever does that; with a longer life it is none."""
    calls = talk([0] * 8, pause=600)

    assert status(calls) == ("cold", "idle")
    assert alarms(calls) == []
    assert alarms(calls, lifetime_s=3600) != []


def test_prompts_below_the_minimum_are_not_cached():
    """1,024 tokens with OpenAI."""
    assert status(talk([0] * 8, prompt=200, growth=50, grown=50)) == ("cold", "below_minimum")


def test_a_provider_that_reports_nothing_is_unknown():
    """Unknown is no zero."""
    calls = talk([None] * 8)

    assert status(calls) == ("unknown", "not_reported")
    assert health_of(calls).reported_tokens is None


@pytest.mark.parametrize("model", [MARKED, UNLISTED, None, "anthropic.claude-sonnet-4-5-20250929-v1:0"])
def test_a_model_that_does_not_cache_by_itself_is_unknown(model):
    """Claude without marks, a server of one's own: they report 0, and nothing is wrong."""
    calls = talk([0] * 8, model=model, created=0)

    assert status(calls) == ("unknown", "not_cached")
    assert alarms(calls) == []


def test_a_server_that_was_seen_to_cache_is_judged():
    """What read once can collapse."""
    assert status(talk([0, 1, 0, 0, 0], model=UNLISTED)) == ("collapsed", "prefix_changed_outside")


def test_only_the_system_prompt_marked_is_enough():
    """A host with marks of its own is held to what it had written, not to the whole prompt."""
    calls = [
        Call(AT + timedelta(seconds=i), MARKED, Usage(9000 + i, 9, 2000 if i else 0, 0 if i else 2000), i)
        for i in range(6)
    ]

    assert alarms(calls) == []
    assert health_of(calls).status == "ok"


def test_another_context_than_ours_is_unknown():
    """A host that sends the last message alone, a summary of its own, or documents of its own."""
    steady = talk([0] * 12, growth=0, grown=300)
    short = talk([0] * 8, prompt=1500, growth=0, grown=2000)

    assert status(steady) == ("unknown", "other_context")
    assert status(short) == ("unknown", "other_context")
    assert alarms(steady) == []


def test_a_window_that_slides_outside_is_unknown():
    """The prompt gets shorter while the conversation grows: not what we sent."""
    calls = [
        Call(AT + timedelta(seconds=i), AUTOMATIC, Usage(6000 - 300 * (i % 2), 9, 0), 400 * i, 6000)
        for i in range(9)
    ]

    assert alarms(calls) == []


def test_two_models_in_turn_each_have_a_cache():
    """A call is held to the last one of its own model."""
    calls = [
        Call(
            AT + timedelta(seconds=i),
            model,
            Usage(3000 + 400 * i, 9, 2900 + 400 * (i - 2) if i > 1 else 0),
            400 * i,
        )
        for i, model in enumerate([AUTOMATIC, "gpt-4o"] * 4)
    ]

    assert alarms(calls) == []
    assert status(calls[:2]) == ("cold", "model_changed")
    assert status(calls) == ("ok", None)


@given(
    st.lists(
        st.tuples(
            st.integers(20, 2000),
            st.integers(1, 4000),
            st.sampled_from(["", "", "", "segmented", "view_changed", "settings_changed"]),
        ),
        max_size=24,
    ),
    st.sampled_from([AUTOMATIC, MARKED, "gemini/gemini-2.5-flash", "deepseek/deepseek-chat"]),
    st.integers(0, 6000),
)
def test_a_cache_that_keeps_the_rules_never_alarms(turns, model, fixed):
    """Simulated: it reads what stands, in steps of 128, unless something changed or it expired."""
    at, content, kept, calls = AT, 0, 0, []
    marked, rule = model == MARKED, cache_rule(model)
    for growth, pause, change in turns:
        at += timedelta(seconds=pause)
        content += growth
        if change == "segmented":
            content //= 4
        prompt = fixed + content
        warm = pause <= rule.lifetime_s and not change
        read = min(kept, prompt) // 128 * 128 if warm else 0
        read = read if read >= rule.minimum_tokens else 0
        created = (prompt - read if prompt >= rule.minimum_tokens else 0) if marked else None
        usage = Usage(prompt, 20, read, created)
        calls.append(Call(at, model, usage, content, prompt, 2, frozenset({change} - {""})))
        kept = prompt

        health = health_of(calls[-MOST_CALLS:])
        assert health.status != "collapsed" or health.likely_cause in ("view_changed", "settings_changed")


@given(st.lists(st.sampled_from([0.0, 0.2, 1.0]), max_size=20))
def test_a_collapse_begins_once(shares):
    """`misses` counts on from three: the first call that says three is the onset."""
    calls = talk([0, *shares])
    found = [health_of(calls[: i + 1]) for i in range(len(calls))]

    for before, after in pairwise(found):
        if after.status == "collapsed":
            assert after.misses == before.misses + 1


# From the log


def answer(seq, at, *, model=AUTOMATIC, calls=0, **usage):
    wire = {"role": "assistant", "content": "Yes."}
    if calls:
        function = {"name": "look", "arguments": "{}"}
        wire["tool_calls"] = [
            {"id": f"c{seq}{i}", "type": "function", "function": function} for i in range(calls)
        ]
    report = {"raw": usage.pop("raw", 900), "tools": usage.pop("tools", 0)}
    data = {"usage": usage, "model": model, "report": report}
    return Event(
        EventKind.MESSAGE, f"e{seq}", at, Origin.ASSISTANT, 10, Message.from_wire(wire), data, seq, seq * 10
    )


def record(seq, kind, **data):
    return Event(kind, f"e{seq}", AT, Origin.SYSTEM, 0, None, data, seq, seq * 10)


def asked(seq):
    return Event(
        EventKind.MESSAGE, f"e{seq}", AT, Origin.USER, 10, Message("user", "And?"), {}, seq, seq * 10
    )


def test_calls_are_read_from_the_log():
    """Usage, model and time of each answer; what changed, and how many blocks came, since the one before."""
    prompt = {"settings": {"system_prompt": "Be brief."}}
    events = [
        asked(1),
        answer(2, AT, calls=3, input_tokens=100, cache_read_tokens=0),
        asked(3),
        record(4, EventKind.SETTINGS, **prompt),
        answer(5, AT + timedelta(seconds=9), input_tokens=200, cache_read_tokens=64, raw=70, tools=40),
        record(6, EventKind.SETTINGS, **prompt),
        record(7, EventKind.SEGMENTED),
        answer(8, AT + timedelta(seconds=19), model="m", input_tokens=20, tools=40),
    ]
    first, second, third = calls_of(events)

    assert (first.content, first.size, first.blocks, first.changes) == (10, 900, 1, frozenset())
    assert (second.blocks, second.changes) == (5, {"settings_changed", "tools_changed"})
    assert (second.usage, second.size) == (Usage(200, None, 64), 70)
    assert (third.model, third.changes) == ("m", {"segmented"})
    assert calls_of(events, 1)[0].at == third.at
    assert calls_of([]) == ()

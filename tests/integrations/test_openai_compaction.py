"""A session of the OpenAI Agents SDK under limits: what it shows, what it reads, what it never loses."""

import logging
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.integrations.openai_agents import LocalCompactionSession, TiktokenCounter
from tests.integrations.openai_histories import (
    PAIRS,
    PNG,
    Item,
    ListSession,
    call,
    check_view,
    histories,
    is_pin,
    output,
    quarter,
    reasoning,
    said,
    shown,
    talk,
    user,
    weight,
)
from tests.integrations.runtimes import version_of

ROOT = Path(__file__).parent.parent.parent


@given(histories(), st.integers(1, 40) | st.none(), st.integers(5, 600) | st.none())
async def test_a_view_obeys_the_laws(items: list[Item], window: int | None, budget: int | None) -> None:
    """Contiguous, whole units, opening at a user's message, within both limits but for the newest turn."""
    view = await shown(items, window_size=window, token_budget=budget)

    fits = (window is None or len(items) <= window) and (budget is None or weight(items) <= budget)
    if fits:
        assert view == items
    else:
        check_view(view, items, window, budget)


@given(histories(), st.integers(1, 30), st.integers(1, 30))
async def test_a_limit_is_a_window(items: list[Item], window: int, limit: int) -> None:
    """`get_items(limit)` shows what a window of min(window, limit) shows."""
    asked = await shown(items, limit, window_size=window)

    assert asked == await shown(items, window_size=min(window, limit))
    assert await shown(items, limit) == await shown(items, window_size=limit)


@given(histories(), st.integers(1, 12), st.sampled_from([0, 1, 4]))
async def test_a_view_does_not_depend_on_how_far_was_read(items: list[Item], window: int, reach: int) -> None:
    """Where nothing is pinned, a short look back gives the same view as a look at everything."""
    plain = [item for item in items if not is_pin(item)]
    near = await shown(plain, window_size=window, pin_reach=reach)

    assert near == await shown(plain, window_size=window, pin_reach=None)


@pytest.mark.parametrize("window", range(2, 101))
async def test_every_window_of_a_talk_with_tools_is_contiguous(window: int) -> None:
    """No window leaves a hole or opens at an answer, as windows of single items do."""
    items = talk(60, steps=2)

    check_view(await shown(items, window_size=window), items, window, None)


async def test_a_budget_leaves_no_hole() -> None:
    """A long answer that does not fit ends the view; nothing older is shown without it."""
    items = [user("1"), said("r1"), user("2"), said("x" * 4000), user("3"), said("r3")]

    assert await shown(items, token_budget=200) == items[4:]


async def test_the_newest_turn_is_shown_even_if_it_is_over() -> None:
    """One oversized turn comes whole and alone, never an empty history or a part of it."""
    items = [user("1"), said("r"), user("2"), call("a"), output("a", text="y" * 4000)]

    assert await shown(items, window_size=1) == items[2:]
    assert await shown(items, token_budget=20) == items[2:]


@pytest.mark.parametrize("kind", PAIRS)
async def test_no_kind_of_call_is_parted_from_its_output(kind: str) -> None:
    """For every kind the view holds call and output, or neither."""
    items = [user("0"), call("k", kind), output("k", kind), said("r"), user("1"), said("r")]

    for window in range(1, 8):
        view = await shown(items, window_size=window)
        assert (items[1] in view) == (items[2] in view)


async def test_ids_used_again_are_no_trouble() -> None:
    """A call id of every turn, as local models give them, leaves no output without its call."""
    items = [x for t in range(3) for x in (user(str(t)), call("call_0"), output("call_0"), said("r"))]

    for window in range(1, 13):
        check_view(await shown(items, window_size=window), items, window, None)


async def test_orphans_are_not_shown() -> None:
    """An output of no call, and a call of an earlier turn that nothing answered, with its reasoning."""
    items = [output("x"), user("1"), reasoning("1"), call("lost"), user("2"), call("pending")]

    assert await shown(items) == [user("1"), user("2"), call("pending")]


async def test_a_pending_call_is_shown() -> None:
    """A run that waits for an approval finds its open call at the end of what it asks for."""
    items = [*talk(3), user("go"), call("pending")]

    assert await shown(items, 1) == items[-2:]
    assert (await shown(items, window_size=3))[-1] == call("pending")


@pytest.mark.parametrize(
    "pin",
    [{"type": "compaction", "id": "c", "encrypted_content": "E" * 160}, {"role": "system", "content": "s"}],
)
async def test_a_summary_at_the_head_is_pinned_and_counted(pin: Item) -> None:
    """A compaction item or system message stays in front, and takes room like everything else."""
    items = [pin, *talk(10)]

    view = await shown(items, window_size=9)

    assert view == [pin, *items[-8:]]
    assert await shown(items, window_size=8) == [pin, *items[-4:]]
    assert (await shown(items, token_budget=weight(view)))[0] == pin
    assert len(await shown(items, token_budget=weight(view) - 1)) == 5


async def test_a_pin_is_looked_for_as_far_as_it_is_said() -> None:
    """Beyond `pin_reach` a head is not seen; with `None` the whole history is read for it."""
    items = [{"role": "system", "content": "s"}, *talk(100)]

    assert (await shown(items, window_size=4))[0]["role"] == "user"
    assert (await shown(items, window_size=4, pin_reach=401))[0]["role"] == "system"
    assert (await shown(items, window_size=4, pin_reach=None))[0]["role"] == "system"


async def test_an_image_takes_its_share_of_the_budget() -> None:
    """What is not text is counted, so that a budget of 100 tokens does not let 400,000 characters through."""
    picture = {"role": "user", "content": [{"type": "input_image", "image_url": PNG}]}
    blob = {"type": "custom_tool_call_output", "call_id": "k", "output": "w " * 200_000}
    items = [user("q"), call("k", "custom_tool_call"), blob, picture, said("r"), user("now"), said("ok")]

    assert await shown(items, token_budget=100) == items[-2:]


async def test_control_strings_are_text() -> None:
    """A text with a tokenizer's control string is counted like any other."""
    items = [user("what does <|endoftext|> do"), said("it ends")]

    assert await shown(items, token_budget=500, token_counter=TiktokenCounter("cl100k_base")) == items


@pytest.mark.parametrize("answer", [ValueError("no"), -3, None, "many"])
async def test_a_counter_that_fails_costs_no_turn(answer: object, caplog: pytest.LogCaptureFixture) -> None:
    """Its texts are estimated, and one line says so."""

    def broken(text: str) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    view = await shown(talk(50), token_budget=200, token_counter=broken)

    assert view == await shown(talk(50), token_budget=200)
    assert [record.getMessage() for record in caplog.records if record.levelno > 20] == [
        "tokens.counter_failed"
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"window_size": -1},
        {"window_size": 2.5},
        {"window_size": True},
        {"token_budget": 0},
        {"token_budget": -5},
        {"token_budget": quarter},
        {"token_budget": 10, "token_counter": None},
        {"token_counter": 7},
        {"pin_reach": -1},
        {"policy": object()},
        {"archive": ListSession()},
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    """ValueError, at once."""
    with pytest.raises(ValueError, match=next(iter(settings))):
        LocalCompactionSession(ListSession(), **settings)


async def test_a_window_of_nothing_shows_nothing() -> None:
    """`window_size=0` and a limit of 0 or less give an empty history, and read nothing."""
    inner = ListSession(talk(3))

    assert await LocalCompactionSession(inner, window_size=0).get_items() == []
    assert await LocalCompactionSession(inner).get_items(0) == []
    assert await LocalCompactionSession(inner).get_items(-1) == []
    assert inner.reads == []


async def test_a_window_holds_for_what_was_stored_before() -> None:
    """Nothing is stored shortened: another window shows another history."""
    inner = ListSession(talk(20))

    assert len(await LocalCompactionSession(inner, window_size=8).get_items()) == 8
    assert len(await LocalCompactionSession(inner, window_size=40).get_items()) == 40
    assert len(inner.items) == 80


@pytest.mark.parametrize(
    "settings", [{"window_size": 60}, {"token_budget": 2000}, {"window_size": 9, "pin_reach": 0}]
)
async def test_reads_do_not_grow_with_the_history(settings: dict[str, Any]) -> None:
    """As many items are read of a history of 40,000 as of one of 1,600."""
    short, long = ListSession(talk(400)), ListSession(talk(10_000))

    for _ in range(3):
        await LocalCompactionSession(short, **settings).get_items()
        await LocalCompactionSession(long, **settings).get_items()

    assert long.items_read == short.items_read < 2000


async def test_a_session_that_ignores_limit_is_said_to_once(caplog: pytest.LogCaptureFixture) -> None:
    """The view is right all the same; one warning names the session's class."""
    inner = ListSession(talk(100), heeds_limit=False)
    session = LocalCompactionSession(inner, window_size=8)

    views = [await session.get_items() for _ in range(3)]

    assert views == [inner.items[-8:]] * 3
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == [
        "session.limit_ignored"
    ]


async def test_rows_that_a_session_skips_do_not_end_the_history() -> None:
    """A session that gives a little less than it was asked for is read on."""

    class Skipping(ListSession):
        async def get_items(self, limit: int | None = None) -> list[Item]:
            return [item for item in await super().get_items(limit) if item.get("content") != "answer"]

    items = [x for t in range(200) for x in (user(f"q{t}"), user("answer") if t % 50 == 49 else said("r"))]
    view = await LocalCompactionSession(Skipping(items), window_size=126).get_items()

    assert len(view) == 126


async def test_one_event_tells_of_a_compaction(caplog: pytest.LogCaptureFixture) -> None:
    """INFO, with items and tokens before and after and the limit at work; no texts; nothing when all fits."""
    caplog.set_level(logging.DEBUG, "summarizer")

    await shown(talk(5), window_size=20)
    await shown(talk(5), window_size=8)
    await shown(talk(5), token_budget=60)
    await shown(talk(5), window_size=3, token_counter=None)

    (window, budget, soft) = caplog.records
    assert (window.items_before, window.items_after, window.limiting_factor) == (20, 8, "window_size")
    assert (window.tokens_before, window.tokens_after) == (weight(talk(5)), weight(talk(5)[-8:]))
    assert (budget.limiting_factor, budget.levelname) == ("token_budget", "INFO")
    assert (soft.limiting_factor, soft.tokens_before) == ("soft_limit", None)
    assert window.getMessage().startswith("history.compacted session=s1 items=20->8 tokens=")
    assert "question" not in caplog.text
    assert "result" not in caplog.text


def test_the_settings_can_be_read() -> None:
    """`get_compaction_config()` and the repr name them."""
    session = LocalCompactionSession(ListSession(), 8, 100, TiktokenCounter())

    assert session.get_compaction_config() == {
        "session_id": "s1",
        "window_size": 8,
        "token_budget": 100,
        "token_counter_type": "TiktokenCounter",
    }
    assert repr(session) == "LocalCompactionSession(session_id='s1', window_size=8, token_budget=100)"


async def test_what_the_wrapped_session_is_shows_through() -> None:
    """Its id and settings, read and set; its `run_compaction`, if any; no private way past the view."""

    class Aware(ListSession):
        _ignore_ids_for_matching = True

        async def run_compaction(self, args: object = None) -> str:
            return f"ran {args}"

        async def _get_items_with_generation(self) -> None: ...

    inner = Aware(talk(10))
    session = LocalCompactionSession(inner, window_size=20)
    session.session_id = "other"
    session.session_settings = SimpleNamespace(limit=8)

    assert (inner.session_id, session.session_id) == ("other", "other")
    assert await session.get_items() == inner.items[-8:]
    assert await session.get_items(12) == inner.items[-12:]
    assert await session.run_compaction(3) == "ran 3"
    assert getattr(session, "_ignore_ids_for_matching", None) is True
    assert not hasattr(session, "_get_items_with_generation")
    assert not hasattr(LocalCompactionSession(ListSession()), "run_compaction")


async def test_the_run_context_reaches_a_session_that_takes_it() -> None:
    """`wrapper` is passed on by all four methods, and only to a session whose four methods take it."""

    class Contextual:
        session_id = "s1"

        def __init__(self) -> None:
            self.seen: list[object] = []

        async def get_items(self, limit: int | None = None, *, wrapper: object = None) -> list[Item]:
            self.seen.append(wrapper)
            return []

        async def add_items(self, items: list[Item], *, wrapper: object = None) -> None:
            self.seen.append(wrapper)

        async def pop_item(self, *, wrapper: object = None) -> None:
            self.seen.append(wrapper)

        async def clear_session(self, *, wrapper: object = None) -> None:
            self.seen.append(wrapper)

    inner = Contextual()
    for session in (LocalCompactionSession(inner, 5), LocalCompactionSession(ListSession(), 5)):
        await session.get_items(wrapper="run")
        await session.add_items([], wrapper="run")
        await session.pop_item(wrapper="run")
        await session.clear_session(wrapper="run")

    assert inner.seen == ["run"] * 4


def test_the_sdk_is_not_imported() -> None:
    """The sessions and policies work where the SDK is not installed."""
    code = (
        "import sys; sys.modules['agents'] = None\n"
        "import asyncio\n"
        "from summarizer.integrations.openai_agents import LocalCompactionSession\n"
        "from summarizer.integrations.openai_agents.policies import SummaryPolicy\n"
        "from tests.integrations.openai_histories import ListSession, talk\n"
        "policy = SummaryPolicy('extractive', keep_turns=1)\n"
        "session = LocalCompactionSession(ListSession(talk(9)), 8, policy=policy)\n"
        "print(len(asyncio.run(session.get_items())))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("5\n", "")


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It shows a bounded session, the notes of a policy, and a stored history that stays short."""
    if version_of("openai-agents") is None:
        pytest.skip("not installed: openai-agents")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "examples" / "openai_agents_compaction.py"), run_name="__main__")

    assert "items stored" in capsys.readouterr().out

"""Replay: law 21, whatever the order of reads and writes, and the bounds of what is kept."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from guards import ToolGuard
from guards.cache import ResultCache
from guards.calls import Outcome, PendingCall
from guards.epochs import Epochs
from guards.tools import ToolSpec
from guards.wording import Wording
from tests.guards.calls import Clock, finished, pending

READ = ToolSpec("read", read_only=True)


def filled(
    result: Any = "one", clock: Clock | None = None, **settings: Any
) -> tuple[ResultCache, PendingCall]:
    """A cache that holds the result of one read, and the call again."""
    cache, call = ResultCache(clock=clock or Clock(), **settings), pending(call_id="first")
    cache.put(finished(call, result, binding="v4"), epoch=0)
    return cache, pending(call_id="second")


def test_an_equal_read_is_answered_from_the_cache() -> None:
    """The result, its call and its age come back, and the sentence says them."""
    clock = Clock()
    cache, again = filled({"n": 1}, clock)
    clock.move(12)

    cached = cache.find(again, READ, Epochs())

    assert cached is not None
    assert (cached.call_id, cached.binding, cached.age_s, cached.result) == ("first", "v4", 12.0, {"n": 1})
    assert cached.message(Wording()).startswith("Already called: this is the result of call 4, 12 s ago.")


@pytest.mark.parametrize(
    ("spec", "replayed"),
    [
        (ToolSpec("read"), False),
        (ToolSpec("read", read_only=False), False),
        (ToolSpec("read", idempotent=True), True),
        (ToolSpec("read", replay=True), True),
        (ToolSpec("read", read_only=True, replay=False), False),
        (ToolSpec("read", read_only=True, ttl_s=0), False),
    ],
)
def test_only_a_tool_that_may_be_replayed_is(spec: ToolSpec, replayed: bool) -> None:
    """Unknown nature is no licence; the spec's own word beats its flags."""
    cache, again = filled()

    assert replayed == (cache.find(again, spec, Epochs()) is not None)


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.OK])
def test_only_a_good_result_is_kept(outcome: Outcome) -> None:
    """Errors, timeouts, refusals and replays leave nothing to replay."""
    cache, call = ResultCache(clock=Clock()), pending()

    cache.put(finished(call, "x", outcome=outcome), epoch=0)

    assert cache.find(call, READ, Epochs()) is None


def test_other_arguments_and_other_scopes_are_other_questions() -> None:
    """Neither an unequal argument nor a scope that has changed is answered."""
    cache, _ = filled()

    assert cache.find(pending(arguments={"a": 1}), READ, Epochs()) is None
    assert cache.find(pending(scope="orders"), READ, Epochs()) is None


def test_a_result_expires_and_a_clock_that_jumps_back_does_not_make_it_younger() -> None:
    """At its time to live a result is gone, and after a jump back its age is unknown, so it is gone too."""
    clock = Clock()
    cache, again = filled("x", clock, ttl_s=60)
    clock.move(59)
    fresh = cache.find(again, READ, Epochs())
    clock.move(-30)
    jumped = cache.find(again, READ, Epochs())
    expiring, again = filled("x", clock, ttl_s=60)
    clock.now = again.started_at + timedelta(seconds=60)

    assert fresh is not None
    assert jumped is None
    assert expiring.find(again, READ, Epochs()) is None


def test_a_result_from_the_future_is_not_replayed() -> None:
    """Another worker's clock that runs ahead makes an entry expired, not young."""
    clock = Clock()
    cache, again = filled("x", clock)
    clock.move(-1)

    assert ResultCache.restore(cache.snapshot(), clock=clock).find(again, READ, Epochs()) is None


def test_a_replay_names_no_binding_that_was_cleared() -> None:
    """The result comes back, without a reference that would not resolve."""
    guard = ToolGuard([READ], clock=Clock())
    guard.record("read", {}, result="one")
    guard.reset_for_new_prompt("go", keep_bindings=False)

    verdict = guard.before_call("read", {})

    assert (verdict.replayed, verdict.result, verdict.reference) == ("unnamed_1", "one", None)


@pytest.mark.parametrize(
    "result",
    [{"status": "running"}, {"error": "503 Service Unavailable, retry later"}, "Error: no such host", "202"],
)
def test_a_status_tool_that_is_not_done_is_asked_again(result: Any) -> None:
    """An answer that says it failed, or that work goes on, is kept no longer than the one before it."""
    cache, again = filled({"status": "done"})
    cache.put(finished(again, result), epoch=0)

    assert cache.find(again, READ, Epochs()) is None
    assert frozenset() == cache.withdrawn
    cache.put(finished(again, {"status": "done"}), epoch=0)
    assert cache.find(again, READ, Epochs()) is not None


@pytest.mark.parametrize(("ttl_s", "after_s"), [(None, 3600), (60, 60)])
def test_a_new_answer_after_the_time_to_live_keeps_the_licence(ttl_s: float | None, after_s: float) -> None:
    """What has expired may have changed; the new answer is kept."""
    clock = Clock()
    cache, _ = filled("one", clock)
    clock.move(after_s)
    later = pending(call_id="second", started_at=clock.now)
    cache.put(finished(later, "two"), 0, ttl_s)

    cached = cache.find(later, READ, Epochs())

    assert cached is not None
    assert ("two", frozenset()) == (cached.result, cache.withdrawn)


def test_a_different_answer_to_the_same_question_withdraws_the_licence() -> None:
    """The tool's results go, all of them, and stay away after a restart."""
    cache, again = filled("one")
    other = pending(arguments={"a": 1})
    cache.put(finished(other, "x"), epoch=0)
    cache.put(finished(again, "two"), epoch=0)
    cache.put(finished(again, "two"), epoch=0)
    restored = ResultCache.restore(json.loads(json.dumps(cache.snapshot())), clock=Clock())

    assert frozenset({"read"}) == cache.withdrawn == restored.withdrawn
    assert [cache.find(call, READ, Epochs()) for call in (again, other)] == [None, None]
    assert len(cache) == len(restored) == 0


@pytest.mark.parametrize(("first", "second"), [(1, 1.0), ({"a": 1, "b": 2}, {"b": 2, "a": 1})])
def test_the_same_value_in_another_spelling_keeps_the_licence(first: Any, second: Any) -> None:
    """Results are compared as values, not as text."""
    cache, again = filled(first)
    cache.put(finished(again, second), epoch=0)

    assert frozenset() == cache.withdrawn


def test_a_new_answer_after_a_write_is_no_reason_to_withdraw() -> None:
    """At another epoch another result is what one expects."""
    cache, again = filled("one")
    cache.put(finished(again, "two"), epoch=1)

    assert frozenset() == cache.withdrawn


@pytest.mark.parametrize("bound", [{"limit_entries": 2}, {"limit_bytes": 24}])
def test_the_least_recently_used_go_first(bound: dict[str, int]) -> None:
    """A replay counts as a use; both bounds hold."""
    cache = ResultCache(clock=Clock(), **bound)
    calls = [pending(arguments={"n": n}) for n in range(3)]
    for call in calls[:2]:
        cache.put(finished(call, "ten bytes"), epoch=0)
    cache.put(finished(calls[0], "ten bytes", outcome=Outcome.REPLAYED), epoch=0)
    cache.put(finished(calls[2], "ten bytes"), epoch=0)

    kept = [cache.find(call, READ, Epochs()) is not None for call in calls]

    assert kept == [True, False, True]
    assert (cache.hits, cache.misses) == (1, 3)


def test_what_is_larger_than_the_bound_or_has_no_text_is_not_kept() -> None:
    """It pushes nothing else out."""
    cache, again = filled("one", limit_bytes=10)
    cache.put(finished(pending(arguments={"n": 1}), "x" * 100), epoch=0)
    cache.put(finished(pending(arguments={"n": 2}), 10**5000), epoch=0)

    assert len(cache) == 1
    assert cache.find(again, READ, Epochs()) is not None


def test_results_are_copied_in_and_out() -> None:
    """Neither the caller's object nor an answer is the one that is kept."""
    result = {"list": [1]}
    cache, again = filled(result)
    result["list"].append(2)
    for _ in range(2):
        cached = cache.find(again, READ, Epochs())

        assert cached is not None
        assert cached.result == {"list": [1]}
        cached.result["list"].append(3)


@pytest.mark.parametrize("bad", [{"limit_bytes": -1}, {"limit_entries": -1}, {"ttl_s": -0.1}])
def test_a_bound_below_zero_is_refused(bad: dict[str, Any]) -> None:
    """The error names the setting and its value."""
    with pytest.raises(ValueError, match=f"{next(iter(bad))}=-"):
        ResultCache(**bad)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.9, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 d")]
)
def test_an_age_is_said_in_two_or_more_of_its_unit(seconds: float, shown: str) -> None:
    """Never `1 h` for what may be nearly two."""
    clock = Clock()
    cache, again = filled("x", clock, ttl_s=None)
    clock.move(seconds)
    cached = cache.find(again, READ, Epochs())

    assert cached is not None
    assert f", {shown} ago" in cached.message(Wording())


class Interleaved(RuleBasedStateMachine):
    """Law 21: reads and writes of three scopes begin and end in any order; a replay tells the truth.

    The world is a version for each scope, which a write moves at its end. A read sees the version at its own
    beginning: the worst case. The guard's way is followed: epochs move when a write ends.
    """

    reads = Bundle("reads")
    writes = Bundle("writes")
    scopes = st.sampled_from(["a", "b", None])

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.epochs = Clock(), Epochs()
        self.cache = ResultCache(clock=self.clock, limit_entries=3)
        self.world = {"a": 0, "b": 0}

    def seen(self, scope: str | None) -> list[int]:
        return [self.world[scope]] if scope else list(self.world.values())

    def call(self, scope: str | None) -> PendingCall:
        return pending(
            arguments={"scope": scope},
            scope=scope,
            epoch=self.epochs.current(scope),
            started_at=self.clock.now,
        )

    @rule(target=reads, scope=scopes)
    def read_begins(self, scope: str | None) -> tuple[PendingCall, list[int]]:
        return self.call(scope), self.seen(scope)

    @rule(read=consumes(reads))
    def read_ends(self, read: tuple[PendingCall, list[int]]) -> None:
        call, seen = read
        self.cache.put(finished(call, seen), call.epoch)

    @rule(scope=scopes)
    def write(self, scope: str | None) -> None:
        for each in [scope] if scope else list(self.world):
            self.world[each] += 1
        self.epochs.move(scope)

    @rule(seconds=st.integers(-10, 10))
    def time_passes(self, seconds: int) -> None:
        self.clock.move(seconds)

    @rule()
    def another_worker_takes_over(self) -> None:
        self.cache = ResultCache.restore(self.cache.snapshot(), clock=self.clock, limit_entries=3)
        self.epochs = Epochs.restore(self.epochs.snapshot())

    @invariant()
    def replays_are_true(self) -> None:
        for scope in ("a", "b", None):
            cached = self.cache.find(self.call(scope), READ, self.epochs)
            assert cached is None or cached.result == self.seen(scope)

    @invariant()
    def looking_changes_nothing(self) -> None:
        before = self.cache.snapshot()
        self.cache.find(self.call("a"), READ, self.epochs)
        assert before == self.cache.snapshot()
        assert self.cache.withdrawn == frozenset()


TestInterleaved = Interleaved.TestCase
TestInterleaved.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

"""Where the log may be cut."""

from itertools import pairwise

from hypothesis import given

from summarizer.units import Cut, answerable, is_running, open_calls, pair_calls, safe_cuts
from tests.summarizer.histories import answering, assistant, calling, events_of, histories, user

THINKING = {"role": "assistant", "content": None, "reasoning_content": "Hm."}
SYSTEM = {"role": "system", "content": "Be brief."}


def cuts(*messages):
    return [(cut.seq, cut.turn_border) for cut in safe_cuts(events_of(messages))]


def messages_of(events):
    return [event.message for event in events]


def unseen_results(events):
    """The newest message, if it is a result."""
    said = [event for event in events if event.message is not None]
    return said[-1] if said and said[-1].message.role in ("tool", "function") else None


def test_an_empty_log_has_no_cut():
    """There is nothing to cut."""
    assert safe_cuts([]) == ()


def test_turns_part_at_their_borders():
    """Between an answer and the next question, and behind the last answer."""
    assert cuts(user(), assistant(), user(), assistant()) == [(2, True), (4, True)]


def test_a_question_stays_with_its_answer():
    """No cut between a user message and what answers it."""
    assert cuts(user(), assistant()) == [(2, True)]


def test_the_newest_question_stays_in_the_child():
    """A user message that nothing answers yet is never behind a cut."""
    assert cuts(user(), assistant(), user()) == [(2, True)]


def test_a_system_message_does_not_answer_a_question():
    """The newest question stays in the child, though a system message follows it."""
    assert cuts(user(), assistant(), user(), SYSTEM) == [(2, True)]


def test_a_late_result_does_not_answer_a_question():
    """The newest question stays in the child, though the result of an older call follows it."""
    events = events_of([user(), calling("a"), user("Stop."), answering("a")])

    assert safe_cuts(events) == ()


def test_users_in_a_row_may_be_parted():
    """Two people may write before the assistant answers; the newest stays with the answer."""
    assert cuts(user("Ann"), user("Bob"), assistant()) == [(1, True), (3, True)]


def test_a_long_turn_may_be_cut_between_finished_rounds():
    """Inside a running turn a cut falls between tool rounds, and is no border."""
    rounds = [calling("a", "b"), answering("b"), answering("a"), calling("a"), answering("a")]

    assert cuts(user(), *rounds, assistant()) == [(4, False), (6, False), (7, True)]


def test_results_that_the_model_has_not_seen_stay():
    """No cut behind the newest results until an answer follows them, whatever records come between."""
    assert cuts(user(), calling("a"), answering("a"), calling("b"), answering("b"), None) == [(3, False)]
    assert cuts(user(), assistant(), user(), calling("a"), answering("a")) == [(2, True)]


def test_an_open_call_stays_with_all_that_follows():
    """No cut behind a call that nothing answers."""
    assert cuts(user(), assistant(), user(), calling("a", "b"), answering("a")) == [(2, True)]


def test_reasoning_stays_with_what_it_led_to():
    """Reasoning that came as a message of its own is not parted from the next message."""
    assert cuts(user(), THINKING, assistant()) == [(3, True)]


def test_a_record_stays_with_the_message_before_it():
    """Usage and notes belong to what they are about."""
    assert cuts(user(), assistant(), None, user(), assistant()) == [(3, True), (5, True)]


def test_an_old_function_call_is_a_unit_too():
    """The older pair goes by the function's name."""
    call = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}

    result = {"role": "function", "name": "f", "content": "1"}

    assert cuts(user(), call, result, assistant()) == [(3, False), (4, True)]


def test_call_ids_used_again_pair_with_the_nearest():
    """A result answers the nearest earlier open call with its id."""
    messages = messages_of(events_of([calling("a"), answering("a"), calling("a"), answering("a")]))

    assert pair_calls(messages).results == {0: {"a": 1}, 2: {"a": 3}}


def test_a_result_without_a_call_is_an_orphan():
    """It is named, and opens nothing."""
    pairing = pair_calls(messages_of(events_of([user(), answering("x")])))

    assert (pairing.orphans, pairing.open, pairing.results) == ((1,), {}, {})


def test_the_running_turn_is_known_by_its_question():
    """A cut inside a turn names the user message that must cross it; a cut at a border names none."""
    events = events_of([user("One?"), assistant(), user("Two?"), calling("a"), answering("a"), assistant()])

    assert is_running(events, 5) is events[2]
    assert is_running(events, 2) is None
    assert is_running(events, 6) is None


@given(histories())
def test_no_cut_parts_a_call_from_its_results(events):
    """Law 6: every call and all its results are on one side of every cut; an open call is in the child."""
    pairing = pair_calls(messages_of(events))
    for cut in safe_cuts(events):
        for caller, found in pairing.results.items():
            closed = {events[i].seq <= cut.seq for i in (caller, *found.values())}

            assert len(closed) == 1
            if caller in pairing.open:
                assert closed == {False}


@given(histories())
def test_open_calls_and_the_unanswered_question_stay_in_the_child(events):
    """Law 6: what is open in the log is open in the child, and the newest unanswered question is there."""
    asked = None
    for event in events:
        if event.message is not None and event.message.role in ("user", "assistant"):
            asked = event if event.message.role == "user" else None
    for cut in safe_cuts(events):
        child = [event for event in events if event.seq > cut.seq]

        assert open_calls(child) == open_calls(events)
        assert open_calls(events[: cut.seq]) == ()
        if asked is not None:
            assert asked in child
        if (unseen := unseen_results(events)) is not None:
            assert unseen in child


@given(histories())
def test_cuts_rise_and_say_whether_a_turn_opens_there(events):
    """Cuts rise, none before a record; a border is where a user message comes next, or nothing."""
    found = safe_cuts(events)

    assert all(a.seq < b.seq for a, b in pairwise(found))
    for cut in found:
        following = events[cut.seq :]
        roles = [event.message.role for event in following if event.message is not None]
        assert cut == Cut(cut.seq, not roles or roles[0] == "user")
        assert not following or following[0].message is not None


@given(histories())
def test_a_cut_that_is_safe_stays_safe(events):
    """What comes later never makes a safe cut unsafe, save that a record joins the message before it.

    A segmentation that was planned before the newest messages came is still right after them.
    """
    for k in range(len(events)):
        before = {cut.seq for cut in safe_cuts(events[:k])}
        after = {cut.seq for cut in safe_cuts(events[: k + 1])}
        if events[k].message is None:
            before.discard(k)

        assert before <= after


@given(histories())
def test_only_overtaken_calls_may_be_left_behind(events):
    """Leaving overtaken calls behind only adds cuts; what no answered user message overtook stays."""
    pairing = pair_calls(messages_of(events))
    roles = [None if event.message is None else event.message.role for event in events]
    loose = safe_cuts(events, leave_overtaken=True)

    assert set(safe_cuts(events)) <= set(loose)
    for cut in loose:
        for caller, found in pairing.results.items():
            closed = {events[i].seq <= cut.seq for i in (caller, *found.values())}

            assert len(closed) == 1
            if caller in pairing.open and closed == {True}:
                after = [role for role in roles[caller + 1 :] if role in ("user", "assistant")]
                assert "assistant" in after[after.index("user") :]


def test_an_abandoned_call_blocks_cuts_until_it_is_overtaken():
    """A call that never comes back can be left behind once a newer question has been answered."""
    events = events_of([user(), calling("c1"), user(), assistant(), user(), assistant()])

    assert safe_cuts(events) == ()
    assert [cut.seq for cut in safe_cuts(events, leave_overtaken=True)] == [2, 4, 6]
    assert answerable(events) == ("c1",)

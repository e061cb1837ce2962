"""The order of a request: by unit, not by arrival."""

from hypothesis import given

from summarizer.context.blocks import INTERRUPTED, PENDING, arrange
from summarizer.meter import count_tokens
from summarizer.units import safe_cuts
from tests.summarizer.histories import answering, assistant, calling, count, events_of, histories, user
from tests.summarizer.requests import anthropic_faults, openai_faults

SEED = {"role": "user", "content": "Notes on what came before."}


def sent(*messages):
    return [message for block in arrange(events_of(messages)) for message in block.messages]


def test_results_follow_their_call_in_the_order_of_the_calls():
    """Results that came in another order stand in the order of the calls; what fell between comes after."""
    system = {"role": "system", "content": "Be brief."}
    actual = sent(user(), calling("a", "b"), answering("b", "2"), system, answering("a", "1"))

    assert actual == [user(), calling("a", "b"), answering("a", "1"), answering("b", "2"), system]


def test_an_open_call_gets_a_result_that_says_it_is_open():
    """A call that nothing answers yet is sent with a stand-in."""
    actual = sent(user(), calling("a", "b"), answering("a"))

    assert actual == [user(), calling("a", "b"), answering("a"), answering("b", PENDING)]


def test_an_overtaken_call_is_interrupted_and_its_result_comes_as_a_note():
    """A result that came after a newer user message does not stand with its call."""
    actual = sent(user(), calling("a"), user("Never mind."), assistant(), answering("a", "late"))

    assert actual[:5] == [
        user(),
        calling("a"),
        answering("a", INTERRUPTED),
        user("Never mind."),
        assistant(),
    ]
    assert actual[5] == {
        "role": "user",
        "content": "[Recorded data: result of tool call 'a', which came late]\nlate",
    }


def test_call_ids_may_be_used_again():
    """A result answers the nearest earlier open call with its id."""
    messages = [user(), calling("a"), answering("a", "1"), calling("a"), answering("a", "2"), assistant()]

    assert sent(*messages) == messages


def test_a_call_repeated_in_the_older_field_is_one_call():
    """A message that carries `tool_calls` and `function_call` is answered once, by the tool message."""
    both = calling("a") | {"function_call": {"name": "look_up", "arguments": "{}"}}

    assert sent(user(), both, answering("a")) == [user(), both, answering("a")]


def test_a_function_call_that_is_no_object_is_no_call():
    """Whatever stands in the older field, nothing fails."""
    odd = assistant() | {"function_call": "auto"}

    assert sent(user(), odd) == [user(), odd]


def test_a_message_without_content_is_sent_with_the_empty_text():
    """Reasoning alone has no content, and providers refuse null where no call speaks."""
    thinking = {"role": "assistant", "content": None, "reasoning_content": "Hm."}

    assert sent(user(), thinking, assistant()) == [user(), thinking | {"content": ""}, assistant()]


@given(histories())
def test_each_message_stands_in_one_block(events):
    """Nothing is lost and nothing sent twice: every text of the log is in the request."""
    blocks = arrange(events)
    texts = [str(message) for block in blocks for message in block.messages]

    for event in events:
        if event.message is not None:
            wanted = event.message.text
            found = sum(wanted in text for text in texts)

            assert found >= 1


@given(histories())
def test_both_sides_of_every_cut_are_valid_requests(events):
    """Law 16: for every cut of every history, both sides are requests that providers take."""
    for at in {0, len(events), *(cut.seq for cut in safe_cuts(events))}:
        for part in (events[:at], events[at:]):
            messages = [SEED, *(message for block in arrange(part) for message in block.messages)]

            assert openai_faults(messages) == []
            assert anthropic_faults(messages) == []


@given(histories())
def test_blocks_weigh_at_least_what_they_hold(events):
    """The tokens of a block are an upper bound, so that a budget kept in blocks is kept."""
    for block in arrange(events):
        counted = count_tokens(block.messages, model="gpt-4o-mini") - 3

        assert counted <= block.tokens


def test_a_late_result_with_a_long_id_weighs_its_id():
    """The note that carries a late result names its call, however long the id is."""
    key = "toolu_" + "x9Q" * 60
    events = events_of([user(), calling(key), user("Stop."), answering(key, "late")])
    note = arrange(events)[-1]

    assert count(note.messages[0]["content"]) <= note.tokens

"""The summary without a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from summarizer.summary.extractive import ExtractiveSummarizer, extract
from summarizer.summary.record import EntryKind, Summary, SummaryRequest

MakeRequest = Callable[..., SummaryRequest]


def call(name: str, arguments: dict[str, Any], result: Any, call_id: str) -> list[dict[str, Any]]:
    """A call and its result."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": call_id, "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": call_id, "content": json.dumps(result)},
    ]


def service_run(user_id: str = "mia_li_3668", order: str = "#W2378156") -> list[Any]:
    """A conversation in the style of the public service-agent benchmarks."""
    details = {
        "name": {"first_name": "Mia", "last_name": "Li"},
        "email": "mia@example.com",
        "orders": [order, "#W9911"],
    }
    items = [
        {"name": "Keyboard", "item_id": "1151293680", "price": 272.33},
        {"name": "Thermostat", "item_id": "4983901480", "price": 262.47},
    ]
    found = {
        "order_id": order,
        "user_id": user_id,
        "items": items,
        "status": "delivered",
        "payment_id": "credit_card_9513926",
    }
    done = {**found, "status": "exchange requested", "exchange_price_difference": -2.61}
    return [
        (
            "user",
            f"I'd like to exchange my keyboard. My user id is {user_id}. Please never charge my gift card.",
        ),
        *call("get_user_details", {"user_id": user_id}, details, "c1"),
        *call("get_order_details", {"order_id": order}, found, "c2"),
        ("assistant", f"Order {order} was delivered. Shall I exchange item 1151293680 for 7706410293?"),
        ("user", "Yes, go ahead, and refund the difference to the card."),
        *call(
            "exchange_items",
            {"order_id": order, "item_ids": ["1151293680"], "new_item_ids": ["7706410293"]},
            done,
            "c3",
        ),
        ("assistant", "Done: exchange requested, $2.61 go back to your card. I'll email you when it ships."),
    ]


def test_a_service_run_in_few_tokens(summary_request: MakeRequest) -> None:
    """At 300 tokens the seed holds the ids, the rule, the promise and what was changed."""
    outcome = extract(summary_request(service_run(), seed_budget=300))
    wanted = (
        "mia_li_3668",
        "#W2378156",
        "1151293680",
        "7706410293",
        "credit_card_9513926",
        "never charge my gift card",
    )

    assert [value for value in wanted if value not in outcome.seed] == []
    assert "I'll email you when it ships." in outcome.seed
    assert outcome.seed_tokens <= 300


def test_the_same_input_gives_the_same_summary(summary_request: MakeRequest) -> None:
    """Rules are deterministic, and survive a round through JSON."""
    outcome = extract(summary_request(service_run()))

    assert outcome == extract(summary_request(service_run()))
    assert Summary.from_dict(json.loads(json.dumps(outcome.summary.to_dict()))) == outcome.summary


async def test_the_summarizer_is_the_function(summary_request: MakeRequest) -> None:
    """`ExtractiveSummarizer` gives what `extract` gives."""
    request = summary_request(service_run())

    assert await ExtractiveSummarizer().summarize(request) == extract(request).summary


def test_a_hundred_generations(summary_request: MakeRequest) -> None:
    """Early constraints cross a hundred segments unchanged, all stays bounded, ids are never used again."""
    first = [
        ("system", "Always greet in Latin."),
        ("user", "I'm allergic to peanuts. Book a table."),
        ("assistant", "Done."),
    ]
    summary = extract(summary_request(first)).summary
    early = [entry for entry in summary.entries if entry.kind is EntryKind.CONSTRAINT]
    seen: dict[str, str] = {}
    sizes: list[int] = []
    for i in range(100):
        outcome = extract(
            summary_request(service_run(f"user_{i:04}", f"#W{i:07}"), previous=summary, seed_budget=500)
        )
        summary = outcome.summary
        sizes.append(len(json.dumps(summary.to_dict())))
        for entry in summary.entries:
            assert seen.setdefault(entry.id, entry.kind.value) == entry.kind.value
        assert outcome.seed_tokens <= 500
        assert "I'm allergic to peanuts." in outcome.seed
        assert f"user_{i:04}" in outcome.seed

    assert [e.text for e in early] == ["Always greet in Latin.", "I'm allergic to peanuts."]
    assert [entry for entry in summary.entries if entry.id in {e.id for e in early}] == early
    assert max(sizes[50:]) <= 1.3 * max(sizes[:50])
    assert summary.omitted > 0


def test_one_narrow_seed_costs_no_constraint(summary_request: MakeRequest) -> None:
    """A seed of 40 tokens in one generation leaves the ledger whole for the next."""
    before = extract(summary_request(service_run(), seed_budget=600)).summary
    narrow = extract(
        summary_request([("user", "And?"), ("assistant", "Fine.")], previous=before, seed_budget=40)
    )
    after = extract(
        summary_request([("user", "And?"), ("assistant", "Fine.")], previous=narrow.summary, seed_budget=600)
    )

    assert narrow.seed_tokens <= 40
    assert "never charge my gift card" in after.seed


def test_a_models_narrative_is_carried_with_its_reach(summary_request: MakeRequest) -> None:
    """Without a model the last narrative stays and says its reach; `model_through` does not move."""
    base = extract(summary_request(service_run())).summary
    told = replace(base, narrative="The user exchanged a keyboard.", narrative_model="m1", model_through=7)
    outcome = extract(summary_request([("user", "Thanks"), ("assistant", "Bye.")], previous=told))

    assert (outcome.summary.model_through, outcome.summary.narrative_model) == (7, "m1")
    assert outcome.summary.writer == "extractive"
    assert "What happened, up to event 7:\n- The user exchanged a keyboard." in outcome.seed


def test_nothing_to_read_is_no_trouble(summary_request: MakeRequest) -> None:
    """No events and no budget give an empty, valid summary."""
    request = replace(summary_request([("user", "Hi")]), events=(), unread=(), cut=0, seed_budget=0)

    assert extract(request).summary == Summary(through=0)
    assert (extract(request).seed, extract(request).seed_tokens) == ("", 0)

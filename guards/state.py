"""What a guard knows: every stateful part, and the fold of facts that changes them. No decisions here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from guards.bindings import BindingManager
from guards.cache import ResultCache
from guards.calls import Outcome, PendingCall, plain
from guards.checks.budget import BudgetCheck
from guards.checks.grounding import GroundingCheck, GroundingPolicy
from guards.checks.loop import LoopCheck, LoopPolicy
from guards.checks.permission import PermissionCheck, PermissionPolicy
from guards.epochs import Epochs
from guards.facts import (
    Announced,
    Asked,
    Began,
    Bound,
    Decided,
    Fact,
    Finished,
    Prompted,
    Refused,
    Said,
    Segmented,
    from_dict,
    to_dict,
)
from guards.ledger import Ledger
from guards.limits import Limits
from guards.tools import ToolSpec
from guards.wording import Wording

__all__ = ["GuardState"]

_NUMBERED: Final = 4096
"""Announced calls that have not begun and still keep their number; older ones are forgotten."""


class GuardState:
    """The parts of one guard. `apply` is the only thing that changes them.

    Args:
        limits: Budgets.
        loop: Thresholds of the loop check.
        grounding: What is done about arguments that come from nowhere.
        permissions: Which calls need a person.
        wording: The sentences for the model.
        clock: Aware UTC now.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        loop: LoopPolicy,
        grounding: GroundingPolicy,
        permissions: PermissionPolicy,
        wording: Wording,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings: dict[str, dict[str, Any]] = {
            "bindings": {"clock": clock},
            "cache": {"clock": clock},
            "loop": {"policy": loop, "wording": wording},
            "budget": {"limits": limits, "wording": wording, "clock": clock},
            "grounding": {"policy": grounding, "wording": wording, "held": self.holds},
            "permission": {"policy": permissions, "wording": wording},
            "ledger": {"wording": wording},
        }
        made: dict[str, Any] = {name: kind(**self._settings[name]) for name, kind in _PARTS.items()}
        self.bindings: BindingManager = made["bindings"]
        self.cache: ResultCache = made["cache"]
        self.loop: LoopCheck = made["loop"]
        self.budget: BudgetCheck = made["budget"]
        self.grounding: GroundingCheck = made["grounding"]
        self.permission: PermissionCheck = made["permission"]
        self.ledger: Ledger = made["ledger"]
        self.epochs = Epochs()
        self.open: dict[str, PendingCall] = {}
        self.numbers: dict[str, int] = {}
        self.turn = 0
        self.made = 0

    def apply(self, fact: Fact, spec: ToolSpec) -> None:
        """Change the parts by one fact.

        Args:
            fact: What happened.
            spec: Of the tool that it is about; of unknown nature for the facts that are about none.
        """
        match fact:
            case Began():
                self._began(fact, spec)
            case Finished():
                self._finished(fact, spec)
            case Refused():
                self._refused(fact)
            case Asked():
                self.made += 1
                self.permission.confirmations.ask(
                    fact.call, fact.reason_code, idempotency_key=fact.idempotency_key
                )
            case Decided():
                self._decided(fact)
            case Bound():
                self._bound(fact)
            case Announced():
                self._announced(fact)
            case _:
                self._heard(fact)

    def holds(self, binding_id: str) -> bool:
        """Whether the name's value is held, so that it may be named to the model."""
        binding = self.bindings.get(binding_id)
        return binding is not None and binding.gone is None

    def snapshot(self) -> dict[str, Any]:
        """JSON, whole."""
        parts = {name: getattr(self, name).snapshot() for name in (*_PARTS, "epochs")}
        calls = {"open": plain([to_dict(call) for call in self.open.values()]), "numbers": dict(self.numbers)}
        return parts | calls | {"turn": self.turn, "made": self.made}

    def load(self, value: Mapping[str, Any]) -> None:
        """Take over a snapshot, all of it or nothing.

        Raises:
            LookupError, TypeError, ValueError, AttributeError, ArithmeticError: It is none.
        """
        parts = {name: kind.restore(value[name], **self._settings[name]) for name, kind in _PARTS.items()}
        calls = [from_dict(PendingCall, row) for row in plain(value["open"])]
        whole = parts | {
            "epochs": Epochs.restore(value["epochs"]),
            "open": {call.call_id: call for call in calls},
            "numbers": {str(key): int(number) for key, number in value["numbers"].items()},
            "turn": int(value["turn"]),
            "made": int(value["made"]),
        }
        for name, part in whole.items():
            setattr(self, name, part)

    # The fold, a method a fact

    def _heard(self, fact: Prompted | Said | Segmented) -> None:
        match fact:
            case Prompted():
                self._prompted(fact)
            case Said():
                self._said(fact)
            case Segmented():
                self.loop.segmentation_happened(fact.reason)

    def _prompted(self, fact: Prompted) -> None:
        self.turn += 1
        self.loop.user_spoke()
        if fact.new_run:
            self.budget.reset_run()
        else:
            self.budget.reset_turn()
        self.grounding.reset_for_new_prompt()
        if fact.text:
            self.grounding.user_said(fact.text)
        if not fact.keep_bindings:
            self.bindings.clear()

    def _said(self, fact: Said) -> None:
        if fact.origin == "user":
            self.grounding.user_said(fact.text)
        elif fact.origin == "system":
            self.grounding.system_said(fact.text)
        else:
            self.loop.assistant_said(fact.text)

    def _announced(self, fact: Announced) -> None:
        for number, call_id in enumerate(fact.call_ids, fact.first):
            self.numbers[call_id] = number
            self.bindings.pass_over(number)
        while len(self.numbers) > _NUMBERED:
            del self.numbers[next(iter(self.numbers))]

    def _began(self, fact: Began, spec: ToolSpec) -> None:
        call = fact.call
        key = self.ledger.key_of(call, spec, idempotency_key=fact.idempotency_key)
        if key is not None:
            self.ledger.begin(key, call)  # First, since a full ledger refuses.
        self.made += 1
        self.numbers.pop(call.call_id, None)
        if call.number is not None:
            self.bindings.pass_over(call.number)
        self.bindings.mark_used(call.references)
        if spec.writes and not self._is_under_way(call, spec):
            self.epochs.move(call.scope)
        self.permission.began(call)
        self.budget.began(call, spec)
        self.grounding.began(call, spec)
        self.open.pop(call.call_id, None)
        epoch = self.epochs.current(call.scope) if call.epoch >= 0 else -1
        self.open[call.call_id] = call if epoch == call.epoch else replace(call, epoch=epoch)

    def _is_under_way(self, call: PendingCall, spec: ToolSpec) -> bool:
        """Whether an equal call runs whose result may stand for this one: no further write."""
        return spec.may_replay and any(
            other.fingerprint == call.fingerprint and other.call_id != call.call_id
            for other in self.open.values()
        )

    def _finished(self, fact: Finished, spec: ToolSpec) -> None:
        record = fact.record
        if record.outcome is Outcome.OK and record.binding is not None and self._is_free(record.binding):
            self.bindings.bind(
                int(record.binding[1:]),
                record.tool_name,
                record.arguments,
                record.result,
                record.call_id,
                aliases=fact.aliases,
                oversize="tombstone",
                at=record.at,
            )
        call = self.open.pop(record.call_id, None)
        self.made += call is None
        self.numbers.pop(record.call_id, None)
        epoch = None if record.outcome is Outcome.REPLAYED else self._epoch_of_result(call, spec)
        if spec.may_replay and (record.outcome is Outcome.REPLAYED or (epoch is not None and fact.exact)):
            self.cache.put(record, epoch or 0, spec.ttl_s)
        self.loop.observe(record)
        self.budget.observe(record)
        self.grounding.observe(record)
        self.ledger.finish(record)

    def _is_free(self, binding_id: str) -> bool:
        """Whether no value has the name: of one call that two workers ran, the first result stands."""
        return self.bindings.get(binding_id) is None

    def _epoch_of_result(self, call: PendingCall | None, spec: ToolSpec) -> int | None:
        """The epoch at which the result may be replayed; `None` if a write fell into the call.

        A call that writes has moved its scope when it began, and moves it again now that it ended.
        """
        if call is None:
            return None
        undisturbed = self.epochs.current(call.scope) == call.epoch
        if spec.writes:
            self.epochs.move(call.scope)
        return self.epochs.current(call.scope) if undisturbed else None

    def _refused(self, fact: Refused) -> None:
        self.made += 1
        self.numbers.pop(fact.record.call_id, None)
        self.loop.observe(fact.record)

    def _decided(self, fact: Decided) -> None:
        self.permission.confirmations.decide(fact.call_id, approved=fact.approved, reason=fact.reason)

    def _bound(self, fact: Bound) -> None:
        if not self._is_free(f"v{fact.number}"):
            return
        self.bindings.bind(
            fact.number, fact.tool_name, fact.arguments, fact.value, aliases=fact.aliases, at=fact.at
        )
        self.grounding.bound(f"v{fact.number}", fact.value)


_PARTS: Final[dict[str, Any]] = {
    "bindings": BindingManager,
    "cache": ResultCache,
    "loop": LoopCheck,
    "budget": BudgetCheck,
    "grounding": GroundingCheck,
    "permission": PermissionCheck,
    "ledger": Ledger,
}

"""Grounding: whether the arguments of a call were said by somebody, or made up.

What is looked at. Of a tool that is not known to be read-only: identifiers, numbers, dates, and exact text
(in quotes, or of a `format` or `pattern` in the schema). Of every tool: identifiers. `ToolSpec.grounded`
replaces this choice, `ToolSpec.exempt` and the policy take parameters out.

What is let pass. Free text, paths and file names (a new one is often the point), clock times, booleans,
null; what the schema gives as default or choice; whole numbers up to 2; numbers in parameters that steer a
tool rather than name something (`limit`, `page`, `timeout`); keys that a caller is meant to invent
(`idempotency_key`). An identifier is never explained by arithmetic or rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Self

from guards.calls import CallRecord, Outcome, PendingCall
from guards.checks.leaves import Leaf, Need, choice, is_literal, leaves, need_of, steers
from guards.checks.sources import Held, Kind, Provenance, Sources
from guards.checks.values import number_of, unquoted
from guards.tools import ToolSpec
from guards.verdicts import Action, Check, Finding
from guards.wording import Wording, quoted

__all__ = ["GroundingCheck", "GroundingPolicy", "LeafProvenance"]

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class GroundingPolicy:
    """What is done about arguments that come from nowhere.

    Attributes:
        mode: `off`, `warn`, or `block`: refuse such calls once `grace` of them were let through. The default
            warns, because one in ten runs that succeed holds such a call (tau-bench, 2026).
        grace: Such calls that are let through in a prompt before `block` refuses, 0 or more.
        exempt: Parameters of any tool that need no source, by name or by path such as `$.filter.id`.
        tolerance: Relative error allowed between a number and its source, 0 or more and below 1.
        small: Whole numbers of this size or less need no source, unless they are identifiers.
        repair: Propose `$vN` for a value that was copied by hand from exactly one place in a binding.
    """

    mode: Literal["off", "warn", "block"] = "warn"
    grace: int = 1
    exempt: frozenset[str] = field(default_factory=frozenset[str])
    tolerance: float = 1e-6
    small: int = 2
    repair: bool = False

    def __post_init__(self) -> None:
        if self.mode not in ("off", "warn", "block"):
            raise ValueError(f"mode={self.mode!r}: use 'off', 'warn' or 'block'")
        if self.grace < 0:
            raise ValueError(f"grace={self.grace!r} calls: use 0 or more")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance={self.tolerance!r}: use a share from 0, and below 1")
        if self.small < 0:
            raise ValueError(f"small={self.small!r}: use 0 or more")


class LeafProvenance(NamedTuple):
    """Where one argument leaf comes from.

    Attributes:
        path: Its path, such as `$.items[0].id`.
        provenance: Where it comes from.
        needs_source: Whether the check asks for a source; if not, `nowhere` is no fault.
    """

    path: str
    provenance: Provenance
    needs_source: bool

    @property
    def ungrounded(self) -> bool:
        """Whether a source is asked for and there is none."""
        return self.needs_source and not self.provenance.grounded


class GroundingCheck:
    """Looks for each argument's source in what was said.

    Args:
        policy: What is done about arguments without one.
        sources: What was said so far; `None` begins empty.
        wording: The sentences that the model reads.
        held: Tells the bindings whose values are held: no other is proposed. `None`: all are.
    """

    def __init__(
        self,
        policy: GroundingPolicy | None = None,
        sources: Sources | None = None,
        wording: Wording | None = None,
        held: Held | None = None,
    ) -> None:
        self.policy = policy or GroundingPolicy()
        self.sources = sources or Sources()
        self._wording = wording or Wording()
        self._held = held
        self._ungrounded = 0

    def examine(self, call: PendingCall, spec: ToolSpec) -> Finding | None:
        """What is wrong with the sources of a call's arguments; `None` if nothing is."""
        if self.policy.mode == "off":
            return None
        missing: list[Leaf] = []
        copied: dict[str, str] = {}
        for leaf in leaves(call, spec.parameters):
            need = self._need(leaf, spec)
            if need is None or leaf.source is not None:
                continue
            found = self._find(leaf, need)
            if not found.grounded:
                missing.append(leaf)
            elif self.policy.repair and found.kind is Kind.BINDING:
                references = self.sources.references_to(leaf.value, self._held)
                if len(references) == 1:
                    copied[leaf.path] = references[0]
        if missing:
            return self._missing(call, missing, copied)
        return self._copied(call, copied) if copied else None

    def provenance(self, call: PendingCall, spec: ToolSpec) -> tuple[LeafProvenance, ...]:
        """Where each leaf of the arguments comes from, whether or not the policy asks for it."""
        found: list[LeafProvenance] = []
        for leaf in leaves(call, spec.parameters):
            need = self._need(leaf, spec)
            if leaf.source is not None:
                source = Provenance(Kind.REFERENCE, leaf.source)
            else:
                source = self._find(leaf, need)
            found.append(LeafProvenance(leaf.path, source, need is not None))
        return tuple(found)

    def began(self, call: PendingCall, spec: ToolSpec) -> None:
        """The call is let through: without a source for its arguments it uses up grace."""
        if self.policy.mode == "block" and any(leaf.ungrounded for leaf in self.provenance(call, spec)):
            self.use_grace()

    def observe(self, record: CallRecord) -> None:
        """Take a finished call: its result becomes a source.

        So do the arguments of a tool that is known to write, once it has succeeded: what was made up is
        now real.

        Args:
            record: The call. With `record.binding` its result can be named in a message.
        """
        if record.outcome in (Outcome.REFUSED, Outcome.REPLAYED):
            return
        if record.binding is not None:
            self.sources.add("binding", record.result, record.binding)
        elif record.outcome is Outcome.OK:
            self.sources.add("tool", record.result, record.call_id)
        if record.error is not None:
            self.sources.add("tool", record.error, record.call_id)
        if record.outcome is Outcome.OK and record.read_only is False and record.arguments:
            self.sources.add("tool", record.arguments, record.call_id)

    def user_said(self, text: str) -> None:
        """The user's text becomes a source, for every later call."""
        self.sources.add("user", text)

    def system_said(self, text: str) -> None:
        """Text of the system prompt or the host becomes a source."""
        self.sources.add("system", text)

    def bound(self, binding_id: str, value: Any) -> None:
        """A bound value becomes a source; one that `observe` has taken is not indexed again."""
        self.sources.add("binding", value, binding_id)

    def use_grace(self) -> None:
        """Count one call that was let through without a source."""
        self._ungrounded += 1

    def reset_for_new_prompt(self) -> None:
        """Grace begins anew; the sources stay."""
        self._ungrounded = 0

    def snapshot(self) -> dict[str, Any]:
        """JSON. Results beyond 256,000 characters are left out; see `Sources.snapshot`."""
        return {"ungrounded": self._ungrounded, "sources": self.sources.snapshot()}

    @classmethod
    def restore(
        cls,
        value: Mapping[str, Any],
        policy: GroundingPolicy | None = None,
        *,
        wording: Wording | None = None,
        held: Held | None = None,
    ) -> Self:
        """The inverse of `snapshot`."""
        check = cls(policy, Sources.restore(value["sources"]), wording, held)
        check._ungrounded = int(value["ungrounded"])
        return check

    def _find(self, leaf: Leaf, need: Need | None) -> Provenance:
        offered = choice(leaf.value, leaf.schema)
        if offered is not None:
            return Provenance(Kind.SCHEMA, offered)
        value = leaf.value
        if need is Need.EXACT and isinstance(value, str):
            value = unquoted(value) or value
        return self.sources.find(
            value, tolerance=self.policy.tolerance, exact=need in (Need.IDENTIFIER, Need.EXACT)
        )

    def _need(self, leaf: Leaf, spec: ToolSpec) -> Need | None:
        """Why this tool's leaf ought to have a source; `None` if nobody asks for one."""
        exempt, grounded = self.policy.exempt | spec.exempt, spec.grounded
        if exempt and not exempt.isdisjoint((leaf.name, leaf.top, leaf.path)):
            return None
        need = need_of(leaf)
        if grounded is not None:
            asked = is_literal(leaf.value) and not grounded.isdisjoint((leaf.name, leaf.top, leaf.path))
            return (need or Need.EXACT) if asked else None
        if need is Need.IDENTIFIER or need is None or not spec.writes:
            return need if need is Need.IDENTIFIER else None
        number = number_of(leaf.value) if need is Need.NUMBER else None
        if number is not None and (
            steers(leaf.name) or (abs(number) <= self.policy.small and number == int(number))
        ):
            return None
        return need

    def _missing(self, call: PendingCall, missing: list[Leaf], copied: dict[str, str]) -> Finding:
        near: dict[str, str] = {}
        named: dict[str, str] = {}
        for leaf in missing[:_SHOWN]:
            alike, fields = self.sources.likely(leaf.value, leaf.name, self._held)
            if alike:
                near[leaf.path] = alike[0]
            elif fields:
                named[leaf.path] = fields[0]
        block = self.policy.mode == "block" and self._ungrounded >= self.policy.grace
        likely = list(dict.fromkeys((near or named).values()))
        template = ("grounding_blocked" if block else "grounding_warned") + ("_similar" if likely else "")
        shown = ", ".join(f"{leaf.path} = {quoted(leaf.value)}" for leaf in missing[:_SHOWN])
        hint = {"likely": " or ".join(likely)} if likely else {}
        return Finding(
            Check.GROUNDING,
            Action.BLOCK if block else Action.WARN,
            "grounding.similar" if near else "grounding.ungrounded",
            self._wording.say(template, tool=call.name, leaves=shown, **hint),
            {
                "paths": [leaf.path for leaf in missing[:_SHOWN]],
                "count": len(missing),
                "likely": near or named,
                "earlier": self._ungrounded,
                "grace": self.policy.grace,
            },
            repair=copied,
        )

    def _copied(self, call: PendingCall, copied: dict[str, str]) -> Finding:
        pairs = ", ".join(f"{path} = {reference}" for path, reference in list(copied.items())[:_SHOWN])
        return Finding(
            Check.GROUNDING,
            Action.ALLOW,
            "grounding.copied",
            self._wording.say("grounding_copied", tool=call.name, pairs=pairs),
            {"paths": list(copied)},
            repair=copied,
        )

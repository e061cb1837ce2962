"""What of the open segment a model sees, by policies that compose.

In comes a view of the segment's units; out goes a view that shows less of them. A policy never
writes, never splits a call from its results, and never touches what is pinned or newest.
"""

from .applying import Optimizer, apply_policies, build_with_policies
from .composing import Compose, ContextPolicy, Policies
from .horizon import Landmarks
from .identity import Identity, identity_of, short_digest
from .pins import Pin
from .results import ClearToolResults, Offload
from .selection import DropRoles, Importance
from .views import Unit, View, view_of
from .windows import Age, Hybrid, KeepLast, TokenBudget

__all__ = [
    "Age",
    "ClearToolResults",
    "Compose",
    "ContextPolicy",
    "DropRoles",
    "Hybrid",
    "Identity",
    "Importance",
    "KeepLast",
    "Landmarks",
    "Offload",
    "Optimizer",
    "Pin",
    "Policies",
    "TokenBudget",
    "Unit",
    "View",
    "apply_policies",
    "build_with_policies",
    "identity_of",
    "short_digest",
    "view_of",
]

"""What segmenting costs and saves.

In come prices, the cache's life, sizes and pace; out go a `Decision` and, from reported usage, `Savings`.
Never here: I/O, a clock, or a price that nobody stated (assumed ratios say so and make no money).
"""

from .booking import Savings, carried_record, savings_of
from .cache_health import CacheHealth
from .caches import CacheRule, cache_rule
from .cycle import cycle_calls, cycle_cost
from .decision import LEAST_SEED, Decision, decide
from .pace import RECENT, Pace, pace_of
from .situation import Situation, Terms
from .tariffs import Tariff, tariff_of

__all__ = [
    "LEAST_SEED",
    "RECENT",
    "CacheHealth",
    "CacheRule",
    "Decision",
    "Pace",
    "Savings",
    "Situation",
    "Tariff",
    "Terms",
    "cache_rule",
    "carried_record",
    "cycle_calls",
    "cycle_cost",
    "decide",
    "pace_of",
    "savings_of",
    "tariff_of",
]

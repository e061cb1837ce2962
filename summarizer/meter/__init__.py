"""What messages weigh and calls cost.

In come texts, wire messages, tool schemas and provider responses; out go token counts, usages and prices.
It never asks the network, never imports litellm, and never turns an unknown into a number.
"""

from __future__ import annotations

from .calibration import Calibration, estimate, prior_ratio
from .counting import count_tokens, message_tokens, request_tokens
from .images import image_tokens
from .prices import (
    Price,
    Rates,
    context_window,
    cost_of,
    max_output_tokens,
    price_for,
    price_table_id,
    set_price,
    supports_response_schema,
)
from .tokens import SupportsCount, TokenCounter, counter_for_model, counter_named, set_counter
from .tools import tool_tokens
from .usage import Usage

__all__ = [
    "Calibration",
    "Price",
    "Rates",
    "SupportsCount",
    "TokenCounter",
    "Usage",
    "context_window",
    "cost_of",
    "count_tokens",
    "counter_for_model",
    "counter_named",
    "estimate",
    "image_tokens",
    "max_output_tokens",
    "message_tokens",
    "price_for",
    "price_table_id",
    "prior_ratio",
    "request_tokens",
    "set_counter",
    "set_price",
    "supports_response_schema",
    "tool_tokens",
]

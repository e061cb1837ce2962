"""What the summary server of the kill test answers: a good summary, slowly."""

import asyncio
import random

from summarizer.testing import Prompt
from tests.summarizer.talk import summary_text


async def answer(_prompt: Prompt) -> str:
    """Late enough to be killed for it, soon enough to be handed over now and then."""
    await asyncio.sleep(random.uniform(0.005, 0.06))
    return summary_text()

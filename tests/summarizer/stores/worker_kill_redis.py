"""`worker_kill.py` with the Redis client loaded before the forks, so that a writer starts in milliseconds."""

import runpy
from pathlib import Path

import redis.asyncio
import redis.asyncio.cluster  # noqa: F401

runpy.run_path(str(Path(__file__).with_name("worker_kill.py")))

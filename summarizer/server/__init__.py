"""An OpenAI-compatible endpoint in front of another one: `longsplice serve`.

In come chat completions with a session's name; out goes the upstream's answer, byte for byte, to a request
whose history fits and whose loops end. Never here: a model's key, a tool's execution, or a guess.
"""

from .app import app_from_environment, create_app
from .settings import Settings

__all__ = ["Settings", "app_from_environment", "create_app"]

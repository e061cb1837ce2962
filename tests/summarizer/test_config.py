"""Settings: where they come from, and what is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer import config
from summarizer.errors import InvalidSetting

good_roots = st.text(
    st.characters(categories=["L", "N", "P", "S"], exclude_characters="~"), min_size=1, max_size=50
)


@given(good_roots, st.integers(0, 10**6))
def test_a_session_id_is_read_as_it_was_made(root, index):
    """Law 4: an id carries its root and its place in the chain."""
    assert config.parse_session_id(config.make_session_id(root, index)) == (root, index)


@pytest.mark.parametrize("session_id", ["a", "user 7", "two  blanks", "ünïcode", "x" * 200, "a/b:c", "🌍"])
def test_printable_ids_are_taken(session_id):
    """Callers bring their own ids."""
    assert config.parse_session_id(session_id) == (session_id, 0)


@pytest.mark.parametrize(
    "session_id",
    [
        "",
        " ",
        " a",
        "a ",
        "a\n",
        "a\nb",
        "a\x00",
        "a\x85b",
        "a\ud800",
        "x" * 201,
        "~1",
        "a~",
        "a~0",
        "a~01",
        "a~-1",
        "a~1~2",
        "a~x",
        "a~²",
        "a~1234567890",
        None,
        5,
    ],
    ids=ascii,
)
def test_other_ids_are_refused(session_id):
    """What no store could keep, or what looks like a child that cannot be, is refused at once."""
    with pytest.raises(InvalidSetting, match="invalid session id"):
        config.parse_session_id(session_id)


def test_the_store_comes_from_the_environment(monkeypatch):
    """`LONGSPLICE_STORE` goes first, then the provider; without either it is a file of the user's."""
    assert config.default_store_url() == f"sqlite:///{config.data_directory() / 'sessions.db'}"

    monkeypatch.setenv("SESSION_REDIS_URL", "redis://127.0.0.1:7")
    assert config.default_store_url() == "redis://127.0.0.1:7"

    monkeypatch.setenv("SESSION_PROVIDER", "memory")
    assert config.default_store_url() == "memory://"

    monkeypatch.setenv("LONGSPLICE_STORE", "sqlite:///here.db")
    assert config.default_store_url() == "sqlite:///here.db"


def test_a_provider_that_cannot_be_is_refused(monkeypatch):
    """An unknown provider, and Redis without a URL."""
    monkeypatch.setenv("SESSION_PROVIDER", "postgres")
    with pytest.raises(InvalidSetting, match="'postgres'"):
        config.default_store_url()

    monkeypatch.setenv("SESSION_PROVIDER", "redis")
    with pytest.raises(InvalidSetting, match="SESSION_REDIS_URL"):
        config.default_store_url()


def test_the_token_model_is_read_when_it_is_needed(monkeypatch):
    """The environment may change after import; an empty value is none."""
    assert config.DEFAULT_TOKEN_MODEL == "gpt-4o-mini"

    monkeypatch.setenv("LONGSPLICE_DEFAULT_MODEL", "gpt-4.1")
    assert config.DEFAULT_TOKEN_MODEL == "gpt-4.1"

    monkeypatch.setenv("LONGSPLICE_DEFAULT_MODEL", "")
    assert config.DEFAULT_TOKEN_MODEL == "gpt-4o-mini"


def test_an_unknown_setting_is_an_attribute_error():
    """A misspelt name fails as it does on any module."""
    with pytest.raises(AttributeError, match="TOKEN_MODEL"):
        _ = config.TOKEN_MODEL


def test_the_cache_is_bounded_by_the_environment(monkeypatch):
    """A whole number of bytes; empty is unset."""
    assert config.cached_bytes() == config.CACHED_BYTES

    for given_text, expected in (("", config.CACHED_BYTES), ("0", 0), ("1000", 1000)):
        monkeypatch.setenv("LONGSPLICE_CACHE_BYTES", given_text)
        assert config.cached_bytes() == expected

    for given_text in ("-1", "1.5", "64MB"):
        monkeypatch.setenv("LONGSPLICE_CACHE_BYTES", given_text)
        with pytest.raises(InvalidSetting, match="LONGSPLICE_CACHE_BYTES"):
            config.cached_bytes()


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_data_is_kept_where_the_platform_keeps_it(monkeypatch, platform):
    """Each platform has its place; nothing is created by asking."""
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setenv("HOME", "/nowhere")
    place = config.data_directory()

    assert place.name == "longsplice"
    assert not place.exists()


def test_a_user_without_a_home_may_name_a_place(monkeypatch):
    """In a container the home directory may be unknown; it is asked for only where it is needed."""

    def lost():
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", lost)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")

    assert config.data_directory() == Path("/data/longsplice")


def test_the_defaults_fit_together():
    """Tail and seed at their largest leave the minimum gain, and a lease outlasts one summary request."""
    assert config.TAIL_SHARE + config.SEED_SHARE <= 1 - config.MINIMUM_GAIN
    assert config.LEASE_S >= config.SUMMARY_TIMEOUT_S

"""URLs of Redis stores: what they mean, and that no password leaves them."""

import pytest

from summarizer.errors import InvalidSetting
from summarizer.stores import RedisStore, open_store
from summarizer.stores.redis.address import Address

SECRET = "s3cr%40t-w0rd"
WRONG = [
    "http://host",
    "redis",
    f"redis://user:{SECRET}@host:port",
    f"redis://user:{SECRET}@host:99999",
    f"redis://:{SECRET}@host/one",
    f"redis://:{SECRET}@host/0/1",
    f"redis://:{SECRET}@host?unknown=1",
    f"redis://:{SECRET}@host?ttl=0",
    f"redis://:{SECRET}@host?ttl=soon",
    f"redis://:{SECRET}@host?durability=power",
    f"redis://:{SECRET}@host?prefix=%7Ba%7D",
    f"redis+cluster://:{SECRET}@host?tls=perhaps",
    f"redis+cluster://:{SECRET}@host/1",
    f"redis+sentinel://:{SECRET}@host",
    f"redis://host?sentinel_password={SECRET}",
    f"redis+sentinel://host?sentinel_password={SECRET}",
]


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_url_is_refused_without_its_password(url: str) -> None:
    """A wrong URL is an error that says what is wrong, and never the password."""
    with pytest.raises(InvalidSetting) as caught:
        RedisStore.from_url(url)

    assert SECRET not in str(caught.value)
    assert "s3cr@t" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://", "redis://127.0.0.1:6379/0"),
        (f"redis://user:{SECRET}@host:1/3", "redis://user:***@host:1/3"),
        (f"rediss://:{SECRET}@host?ttl=60", "rediss://***@host:6379/0?ttl=60".replace("***", ":***")),
        ("redis://[::1]:7000", "redis://[::1]:7000/0"),
        (f"redis+sentinel://u:{SECRET}@a,b:7/main", "redis+sentinel://u:***@a:26379,b:7/main/0"),
        (
            f"redis+sentinel://a/main?sentinel_username=u&sentinel_password={SECRET}&ttl=60",
            "redis+sentinel://a:26379/main/0?ttl=60&sentinel_username=u&sentinel_password=***",
        ),
        (f"redis+cluster://:{SECRET}@a:1,b:2", "redis+cluster://:***@a:1,b:2"),
    ],
)
def test_the_shown_url_hides_the_password(url: str, masked: str) -> None:
    """The URL that a store shows is complete but for the password."""
    store = open_store(url)

    assert store.url == masked
    assert SECRET not in repr(Address.parse(url))
    assert "s3cr@t" not in repr(Address.parse(url))


def test_a_password_is_decoded() -> None:
    """Percent signs in user and password are read as URLs mean them."""
    address = Address.parse("redis://us%2Fer:p%40ss@host")
    guarded = Address.parse("redis+sentinel://host/main?sentinel_username=g%2F1&sentinel_password=p%40ss")

    assert address.credentials() == {"username": "us/er", "password": "p@ss"}
    assert guarded.sentinel_credentials() == {"username": "g/1", "password": "p@ss"}


def test_certificates_are_checked_unless_told_otherwise() -> None:
    """An encrypted connection checks certificate and host name by default, and not without encryption."""
    checked = Address.parse("rediss://host").tls_arguments()
    unchecked = Address.parse("rediss://host?ssl_cert_reqs=none").tls_arguments()

    assert checked == {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    assert unchecked == {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    assert Address.parse("redis://host").tls_arguments() == {}
    assert Address.parse("redis+cluster://host?tls=true").tls

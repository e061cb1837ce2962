"""Where the servers are: in comes a URL, out goes what redis-py is told. Pure; no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast
from urllib.parse import parse_qsl, quote, unquote

from ...errors import InvalidSetting
from ..protocol import Durability

__all__ = ["Address"]

_KINDS: Final[dict[str, Literal["single", "sentinel", "cluster"]]] = {
    "redis": "single",
    "rediss": "single",
    "redis+sentinel": "sentinel",
    "redis+cluster": "cluster",
}
_EXAMPLES: Final = (
    "redis://user:password@host:6379/0, rediss://host:6380/0, "
    "redis+sentinel://host1:26379,host2:26379/service/0, redis+cluster://host1:6379,host2:6379"
)
_TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")
_SENTINEL_OPTIONS: Final = ("sentinel_password", "sentinel_username")
_OPTIONS: Final = ("durability", "prefix", "tls", "ttl", *_TLS_OPTIONS)
_PREFIX: Final = re.compile(r"[\w.:-]{1,32}")
_TRUE: Final = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL.

    Attributes:
        kind: One server, an ensemble of Sentinels, or a Cluster.
        hosts: Host and port of the server, the Sentinels, or some nodes of the Cluster.
        scheme: As in the URL.
        tls: Whether to encrypt; certificates are then checked unless `ssl_cert_reqs=none`.
        username: `None` for the server's default user.
        password: Never shown.
        db: Number of the logical database; 0 on a Cluster.
        service: The name under which Sentinel knows the primary.
        sentinel_username: `None` for the Sentinels' default user; their logins are their own.
        sentinel_password: Never shown.
        options: The rest of the URL's query, as text.
    """

    kind: Literal["single", "sentinel", "cluster"]
    hosts: tuple[tuple[str, int], ...]
    scheme: str = "redis"
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    service: str = ""
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    options: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL.

        Raises:
            InvalidSetting: Wrong; the text never repeats the password.
        """
        scheme, separator, rest = url.partition("://")
        kind = _KINDS.get(scheme)
        if not separator or kind is None:
            raise InvalidSetting(f"unknown scheme {scheme!r} of a Redis URL; write one of {_EXAMPLES}")
        rest, _, query = rest.partition("?")
        netloc, _, path = rest.partition("/")
        login, at, where = netloc.rpartition("@")
        username, colon, password = login.partition(":")
        options = _options(query, (*_OPTIONS, *_SENTINEL_OPTIONS) if kind == "sentinel" else _OPTIONS)
        service, db = _path(kind, path)
        return cls(
            kind,
            tuple(_host(part, 26379 if kind == "sentinel" else 6379) for part in where.split(",")),
            scheme,
            scheme == "rediss" or _flag(options, "tls"),
            unquote(username) if at and username else None,
            unquote(password) if colon else None,
            db,
            service,
            options.pop("sentinel_username", None),
            options.pop("sentinel_password", None),
            options,
        )

    @property
    def masked(self) -> str:
        """The URL without its password."""
        name = quote(self.username, safe="") if self.username else ""
        login = f"{name}:***@" if self.password else f"{name}@" if name else ""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        path = f"/{self.service}" * bool(self.service) + f"/{self.db}" * (self.kind != "cluster")
        told = [f"{key}={quote(value, safe='')}" for key, value in self.options.items()]
        if self.sentinel_username is not None:
            told.append(f"sentinel_username={quote(self.sentinel_username, safe='')}")
        query = "&".join([*told, *["sentinel_password=***"] * (self.sentinel_password is not None)])
        return f"{self.scheme}://{login}{hosts}{path}{'?' + query if query else ''}"

    @property
    def ttl_s(self) -> float | None:
        """Option `ttl`, in seconds."""
        text = self.options.get("ttl")
        if text is None:
            return None
        try:
            ttl = float(text)
        except ValueError:
            ttl = 0.0
        if not 1 <= ttl < 1e10:
            raise InvalidSetting(f"option ttl={text!r} is out of range; use seconds, 1 or more")
        return ttl

    @property
    def durability(self) -> Durability | None:
        """Option `durability`."""
        return cast("Durability | None", self.options.get("durability"))

    @property
    def prefix(self) -> str | None:
        """Option `prefix`: what all keys begin with."""
        return self.options.get("prefix")

    def credentials(self) -> dict[str, Any]:
        """User and password as redis-py takes them."""
        return {"username": self.username, "password": self.password}

    def sentinel_credentials(self) -> dict[str, Any]:
        """The same for the Sentinels."""
        return {"username": self.sentinel_username, "password": self.sentinel_password}

    def tls_arguments(self) -> dict[str, Any]:
        """What an encrypted connection is told; certificate and host name are checked by default."""
        if not self.tls:
            return {}
        told: dict[str, Any] = {key: self.options[key] for key in _TLS_OPTIONS if key in self.options}
        told.setdefault("ssl_cert_reqs", "required")
        checks = told["ssl_cert_reqs"] != "none"
        told["ssl_check_hostname"] = _flag(self.options, "ssl_check_hostname", otherwise=checks) and checks
        return told


def check_prefix(prefix: str) -> str:
    """A prefix that is safe inside keys; braces would move the hash tag.

    Raises:
        InvalidSetting: Anything else.
    """
    if not _PREFIX.fullmatch(prefix):
        raise InvalidSetting(f"key prefix {prefix!r} is invalid; use 1 to 32 letters, digits or any of _.:-")
    return prefix


def _options(query: str, known: tuple[str, ...]) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for key in options:
        if key not in known:
            raise InvalidSetting(f"unknown option {key!r} in a Redis URL; known: {', '.join(sorted(known))}")
    return options


def _flag(options: dict[str, str], key: str, *, otherwise: bool = False) -> bool:
    text = options.get(key)
    if text is None:
        return otherwise
    if text.lower() not in _TRUE:
        raise InvalidSetting(f"option {key}={text!r} is neither true nor false")
    return _TRUE[text.lower()]


def _host(text: str, default_port: int) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([^\[\]:]*))(?::(\d{1,5}))?", text)
    port = int(match[3]) if match and match[3] else default_port
    if not match or not 0 < port < 65536:
        raise InvalidSetting(f"host {text!r} of a Redis URL is invalid; write one of {_EXAMPLES}")
    return unquote(match[1] or match[2] or "127.0.0.1"), port


def _path(kind: str, path: str) -> tuple[str, int]:
    parts = [unquote(part) for part in path.split("/") if part]
    service = ""
    if kind == "sentinel":
        if not parts:
            raise InvalidSetting(f"a Sentinel URL needs the service's name; write {_EXAMPLES.split(', ')[2]}")
        service = parts.pop(0)
    db = parts.pop(0) if parts else "0"
    if parts or not (db.isascii() and db.isdigit()) or (kind == "cluster" and db != "0"):
        raise InvalidSetting(f"path {path!r} of a Redis URL is invalid; write one of {_EXAMPLES}")
    return service, int(db)

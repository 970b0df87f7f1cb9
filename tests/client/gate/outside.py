"""Who stands outside of a site's gate: a TLS server that asks for certificates, and a proxy."""

import asyncio
import datetime
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette

from fedward_client.memberships import Membership

HOST = "coordinator.test"
"""Nobody but the proxy knows where that is: the name resolves nowhere (RFC 6761)."""

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "grpc_proxy", "no_grpc_proxy")


def forget_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes those of this machine out of the environment."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def write_membership(place: Path) -> Membership:
    """A membership whose files an authority of its own has made; `server.pem` is the coordinator's."""
    place.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("authority", key, "authority", key, None)
    _write(place / "ca.pem", authority.public_bytes(serialization.Encoding.PEM))
    for name, names in (("client", None), ("server", HOST)):
        own = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(name, own, "authority", key, names)
        _write(place / f"{name}.pem", made.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        nothing = serialization.NoEncryption()
        _write(place / f"{name}.key", own.private_bytes(serialization.Encoding.PEM, form, nothing))
    files = (place / n for n in ("ca.pem", "client.pem", "client.key", "node.key"))
    return Membership("university", f"{HOST}:443", *files)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    host: str | None,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
    )
    if host:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    return made.sign(issuer_key, hashes.SHA256())


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)


@contextmanager
def coordinator(app: Starlette, place: Path) -> Iterator[int]:
    """Serves `app` with mutual TLS, and the certificate of `write_membership`; the port."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            port=0,
            log_config=None,
            ssl_certfile=str(place / "server.pem"),
            ssl_keyfile=str(place / "server.key"),
            ssl_ca_certs=str(place / "ca.pem"),
            ssl_cert_reqs=ssl.CERT_REQUIRED,
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@dataclass
class Tunnels:
    """A proxy as a hospital has one (RFC 9110, CONNECT). It knows one host, at `port` of loopback.

    `asked` are the first lines of all requests, `passed` the first bytes that went through.
    """

    port: int
    asked: list[str] = field(default_factory=list)
    passed: list[bytes] = field(default_factory=list)

    @contextmanager
    def open(self) -> Iterator[str]:
        """Runs it; its URL."""
        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            server.close()  # a server is its loop's thread's alone, and that has ended
            loop.run_until_complete(_cancel_all(loop))
            loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head.splitlines()[0])
            if self.asked[-1] != f"CONNECT {HOST}:443 HTTP/1.1":
                writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                return
            there, out = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            with closing(out), suppress(asyncio.CancelledError):
                await asyncio.gather(self._pump(reader, out, note=True), self._pump(there, writer))

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, note: bool = False
    ) -> None:
        with suppress(OSError):
            while data := await source.read(2**16):
                if note:
                    self.passed.append(data)
                target.write(data)
                await target.drain()
        with suppress(OSError, RuntimeError):
            target.write_eof()


async def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = [t for t in asyncio.all_tasks(loop) if t is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

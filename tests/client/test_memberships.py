"""How a site asks its coordinator: over TLS that trusts one authority, with answers of bounded size."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from client.test_joining import NOW, Both
from client.test_joining import made as invited

from fedward_client import memberships
from fedward_shared.enrolment import MAX_BYTES, Admission
from fedward_shared.errors import EnrolmentError, StatementError, TransportError


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return invited(tmp_path)


class Handler(BaseHTTPRequestHandler):
    status, body = 200, b""

    def do_POST(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def serving(folder: Path, status: int, body: bytes) -> Iterator[str]:
    """A TLS server with the certificate in `folder`; its address."""
    handler = type("Answering", (Handler,), {"status": status, "body": body})
    server = HTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def asked(pair: Both, status: int, body: bytes) -> bytes:
    trusted = memberships.context(pair.invitation.ca)
    with serving(pair.home.authority, status, body) as address:
        return memberships.ask(address, "/fedward/enrol", b"x", trusted)


def test_an_answer_is_given_back(both: Both) -> None:
    assert asked(both, 200, b"answer") == b"answer"


@pytest.mark.parametrize(
    ("status", "kind"), [(403, EnrolmentError), (400, EnrolmentError), (502, TransportError)]
)
def test_a_refusal_is_told_in_the_coordinators_words(
    both: Both,
    status: int,
    kind: type[Exception],
) -> None:
    with pytest.raises(kind, match=rf"refuses \({status}\): the token was used .31m$"):
        asked(both, status, b"the token was used \x1b31m")  # and cannot steer a terminal
    with pytest.raises(kind) as caught:
        asked(both, status, b"x" * 5000)
    assert len(str(caught.value)) < 400


def test_an_answer_without_end_is_cut_off(both: Both) -> None:
    with pytest.raises(TransportError, match="longer than"):
        asked(both, 200, b"x" * (MAX_BYTES + 1))


def test_a_server_of_another_authority_is_not_trusted(both: Both, tmp_path: Path) -> None:
    from fedward_server import coordinator

    other = coordinator.create(tmp_path / "other", "university", "127.0.0.1:1", 9091, None)
    trusted = memberships.context(both.invitation.ca)
    with (
        serving(other.authority, 200, b"") as address,
        pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        memberships.ask(address, "/fedward/enrol", b"", trusted)


def test_nobody_there_is_said(both: Both) -> None:
    with pytest.raises(TransportError, match="firewall and proxy"):
        memberships.ask("127.0.0.1:1", "/", b"", memberships.context(both.invitation.ca))


def test_a_renewal_that_is_not_the_coordinators_keeps_the_old_certificate(both: Both) -> None:
    made = both.enrol()
    before = made.certificate.read_bytes()
    due = made.current.not_valid_after_utc - timedelta(days=1)
    impostor = Admission(
        coordinator="university",
        site="north",
        key=both.settings.coordinators["university"],
        certificate=before.decode(),
    )
    from conftest import key_of

    forged = impostor.model_copy(update={"key": key_of("impostor").public.text})
    for body in (b"", forged.signed(key_of("impostor"))):
        with serving(both.home.authority, 200, body) as address:
            details = made.details.model_copy(update={"address": address})
            (made.certificate.parent / "membership.json").write_text(details.model_dump_json())
            moved = memberships.at(made.certificate.parent)
            with pytest.raises(StatementError):
                memberships.renew_if_due(moved, due)
    assert made.certificate.read_bytes() == before
    assert due > NOW

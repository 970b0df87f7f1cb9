"""The enrolment service as the proxy calls it: what is refused, with which words and status."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import key_of
from server.test_registrar import enrolled, wanted
from starlette.testclient import TestClient

from fedward_server import coordinator
from fedward_server.coordinator import Home
from fedward_server.enrolment_service import SERIAL_HEADER, VERIFIED_HEADER, Service
from fedward_server.registrar import Registrar
from fedward_server.superlink import SuperLink
from fedward_shared.enrolment import ENROL_PATH, MAX_BYTES, RENEW_PATH, Admission

WEEK = timedelta(days=7)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return coordinator.create(tmp_path / "home", "university", "fl.example:8443", 1, None)


@pytest.fixture
def registrar(home: Home) -> Iterator[Registrar]:
    made = Registrar(home)
    yield made
    made.close()


@pytest.fixture
def client(home: Home, registrar: Registrar) -> TestClient:
    # Nobody listens on port 1: admitting does not wait for a SuperLink.
    superlink = SuperLink(home.superlink_address, home.authority / "ca.pem")
    return TestClient(Service(registrar, superlink).app, raise_server_exceptions=True)


def test_an_enrolment_is_answered_with_a_signed_admission(
    client: TestClient, registrar: Registrar, home: Home
) -> None:
    token = registrar.invite("north", "", WEEK).token
    data = wanted("north", token).signed(key_of("north"))
    answer = client.post(ENROL_PATH, content=data)
    assert answer.status_code == 200
    admission = Admission.read(answer.content, "test")
    assert (admission.site, admission.key) == ("north", home.key().public.text)
    assert client.post(ENROL_PATH, content=data).content == answer.content
    used = client.post(ENROL_PATH, content=wanted("north", token, 1).signed(key_of("north")))
    assert used.status_code == 403
    assert "used already" in used.text


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 400, "not canonical JSON"),
        (b"{}", 400, "not a signed statement"),
        (b"x" * (MAX_BYTES + 1), 413, "at most"),
        (wanted("north", "0" * 64).signed(key_of("south")), 400, "not signed by the key"),
        (wanted("north", "0" * 64).signed(key_of("north")), 403, "did not issue the token"),
    ],
    ids=["empty", "no statement", "long", "another's signature", "foreign token"],
)
def test_what_is_no_enrolment_is_refused(
    client: TestClient, content: bytes, status: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = client.post(ENROL_PATH, content=content)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    said = capfd.readouterr()
    assert "0" * 64 not in said.out + said.err  # a token is in no log


def test_a_renewal_is_for_whom_the_proxy_names(
    client: TestClient, registrar: Registrar, home: Home
) -> None:
    north = enrolled(home, "north")
    serial = f"{north.certificate.serial_number:X}"
    good = {VERIFIED_HEADER: "SUCCESS", SERIAL_HEADER: serial}
    answer = client.post(RENEW_PATH, headers=good)
    assert answer.status_code == 200
    assert Admission.read(answer.content, "test").site == "north"
    for headers in (
        {},
        {SERIAL_HEADER: serial},
        {VERIFIED_HEADER: "SUCCESS"},
        good | {VERIFIED_HEADER: "NONE"},
        good | {VERIFIED_HEADER: "FAILED:certificate revoked"},
        good | {SERIAL_HEADER: "9" * 41},
        good | {SERIAL_HEADER: "no number"},
        good | {SERIAL_HEADER: "FFFF"},
    ):
        assert client.post(RENEW_PATH, headers=headers).status_code == 403
    registrar.revoke("north")
    refused = client.post(RENEW_PATH, headers=good)
    assert (refused.status_code, "north was revoked" in refused.text) == (403, True)


def test_there_is_nothing_else(client: TestClient) -> None:
    assert client.get(ENROL_PATH).status_code == 405
    for path in ("/", "/docs", "/openapi.json", "/fedward", "/fedward/revoke"):
        assert client.post(path).status_code == 404


def test_what_fails_inside_is_told_to_the_log_alone(
    client: TestClient, registrar: Registrar, home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    token = registrar.invite("north", "", WEEK).token
    (home.authority / "ca.key").chmod(0o644)
    answer = client.post(ENROL_PATH, content=wanted("north", token).signed(key_of("north")))
    assert answer.status_code == 500
    assert str(home.folder) not in answer.text
    assert "others may read this key" in capfd.readouterr().err
    (home.authority / "ca.key").chmod(0o600)
    again = client.post(ENROL_PATH, content=wanted("north", token).signed(key_of("north")))
    assert again.status_code == 200

"""Admissions on disk: what is decided stays decided, whoever opens the log, and crashes are mended."""

from datetime import timedelta
from pathlib import Path

import pytest
from conftest import key_of
from server.test_admissions import node_key, request, tls_key

from fedward_server import coordinator
from fedward_server.admissions import Admitted
from fedward_server.authority import Authority
from fedward_server.coordinator import Home
from fedward_server.registrar import Registrar
from fedward_shared import enrolment
from fedward_shared.enrolment import Enrolment
from fedward_shared.errors import AuditError, EnrolmentError

WEEK = timedelta(days=7)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return coordinator.create(tmp_path / "home", "university", "fl.example:8443", 9091, None)


def wanted(site: str, token: str, number: int = 0, name: str = "university") -> Enrolment:
    return Enrolment(
        coordinator=name,
        site=site,
        key=key_of(site).public.text,
        token=token,
        request=request(number),
        node_key=node_key(number),
    )


def enrolled(home: Home, site: str, number: int = 0) -> Admitted:
    registrar = Registrar(home)
    token = registrar.invite(site, "", WEEK).token
    registrar.admit(wanted(site, token, number))
    found = registrar.state.current(site)
    registrar.close()
    return found


def test_an_admission_names_the_site_whatever_the_request_says(home: Home) -> None:
    registrar = Registrar(home)
    invitation = registrar.invite("north", "", WEEK)
    admission = registrar.admit(wanted("north", invitation.token))  # its request names nobody
    made = enrolment.certificate(admission.certificate, "test")
    assert made.subject.rfc4514_string() == "CN=north"
    assert made.public_key() == tls_key(0).public_key()
    again = registrar.admit(wanted("north", invitation.token))
    assert again == admission
    with pytest.raises(EnrolmentError, match="this is university, not elsewhere"):
        registrar.admit(wanted("north", invitation.token, name="elsewhere"))


def test_two_who_have_it_open_see_each_others_decisions(home: Home) -> None:
    one, other = Registrar(home), Registrar(home)
    token = one.invite("north", "", WEEK).token
    other.admit(wanted("north", token))
    serial = one.state.current("north").certificate.serial_number
    one.renew(serial)
    other.revoke("north")
    with pytest.raises(EnrolmentError, match="north was revoked"):
        one.renew(serial)
    assert [entry.event for entry in one.entries] == ["invited", "admitted", "renewed", "revoked"]
    assert len(home.open_authority().revoked) == 2
    later = Registrar(home)
    assert later.state == one.state


def test_a_revocation_that_was_cut_off_is_published_later(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled(home, "north")
    registrar = Registrar(home)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Authority, "write_revoked", crash)
        with pytest.raises(KeyboardInterrupt):
            registrar.revoke("north")
    assert home.open_authority().revoked == {}
    later = Registrar(home)
    assert later.publish()
    assert not later.publish()
    assert home.open_authority().revoked == later.state.revoked != {}


def test_an_older_copy_of_the_log_lets_nobody_in_again(home: Home) -> None:
    enrolled(home, "north")
    older = home.admissions.read_bytes()
    revoking = Registrar(home)
    revoking.revoke("north")
    home.admissions.write_bytes(older)
    restored = Registrar(home)
    assert restored.state.current("north")
    assert not restored.publish()
    enrolled(home, "south", 1)
    later = Registrar(home)
    later.revoke("south")
    assert len(home.open_authority().revoked) == 2


def test_a_log_that_was_changed_is_refused(home: Home) -> None:
    enrolled(home, "north")
    text = home.admissions.read_text()
    home.admissions.write_text(text.replace('"north"', '"south"'))
    with pytest.raises(AuditError, match=r"admissions\.jsonl, line 1"):
        Registrar(home)

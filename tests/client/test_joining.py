"""Enrolment as a site sees it, against a coordinator's real registrar, without a network between."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import tomli_w
from client.test_settings import good
from conftest import key_of
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from typer.testing import CliRunner

from fedward_client import joining, memberships, settings
from fedward_client.commands.site import site as command
from fedward_client.memberships import Membership
from fedward_client.settings import SiteSettings
from fedward_server import coordinator
from fedward_server.coordinator import Home
from fedward_server.registrar import Registrar
from fedward_shared import enrolment
from fedward_shared.enrolment import Admission, Enrolment, Invitation
from fedward_shared.errors import (
    EnrolmentError,
    IdentityError,
    StateError,
    StatementError,
    UsageError,
)
from fedward_shared.identity import SigningKey

NOW = datetime.now(UTC)


@dataclass
class Both:
    """A coordinator and the site `north`, which has pinned its key."""

    home: Home
    registrar: Registrar
    settings: SiteSettings
    invitation: Invitation

    def send(self, _: Invitation, data: bytes) -> bytes:
        admission = self.registrar.admit(Enrolment.read(data, "test"))
        return self.registrar.signed(admission)

    def enrol(self) -> Membership:
        return joining.enrol(self.invitation, self.settings, self.send)

    @property
    def place(self) -> Path:
        return memberships.folder(self.settings) / "university"


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return made(tmp_path)


def made(tmp_path: Path) -> Both:
    """Invited, and not enrolled yet."""
    home = coordinator.create(tmp_path / "home", "university", "127.0.0.1:1", 9091, None)
    content = good() | {"coordinators": {"university": home.key().public.text}}
    path = tmp_path / "site.toml"
    path.write_text(tomli_w.dumps(content))
    key_of("north").save(tmp_path / "site.key")
    registrar = Registrar(home)
    invitation = registrar.invite("north", "", timedelta(days=7))
    return Both(home, registrar, settings.load(path), invitation)


def test_an_enrolled_site_has_a_membership_for_itself_alone(both: Both) -> None:
    assert memberships.all_of(both.settings) == []
    made = both.enrol()
    assert memberships.all_of(both.settings) == [made]
    assert (made.coordinator, made.address) == ("university", "127.0.0.1:1")
    assert both.place.stat().st_mode & 0o777 == 0o700
    for path in both.place.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    memberships.tls(made)  # certificate and key are a pair
    node = load_ssh_private_key(made.node_key.read_bytes(), None)
    assert isinstance(node, ec.EllipticCurvePrivateKey)
    assert node.public_key() == both.registrar.state.current("north").node
    assert made.details.key == both.home.key().public.text


def test_an_enrolment_whose_answer_is_lost_is_repeated_with_the_same_keys(both: Both) -> None:
    def lost(invitation: Invitation, data: bytes) -> bytes:
        both.send(invitation, data)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        joining.enrol(both.invitation, both.settings, lost)
    assert memberships.all_of(both.settings) == []
    assert both.enrol().current == both.registrar.state.current("north").certificate


Change = Callable[[Both], None]


def other_coordinator(both: Both) -> None:
    both.settings = both.settings.model_copy(update={"coordinators": {}})


def other_key(both: Both) -> None:
    pinned = {"university": key_of("impostor").public.text}
    both.settings = both.settings.model_copy(update={"coordinators": pinned})


def other_site(both: Both) -> None:
    both.settings = both.settings.model_copy(update={"name": "south"})


def expired(both: Both) -> None:
    both.invitation = both.invitation.model_copy(update={"expires": NOW})


def enrolled(both: Both) -> None:
    both.enrol()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_coordinator, 'add this line under \\[coordinators\\].*\nuniversity = "ed25519:'),
        (other_key, "do not use it, and ask the coordinator by telephone"),
        (other_site, "the invitation is for north; this is south"),
        (expired, "the invitation expired on"),
        (enrolled, "is enrolled with university already"),
    ],
)
def test_an_invitation_that_does_not_fit_is_refused(both: Both, change: Change, words: str) -> None:
    joining.check(both.invitation, both.settings, NOW)
    change(both)
    with pytest.raises(EnrolmentError, match=words):
        joining.check(both.invitation, both.settings, NOW)


@pytest.mark.parametrize("told", ["", "0000", "same", "swapped"])
def test_another_fingerprint_is_refused(both: Both, told: str) -> None:
    own = both.invitation.signer.fingerprint
    joining.check_fingerprint(both.invitation, own)
    joining.check_fingerprint(both.invitation, own.replace(" ", "").upper())
    wrong = {"same": own[:-1], "swapped": " ".join(reversed(own.split()))}.get(told, told)
    with pytest.raises(EnrolmentError, match="Nothing was sent"):
        joining.check_fingerprint(both.invitation, wrong)


def forged(both: Both, signer: SigningKey, **changes: str) -> Callable[[Invitation, bytes], bytes]:
    def send(invitation: Invitation, data: bytes) -> bytes:
        admission = Admission.read(both.send(invitation, data), "test")
        return admission.model_copy(update={"key": signer.public.text} | changes).signed(signer)

    return send


def test_an_answer_that_is_not_the_coordinators_is_refused(both: Both, tmp_path: Path) -> None:
    own, impostor = both.home.key(), key_of("impostor")
    other = coordinator.create(tmp_path / "other", "other", "127.0.0.1:1", 9091, None)
    foreign = other.open_authority()
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    authority = both.home.open_authority()
    from fedward_server.authority import pem

    cases = {
        "not signed by university": forged(both, impostor),
        "not by the authority": forged(
            both, own, certificate=pem(foreign.certify_site("north", stranger, NOW))
        ),
        "not for this site": forged(
            both, own, certificate=pem(authority.certify_site("north", stranger, NOW))
        ),
        "no certificate": forged(both, own, certificate=both.invitation.ca[:40]),
    }
    for words, send in cases.items():
        with pytest.raises(StatementError, match=words):
            joining.enrol(both.invitation, both.settings, send)
        assert memberships.all_of(both.settings) == []
    with pytest.raises(StatementError, match="not for this site"):
        joining.enrol(both.invitation, both.settings, forged(both, own, site="south"))


def test_a_membership_that_lacks_a_file_says_which(both: Both) -> None:
    made = both.enrol()
    made.node_key.unlink()
    with pytest.raises(StateError, match=r"node\.key: is missing"):
        memberships.all_of(both.settings)
    (both.place / "membership.json").write_text("{}")
    with pytest.raises(StateError, match=r"membership\.json: coordinator: "):
        memberships.all_of(both.settings)


def test_what_is_typed_at_a_site(both: Both, tmp_path: Path) -> None:
    path = tmp_path / "north.invitation"
    path.write_bytes(both.registrar.signed(both.invitation))
    own = both.invitation.signer.fingerprint
    arguments = ["enrol", str(path), "--site", str(tmp_path / "site.toml")]
    wrong = CliRunner().invoke(command, arguments, input="0000 0000\n")
    assert own in wrong.output
    assert isinstance(wrong.exception, EnrolmentError)
    assert not both.place.exists()  # nothing was made, either
    with pytest.raises(UsageError, match="cannot be read"):
        joining.read(tmp_path / "none")
    with pytest.raises(UsageError, match="not enrolled with it"):
        raise (
            CliRunner()
            .invoke(command, ["renew", "university", "--site", str(tmp_path / "site.toml")])
            .exception
            or AssertionError
        )


def test_nothing_is_renewed_before_its_time_and_nothing_after_it(both: Both) -> None:
    made = both.enrol()
    until = made.current.not_valid_after_utc
    assert not memberships.renew_if_due(made, NOW)  # would otherwise fail: nobody listens
    assert enrolment.is_due(made.current, until - timedelta(days=29))
    with pytest.raises(EnrolmentError, match="ask university for a new invitation"):
        memberships.renew_if_due(made, until)


def test_keys_of_a_cut_off_enrolment_that_cannot_be_used_are_named(both: Both) -> None:
    both.place.mkdir(parents=True)
    (both.place / "client.key").write_text("no key")
    with pytest.raises(IdentityError, match=r"client\.key: no key"):
        both.enrol()
    SigningKey.generate().save(both.place / "other.key")
    (both.place / "other.key").rename(both.place / "client.key")
    with pytest.raises(IdentityError, match="not a key on secp256r1"):
        both.enrol()

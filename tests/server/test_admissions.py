"""Who may come in: each refusal in words, and the rules against a plain account of what happened."""

from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from conftest import key_of
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fedward_server.admissions import ADMITTED, INVITED, RENEWED, REVOKED, Admissions
from fedward_shared.enrolment import Enrolment
from fedward_shared.errors import EnrolmentError, StatementError

START = datetime(2026, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
LIFETIME = timedelta(days=90)
PEM = serialization.Encoding.PEM


@cache
def tls_key(number: int) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def node_key(number: int) -> str:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    return key.public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


@cache
def request(number: int) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(tls_key(number), hashes.SHA256()).public_bytes(PEM).decode()


def certificate(site: str, number: int, now: datetime) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, site)])
    serial, key = x509.random_serial_number(), tls_key(number)
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial, now, now + LIFETIME)
    return builder.sign(tls_key(-1), hashes.SHA256()).public_bytes(PEM).decode()


def asked(site: str, token: str, number: int = 0, **changes: object) -> Enrolment:
    terms: dict[str, object] = {
        "coordinator": "university",
        "site": site,
        "key": key_of(site).public.text,
        "token": token,
        "request": request(number),
        "node_key": node_key(number),
    }
    return Enrolment.model_validate(terms | changes)


def token(number: int) -> str:
    return f"{number:064x}"


def invited(site: str = "north", key: str = "") -> Admissions:
    state = Admissions()
    state.apply(INVITED, state.invite(site, token(1), key, START, WEEK), START)
    return state


def admit(state: Admissions, wanted: Enrolment, now: datetime, number: int = 0) -> None:
    state.check(wanted, now)
    made = certificate(wanted.site, number, now)
    state.apply(ADMITTED, state.admit(wanted, made), now)


def test_an_invited_site_is_admitted_renewed_and_revoked() -> None:
    state = invited()
    admit(state, asked("north", token(1)), START)
    north = state.current("north")
    first = north.certificate.serial_number
    assert (north.key, north.tls_key) == (key_of("north").public.text, tls_key(0).public_key())
    assert state.invited == {}
    assert state.by_serial(first, START) is north
    renewed = {"site": "north", "certificate": certificate("north", 0, START + WEEK)}
    state.apply(RENEWED, renewed, START + WEEK)
    assert north.renewed_at == START + WEEK
    assert state.by_serial(first, START + WEEK) is north  # serves until it expires
    state.apply(REVOKED, {"site": "north"}, START + 2 * WEEK)
    assert set(state.revoked) == {c.serial_number for c in north.certificates}
    assert len(state.revoked) == 2
    with pytest.raises(EnrolmentError, match="north was revoked"):
        state.by_serial(first, START + 2 * WEEK)
    with pytest.raises(EnrolmentError, match="no such site is admitted"):
        state.current("north")


@pytest.mark.parametrize(
    ("wanted", "after", "words"),
    [
        (asked("north", token(2)), timedelta(0), "did not issue the token"),
        (asked("south", token(1)), timedelta(0), "is for north, and site.toml says this is south"),
        (asked("north", token(1)), WEEK, "expired on 2026-01-08"),
    ],
    ids=["foreign", "wrong site", "expired"],
)
def test_an_enrolment_that_is_refused_changes_nothing(
    wanted: Enrolment, after: timedelta, words: str
) -> None:
    state = invited()
    with pytest.raises(EnrolmentError, match=words):
        state.check(wanted, START + after)
    admit(state, asked("north", token(1)), START)


def test_a_token_serves_once() -> None:
    state = invited()
    admit(state, asked("north", token(1)), START)
    for number in (0, 1):
        with pytest.raises(EnrolmentError, match="was used already"):
            state.check(asked("north", token(1), number), START)


def test_an_enrolment_whose_answer_was_lost_is_answered_again() -> None:
    state = invited()
    wanted = asked("north", token(1))
    assert state.repeated(wanted) is None
    admit(state, wanted, START)
    assert state.repeated(wanted) is state.current("north")
    for other in (
        asked("north", token(1), 1),
        asked("north", token(2)),
        asked("north", token(1), node_key=node_key(1)),
        asked("north", token(1), key=key_of("thief").public.text),
    ):
        assert state.repeated(other) is None
    state.apply(REVOKED, {"site": "north"}, START)
    assert state.repeated(wanted) is None


def test_an_invitation_for_one_key_is_for_that_key() -> None:
    state = invited(key=key_of("north").public.text)
    with pytest.raises(EnrolmentError, match="for the owner of"):
        state.check(asked("north", token(1), key=key_of("thief").public.text), START)
    admit(state, asked("north", token(1)), START)


def test_a_site_is_not_invited_or_admitted_twice() -> None:
    state = invited()
    state.apply(INVITED, state.invite("north", token(2), "", START, WEEK), START)
    admit(state, asked("north", token(1)), START)
    with pytest.raises(EnrolmentError, match="fedward coordinator revoke north"):
        state.invite("north", token(3), "", START, WEEK)
    with pytest.raises(EnrolmentError, match="admitted already"):
        state.check(asked("north", token(2), 1), START)


def test_a_revoked_site_comes_back_with_another_node_key() -> None:
    state = invited()
    admit(state, asked("north", token(1)), START)
    state.apply(REVOKED, {"site": "north"}, START)
    state.apply(INVITED, state.invite("north", token(2), "", START, WEEK), START)
    with pytest.raises(EnrolmentError, match="memberships/university"):
        state.check(asked("north", token(2)), START)
    admit(state, asked("north", token(2), 1), START, 1)
    assert [one.revoked_at for one in state.admitted] == [START, None]
    assert state.sites == [state.current("north")]
    assert len(state.revoked) == 1


def test_keys_of_another_kind_are_refused() -> None:
    state = invited()
    with pytest.raises(StatementError, match="secp384r1"):
        state.check(asked("north", token(1), node_key=_p256()), START)
    with pytest.raises(StatementError, match="certificate request"):
        state.check(asked("north", token(1), request=node_key(0)), START)


def _p256() -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return tls_key(0).public_key().public_bytes(PEM, form).decode()


def test_only_a_certificate_that_holds_is_renewed() -> None:
    state = invited()
    admit(state, asked("north", token(1)), START)
    serial = state.current("north").certificate.serial_number
    with pytest.raises(EnrolmentError, match="expired"):
        state.by_serial(serial, START + LIFETIME)
    with pytest.raises(EnrolmentError, match="no site was given"):
        state.by_serial(serial + 1, START)


class Lives(RuleBasedStateMachine):
    """In whatever order things happen, a site is in by a fresh token of its own alone."""

    def __init__(self) -> None:
        super().__init__()
        self.state = Admissions()
        self.now = START
        self.tokens: dict[str, tuple[str, datetime]] = {}
        self.inside: dict[str, str] = {}
        self.count = 0

    @rule(site=st.sampled_from(["north", "south"]))
    def invite(self, site: str) -> None:
        self.count += 1
        made = token(self.count)
        try:
            entry = self.state.invite(site, made, "", self.now, WEEK)
        except EnrolmentError:
            assert site in self.inside
            return
        assert site not in self.inside
        self.state.apply(INVITED, entry, self.now)
        self.tokens[made] = (site, self.now + WEEK)

    @rule(site=st.sampled_from(["north", "south"]), back=st.integers(0, 4))
    def enrol(self, site: str, back: int) -> None:
        made = token(max(0, self.count - back))
        number = self.count * 10 + back
        wanted = asked(site, made, number % 8, node_key=node_key(number))
        owner, end = self.tokens.get(made, ("", START))
        right = owner == site and self.now < end and site not in self.inside
        try:
            admit(self.state, wanted, self.now, number % 8)
        except EnrolmentError:
            assert not right or any(one.node_key == wanted.node_key for one in self.state.admitted)
            return
        assert right
        del self.tokens[made]
        self.inside[site] = made

    @rule(site=st.sampled_from(["north", "south"]))
    def revoke(self, site: str) -> None:
        if site in self.inside:
            self.state.apply(REVOKED, {"site": site}, self.now)
            del self.inside[site]
        else:
            with pytest.raises(EnrolmentError):
                self.state.current(site)

    @rule(hours=st.integers(1, 100))
    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @invariant()
    def the_same_sites_are_in(self) -> None:
        current = [one.site for one in self.state.admitted if one.revoked_at is None]
        assert sorted(current) == sorted(self.inside)
        for one in self.state.admitted:
            for made in one.certificates:
                assert (made.serial_number in self.state.revoked) == (one.revoked_at is not None)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)

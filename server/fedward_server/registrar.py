"""Keeps the admissions: the rules of `admissions.py` over a signed log, an authority and a SuperLink.

What is decided is in the log before anything comes of it; what follows from it, the revocation list and
the nodes that the SuperLink knows, is made from the log again. So the next `publish` and `settle` mend
what a crash left undone.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from fedward_server.admissions import ADMITTED, INVITED, RENEWED, REVOKED, Admissions, Admitted
from fedward_server.authority import CA_FILE, pem, read_certificate
from fedward_server.coordinator import Home
from fedward_server.superlink import RefusedError, SuperLink
from fedward_shared import enrolment
from fedward_shared.audit import AuditLog, Entry
from fedward_shared.enrolment import TOKEN_BYTES, Admission, Enrolment, Invitation
from fedward_shared.errors import EnrolmentError


def now() -> datetime:
    """UTC, to the second: what certificates hold."""
    return datetime.now(UTC).replace(microsecond=0)


class Registrar:
    """Opened on a home. Several may be open, in several processes: each rule is applied under a lock.

    Raises IdentityError and AuditError.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self._key = home.key()
        self._log = AuditLog(home.admissions, self._key)
        self._state = Admissions()
        self._taken_in = 0

    def close(self) -> None:
        """Closes the log."""
        self._log.close()

    @property
    def state(self) -> Admissions:
        """As the log says now."""
        self._log.refresh()
        self._take_in()
        return self._state

    @property
    def entries(self) -> list[Entry]:
        """The log, as it is now."""
        self._log.refresh()
        return self._log.entries

    def invite(self, site: str, key: str, valid: timedelta) -> Invitation:
        """A new invitation for `site`; with `key`, for its owner alone. Raises EnrolmentError."""
        token = secrets.token_hex(TOKEN_BYTES)
        ca = pem(read_certificate(self.home.authority / CA_FILE))
        at = now()
        with self._locked() as state:
            self._record(INVITED, state.invite(site, token, key, at, valid), at)
        return Invitation(
            coordinator=self.home.name,
            site=site,
            key=self._key.public.text,
            address=self.home.settings.address,
            ca=ca,
            token=token,
            expires=at + valid,
        )

    def signed(self, letter: Invitation | Admission) -> bytes:
        """The letter under the coordinator's key."""
        return letter.signed(self._key)

    def admit(self, asked: Enrolment) -> Admission:
        """Admits the site that enrols. Raises EnrolmentError or StatementError."""
        if asked.coordinator != self.home.name:
            raise EnrolmentError(f"this is {self.home.name}, not {asked.coordinator}")
        authority = self.home.open_authority()
        at = now()
        with self._locked() as state:
            admitted = state.repeated(asked)
            if admitted is None:
                state.check(asked, at)
                key = enrolment.requested_key(asked.request, asked.site)
                certificate = pem(authority.certify_site(asked.site, key, at))
                self._record(ADMITTED, state.admit(asked, certificate), at)
                admitted = state.current(asked.site)
        return self._admission(admitted)

    def renew(self, serial: int) -> Admission:
        """A new certificate for the site that shows the one with this number. Raises EnrolmentError."""
        authority = self.home.open_authority()
        at = now()
        with self._locked() as state:
            admitted = state.by_serial(serial, at)
            certificate = pem(authority.certify_site(admitted.site, admitted.tls_key, at))
            self._record(RENEWED, {"site": admitted.site, "certificate": certificate}, at)
        return self._admission(admitted)

    def revoke(self, site: str) -> Admitted:
        """Ends the admission of `site`, in the log and the revocation list. Raises EnrolmentError."""
        with self._locked() as state:
            admitted = state.current(site)
            self._record(REVOKED, {"site": site}, now())
        self.publish()
        return admitted

    def publish(self) -> bool:
        """Adds to the revocation list what the log says; whether that changed it.

        It never becomes shorter: a log that was restored from an older copy lets nobody in again.
        """
        authority = self.home.open_authority()
        with self._locked() as state:
            listed = authority.revoked
            if set(state.revoked) <= set(listed):
                return False
            authority.write_revoked(state.revoked | listed, now())
            return True

    def settle(self, superlink: SuperLink) -> list[str]:
        """Makes the SuperLink know the nodes of the admitted sites and no others; says what changed.

        A node that was registered by hand goes too: only the log says who may come in. Raises
        UnreachableError.
        """
        with self._locked("nodes") as state:
            wanted = {
                public_key_to_bytes(one.node): one for one in state.sites if one.revoked_at is None
            }
            known = {node.public_key: node for node in superlink.nodes()}
            said = [
                _registered(superlink, admitted)
                for key, admitted in wanted.items()
                if key not in known
            ]
            for key, node in known.items():
                if key not in wanted:
                    superlink.unregister(node.node_id)
                    said.append(f"node {node.node_id} unregistered")
            return said

    def _admission(self, admitted: Admitted) -> Admission:
        return Admission(
            coordinator=self.home.name,
            site=admitted.site,
            key=self._key.public.text,
            certificate=pem(admitted.certificate),
        )

    def _record(self, event: str, details: dict[str, str], at: datetime) -> None:
        self._log.append(event, details, at)
        self._take_in()

    def _take_in(self) -> None:
        for entry in self._log.entries[self._taken_in :]:
            self._state.apply(entry.event, entry.details, datetime.fromisoformat(entry.at))
            self._taken_in += 1

    @contextmanager
    def _locked(self, what: str = "admissions") -> Iterator[Admissions]:
        """The newest state, while nobody else decides about `what`."""
        path = self.home.folder / f"{what}.lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield self.state
        finally:
            os.close(handle)


def _registered(superlink: SuperLink, admitted: Admitted) -> str:
    """Registers one node, and says so; a refusal of one keeps no other out."""
    try:
        superlink.register(admitted.node, admitted.site)
    except RefusedError as error:
        return f"node of {admitted.site} refused: {error}; revoke it, and invite it afresh"
    return f"node of {admitted.site} registered"

"""Who may come in: the rules of invitation, admission, renewal and revocation, without I/O.

    invited → admitted → renewed … → revoked → invited …

The state is what the entries of a log add up to (`apply`); a rule looks at the state and says whether,
and what the entry has to be. A token serves once: the same site with the same keys may repeat an
enrolment whose answer was lost, and gets the certificate that was made for it.
"""

import hmac
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from fedward_shared import enrolment
from fedward_shared.enrolment import NODE_CURVE, Enrolment, token_digest
from fedward_shared.errors import EnrolmentError
from fedward_shared.identity import PublicKey

INVITED = "invited"
ADMITTED = "admitted"
RENEWED = "renewed"
REVOKED = "revoked"
ASK = "ask the coordinator for a new invitation"


@dataclass(frozen=True)
class Invited:
    """Who has the token of this digest may become `site`; where `key` is set, only its owner."""

    site: str
    token: str
    expires: datetime
    key: str


@dataclass
class Admitted:
    """A site that was let in, and every certificate it got; revoked once `revoked_at` is set."""

    site: str
    key: str
    node_key: str
    token: str
    at: datetime
    certificates: list[x509.Certificate]
    renewed_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def certificate(self) -> x509.Certificate:
        """The latest."""
        return self.certificates[-1]

    @property
    def tls_key(self) -> ec.EllipticCurvePublicKey:
        """What all its certificates are for."""
        key = self.certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return key

    @property
    def node(self) -> ec.EllipticCurvePublicKey:
        """What its SuperNode signs with."""
        return enrolment.public_key(self.node_key, NODE_CURVE, self.site)

    @property
    def fingerprint(self) -> str:
        """For people to compare."""
        return PublicKey(self.key).fingerprint


@dataclass
class Admissions:
    """The state. `invited` is by token digest; `admitted` is in order, a site's last one counts."""

    invited: dict[str, Invited] = field(default_factory=dict)
    admitted: list[Admitted] = field(default_factory=list)

    def apply(self, event: str, details: dict[str, Any], at: datetime) -> None:
        """Takes in an entry of the log."""
        site = details["site"]
        if event == INVITED:
            expires = datetime.fromisoformat(details["expires"])
            token = details["token"]
            self.invited[token] = Invited(site, token, expires, details["key"])
        elif event == ADMITTED:
            del self.invited[details["token"]]
            certificate = enrolment.certificate(details["certificate"], event)
            self.admitted.append(
                Admitted(
                    site, details["key"], details["node_key"], details["token"], at, [certificate]
                )
            )
        elif event == RENEWED:
            admitted = self.current(site)
            admitted.certificates.append(enrolment.certificate(details["certificate"], event))
            admitted.renewed_at = at
        elif event == REVOKED:
            self.current(site).revoked_at = at

    def current(self, site: str) -> Admitted:
        """The site as it is admitted now. Raises EnrolmentError."""
        for admitted in reversed(self.admitted):
            if admitted.site == site and admitted.revoked_at is None:
                return admitted
        raise EnrolmentError(
            f"{site}: no such site is admitted; `fedward coordinator sites` lists them"
        )

    @property
    def sites(self) -> list[Admitted]:
        """The last admission of each site, by name."""
        return [found for _, found in sorted({one.site: one for one in self.admitted}.items())]

    @property
    def revoked(self) -> dict[int, datetime]:
        """Every certificate that no longer serves, by serial number, and since when."""
        return {
            certificate.serial_number: admitted.revoked_at
            for admitted in self.admitted
            if admitted.revoked_at is not None
            for certificate in admitted.certificates
        }

    def invite(
        self, site: str, token: str, key: str, now: datetime, valid: timedelta
    ) -> dict[str, Any]:
        """The entry that invites `site`. Raises EnrolmentError for one that is admitted."""
        if any(one.site == site and one.revoked_at is None for one in self.admitted):
            raise EnrolmentError(
                f"{site}: is admitted already; `fedward coordinator revoke {site}` first"
            )
        expires = (now + valid).isoformat(timespec="seconds")
        return {"site": site, "token": token_digest(token), "expires": expires, "key": key}

    def repeated(self, asked: Enrolment) -> Admitted | None:
        """The admission that `asked` was answered with before: the answer can have been lost."""
        for admitted in self.admitted:
            if (
                hmac.compare_digest(admitted.token, token_digest(asked.token))
                and (admitted.site, admitted.key) == (asked.site, asked.key)
                and admitted.node_key == asked.node_key
                and admitted.tls_key == enrolment.requested_key(asked.request, asked.site)
                and admitted.revoked_at is None
            ):
                return admitted
        return None

    def check(self, asked: Enrolment, now: datetime) -> None:
        """Raises EnrolmentError unless `asked` is invited, StatementError for keys of another kind."""
        enrolment.requested_key(asked.request, asked.site)
        enrolment.public_key(asked.node_key, NODE_CURVE, asked.site)
        digest = token_digest(asked.token)
        if any(hmac.compare_digest(digest, one.token) for one in self.admitted):
            raise EnrolmentError(f"the token of this invitation was used already; {ASK}")
        found = [one for one in self.invited.values() if hmac.compare_digest(digest, one.token)]
        if not found:
            raise EnrolmentError(f"this coordinator did not issue the token; {ASK}")
        (invited,) = found
        if invited.site != asked.site:
            raise EnrolmentError(
                f"the invitation is for {invited.site}, and site.toml says this is {asked.site}; {ASK}"
            )
        if now >= invited.expires:
            raise EnrolmentError(f"the invitation expired on {invited.expires:%Y-%m-%d}; {ASK}")
        if invited.key and invited.key != asked.key:
            raise EnrolmentError(
                f"the invitation is for the owner of {invited.key}, and this site's key is {asked.key}"
            )
        if any(one.node_key == asked.node_key for one in self.admitted):
            raise EnrolmentError(
                f"the node key was used before; move the folder memberships/{asked.coordinator} in "
                "the site's state away, and enrol again"
            )
        if any(one.site == asked.site and one.revoked_at is None for one in self.admitted):
            raise EnrolmentError(f"{asked.site} is admitted already, with another invitation")

    def admit(self, asked: Enrolment, certificate: str) -> dict[str, Any]:
        """The entry that admits the site, once `check` let it pass."""
        return {
            "site": asked.site,
            "key": asked.key,
            "node_key": asked.node_key,
            "token": token_digest(asked.token),
            "certificate": certificate,
        }

    def by_serial(self, serial: int, now: datetime) -> Admitted:
        """The site that shows this certificate. Raises EnrolmentError unless it may be renewed."""
        for admitted in self.admitted:
            for certificate in admitted.certificates:
                if certificate.serial_number == serial:
                    if admitted.revoked_at is not None:
                        raise EnrolmentError(f"{admitted.site} was revoked; {ASK}")
                    if now >= certificate.not_valid_after_utc:
                        raise EnrolmentError(
                            f"the certificate of {admitted.site} has expired; {ASK}"
                        )
                    return admitted
        raise EnrolmentError(f"no site was given the certificate {serial:x}; {ASK}")

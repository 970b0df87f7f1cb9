"""What all parties of an attempt know beforehand, and what both halves check of the others' messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

from pydantic import ConfigDict, Field

from fedward_shared import canonical
from fedward_shared.errors import AggregationError, RoundAbandoned
from fedward_shared.identity import PublicKey
from fedward_shared.secagg.graph import Degree, Graph, check_terms, degree_for
from fedward_shared.secagg.labels import KEY_BYTES, Label
from fedward_shared.secagg.ring import Ring
from fedward_shared.secagg.signed import Advertisement, Agreement, OfAttempt
from fedward_shared.terms import Terms

HEADER_BYTES = 40
Key = Annotated[bytes, Field(min_length=KEY_BYTES, max_length=KEY_BYTES)]


class Kept(Terms):
    """What is written with its bytes in hexadecimal."""

    model_config = ConfigDict(ser_json_bytes="hex", val_json_bytes="hex")


@dataclass(frozen=True)
class Session:
    """One attempt at one round of one charter: who may take part, and how their vectors are added.

    `keys`: the participants' signing keys, from the charter. `minimum`: the survivors without whom
    nothing is learnt; `colluding`: how many sites may be the coordinator's. `count`: the numbers of a
    vector. Raises CharterError for terms that protect nobody.
    """

    charter: str
    round: int
    attempt: int
    keys: Mapping[str, PublicKey]
    minimum: int
    colluding: int
    ring: Ring
    count: int

    def __post_init__(self) -> None:
        check_terms(len(self.keys), self.minimum, self.colluding)

    @cached_property
    def digest(self) -> str:
        """Of all of it."""
        keys = [[site, key.text] for site, key in sorted(self.keys.items())]
        terms = [self.minimum, self.colluding, self.ring.bits, self.count]
        said = [self.charter, self.round, self.attempt, keys, terms]
        return canonical.digest(canonical.encode(said))

    @property
    def label(self) -> Label:
        """Of the attempt before its cohort is known."""
        return Label(self.charter, self.round, self.attempt, self.digest)

    def read_advertisement(self, site: str, data: bytes) -> Advertisement:
        """What `site` has signed. Raises StatementError, or AggregationError for another attempt."""
        said = Advertisement.read(*self._read_as(site, data, "keys")).by(site, f"keys of {site}")
        self._check_attempt(said)
        return said

    def read_agreement(self, site: str, data: bytes) -> Agreement:
        """What `site` has signed. Raises StatementError, or AggregationError for another attempt."""
        said = Agreement.read(*self._read_as(site, data, "set")).by(site, f"set of {site}")
        self._check_attempt(said)
        return said

    def _read_as(self, site: str, data: bytes, what: str) -> tuple[bytes, str, PublicKey, str, str]:
        if site not in self.keys:
            raise AggregationError(f"{site} is not among the participants")
        return data, self.charter, self.keys[site], site, f"{what} of {site}"

    def _check_attempt(self, said: OfAttempt) -> None:
        if (said.round, said.attempt) != (self.round, self.attempt):
            raise AggregationError(
                f"{said.site}: a message of round {said.round}, attempt {said.attempt}, and this is "
                f"round {self.round}, attempt {self.attempt}"
            )


class Peer(Kept):
    """A party's advertised public keys and commitment, as they were signed."""

    mask_key: Key
    envelope_key: Key
    commitment: Key


@dataclass(frozen=True)
class Cohort:
    """Everybody who has advertised keys, in order of name; the same for all parties or useless."""

    session: Session
    peers: Mapping[str, Peer]
    label: Label

    @classmethod
    def read(cls, session: Session, advertisements: Mapping[str, bytes]) -> "Cohort":
        """The cohort of these advertisements, each of whose signatures is right.

        Raises StatementError or AggregationError for one that is not, or a key that occurs twice;
        RoundAbandoned for fewer than the minimum.
        """
        check_enough(session, len(advertisements), "advertised keys")
        said = {
            site: session.read_advertisement(site, data)
            for site, data in sorted(advertisements.items())
        }
        return cls.of(
            session,
            {
                site: Peer(
                    mask_key=bytes.fromhex(one.mask_key),
                    envelope_key=bytes.fromhex(one.envelope_key),
                    commitment=bytes.fromhex(one.commitment),
                )
                for site, one in said.items()
            },
        )

    @classmethod
    def of(cls, session: Session, peers: Mapping[str, Peer]) -> "Cohort":
        """Raises AggregationError for a public key that occurs twice."""
        keys = [key for peer in peers.values() for key in (peer.mask_key, peer.envelope_key)]
        if len(set(keys)) != len(keys):
            raise AggregationError("two of the advertised keys are the same")
        members = [[site, peer.model_dump(mode="json")] for site, peer in sorted(peers.items())]
        digest = canonical.digest(canonical.encode([session.digest, members]))
        return cls(session, dict(sorted(peers.items())), replace(session.label, cohort=digest))

    @cached_property
    def degree(self) -> Degree:
        """How many neighbours, and how many shares."""
        return degree_for(len(self.peers), self.session.minimum, self.session.colluding)

    @cached_property
    def graph(self) -> Graph:
        """Its seed is public: of the label."""
        return Graph(tuple(self.peers), self.degree.degree, self.label.digest("graph"))

    def point(self, owner: str, holder: str) -> int:
        """The point that `holder`'s share of `owner`'s secrets stands for, from 1."""
        return self.graph.closed(owner).index(holder) + 1

    def check_sharers(self, sharers: Sequence[str]) -> None:
        """Raises AggregationError for strangers or disorder, RoundAbandoned for too few."""
        _check_subset(sharers, self.peers, "sharers")
        check_enough(self.session, len(sharers), "shared secrets")

    def check_survivors(self, survivors: Sequence[str], sharers: Sequence[str]) -> None:
        """Raises AggregationError for strangers, disorder, or survivors without enough neighbours;
        RoundAbandoned for too few.
        """
        _check_subset(survivors, sharers, "survivors")
        check_enough(self.session, len(survivors), "sent a masked vector")
        self.graph.check(sharers, survivors, self.degree.threshold)

    def survivors_digest(self, sharers: Sequence[str], survivors: Sequence[str]) -> str:
        """What an agreement signs."""
        return canonical.digest(canonical.encode([list(sharers), list(survivors)]))

    def header(self, sharers: Sequence[str]) -> bytes:
        """What a masked vector begins with: to what it belongs, width and count of the numbers."""
        tag = self.label.digest("masked-vector", *sharers)
        ring, count = self.session.ring, self.session.count
        return tag + ring.bits.to_bytes(4, "little") + count.to_bytes(4, "little")


def check_enough(session: Session, count: int, done: str) -> None:
    """Raises RoundAbandoned for fewer parties than the minimum."""
    if count < session.minimum:
        raise RoundAbandoned(
            f"round {session.round}, attempt {session.attempt}: {count} sites {done}, the charter's "
            f"minimum is {session.minimum}; nothing was learnt"
        )


def _check_subset(
    names: Sequence[str], of: Mapping[str, object] | Sequence[str], what: str
) -> None:
    if list(names) != sorted(set(names)):
        raise AggregationError(f"{what}: out of order, or one occurs twice")
    if strangers := set(names).difference(of):
        raise AggregationError(f"{what}: {', '.join(sorted(strangers))} cannot be among them")

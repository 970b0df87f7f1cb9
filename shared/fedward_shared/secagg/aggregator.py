"""The coordinator's half of secure aggregation: forwards what it cannot read, and adds what is masked.

Each stage is collected (`add_…`, once a site, in any order) and closed; what `close_…` returns goes to
the sites. A stage that is closed with fewer sites than the minimum raises RoundAbandoned, and nothing
was learnt. One vector is kept, whatever the number of sites.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
from numpy.typing import NDArray

from fedward_shared.errors import AggregationError, RoundAbandoned
from fedward_shared.secagg import masks, parcels, sharing
from fedward_shared.secagg.session import HEADER_BYTES, Cohort, Session, check_enough

TRIES = 200
"""Sets of shares that are tried before a secret is given up."""


@dataclass(frozen=True)
class Sum:
    """The survivors' vectors, added: signed integers. `liars` gave shares that do not fit; several
    that lie together may put it on another.
    """

    total: NDArray[np.int32]
    survivors: tuple[str, ...]
    liars: tuple[str, ...]


class Aggregator:
    """One attempt at one round. Messages of a stage that is not open raise AggregationError."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._advertisements: dict[str, bytes] = {}
        self._keys: set[str] = set()
        self._cohort: Cohort | None = None
        self._envelopes: dict[str, dict[str, bytes]] = {}
        self._sharers: tuple[str, ...] = ()
        self._vectors: set[str] = set()
        self._total = session.ring.zeros(session.count)
        self._survivors: tuple[str, ...] = ()
        self._agreements: dict[str, bytes] = {}
        self._agreed = False
        self._shares: dict[str, dict[str, bytes]] = {}
        self._seen: dict[tuple[str, str], bytes] = {}

    @property
    def cohort(self) -> Cohort:
        """Whoever has advertised keys. Raises AggregationError before `close_advertisements`."""
        if self._cohort is None:
            raise AggregationError("the cohort is not closed yet")
        return self._cohort

    def add_advertisement(self, site: str, data: bytes) -> None:
        """Raises StatementError or AggregationError for one that is not right, late, or another one."""
        self._open(self._cohort is None, site)
        if (digest := self._new("keys", site, data)) is None:
            return
        said = self._session.read_advertisement(site, data)
        if not self._keys.isdisjoint({said.mask_key, said.envelope_key}):
            raise AggregationError(f"{site} has advertised a key of another site")
        self._keys.update({said.mask_key, said.envelope_key})
        self._advertisements[site] = data
        self._seen["keys", site] = digest

    def close_advertisements(self) -> dict[str, bytes]:
        """Everybody's advertisements, for everybody. Raises RoundAbandoned."""
        self._cohort = Cohort.read(self._session, self._advertisements)
        return dict(self._advertisements)

    def add_envelopes(self, site: str, data: bytes) -> None:
        """Raises AggregationError for a parcel that is not for exactly its neighbours."""
        self._open(not self._sharers, site)
        if (digest := self._new("envelopes", site, data)) is None:
            return
        envelopes = parcels.decode(data, f"envelopes of {site}")
        if list(envelopes) != self.cohort.graph.neighbours(site):
            raise AggregationError(f"envelopes of {site}: not for its neighbours")
        if any(len(one) != sharing.ENVELOPE_BYTES for one in envelopes.values()):
            raise AggregationError(f"envelopes of {site}: one is of another size")
        self._envelopes[site] = envelopes
        self._seen["envelopes", site] = digest

    def close_envelopes(self) -> tuple[tuple[str, ...], dict[str, bytes]]:
        """The sharers, for everybody, and for each of them its parcel. Raises RoundAbandoned."""
        sharers = tuple(sorted(self._envelopes))
        self.cohort.check_sharers(sharers)
        self._sharers = sharers
        return sharers, {
            site: parcels.encode(
                {
                    sender: self._envelopes[sender][site]
                    for sender in self.cohort.graph.neighbours(site)
                    if sender in self._envelopes
                }
            )
            for site in sharers
        }

    def add_vector(self, site: str, data: bytes) -> None:
        """Adds a masked vector to the sum.

        Raises AggregationError for one of another attempt, round, cohort or ring, a second one, or
        a site that has not shared; AdapterError for a wrong length.
        """
        self._open(bool(self._sharers) and not self._survivors, site)
        if site not in self._sharers:
            raise AggregationError(f"{site} has shared no secrets in this attempt")
        if (digest := self._new("vector", site, data)) is None:
            return
        self._check_header(site, data[:HEADER_BYTES])
        session = self._session
        body = memoryview(data)[HEADER_BYTES:]
        numbers = session.ring.unpack(body, session.count, f"masked vector of {site}")
        np.add(self._total, numbers, out=self._total)
        self._vectors.add(site)
        self._seen["vector", site] = digest

    def close_vectors(self) -> tuple[str, ...]:
        """The survivors, for each of them to sign. Raises RoundAbandoned."""
        survivors = tuple(sorted(self._vectors))
        try:
            self.cohort.check_survivors(survivors, self._sharers)
        except AggregationError as error:
            raise RoundAbandoned(f"{error}; nothing was learnt") from error
        self._survivors = survivors
        return survivors

    def add_agreement(self, site: str, data: bytes) -> None:
        """Raises StatementError or AggregationError for one that is not right, or under another set."""
        self._open(bool(self._survivors) and not self._agreed, site)
        if site not in self._survivors:
            raise AggregationError(f"{site} has not survived this attempt")
        if (digest := self._new("agreement", site, data)) is None:
            return
        said = self._session.read_agreement(site, data)
        expected = self.cohort.survivors_digest(self._sharers, self._survivors)
        if (said.cohort, said.survivors) != (self.cohort.label.cohort, expected):
            raise AggregationError(f"{site} has signed another set of survivors")
        self._agreements[site] = data
        self._seen["agreement", site] = digest

    def close_agreements(self) -> dict[str, bytes]:
        """The signatures, for everybody who signed. Raises RoundAbandoned."""
        check_enough(self._session, len(self._agreements), "signed who survived")
        self._agreed = True
        return dict(self._agreements)

    def add_reveal(self, site: str, data: bytes) -> None:
        """Raises AggregationError for shares that nobody asked `site` for."""
        self._open(self._agreed, site)
        if site not in self._agreements:
            raise AggregationError(f"{site} has not signed who survived")
        if (digest := self._new("shares", site, data)) is None:
            return
        shares = parcels.decode(data, f"shares of {site}")
        near = set(self.cohort.graph.closed(site)).intersection(self._sharers)
        if not near.issuperset(shares):
            raise AggregationError(f"shares of {site}: of a site that is no neighbour of it")
        if any(len(share) != sharing.SHARE_BYTES for share in shares.values()):
            raise AggregationError(f"shares of {site}: one is of another size")
        self._shares[site] = shares
        self._seen["shares", site] = digest

    @property
    def ready(self) -> bool:
        """Whether the shares that are there are enough."""
        held = [sum(1 for _ in self._shares_of(owner)) for owner in self._sharers]
        return self._agreed and min(held) >= self.cohort.degree.threshold

    def close(self) -> Sum:
        """The sum of the survivors' vectors, without any mask. Raises RoundAbandoned, with the sum
        still masked, where seeds cannot be had from the shares.
        """
        found: dict[str, bytes] = {}
        liars: set[str] = set()
        for owner in self._sharers:
            found[owner], wrong = self._seed(owner, liars)
            liars.update(wrong)
        for owner, seed in found.items():
            if owner in self._survivors:
                self._remove_self_mask(owner, seed)
            else:
                self._remove_pair_masks(owner, seed)
        total = self._session.ring.to_signed(self._total)
        return Sum(total, self._survivors, tuple(sorted(liars)))

    def _remove_self_mask(self, owner: str, seed: bytes) -> None:
        key = masks.self_key(self.cohort.label, seed, owner)
        masks.apply(self._session.ring, self._total, key, -1)

    def _remove_pair_masks(self, owner: str, seed: bytes) -> None:
        """Those that the survivors have added for a site that was lost: as that site adds them."""
        cohort, private = self.cohort, masks.mask_key(self._session.label, seed, owner)
        own = (owner, cohort.peers[owner].mask_key)
        for other in cohort.graph.neighbours(owner):
            if other in self._survivors:
                theirs = (other, cohort.peers[other].mask_key)
                key = masks.pair_key(cohort.label, private, own, theirs)
                sign = masks.pair_sign(owner, other)
                masks.apply(self._session.ring, self._total, key, sign)

    def _shares_of(self, owner: str) -> Iterator[tuple[str, bytes]]:
        for holder in self.cohort.graph.closed(owner):
            share = self._shares.get(holder, {}).get(owner)
            if share is not None:
                yield holder, share

    def _seed(self, owner: str, liars: set[str]) -> tuple[bytes, tuple[str, ...]]:
        """What the shares of `owner` stand for, and who gave a share that does not fit.

        Liars are looked for by leaving out one holder, then two, and so on; who has lied about another
        owner comes last, and so is not needed again.
        """
        shares = dict(sorted(self._shares_of(owner), key=lambda item: item[0] in liars))
        threshold = self.cohort.degree.threshold
        for wrong in islice(_suspects(list(shares), len(shares) - threshold), TRIES):
            kept = [holder for holder in shares if holder not in wrong][:threshold]
            seed = sharing.combine(
                {self.cohort.point(owner, holder): shares[holder] for holder in kept}
            )
            if self._fits(owner, seed):
                return seed, wrong
        raise RoundAbandoned(
            f"round {self._session.round}: {len(shares)} shares of the seed of {owner} do not give "
            f"it back, {threshold} right ones are needed; nothing was learnt"
        )

    def _fits(self, owner: str, seed: bytes) -> bool:
        peer, label = self.cohort.peers[owner], self._session.label
        if owner in self._survivors:
            return masks.commitment(label, seed, owner) == peer.commitment
        return masks.public_of(masks.mask_key(label, seed, owner)) == peer.mask_key

    def _check_header(self, site: str, header: bytes) -> None:
        expected = self.cohort.header(self._sharers)
        if header == expected:
            return
        if header[:32] != expected[:32]:
            raise AggregationError(f"masked vector of {site}: of another round, attempt or cohort")
        raise AggregationError(f"masked vector of {site}: of another ring or length")

    def _open(self, is_open: bool, site: str) -> None:
        if not is_open:
            raise AggregationError(f"{site}: a message of a stage that is over or not yet begun")

    def _new(self, stage: str, site: str, data: bytes) -> bytes | None:
        """The digest of a message that is new; None for one that came before, which changes nothing.

        Raises AggregationError for a second, different one.
        """
        digest = hashlib.sha256(data).digest()
        known = self._seen.get((stage, site))
        if known is not None and known != digest:
            raise AggregationError(
                f"{site}: a second message of one stage ({stage}), and another one"
            )
        return digest if known is None else None


def _suspects(holders: list[str], most: int) -> Iterator[tuple[str, ...]]:
    """Sets of holders to leave out, small ones first; none at all if there are too few shares."""
    for count in range(most + 1):
        yield from combinations(holders, count)

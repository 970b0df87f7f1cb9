"""A masked round in memory: each message starts from the bytes of a party's state, as in deployment."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import pytest
from conftest import key_of
from Crypto.Protocol import SecretSharing

from fedward_shared.secagg import sharing
from fedward_shared.secagg.aggregator import Aggregator, Sum
from fedward_shared.secagg.party import Party
from fedward_shared.secagg.ring import Ring
from fedward_shared.secagg.session import Session

CHARTER = "sha256:" + "1" * 64
STAGES = ("begin", "share", "mask", "agree", "reveal")
Entropy = Callable[[str], Callable[[int], bytes]]


def names(count: int) -> list[str]:
    return [f"site-{number:02d}" for number in range(count)]


def session(
    sites: int = 5,
    minimum: int = 4,
    colluding: int = 1,
    bits: int = 16,
    count: int = 20,
    round: int = 1,
    attempt: int = 1,
) -> Session:
    keys = {site: key_of(site).public for site in names(sites)}
    return Session(CHARTER, round, attempt, keys, minimum, colluding, Ring(bits), count)


@dataclass
class Round:
    """`lost`: by site, the first stage that it does not answer. `seen`: what the sites sent."""

    session: Session
    values: Mapping[str, np.ndarray]
    lost: Mapping[str, str] = field(default_factory=dict)
    entropy: Entropy | None = None
    seen: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.aggregator = Aggregator(self.session)
        self.states: dict[str, bytes] = {}

    def present(self, stage: str) -> list[str]:
        at = STAGES.index(stage)
        return [
            site
            for site in self.session.keys
            if site not in self.lost or STAGES.index(self.lost[site]) > at
        ]

    def party(self, site: str) -> Party:
        return Party.from_bytes(self.states[site], self.session)

    def keep(self, stage: str, site: str, answer: tuple[Party, bytes]) -> bytes:
        party, data = answer
        self.states[site] = party.to_bytes()
        self.seen[stage, site] = data
        return data

    def advertise(self) -> dict[str, bytes]:
        for site in self.present("begin"):
            more = {} if self.entropy is None else {"entropy": self.entropy(site)}
            said = self.keep("begin", site, Party.begin(self.session, site, key_of(site), **more))
            self.aggregator.add_advertisement(site, said)
        return self.aggregator.close_advertisements()

    def share(
        self, advertisements: Mapping[str, bytes]
    ) -> tuple[tuple[str, ...], dict[str, bytes]]:
        for site in self.present("share"):
            said = self.keep("share", site, self.party(site).share(advertisements))
            self.aggregator.add_envelopes(site, said)
        return self.aggregator.close_envelopes()

    def vector(self, site: str) -> np.ndarray:
        return self.session.ring.from_signed(self.values[site])

    def mask(self, sharers: tuple[str, ...], parcels: Mapping[str, bytes]) -> tuple[str, ...]:
        for site in self.present("mask"):
            masked = self.party(site).mask(sharers, parcels[site], self.vector(site))
            self.aggregator.add_vector(site, self.keep("mask", site, masked))
        return self.aggregator.close_vectors()

    def agree(self, survivors: tuple[str, ...]) -> dict[str, bytes]:
        for site in self.present("agree"):
            said = self.keep("agree", site, self.party(site).agree(survivors, key_of(site)))
            self.aggregator.add_agreement(site, said)
        return self.aggregator.close_agreements()

    def reveal(self, agreements: Mapping[str, bytes]) -> Sum:
        for site in self.present("reveal"):
            said = self.keep("reveal", site, self.party(site).reveal(agreements))
            self.aggregator.add_reveal(site, said)
        return self.aggregator.close()

    def masked(self) -> tuple[str, ...]:
        return self.mask(*self.share(self.advertise()))

    def run(self) -> Sum:
        return self.reveal(self.agree(self.masked()))

    def expected(self, survivors: tuple[str, ...]) -> np.ndarray:
        """The plain sum, in the ring."""
        ring = self.session.ring
        total = np.sum([self.values[site] for site in survivors], axis=0)
        return ring.to_signed(ring.from_signed(total))


def stream(seed: str) -> Callable[[int], bytes]:
    """As os.urandom is called, the same in every run."""
    blocks = (hashlib.sha512(f"{seed} {number}".encode()).digest() for number in count())
    return lambda size: next(blocks)[:size]


def drawn_alike(patch: pytest.MonkeyPatch) -> Entropy:
    """Makes every draw of a round the same in every run; the secrets are what is returned."""
    patch.setattr(SecretSharing, "rng", stream("sharing"))
    patch.setattr(sharing.os, "urandom", stream("nonces"))
    return lambda site: stream(f"secrets of {site}")


def values(session: Session, seed: int = 0) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(seed)
    top = session.ring.largest // len(session.keys)
    return {site: chance.integers(-top, top + 1, session.count) for site in session.keys}

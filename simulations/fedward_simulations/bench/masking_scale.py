"""How masking grows with sites and parameters: the processor and bytes of a site, and the server's.

What a site does is measured whole, for every size, with the neighbours that its cohort needs. What the
server does is measured whole where every site can be run beside it; for every size it is also told from
its parts, each measured and taken as often as a round does it: the growth law of `_server`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fedward_shared.errors import InvariantViolated
from fedward_shared.identity import SigningKey
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.secagg import masks, parcels, sharing
from fedward_shared.secagg.aggregator import Aggregator
from fedward_shared.secagg.graph import degree_for
from fedward_shared.secagg.party import Party
from fedward_shared.secagg.quantiser import Quantiser
from fedward_shared.secagg.ring import ring_for
from fedward_shared.secagg.session import Session
from fedward_simulations.bench.masked_site import CHARTER, MaskedSite, signing_keys
from fedward_simulations.bench.masking import interleaved
from fedward_simulations.bench.rows import Row

SITES = (10, 100, 1000)
PARAMETERS = (1_000_000, 50_000_000)
PRECISION = 8
WHOLE = 5 * 10**8
"""Most sites times parameters for which all sites are run."""
RUNS = 3


@dataclass(frozen=True)
class Size:
    """A cohort of which a fifth may be lost and a twentieth may collude."""

    sites: int
    parameters: int

    @property
    def lost(self) -> int:
        """As many as may be."""
        return self.sites // 5

    @property
    def colluding(self) -> int:
        """As many as the terms reckon with."""
        return max(1, self.sites // 20)

    def session(self, keys: Mapping[str, SigningKey]) -> Session:
        """A round of them all."""
        return Session(
            charter=CHARTER,
            round=1,
            attempt=1,
            keys={site: key.public for site, key in keys.items()},
            minimum=self.sites - self.lost,
            colluding=self.colluding,
            ring=ring_for(self.sites, PRECISION),
            count=self.parameters,
        )

    @cached_property
    def neighbours(self) -> int:
        """Of a site."""
        return degree_for(self.sites, self.sites - self.lost, self.colluding).degree

    @property
    def about(self) -> str:
        """For a row."""
        bits = ring_for(self.sites, PRECISION).bits
        return (
            f"{self.sites:,} sites × {self.parameters // 10**6} M, {bits} bits, "
            f"{self.neighbours} neighbours"
        )


def run(folder: Path) -> list[Row]:
    """Every size, the small ones first."""
    del folder
    return [row for count in PARAMETERS for sites in SITES for row in _rows(Size(sites, count))]


def _rows(size: Size) -> list[Row]:
    values = np.random.default_rng(0).normal(0, 1, size.parameters).astype(np.float32)
    quantiser, randomness = Quantiser(8.0, PRECISION), Randomness.from_os()
    keys = signing_keys(size.sites)
    known = size.session(keys)
    site = MaskedSite(known, keys, lambda: quantiser.quantise(values, known.ring, randomness))
    (stages,) = interleaved(site.calls(), runs=RUNS)
    about = size.about
    rows = [
        Row(f"{about}: a site's CPU", sum(stages.values()) / 1e3),
        Row(f"{about}: of that, the masked vector", stages["mask"] / 1e3),
        Row(f"{about}: a site sends", site.sent / 1e6, unit="MB"),
        Row(f"{about}: a site receives", site.received / 1e6, unit="MB"),
    ]
    parts = _parts(site)
    for lost in (0, size.lost):
        told = _server(parts, size, lost)
        rows.append(Row(f"{about}: the server's CPU, {lost} lost, from its parts", told))
        if size.sites * size.parameters <= WHOLE:
            whole = _whole(known, keys, lost)
            rows.append(Row(f"{about}: the server's CPU, {lost} lost, measured whole", whole))
    return rows


@dataclass(frozen=True)
class _Parts:
    """Seconds of what the server does: for an advertisement, taken in and read again; an agreement; a
    masked vector; a seed; a self mask; a pair's mask; the sum as signed integers.
    """

    advertisement: float
    agreement: float
    vector: float
    seed: float
    self_mask: float
    pair_mask: float
    signed: float


def _server(parts: _Parts, size: Size, lost: int) -> float:
    """The growth law: everything but the pair masks of the lost is linear in the number of sites."""
    survivors = size.sites - lost
    met = size.neighbours * survivors / size.sites
    return (
        size.sites * (parts.advertisement + parts.seed)
        + survivors * (parts.agreement + parts.vector + parts.self_mask)
        + lost * met * parts.pair_mask
        + parts.signed
    )


def _parts(site: MaskedSite) -> _Parts:
    known, cohort, name = site.known, site.cohort, site.name
    total, state = known.ring.zeros(known.count), site.shared[0].state
    threshold, holders = cohort.degree.threshold, len(cohort.graph.closed(name))
    shares = sharing.split(state.self_seed, threshold, holders)[:threshold]
    private = masks.mask_key(known.label, state.mask_seed, name)
    pair = (name, cohort.graph.neighbours(name)[0])
    own, theirs = ((one, cohort.peers[one].mask_key) for one in pair)
    coordinator, senders = _waiting(site), iter(site.sites)

    def apply_pair() -> None:
        masks.apply(known.ring, total, masks.pair_key(cohort.label, private, own, theirs), -1)

    calls: dict[str, Callable[[], object]] = {
        "advertisement": lambda: known.read_advertisement(name, site.advertisements[name]),
        "agreement": lambda: known.read_agreement(name, site.agreements[name]),
        "vector": lambda: coordinator.add_vector(next(senders), site.masked[1]),
        "seed": lambda: sharing.combine(dict(enumerate(shares, start=1))),
        "self_mask": lambda: masks.apply(known.ring, total, state.envelope_secret, -1),
        "pair_mask": apply_pair,
        "signed": lambda: known.ring.to_signed(total),
    }
    (found,) = interleaved(calls, runs=5)
    seconds = {part: value / 1e3 for part, value in found.items()}
    return _Parts(**seconds | {"advertisement": 2 * seconds["advertisement"]})


def _waiting(site: MaskedSite) -> Aggregator:
    """A server that waits for vectors. What is in the envelopes it does not know."""
    coordinator, graph = Aggregator(site.known), site.cohort.graph
    for one, said in site.advertisements.items():
        coordinator.add_advertisement(one, said)
    coordinator.close_advertisements()
    for one in site.sites:
        envelopes = dict.fromkeys(graph.neighbours(one), bytes(sharing.ENVELOPE_BYTES))
        coordinator.add_envelopes(one, parcels.encode(envelopes))
    coordinator.close_envelopes()
    return coordinator


class _Clock:
    """Seconds of the processor within the calls that go through it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, call: Callable[..., Any], *given: object) -> Any:
        started = time.process_time()
        answer = call(*given)
        self.seconds += time.process_time() - started
        return answer


def _whole(known: Session, keys: Mapping[str, SigningKey], lost: int) -> float:
    """Seconds of the server's processor, the first `lost` sites leaving after they have shared."""
    timed, server = _Clock(), Aggregator(known)
    begun = {site: Party.begin(known, site, key) for site, key in keys.items()}
    for site, (_, said) in begun.items():
        timed(server.add_advertisement, site, said)
    advertisements = timed(server.close_advertisements)
    parties = {}
    for site, (party, _) in begun.items():
        parties[site], said = party.share(advertisements)
        timed(server.add_envelopes, site, said)
    sharers, boxes = timed(server.close_envelopes)
    for site in sharers[lost:]:
        parties[site], said = parties[site].mask(
            sharers, boxes[site], known.ring.zeros(known.count)
        )
        timed(server.add_vector, site, said)
    survivors = timed(server.close_vectors)
    for site in survivors:
        parties[site], said = parties[site].agree(survivors, keys[site])
        timed(server.add_agreement, site, said)
    agreements = timed(server.close_agreements)
    for site in survivors:
        timed(server.add_reveal, site, parties[site].reveal(agreements)[1])
    if timed(server.close).total.any():
        raise InvariantViolated("the sum of nothing is not zero")
    return timed.seconds

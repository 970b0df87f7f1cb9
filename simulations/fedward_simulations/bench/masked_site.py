"""One site of a masked round, for what it costs: its states between messages, and what it is sent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from fedward_shared.identity import SigningKey
from fedward_shared.secagg import parcels
from fedward_shared.secagg.party import Party
from fedward_shared.secagg.ring import Numbers
from fedward_shared.secagg.session import Cohort, Session
from fedward_shared.secagg.signed import Agreement

CHARTER = "sha256:" + "0" * 64
Calls = dict[str, Callable[[], object]]


def signing_keys(count: int) -> dict[str, SigningKey]:
    """Of as many sites."""
    return {f"site-{number:04d}": SigningKey.generate() for number in range(count)}


@dataclass(frozen=True)
class MaskedSite:
    """The first of `sites` in a round that nobody is lost from; `vector` makes what it masks.

    Its neighbours share in earnest; of the others it sees what every site sees, keys and signatures.
    """

    known: Session
    sites: Mapping[str, SigningKey]
    vector: Callable[[], Numbers]

    @cached_property
    def _begun(self) -> dict[str, tuple[Party, bytes]]:
        return {site: Party.begin(self.known, site, key) for site, key in self.sites.items()}

    @cached_property
    def name(self) -> str:
        """Who is looked at."""
        return next(iter(self.sites))

    @cached_property
    def advertisements(self) -> dict[str, bytes]:
        """Everybody's."""
        return {site: said for site, (_, said) in self._begun.items()}

    @cached_property
    def cohort(self) -> Cohort:
        """Everybody."""
        return Cohort.read(self.known, self.advertisements)

    @cached_property
    def shared(self) -> tuple[Party, bytes]:
        """The site after it has shared, and its envelopes."""
        return self._begun[self.name][0].share(self.advertisements)

    @cached_property
    def envelopes(self) -> bytes:
        """Those for the site."""
        said = {
            other: self._begun[other][0].share(self.advertisements)[1]
            for other in self.cohort.graph.neighbours(self.name)
        }
        return parcels.encode(
            {other: parcels.decode(data, other)[self.name] for other, data in said.items()}
        )

    @cached_property
    def masked(self) -> tuple[Party, bytes]:
        """The site after it has masked, and its vector."""
        return self.shared[0].mask(list(self.sites), self.envelopes, self.vector())

    @cached_property
    def agreed(self) -> tuple[Party, bytes]:
        """The site after it has agreed, and its signature."""
        return self.masked[0].agree(list(self.sites), self.sites[self.name])

    @cached_property
    def agreements(self) -> dict[str, bytes]:
        """Everybody's."""
        everybody = list(self.sites)
        survivors = self.cohort.survivors_digest(everybody, everybody)
        return {
            site: Agreement(
                charter=self.known.charter,
                site=site,
                round=self.known.round,
                attempt=self.known.attempt,
                cohort=self.cohort.label.cohort,
                survivors=survivors,
            ).signed(key)
            for site, key in self.sites.items()
        }

    @cached_property
    def revealed(self) -> bytes:
        """The shares that the site gives."""
        return self.agreed[0].reveal(self.agreements)[1]

    @property
    def sent(self) -> int:
        """Bytes from the site to the coordinator in the round."""
        said = (self.advertisements[self.name], self.shared[1], self.masked[1], self.agreed[1])
        return sum(map(len, said)) + len(self.revealed)

    @property
    def received(self) -> int:
        """Bytes to the site; the global adapter is not among them."""
        names = 2 * len(parcels.encode(dict.fromkeys(self.sites, b"")))
        parts = (self.advertisements, self.agreements)
        return len(self.envelopes) + names + sum(len(parcels.encode(part)) for part in parts)

    def calls(self) -> Calls:
        """What the site does at each stage, from the bytes of its state to the next and its answer."""
        states = {
            "share": self._begun[self.name][0].to_bytes(),
            "mask": self.shared[0].to_bytes(),
            "agree": self.masked[0].to_bytes(),
            "reveal": self.agreed[0].to_bytes(),
        }
        advertisements, envelopes, agreements = self.advertisements, self.envelopes, self.agreements
        everybody, key = list(self.sites), self.sites[self.name]

        def step(stage: str, answer: Callable[[Party], tuple[Party, bytes]]) -> bytes:
            party, said = answer(Party.from_bytes(states[stage], self.known))
            party.to_bytes()
            return said

        return {
            "keys": lambda: Party.begin(self.known, self.name, key)[0].to_bytes(),
            "share": lambda: step("share", lambda party: party.share(advertisements)),
            "mask": lambda: step("mask", lambda p: p.mask(everybody, envelopes, self.vector())),
            "agree": lambda: step("agree", lambda party: party.agree(everybody, key)),
            "reveal": lambda: step("reveal", lambda party: party.reveal(agreements)),
        }

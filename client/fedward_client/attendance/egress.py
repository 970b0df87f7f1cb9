"""What a site says to its peers in a session passes here: kind by kind, and not before it is booked."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from fedward_shared import canonical
from fedward_shared.assurances import Purpose
from fedward_shared.duplicates.charter import DuplicatesCharter
from fedward_shared.duplicates.terms import DuplicatesTerms
from fedward_shared.errors import ExchangeError, PrivacyError
from fedward_shared.exchange.charter import SessionCharter
from fedward_shared.exchange.program import KINDS, Kind
from fedward_shared.psi import PLACE_BYTES, POINT_BYTES
from fedward_shared.vertical.charter import VerticalCharter
from fedward_shared.vertical.terms import OnceTerms

SIZE_BYTES = 4
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Permitted:
    """Of one kind: after how many bookings, how many bytes to one peer in all, in what pieces, below
    which number each byte is, and how many bytes answer for one record."""

    booked: int
    most: int
    piece: int
    below: int = 256
    each: int = 0


class Egress:
    """What `site` may say in a session. `said` is what it has: bytes by peer and kind."""

    def __init__(self, charter: SessionCharter, site: str, purpose: Purpose) -> None:
        self.due = charter.due(site, purpose)
        self.booked = 0
        self.said: Counter[tuple[str, Kind]] = Counter()
        self._peers = charter.peers(site)
        self._permitted = _permitted(charter, site, purpose)

    @property
    def answered(self) -> int:
        """About how many records something was said in a prediction."""
        rules = [(self._permitted[kind], size) for (_, kind), size in self.said.items()]
        return max((size // rule.each for rule, size in rules if rule.each), default=0)

    def kept(self) -> bytes:
        """What has been said, for the run that goes on from here."""
        return canonical.encode([[*whom, size] for whom, size in sorted(self.said.items())])

    def resume(self, kept: bytes) -> None:
        """Counts what was `kept` as said."""
        self.said.update({(peer, kind): size for peer, kind, size in canonical.decode(kept)})

    def check(self, peer: str, message: bytes) -> None:
        """Raises ExchangeError, or PrivacyError for what is not booked yet; then nothing is said."""
        if peer not in self._peers:
            raise ExchangeError(f"egress: {peer} is no peer of this site in the study")
        if not message or message[0] >= len(KINDS):
            raise ExchangeError("egress: a message of no known kind")
        kind, body = KINDS[message[0]], memoryview(message)[1:]
        rule = self._permitted.get(kind)
        if rule is None:
            raise ExchangeError(f"egress: the charter has this site send no {kind}")
        if self.booked < rule.booked:
            raise PrivacyError(
                f"egress: {kind} may leave after booking {rule.booked}, {self.booked} are made"
            )
        total = self.said[peer, kind] + len(body)
        if total > rule.most or len(body) % rule.piece:
            raise ExchangeError(
                f"egress: {total} bytes of {kind} for {peer}, at most {rule.most} in pieces of "
                f"{rule.piece}"
            )
        if rule.below < 256 and body and int(np.frombuffer(body, np.uint8).max()) >= rule.below:
            raise ExchangeError(f"egress: an answer among the {kind} that there is not")
        if rule.piece == FLOAT_BYTES and kind in ("embeddings", "gradients"):
            _check_finite(kind, body)
        self.said[peer, kind] = total


def _check_finite(kind: Kind, body: memoryview) -> None:
    if not np.isfinite(np.frombuffer(body, "<f4")).all():
        raise ExchangeError(f"egress: {kind} that hold NaN or infinity")


def _permitted(charter: SessionCharter, site: str, purpose: Purpose) -> dict[Kind, Permitted]:
    match charter:
        case VerticalCharter():
            return _of_columns(charter, site, purpose)
        case DuplicatesCharter():
            return _of_documents(charter.duplicates, len(charter.due(site, purpose)))
        case _:
            return {}


def _of_documents(terms: DuplicatesTerms, needed: int) -> dict[Kind, Permitted]:
    """A peer has as many of its points back as the charter lets it show."""
    points = Permitted(needed, terms.most_keys * POINT_BYTES, POINT_BYTES)
    return {
        "sizes": Permitted(0, SIZE_BYTES, SIZE_BYTES),
        "points": points,
        "doubled": points,
    }


def _of_columns(charter: VerticalCharter, site: str, purpose: Purpose) -> dict[Kind, Permitted]:
    """By the charter and by the most records that it lets a party show.

    In a prediction nothing tells who is here before that is booked, and a record is answered for once.
    """
    terms, asked = charter.vertical, purpose == "predict"
    active, needed = site == terms.active, len(charter.due(site, purpose))
    records = terms.alignment.shown(terms.alignment.most)
    before = needed if asked else 0
    points = Permitted(before, records * POINT_BYTES, POINT_BYTES)
    found: dict[Kind, Permitted] = {
        "sizes": Permitted(0, 2 * SIZE_BYTES, SIZE_BYTES),
        "points": points,
    }
    if active:
        found["places"] = Permitted(before, records * PLACE_BYTES, 1, each=PLACE_BYTES)
    else:
        found["doubled"] = points
    if active and asked:
        return found  # it asks, and answers nothing
    if isinstance(terms.privacy, OnceTerms):
        answers = terms.privacy.labels(len(terms.classes)) if active else terms.privacy.scores
        kind: Kind = "labels" if active else "cells"
        found[kind] = Permitted(needed, records, 1, answers.choices, each=1)
        return found
    batches = 0 if asked else records * terms.fitting.epochs
    width = terms.model.embedding * FLOAT_BYTES
    floats = (batches + (0 if active else records)) * width
    vectors: Kind = "gradients" if active else "embeddings"
    found[vectors] = Permitted(needed, floats, FLOAT_BYTES, each=width)
    return found

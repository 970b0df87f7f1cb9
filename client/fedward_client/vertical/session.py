"""A session of a vertical study: from a party's file of records to what is kept of it."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from fedward_client.core import Outcome, SessionOffer
from fedward_client.vertical import party, predicting
from fedward_client.vertical.fitting import kept
from fedward_client.vertical.party import ActiveOutcome, PassiveOutcome
from fedward_client.vertical.predicting import Predicted
from fedward_client.vertical.records import PartyRecords
from fedward_client.vertical.scores import quality
from fedward_shared import canonical, tensors
from fedward_shared.exchange.program import Program
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.psi.alignment import Rows, Work
from fedward_shared.vertical.charter import VerticalCharter

Found = ActiveOutcome | PassiveOutcome | Predicted | Rows


class VerticalPart:
    """Those of the site's records that take part, read. Raises FedwardError as `PartyRecords` does."""

    def __init__(self, offer: SessionOffer) -> None:
        assert isinstance(offer.charter, VerticalCharter)
        torch.set_num_threads(offer.threads)
        self._offer, self._terms = offer, offer.charter.vertical
        self._own = self._records()

    def _records(self) -> PartyRecords:
        """The site's own or, at the party that asks, those that it asks about."""
        offer = self._offer
        whose = self._terms, offer.site, offer.compared
        if offer.query:
            return PartyRecords.parse(
                offer.data, offer.query, *whose, offer.left_out, offer.base_models
            )
        return PartyRecords.read(offer.data, *whose, offer.file, offer.left_out, offer.base_models)

    def program(self, work: Work, state: bytes) -> Program:
        """As `Part` says."""
        offer, terms, own = self._offer, self._terms, self._own
        streams = partial(Randomness.derived, offer.secret)
        if offer.purpose == "predict":
            model = tensors.decode(offer.model, "the kept model")
            if offer.site == terms.active:
                return predicting.active(terms, own, model, offer.session, streams, work)
            return predicting.passive(terms, offer.site, own, model, offer.session, streams, work)
        if offer.site == terms.active:
            return party.active(terms, own, offer.session, streams, work, state)
        return party.passive(terms, offer.site, own, offer.session, streams, work, state)

    def outcome(self, found: Found) -> Outcome:
        """As `Part` says."""
        return _outcome(self._offer, self._own, found)


def _outcome(offer: SessionOffer, own: PartyRecords, found: Found) -> Outcome:
    """Scores are kept by the identifier that they are of, as the charter's rules write that."""
    records = len(found) if isinstance(found, np.ndarray) else len(found.rows)
    result: dict[str, Any] = {"records": records, "study": offer.charter.study}
    if isinstance(found, np.ndarray):
        return Outcome(b"", canonical.encode(result))
    if isinstance(found, Predicted):
        probability_N = found.probability_N
        of_rows = (probability_N if probability_N.ndim > 1 else probability_N[:, None]).tolist()
        result["scores"] = {
            own.identifiers[row].decode(): [f"{score:.6f}" for score in scores]
            for row, scores in zip(found.rows, of_rows, strict=True)
        }
        return Outcome(b"", canonical.encode(result))
    if isinstance(found, PassiveOutcome):
        return Outcome(_bytes(found.bottom), canonical.encode(result))
    assert own.label_N is not None
    label_H = own.label_N[torch.from_numpy(found.held_out)]
    scored = {name: f"{value:.6f}" for name, value in quality(found.probability_H, label_H).items()}
    result |= {"held_out": len(label_H), **scored}
    return Outcome(_bytes(found.model), canonical.encode(result))


def _bytes(model: nn.Module) -> bytes:
    return tensors.encode(kept(model))

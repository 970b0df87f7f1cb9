"""A session at a deployed site: the party's program over a seat that the trusted side has given it."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from fedward_client.core import Attending, Outcome, SessionOffer
from fedward_client.vertical import party, predicting
from fedward_client.vertical.fitting import kept
from fedward_client.vertical.party import ActiveOutcome, PassiveOutcome
from fedward_client.vertical.predicting import Predicted
from fedward_client.vertical.records import PartyRecords
from fedward_client.vertical.scores import quality
from fedward_shared import canonical, tensors
from fedward_shared.messages import SessionDone
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.psi.alignment import Rows, Work
from fedward_shared.vertical.program import Action, over

Found = ActiveOutcome | PassiveOutcome | Predicted | Rows


def attend(session: Attending) -> SessionDone:
    """Does this site's part, from reading its records to the end.

    Raises FedwardError; a session that is attended again then goes on from its last checkpoint.
    """
    with closing(session):
        offer = session.offer
        torch.set_num_threads(offer.threads)
        own = _records(offer)
        with ThreadPoolExecutor(offer.threads) as pool:
            patience = offer.charter.exchange.patience_seconds
            program = _program(offer, own, pool.map, session.restored())
            outcome = over(program, session, session.book, patience)
        return session.finish(_outcome(offer, own, outcome))


def _records(offer: SessionOffer) -> PartyRecords:
    """Those that take part: the site's own or, at the party that asks, those that it asks about."""
    whose = offer.charter.vertical, offer.site, offer.identifier
    if offer.query:
        return PartyRecords.parse(
            offer.data, offer.query, *whose, offer.left_out, offer.base_models
        )
    return PartyRecords.read(offer.data, *whose, offer.file, offer.left_out, offer.base_models)


def _program(
    offer: SessionOffer, own: PartyRecords, work: Work, state: bytes
) -> Generator[Action, bytes, Found]:
    terms, streams = offer.charter.vertical, partial(Randomness.derived, offer.secret)
    if offer.purpose == "predict":
        model = tensors.decode(offer.model, "the kept model")
        if offer.site == terms.active:
            return predicting.active(terms, own, model, offer.session, streams, work)
        return predicting.passive(terms, offer.site, own, model, offer.session, streams, work)
    if offer.site == terms.active:
        return party.active(terms, own, offer.session, streams, work, state)
    return party.passive(terms, offer.site, own, offer.session, streams, work, state)


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

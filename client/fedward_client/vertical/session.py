"""A session at a deployed site: the party's program over a seat that the trusted side has given it."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import torch
from torch import nn

from fedward_client.core import Attending, Outcome, SessionOffer
from fedward_client.vertical import party
from fedward_client.vertical.party import ActiveOutcome, PassiveOutcome
from fedward_client.vertical.records import PartyRecords
from fedward_client.vertical.scores import auc
from fedward_shared import canonical, tensors
from fedward_shared.messages import SessionDone
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.psi.alignment import Work
from fedward_shared.vertical.program import Action, over


def attend(session: Attending) -> SessionDone:
    """Does this site's part, from reading its records to the end.

    Raises FedwardError; a session that is attended again then goes on from its last checkpoint.
    """
    with closing(session):
        offer = session.offer
        torch.set_num_threads(offer.threads)
        terms = offer.charter.vertical
        own = PartyRecords.read(
            offer.data, terms, offer.site, offer.identifier, offer.file, offer.left_out
        )
        with ThreadPoolExecutor(offer.threads) as pool:
            patience = offer.charter.exchange.patience_seconds
            program = _program(offer, own, pool.map, session.restored())
            outcome = over(program, session, session.book, patience)
        return session.finish(_outcome(offer, own, outcome))


def _program(
    offer: SessionOffer, own: PartyRecords, work: Work, state: bytes
) -> Generator[Action, bytes, ActiveOutcome | PassiveOutcome]:
    terms, streams = offer.charter.vertical, partial(Randomness.derived, offer.secret)
    if offer.site == terms.active:
        return party.active(terms, own, offer.session, streams, work, state)
    return party.passive(terms, offer.site, own, offer.session, streams, work, state)


def _outcome(
    offer: SessionOffer, own: PartyRecords, found: ActiveOutcome | PassiveOutcome
) -> Outcome:
    result = {"records": len(found.rows), "study": offer.charter.study}
    if isinstance(found, PassiveOutcome):
        return Outcome(_bytes(found.bottom), canonical.encode(result))
    assert own.label_N is not None
    label_H = own.label_N[torch.from_numpy(found.held_out)]
    scored = {"auc": f"{auc(found.probability_H, label_H):.6f}", "held_out": len(label_H)}
    return Outcome(_bytes(found.model), canonical.encode(result | scored))


def _bytes(model: nn.Module) -> bytes:
    return tensors.encode({name: tensor.detach() for name, tensor in model.named_parameters()})

"""A session at a deployed site: the party's program over a seat that the trusted side has given it."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import torch
from torch import nn

from fedward_client.core import Attending, Outcome, SessionOffer
from fedward_client.vertical import party
from fedward_client.vertical.fitting import trained
from fedward_client.vertical.party import ActiveOutcome, PassiveOutcome
from fedward_client.vertical.records import PartyRecords
from fedward_client.vertical.scores import quality
from fedward_shared import canonical, tensors
from fedward_shared.messages import SessionDone
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.psi.alignment import Work
from fedward_shared.vertical.program import Action, over


def attend(session: Attending) -> SessionDone:
    """Does this site's part, from reading its records to the end.

    Raises FedwardError; a session that is attended again then goes on where it was.
    """
    with closing(session):
        offer = session.offer
        torch.set_num_threads(offer.threads)
        terms = offer.charter.vertical
        own = PartyRecords.read(
            offer.data,
            terms,
            offer.site,
            offer.identifier,
            offer.file,
            offer.left_out,
            offer.base_models,
        )
        with ThreadPoolExecutor(offer.threads) as pool:
            patience = offer.charter.exchange.patience_seconds
            outcome = over(_program(offer, own, pool.map), session, session.book, patience)
        return session.finish(_outcome(offer, own, outcome))


def _program(
    offer: SessionOffer, own: PartyRecords, work: Work
) -> Generator[Action, bytes, ActiveOutcome | PassiveOutcome]:
    terms, streams = offer.charter.vertical, partial(Randomness.derived, offer.secret)
    if offer.site == terms.active:
        return party.active(terms, own, offer.session, streams, work)
    return party.passive(terms, offer.site, own, offer.session, streams, work)


def _outcome(
    offer: SessionOffer, own: PartyRecords, found: ActiveOutcome | PassiveOutcome
) -> Outcome:
    result: dict[str, int | str] = {"records": len(found.rows), "study": offer.charter.study}
    if isinstance(found, PassiveOutcome):
        return Outcome(_bytes(found.bottom), canonical.encode(result))
    assert own.label_N is not None
    label_H = own.label_N[torch.from_numpy(found.held_out)]
    scored = {name: f"{value:.6f}" for name, value in quality(found.probability_H, label_H).items()}
    result |= {"held_out": len(label_H), **scored}
    return Outcome(_bytes(found.model), canonical.encode(result))


def _bytes(model: nn.Module) -> bytes:
    """What trains: base models are in folders of their own, and begin the same everywhere."""
    return tensors.encode({name: tensor.detach() for name, tensor in trained(model).items()})

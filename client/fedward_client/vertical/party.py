"""What a party does from the first message to the last: align, then fit."""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from fedward_client.training.streams import Streams
from fedward_client.vertical import every_batch, once
from fedward_client.vertical.checkpoints import Progress
from fedward_client.vertical.once import Scorer
from fedward_client.vertical.records import PartyRecords
from fedward_shared.exchange.program import Action
from fedward_shared.psi.alignment import Rows, Work
from fedward_shared.vertical import aligning
from fedward_shared.vertical.models import Bottom
from fedward_shared.vertical.terms import OnceTerms, VerticalTerms

ALIGNMENT = "alignment"
"""The purpose of the stream that the secret number of the session comes from."""


@dataclass(frozen=True)
class ActiveOutcome:
    """`rows` of the party's file are common to all; the last of them were held out, and the model gives
    these `probability_H` of the second class, [held out], or of each of more than two, [held out, K]."""

    rows: Rows
    probability_H: torch.Tensor
    model: nn.Module

    @property
    def held_out(self) -> Rows:
        """The rows that the probabilities are of."""
        return self.rows[len(self.rows) - len(self.probability_H) :]

    @property
    def training(self) -> Rows:
        """The others."""
        return self.rows[: len(self.rows) - len(self.probability_H)]


@dataclass(frozen=True)
class PassiveOutcome:
    """`rows` of the party's file are common to all; `bottom` embeds, or scores, its records."""

    rows: Rows
    bottom: Bottom | Scorer


def active(
    terms: VerticalTerms,
    own: PartyRecords,
    session: str,
    streams: Streams,
    work: Work = map,
    state: bytes = b"",
) -> Generator[Action, bytes, ActiveOutcome]:
    """The program of the party with the labels, from the checkpoint of which `state` is. Raises
    AlignmentError and ExchangeError; ModelError and CharterError if an encoder of texts is none."""
    assert own.label_N is not None
    progress, stream = Progress(state), streams(ALIGNMENT)
    rows = yield from progress.aligned(
        aligning.active(terms.peers, own.identifiers, terms.alignment, session, stream, work)
    )
    encoded, label_N = own.encoded.rows(_index(rows)), own.label_N[_index(rows)]
    privacy = terms.privacy
    if isinstance(privacy, OnceTerms):
        once_found = yield from once.active(
            terms, privacy, encoded, label_N, session, streams, own.folders
        )
        return ActiveOutcome(rows, *once_found)
    found = yield from every_batch.active(
        terms, privacy, encoded, label_N, progress, session, streams, own.folders
    )
    return ActiveOutcome(rows, *found)


def passive(
    terms: VerticalTerms,
    party: str,
    own: PartyRecords,
    session: str,
    streams: Streams,
    work: Work = map,
    state: bytes = b"",
) -> Generator[Action, bytes, PassiveOutcome]:
    """The program of a party without labels, from the checkpoint of which `state` is. Raises
    AlignmentError and ExchangeError; ModelError and CharterError if an encoder of texts is none."""
    progress, stream = Progress(state), streams(ALIGNMENT)
    rows = yield from progress.aligned(
        aligning.passive(
            terms.active, party, own.identifiers, terms.alignment, session, stream, work
        )
    )
    encoded, privacy = own.encoded.rows(_index(rows)), terms.privacy
    if isinstance(privacy, OnceTerms):
        scorer = yield from once.passive(terms, privacy, party, encoded, streams, own.folders)
        return PassiveOutcome(rows, scorer)
    bottom = yield from every_batch.passive(
        terms, privacy, party, encoded, progress, session, streams, own.folders
    )
    return PassiveOutcome(rows, bottom)


def _index(rows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rows)

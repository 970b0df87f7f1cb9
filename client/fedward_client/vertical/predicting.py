"""What a party does in a prediction: align what is asked about, then ask, or answer, once a record.

Nobody trains. A party that answers books that before the peer learns who is common, so that asking who
is here costs a prediction, whatever comes of it.
"""

from collections.abc import Generator
from dataclasses import dataclass

import torch

from fedward_client.training.streams import Streams
from fedward_client.vertical import every_batch, once
from fedward_client.vertical.party import ALIGNMENT
from fedward_client.vertical.records import PartyRecords
from fedward_shared.exchange.program import Action
from fedward_shared.psi.alignment import Rows, Work
from fedward_shared.tensors import Tensors
from fedward_shared.vertical import aligning
from fedward_shared.vertical.terms import OnceTerms, VerticalTerms


@dataclass(frozen=True)
class Predicted:
    """`rows` of the query are of people whom all parties have; the model gives them `probability_N` of
    the second class or, of more than two, of each, [N, K]."""

    rows: Rows
    probability_N: torch.Tensor


def active(
    terms: VerticalTerms,
    query: PartyRecords,
    model: Tensors,
    session: str,
    streams: Streams,
    work: Work = map,
) -> Generator[Action, bytes, Predicted]:
    """The program of the party that asks. Raises AlignmentError, ExchangeError, and AdapterError for
    tensors that are not the model's."""
    rows = yield from aligning.active(
        terms.peers,
        query.identifiers,
        terms.alignment.of_queries,
        session,
        streams(ALIGNMENT),
        work,
    )
    if not len(rows):
        return Predicted(rows, torch.zeros(0))
    encoded, privacy = query.encoded.rows(torch.from_numpy(rows)), terms.privacy
    if isinstance(privacy, OnceTerms):
        found = yield from once.predicting(terms, privacy, encoded, model, query.folders)
    else:
        found = yield from every_batch.predicting(terms, encoded, model, query.folders)
    return Predicted(rows, found)


def passive(
    terms: VerticalTerms,
    party: str,
    own: PartyRecords,
    model: Tensors,
    session: str,
    streams: Streams,
    work: Work = map,
) -> Generator[Action, bytes, Rows]:
    """The program of a party that answers; the rows that it has answered for. Raises as `active`."""
    rows = yield from aligning.passive(
        terms.active,
        party,
        own.identifiers,
        terms.alignment.of_queries,
        session,
        streams(ALIGNMENT),
        work,
        terms.predicted(party),
    )
    if not len(rows):
        return rows
    encoded, privacy = own.encoded.rows(torch.from_numpy(rows)), terms.privacy
    if isinstance(privacy, OnceTerms):
        yield from once.answering(terms, privacy, party, encoded, model, streams, own.folders)
    else:
        yield from every_batch.answering(
            terms, privacy, party, encoded, model, streams, own.folders
        )
    return rows

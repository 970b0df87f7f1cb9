"""An exchange for every batch: embeddings forward, gradients back (Vepakomma et al. 2018, "Split
learning for health"). With terms of privacy, all that is sent or stepped by is clipped and noised."""

from collections.abc import Generator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from fedward_client.training.streams import Streams
from fedward_client.vertical.checkpoints import Progress
from fedward_client.vertical.fitting import Steps, batches, loaded, noised_gradients
from fedward_shared.errors import ExchangeError
from fedward_shared.exchange.program import Action, Book, Kind, receive, send
from fedward_shared.privacy.plan import UNPROTECTED, Event
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.tensors import Tensors
from fedward_shared.vertical.encoding import Encoded
from fedward_shared.vertical.models import (
    Bottom,
    CrossEntropy,
    Top,
    begin,
    generator,
    probabilities,
)
from fedward_shared.vertical.terms import EveryBatchTerms, VerticalTerms

FLOAT_BYTES = 4


class Whole(nn.Module):
    """The active party's bottom and the top, over what the peers have sent."""

    def __init__(self, terms: VerticalTerms, folders: Sequence[Path] = ()) -> None:
        super().__init__()
        self.bottom = Bottom(terms.table, terms.model.embedding, folders)
        self.top = Top(terms.model, terms.outputs)

    def forward(
        self,
        others_BE: torch.Tensor,
        *own: torch.Tensor,
        dropping: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Logits [M, B, O] of the `inputs` of the party's own records and what came of the others'."""
        logits_MBO: torch.Tensor = self.top(self.bottom(*own) + others_BE, dropping)
        return logits_MBO


def active(
    terms: VerticalTerms,
    privacy: EveryBatchTerms | None,
    own: Encoded,
    label_N: torch.Tensor,
    progress: Progress,
    session: str,
    streams: Streams,
    folders: Sequence[Path] = (),
) -> Generator[Action, bytes, tuple[torch.Tensor, Whole]]:
    """Of the aligned records: those held out last. Returns their probabilities, [held out], or
    [held out, K] of more than two classes, and the model.

    Raises ExchangeError for embeddings of another width, or that are not finite.
    """
    records, _ = terms.fitting.split(len(own))
    whole, loss = Whole(terms, folders), CrossEntropy(terms.class_weights)
    begin(whole, session, terms.active)
    own = whole.bottom.read(own)
    steps, dropping = Steps([whole], terms.fitting, records), generator(session, "dropout")
    noise = streams("gradients"), streams("steps")
    progress.resume(steps, dropping, *noise)
    yield Book(_event(terms, privacy))
    for row_B in islice(batches(terms.fitting, records, session), steps.taken, None):
        others_BE = yield from _embeddings(terms, len(row_B))
        others_BE.requires_grad_()
        mine, label_B = own.rows(row_B), label_N[row_B]
        logits_MBO = whole(others_BE, *mine.inputs, dropping=None if privacy else dropping)
        torch.autograd.backward(loss(logits_MBO, label_B))
        assert others_BE.grad is not None
        gradient_BE = others_BE.grad
        if privacy is not None:
            # The mean over the batch would shrink a record's gradient, and not its noise.
            gradient_BE = privacy.noise.rows(gradient_BE * len(row_B), noise[0])
            fixed = (others_BE.detach(), *mine.inputs)
            noised_gradients(whole, fixed, label_B, loss, privacy.noise, noise[1])
        for peer in terms.peers:
            yield from send(peer, "gradients", _bytes(gradient_BE))
        steps.take()
        yield from progress.after_step(terms.fitting.batch, steps, dropping, *noise)
    probability_H = yield from _asked(terms, whole, own.rows(torch.arange(records, len(own))))
    return probability_H, whole


def passive(
    terms: VerticalTerms,
    privacy: EveryBatchTerms | None,
    party: str,
    own: Encoded,
    progress: Progress,
    session: str,
    streams: Streams,
    folders: Sequence[Path] = (),
) -> Generator[Action, bytes, Bottom]:
    """Embeds batch after batch, then the records held out, and learns by the gradients that come.

    Returns what embeds. Raises ExchangeError for gradients of another width, or that are not finite.
    """
    records, _ = terms.fitting.split(len(own))
    bottom = Bottom(terms.table_of(party), terms.model.embedding, folders)
    begin(bottom, session, party)
    own = bottom.read(own)
    steps = Steps([bottom], terms.fitting, records)
    noise = streams("embeddings"), streams("steps")
    progress.resume(steps, *noise)
    yield Book(_event(terms, privacy))
    for row_B in islice(batches(terms.fitting, records, session), steps.taken, None):
        mine = own.rows(row_B)
        embedded_BE = bottom.of(mine)
        sent_BE = embedded_BE.detach()
        if privacy is not None:
            sent_BE = privacy.noise.rows(sent_BE, noise[0])
        yield from send(terms.active, "embeddings", _bytes(sent_BE))
        gradient_BE = yield from _floats(terms, terms.active, "gradients", len(row_B))
        if privacy is None:
            torch.autograd.backward(embedded_BE, gradient_BE)
        else:
            noised_gradients(bottom, mine.inputs, gradient_BE, _along, privacy.noise, noise[1])
        steps.take()
        yield from progress.after_step(terms.fitting.batch, steps, *noise)
    held = own.rows(torch.arange(records, len(own)))
    yield from _answered(terms, privacy, bottom, held, noise[0])
    return bottom


def predicting(
    terms: VerticalTerms, own: Encoded, model: Tensors, folders: Sequence[Path] = ()
) -> Generator[Action, bytes, torch.Tensor]:
    """The active party asks the model about aligned records: their probabilities, [N] or [N, K].

    Raises ExchangeError as `active` does, and AdapterError for tensors that are not the model's.
    """
    return (yield from _asked(terms, loaded(Whole(terms, folders), model), own))


def answering(
    terms: VerticalTerms,
    privacy: EveryBatchTerms | None,
    party: str,
    own: Encoded,
    model: Tensors,
    streams: Streams,
    folders: Sequence[Path] = (),
) -> Generator[Action, bytes, None]:
    """A passive party embeds aligned records, each once. Raises AdapterError for tensors that are not
    its model's."""
    bottom = loaded(Bottom(terms.table_of(party), terms.model.embedding, folders), model)
    yield from _answered(terms, privacy, bottom, own, streams("embeddings"))


def _asked(
    terms: VerticalTerms, whole: Whole, own: Encoded
) -> Generator[Action, bytes, torch.Tensor]:
    """The probabilities of records of which the peers send the embeddings."""
    others_BE = yield from _embeddings(terms, len(own))
    with torch.no_grad():
        return probabilities(whole(others_BE, *own.inputs))


def _answered(
    terms: VerticalTerms,
    privacy: EveryBatchTerms | None,
    bottom: Bottom,
    own: Encoded,
    noise: Randomness,
) -> Generator[Action, bytes, None]:
    """The embeddings of records that nothing is learnt from."""
    with torch.no_grad():
        embedded_BE = bottom.of(own)
    if privacy is not None:
        embedded_BE = privacy.noise.rows(embedded_BE, noise)
    yield from send(terms.active, "embeddings", _bytes(embedded_BE))


def _event(terms: VerticalTerms, privacy: EveryBatchTerms | None) -> Event:
    return UNPROTECTED if privacy is None else privacy.event(terms.fitting.epochs)


def _along(embedded_1E: torch.Tensor, gradient_1E: torch.Tensor) -> torch.Tensor:
    """Has the gradient that came as its own."""
    return (embedded_1E * gradient_1E).sum()


def _embeddings(terms: VerticalTerms, count: int) -> Generator[Action, bytes, torch.Tensor]:
    """The sum over all peers, [B, E]."""
    parts = []
    for peer in terms.peers:
        parts.append((yield from _floats(terms, peer, "embeddings", count)))
    return torch.stack(parts).sum(dim=0)


def _floats(
    terms: VerticalTerms, peer: str, kind: Kind, count: int
) -> Generator[Action, bytes, torch.Tensor]:
    width = terms.model.embedding
    body = yield from receive(peer, kind, count * width * FLOAT_BYTES)
    found_BE = torch.frombuffer(bytearray(body), dtype=torch.float32).view(count, width)
    if not bool(torch.isfinite(found_BE).all()):
        raise ExchangeError(f"{peer} has sent {kind} that hold NaN or infinity")
    return found_BE


def _bytes(x_BE: torch.Tensor) -> bytes:
    """Little-endian float32, row by row."""
    return x_BE.contiguous().numpy().astype("<f4").tobytes()

"""An exchange for every batch: embeddings forward, gradients back (Vepakomma et al. 2018, "Split
learning for health"). With terms of privacy, all that is sent or stepped by is clipped and noised."""

from collections.abc import Generator
from itertools import islice

import torch
from torch import nn

from fedward_client.training.trainer import Streams
from fedward_client.vertical.checkpoints import Progress
from fedward_client.vertical.fitting import Steps, batches, noised_gradients
from fedward_shared.errors import ExchangeError
from fedward_shared.privacy.plan import UNPROTECTED, Event
from fedward_shared.vertical.columns import Encoded
from fedward_shared.vertical.models import Bottom, Top, begin, generator, loss
from fedward_shared.vertical.program import Action, Book, Kind, receive, send
from fedward_shared.vertical.terms import EveryBatchTerms, VerticalTerms

FLOAT_BYTES = 4


class Whole(nn.Module):
    """The active party's bottom and the top, over what the peers have sent."""

    def __init__(self, terms: VerticalTerms) -> None:
        super().__init__()
        self.bottom = Bottom(terms.table, terms.model.embedding)
        self.top = Top(terms.model)

    def forward(
        self,
        numbers_BF: torch.Tensor,
        codes_BC: torch.Tensor,
        others_BE: torch.Tensor,
        dropping: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Logits [M, B]."""
        logits_MB: torch.Tensor = self.top(self.bottom(numbers_BF, codes_BC) + others_BE, dropping)
        return logits_MB


def active(
    terms: VerticalTerms,
    privacy: EveryBatchTerms | None,
    own: Encoded,
    label_N: torch.Tensor,
    progress: Progress,
    session: str,
    streams: Streams,
) -> Generator[Action, bytes, tuple[torch.Tensor, Whole]]:
    """Of the aligned records: those held out last. Returns their probabilities, [held out], and the
    model.

    Raises ExchangeError for embeddings of another width, or that are not finite.
    """
    records, held = terms.fitting.split(len(own))
    whole = Whole(terms)
    begin(whole, session, terms.active)
    steps, dropping = Steps([whole], terms.fitting, records), generator(session, "dropout")
    noise = streams("gradients"), streams("steps")
    progress.resume(steps, dropping, *noise)
    yield Book(_event(terms, privacy))
    for row_B in islice(batches(terms.fitting, records, session), steps.taken, None):
        others_BE = yield from _embeddings(terms, len(row_B))
        others_BE.requires_grad_()
        mine, label_B = own.rows(row_B), label_N[row_B]
        inputs = (mine.numbers_NF, mine.codes_NC, others_BE)
        torch.autograd.backward(loss(whole(*inputs, None if privacy else dropping), label_B))
        assert others_BE.grad is not None
        gradient_BE = others_BE.grad
        if privacy is not None:
            # The mean over the batch would shrink a record's gradient, and not its noise.
            gradient_BE = privacy.noise.rows(gradient_BE * len(row_B), noise[0])
            fixed = (mine.numbers_NF, mine.codes_NC, others_BE.detach())
            noised_gradients(whole, fixed, label_B, loss, privacy.noise, noise[1])
        for peer in terms.peers:
            yield from send(peer, "gradients", _bytes(gradient_BE))
        steps.take()
        yield from progress.after_step(terms.fitting.batch, steps, dropping, *noise)
    mine = own.rows(torch.arange(records, len(own)))
    others_HE = yield from _embeddings(terms, held)
    with torch.no_grad():
        logits_MH = whole(mine.numbers_NF, mine.codes_NC, others_HE)
        probability_H: torch.Tensor = torch.sigmoid(logits_MH).mean(dim=0)
    return probability_H, whole


def passive(
    terms: VerticalTerms,
    privacy: EveryBatchTerms | None,
    party: str,
    own: Encoded,
    progress: Progress,
    session: str,
    streams: Streams,
) -> Generator[Action, bytes, Bottom]:
    """Embeds batch after batch, then the records held out, and learns by the gradients that come.

    Returns what embeds. Raises ExchangeError for gradients of another width, or that are not finite.
    """
    records, _ = terms.fitting.split(len(own))
    bottom = Bottom(terms.table_of(party), terms.model.embedding)
    begin(bottom, session, party)
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
            inputs = (mine.numbers_NF, mine.codes_NC)
            noised_gradients(bottom, inputs, gradient_BE, _along, privacy.noise, noise[1])
        steps.take()
        yield from progress.after_step(terms.fitting.batch, steps, *noise)
    with torch.no_grad():
        embedded_HE = bottom.of(own.rows(torch.arange(records, len(own))))
    if privacy is not None:
        embedded_HE = privacy.noise.rows(embedded_HE, noise[0])
    yield from send(terms.active, "embeddings", _bytes(embedded_HE))
    return bottom


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

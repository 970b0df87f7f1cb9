"""Release once: labels go out, cells of scores come back, each as an answer that may be another's.

What the active party then makes of its own columns and the cells stays with it, however long it fits.
"""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from fedward_client.training.streams import Streams
from fedward_client.vertical.fitting import Steps, batches, gradients, loaded
from fedward_shared.charter_terms import TrainingTerms
from fedward_shared.errors import ExchangeError
from fedward_shared.exchange.program import Action, Book, receive, send
from fedward_shared.tensors import Tensors
from fedward_shared.vertical.encoding import Encoded
from fedward_shared.vertical.models import Bottom, CrossEntropy, Layer, Top, begin, generator
from fedward_shared.vertical.terms import SCORE_BUCKETS, SCORE_RANGE, OnceTerms, VerticalTerms

if TYPE_CHECKING:
    from fedward_client.training.trainer import PlanOptimizer


class WithCells(nn.Module):
    """The active party's model: its own columns, and a vector for each cell of each peer."""

    def __init__(self, terms: VerticalTerms, privacy: OnceTerms, folders: Sequence[Path]) -> None:
        super().__init__()
        embedding = terms.model.embedding
        self.bottom = Bottom(terms.table, embedding, folders)
        self.cells = nn.ModuleList(nn.Embedding(privacy.cells, embedding) for _ in terms.peers)
        self.top = Top(terms.model, terms.outputs)

    def embedded(self, own: Encoded, cell_BP: torch.Tensor) -> torch.Tensor:
        """The summed embeddings of records, [B, E]."""
        parts = [table(cell_BP[:, p]) for p, table in enumerate(self.cells)]
        return torch.stack([self.bottom.of(own), *parts]).sum(dim=0)


class Scorer(nn.Module):
    """What a passive party keeps: what scores its records and, of two classes, the noised edges
    [cells - 1] where one cell of scores ends and the next begins.

    What reads images and texts stays as it begins. The edges are a parameter so that they are kept.
    """

    def __init__(
        self, terms: VerticalTerms, privacy: OnceTerms, party: str, folders: Sequence[Path] = ()
    ) -> None:
        super().__init__()
        self.bottom = Bottom(terms.table_of(party), terms.outputs, folders)
        begin(self.bottom, party)
        self.bottom.readers.requires_grad_(False)
        two = len(terms.classes) == 2
        self.edges = nn.Parameter(torch.zeros(privacy.cells - 1)) if two else None

    @torch.no_grad()
    def scores(self, own: Encoded) -> np.ndarray:
        """Of records, [N, O]."""
        score_NO: np.ndarray = self.bottom.of(own).double().numpy()
        return score_NO

    def answers(self, score_NO: np.ndarray, privacy: OnceTerms, streams: Streams) -> bytes:
        """Of each record the cell that its score lies in or, of more than two classes, the one whose
        score is highest; or another answer."""
        if self.edges is None:
            cell_N = score_NO.argmax(axis=1)
        else:
            edges = self.edges.detach().double().numpy()
            cell_N = np.searchsorted(edges, score_NO[:, 0], side="right").astype(np.int64)
        return privacy.scores.answer(cell_N, streams("cells")).astype(np.uint8).tobytes()


def active(
    terms: VerticalTerms,
    privacy: OnceTerms,
    own: Encoded,
    label_N: torch.Tensor,
    session: str,
    streams: Streams,
    folders: Sequence[Path] = (),
) -> Generator[Action, bytes, tuple[torch.Tensor, WithCells]]:
    """Of the aligned records: those held out last. Returns their probabilities, [held out], or
    [held out, K] of more than two classes, and the model.

    Raises ExchangeError for cells that are none.
    """
    records, _ = terms.fitting.split(len(own))
    response = privacy.labels(len(terms.classes))
    yield Book(response.event(privacy.unit))
    answer_N = response.answer(label_N[:records].numpy(), streams("labels"))
    for peer in terms.peers:
        yield from send(peer, "labels", answer_N.astype(np.uint8).tobytes())
    cell_NP = yield from _cells(terms, privacy, len(own))
    model, loss = WithCells(terms, privacy, folders), CrossEntropy(terms.class_weights)
    begin(model, session, terms.active)
    own = model.bottom.read(own)
    steps, dropping = Steps([model], terms.fitting, records), generator(session, "dropout")
    for row_B in batches(terms.fitting, records, session):
        logits_MBO = model.top(model.embedded(own.rows(row_B), cell_NP[row_B]), dropping)
        torch.autograd.backward(loss(logits_MBO, label_N[row_B]))
        steps.take()
    held = torch.arange(records, len(own))
    with torch.no_grad():
        probability_H: torch.Tensor = model.top.probabilities(
            model.embedded(own.rows(held), cell_NP[held])
        )
    return probability_H, model


def passive(
    terms: VerticalTerms,
    privacy: OnceTerms,
    party: str,
    own: Encoded,
    streams: Streams,
    folders: Sequence[Path] = (),
) -> Generator[Action, bytes, Scorer]:
    """Scores the aligned records by what the labels say of the columns, and answers with cells.

    What is trained is linear. Images and texts are read once, by readers that stay as they begin: by a
    base model as it is, by a convolutional network of numbers that everybody could tell.

    Returns what scores. Raises ExchangeError for labels that are none.
    """
    records, _ = terms.fitting.split(len(own))
    labels = yield from receive(terms.active, "labels", records)
    label_N = _answers(labels, len(terms.classes), terms.active)
    for event in privacy.passive_events(records, len(terms.classes)):
        yield Book(event)
    scorer, loss = Scorer(terms, privacy, party, folders), CrossEntropy(terms.class_weights)
    own = scorer.bottom.read(own)
    train = own.rows(torch.arange(records))
    _train(scorer.bottom.layer, loss, privacy, train, label_N, streams)
    score_NO = scorer.scores(own)
    if scorer.edges is not None:
        edges = _edges(privacy, score_NO[:, 0], streams)
        with torch.no_grad():
            scorer.edges.copy_(torch.from_numpy(edges))  # eighths: float32 has them exactly
    yield from send(terms.active, "cells", scorer.answers(score_NO, privacy, streams))
    return scorer


def predicting(
    terms: VerticalTerms,
    privacy: OnceTerms,
    own: Encoded,
    model: Tensors,
    folders: Sequence[Path] = (),
) -> Generator[Action, bytes, torch.Tensor]:
    """The active party asks the model about aligned records: their probabilities, [N] or [N, K].

    Raises ExchangeError as `active` does, and AdapterError for tensors that are not the model's.
    """
    whole = loaded(WithCells(terms, privacy, folders), model)
    cell_NP = yield from _cells(terms, privacy, len(own))
    with torch.no_grad():
        return whole.top.probabilities(whole.embedded(own, cell_NP))


def answering(
    terms: VerticalTerms,
    privacy: OnceTerms,
    party: str,
    own: Encoded,
    model: Tensors,
    streams: Streams,
    folders: Sequence[Path] = (),
) -> Generator[Action, bytes, None]:
    """A passive party answers for aligned records, each once; they are counted by the edges that were
    let out in training, and not anew. Raises AdapterError for tensors that are not its model's."""
    scorer = loaded(Scorer(terms, privacy, party, folders), model)
    yield from send(terms.active, "cells", scorer.answers(scorer.scores(own), privacy, streams))


def _cells(
    terms: VerticalTerms, privacy: OnceTerms, count: int
) -> Generator[Action, bytes, torch.Tensor]:
    """What all peers answer for so many records, [N, P]."""
    columns = []
    for peer in terms.peers:
        columns.append(_answers((yield from receive(peer, "cells", count)), privacy.cells, peer))
    return torch.stack(columns, dim=1)


def _answers(body: bytes, choices: int, peer: str) -> torch.Tensor:
    answer_N = np.frombuffer(body, np.uint8)
    if answer_N.max() >= choices:
        raise ExchangeError(f"{peer} has answered {answer_N.max()}, there are {choices} choices")
    return torch.from_numpy(answer_N.astype(np.int64))


def _train(
    scorer: Layer,
    loss: CrossEntropy,
    privacy: OnceTerms,
    own: Encoded,
    label_N: torch.Tensor,
    streams: Streams,
) -> None:
    """Makes of `scorer` a linear model of the labels, by DP-SGD from zero on: the mean of the second
    half of its steps (Polyak and Juditsky 1992)."""
    # Opacus, which takes two seconds, and of which a party that exchanges each batch needs nothing.
    from fedward_client.training.trainer import Part, PlanOptimizer

    plan = privacy.plan(len(own))
    for tensor in scorer.parameters():
        nn.init.zeros_(tensor)
    sgd = torch.optim.SGD(scorer.parameters(), lr=privacy.learning_rate)
    part = Part("bottom", dict(scorer.named_parameters()), plan.clipping_norm, sgd)
    terms = TrainingTerms(rounds=1, local_steps=plan.steps, learning_rate=privacy.learning_rate)
    optimizer = PlanOptimizer(part, plan, terms, streams, 1)
    sums = [torch.zeros_like(tensor) for tensor in scorer.parameters()]
    first = plan.steps // 2
    for step, sampled in enumerate(plan.batches(len(own), streams("sample"))):
        row_B = torch.from_numpy(sampled)
        _step(scorer, loss, optimizer, own.rows(row_B), label_N[row_B])
        if step >= first:
            for total, tensor in zip(sums, scorer.parameters(), strict=True):
                total.add_(tensor.detach(), alpha=1 / (plan.steps - first))
    with torch.no_grad():
        for tensor, total in zip(scorer.parameters(), sums, strict=True):
            tensor.copy_(total)


def _step(
    scorer: Layer,
    loss: CrossEntropy,
    optimizer: "PlanOptimizer",
    own: Encoded,
    label_B: torch.Tensor,
) -> None:
    samples = gradients(scorer, own.inputs, label_B, loss)
    for tensor, sample in zip(scorer.parameters(), samples, strict=True):
        tensor.grad_sample = sample  # type: ignore[attr-defined]
    optimizer.step()
    optimizer.zero_grad()


def _edges(privacy: OnceTerms, score_N: np.ndarray, streams: Streams) -> np.ndarray:
    """Where one cell ends and the next begins, by noised counts, [cells - 1]."""
    inside_N = np.clip(score_N, -SCORE_RANGE, SCORE_RANGE)
    count_K, bound_K = np.histogram(inside_N, SCORE_BUCKETS, (-SCORE_RANGE, SCORE_RANGE))
    noise_K = streams("counts").normal((SCORE_BUCKETS,)).double().numpy()
    below_K = np.maximum.accumulate(np.cumsum(count_K + privacy.count_noise * noise_K))
    wanted = len(score_N) * np.arange(1, privacy.cells) / privacy.cells
    edges: np.ndarray = bound_K[np.minimum(np.searchsorted(below_K, wanted) + 1, SCORE_BUCKETS)]
    return edges

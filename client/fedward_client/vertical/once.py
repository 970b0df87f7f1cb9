"""Release once: labels go out, cells of scores come back, each as an answer that may be another's.

What the active party then makes of its own columns and the cells stays with it, however long it fits.
"""

from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fedward_client.training.trainer import Part, PlanOptimizer, Streams
from fedward_client.vertical.fitting import Steps, batches, gradients
from fedward_shared.charter_terms import TrainingTerms
from fedward_shared.errors import ExchangeError
from fedward_shared.vertical.encoding import Encoded
from fedward_shared.vertical.models import Bottom, CrossEntropy, Layer, Top, begin, generator
from fedward_shared.vertical.program import Action, Book, receive, send
from fedward_shared.vertical.terms import SCORE_BUCKETS, SCORE_RANGE, OnceTerms, VerticalTerms


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
    columns = []
    for peer in terms.peers:
        columns.append(_answers((yield from receive(peer, "cells", len(own))), privacy.cells, peer))
    cell_NP = torch.stack(columns, dim=1)
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
) -> Generator[Action, bytes, Bottom]:
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
    scorer = Bottom(terms.table_of(party), terms.outputs, folders)
    begin(scorer, party)
    scorer.readers.requires_grad_(False)
    read, loss = scorer.read(own), CrossEntropy(terms.class_weights)
    _train(scorer.layer, loss, privacy, read.rows(torch.arange(records)), label_N, streams)
    with torch.no_grad():
        score_NO = scorer.layer(*read.inputs).double().numpy()
    cell_N = _cells(privacy, score_NO, streams)
    answer_N = privacy.scores.answer(cell_N, streams("cells"))
    yield from send(terms.active, "cells", answer_N.astype(np.uint8).tobytes())
    return scorer


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
    optimizer: PlanOptimizer,
    own: Encoded,
    label_B: torch.Tensor,
) -> None:
    samples = gradients(scorer, own.inputs, label_B, loss)
    for tensor, sample in zip(scorer.parameters(), samples, strict=True):
        tensor.grad_sample = sample  # type: ignore[attr-defined]
    optimizer.step()
    optimizer.zero_grad()


def _cells(privacy: OnceTerms, score_NO: np.ndarray, streams: Streams) -> np.ndarray:
    """The true answer of each record: the part of the scores that its own lies in or, of more than two
    classes, the class whose score is highest, [N]."""
    score_N = score_NO[:, 0]
    if score_NO.shape[1] > 1:
        cell_N = score_NO.argmax(axis=1)
    else:
        cell_N = np.searchsorted(_edges(privacy, score_N, streams), score_N, side="right")
    return np.asarray(cell_N, np.int64)


def _edges(privacy: OnceTerms, score_N: np.ndarray, streams: Streams) -> np.ndarray:
    """Where one cell ends and the next begins, by noised counts, [cells - 1]."""
    inside_N = np.clip(score_N, -SCORE_RANGE, SCORE_RANGE)
    count_K, bound_K = np.histogram(inside_N, SCORE_BUCKETS, (-SCORE_RANGE, SCORE_RANGE))
    noise_K = streams("counts").normal((SCORE_BUCKETS,)).double().numpy()
    below_K = np.maximum.accumulate(np.cumsum(count_K + privacy.count_noise * noise_K))
    wanted = len(score_N) * np.arange(1, privacy.cells) / privacy.cells
    edges: np.ndarray = bound_K[np.minimum(np.searchsorted(below_K, wanted) + 1, SCORE_BUCKETS)]
    return edges

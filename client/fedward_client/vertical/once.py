"""Release once: labels go out, cells of scores come back, each as an answer that may be another's.

What the active party then makes of its own columns and the cells stays with it, however long it fits.
"""

from collections.abc import Generator

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fedward_client.training.trainer import Part, PlanOptimizer, Streams
from fedward_client.vertical.fitting import Steps, batches, gradients, loaded
from fedward_shared.charter_terms import TrainingTerms
from fedward_shared.errors import ExchangeError
from fedward_shared.tensors import Tensors
from fedward_shared.vertical.columns import Encoded
from fedward_shared.vertical.models import Bottom, Top, begin, generator, loss
from fedward_shared.vertical.program import Action, Book, receive, send
from fedward_shared.vertical.terms import SCORE_BUCKETS, SCORE_RANGE, OnceTerms, VerticalTerms


class WithCells(nn.Module):
    """The active party's model: its own columns, and a vector for each cell of each peer."""

    def __init__(self, terms: VerticalTerms, privacy: OnceTerms) -> None:
        super().__init__()
        embedding = terms.model.embedding
        self.bottom = Bottom(terms.table, embedding)
        self.cells = nn.ModuleList(nn.Embedding(privacy.cells, embedding) for _ in terms.peers)
        self.top = Top(terms.model)

    def embedded(self, own: Encoded, cell_BP: torch.Tensor) -> torch.Tensor:
        """The summed embeddings of records, [B, E]."""
        parts = [table(cell_BP[:, p]) for p, table in enumerate(self.cells)]
        return torch.stack([self.bottom.of(own), *parts]).sum(dim=0)


class Scorer(nn.Module):
    """What a passive party keeps: what scores its records, and the noised edges [cells - 1] where one
    cell of scores ends and the next begins."""

    def __init__(self, terms: VerticalTerms, privacy: OnceTerms, party: str) -> None:
        super().__init__()
        self.bottom = Bottom(terms.table_of(party), 1)
        self.edges = nn.Parameter(torch.zeros(privacy.cells - 1), requires_grad=False)

    def scores(self, own: Encoded) -> np.ndarray:
        """Of records, [N]."""
        with torch.no_grad():
            score_N: np.ndarray = self.bottom.of(own)[:, 0].double().numpy()
        return score_N

    def answers(self, own: Encoded, privacy: OnceTerms, streams: Streams) -> bytes:
        """The cell of each record, or another one."""
        edges = self.edges.double().numpy()
        cell_N = np.searchsorted(edges, self.scores(own), side="right").astype(np.int64)
        return privacy.scores.answer(cell_N, streams("cells")).astype(np.uint8).tobytes()


def active(
    terms: VerticalTerms,
    privacy: OnceTerms,
    own: Encoded,
    label_N: torch.Tensor,
    session: str,
    streams: Streams,
) -> Generator[Action, bytes, tuple[torch.Tensor, WithCells]]:
    """Of the aligned records: those held out last. Returns their probabilities, [held out], and the
    model.

    Raises ExchangeError for cells that are none.
    """
    records, _ = terms.fitting.split(len(own))
    response = privacy.labels
    yield Book(response.event(privacy.unit))
    answer_N = response.answer(label_N[:records].numpy().astype(np.int64), streams("labels"))
    for peer in terms.peers:
        yield from send(peer, "labels", answer_N.astype(np.uint8).tobytes())
    cell_NP = yield from _cells(terms, privacy, len(own))
    model = WithCells(terms, privacy)
    begin(model, session, terms.active)
    steps, dropping = Steps([model], terms.fitting, records), generator(session, "dropout")
    for row_B in batches(terms.fitting, records, session):
        logits_MB = model.top(model.embedded(own.rows(row_B), cell_NP[row_B]), dropping)
        torch.autograd.backward(loss(logits_MB, label_N[row_B]))
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
) -> Generator[Action, bytes, Scorer]:
    """Scores the aligned records by what the labels say of the columns, and answers with cells.

    Returns what scores. Raises ExchangeError for labels that are none.
    """
    records, _ = terms.fitting.split(len(own))
    labels = yield from receive(terms.active, "labels", records)
    label_N = _answers(labels, 2, terms.active).float()
    for event in privacy.passive_events(records):
        yield Book(event)
    scorer = Scorer(terms, privacy, party)
    _train(scorer.bottom, privacy, own.rows(torch.arange(records)), label_N, streams)
    edges = _edges(privacy, scorer.scores(own), streams)
    scorer.edges.copy_(torch.from_numpy(edges))  # eighths: float32 has them exactly
    yield from send(terms.active, "cells", scorer.answers(own, privacy, streams))
    return scorer


def predicting(
    terms: VerticalTerms, privacy: OnceTerms, own: Encoded, model: Tensors
) -> Generator[Action, bytes, torch.Tensor]:
    """The active party asks the model about aligned records: their probabilities, [N].

    Raises ExchangeError as `active` does, and AdapterError for tensors that are not the model's.
    """
    whole = loaded(WithCells(terms, privacy), model)
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
) -> Generator[Action, bytes, None]:
    """A passive party answers for aligned records, each once; they are counted by the edges that were
    let out in training, and not anew. Raises AdapterError for tensors that are not its model's."""
    scorer = loaded(Scorer(terms, privacy, party), model)
    yield from send(terms.active, "cells", scorer.answers(own, privacy, streams))


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
    scorer: Bottom, privacy: OnceTerms, own: Encoded, label_N: torch.Tensor, streams: Streams
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
        _step(scorer, optimizer, own.rows(row_B), label_N[row_B])
        if step >= first:
            for total, tensor in zip(sums, scorer.parameters(), strict=True):
                total.add_(tensor.detach(), alpha=1 / (plan.steps - first))
    with torch.no_grad():
        for tensor, total in zip(scorer.parameters(), sums, strict=True):
            tensor.copy_(total)


def _step(scorer: Bottom, optimizer: PlanOptimizer, own: Encoded, label_B: torch.Tensor) -> None:
    samples = gradients(scorer, (own.numbers_NF, own.codes_NC), label_B, _logistic)
    for tensor, sample in zip(scorer.parameters(), samples, strict=True):
        tensor.grad_sample = sample  # type: ignore[attr-defined]
    optimizer.step()
    optimizer.zero_grad()


def _logistic(score_11: torch.Tensor, label_1: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(score_11[:, 0], label_1)


def _edges(privacy: OnceTerms, score_N: np.ndarray, streams: Streams) -> np.ndarray:
    """Where one cell ends and the next begins, by noised counts, [cells - 1]."""
    inside_N = np.clip(score_N, -SCORE_RANGE, SCORE_RANGE)
    count_K, bound_K = np.histogram(inside_N, SCORE_BUCKETS, (-SCORE_RANGE, SCORE_RANGE))
    noise_K = streams("counts").normal((SCORE_BUCKETS,)).double().numpy()
    below_K = np.maximum.accumulate(np.cumsum(count_K + privacy.count_noise * noise_K))
    wanted = len(score_N) * np.arange(1, privacy.cells) / privacy.cells
    edges: np.ndarray = bound_K[np.minimum(np.searchsorted(below_K, wanted) + 1, SCORE_BUCKETS)]
    return edges

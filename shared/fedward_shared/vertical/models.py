"""The halves of a split model: a bottom at each party, the top where the labels are.

They begin at numbers that all parties could tell (`begin`), and draw from no stream that others use, so
that a program that is run again computes the same.
"""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from fedward_shared.vertical.columns import TableTerms
from fedward_shared.vertical.encoding import Encoded
from fedward_shared.vertical.readers import Words, reader
from fedward_shared.vertical.terms import ModelTerms

TABLE_DEVIATION = 0.05
"""Of the numbers at which the vectors of a category start."""
READ_AT_ONCE = 256
"""So many images or texts lie in memory with all that is made of them on the way."""


class Layer(nn.Module):
    """The embedding [B, E] of numbers, codes and features. Every category has a table of vectors.

    The embeddings of all parties are summed, so that together they are the first layer of a network over
    all columns, and nothing is lost by the cut.
    """

    def __init__(self, table: TableTerms, features: Sequence[int], embedding: int) -> None:
        super().__init__()
        self.numbers = nn.Linear(table.width, embedding) if table.width else None
        self.categories = nn.ModuleList(nn.Embedding(n, embedding) for n in table.categories)
        self.features = nn.ModuleList(nn.Linear(n, embedding, bias=False) for n in features)

    def forward(
        self, numbers_BF: torch.Tensor, codes_BC: torch.Tensor, *features_BD: torch.Tensor
    ) -> torch.Tensor:
        """Of encoded records [B] whose images and texts have been read."""
        parts = [table(codes_BC[:, c]) for c, table in enumerate(self.categories)]
        if self.numbers is not None:
            parts.append(self.numbers(numbers_BF))
        for layer, x_BD in zip(self.features, features_BD, strict=True):
            parts.append(layer(x_BD))
        return torch.stack(parts).sum(dim=0)


class Bottom(nn.Module):
    """What a party makes of its columns: images and texts are read, and one layer is over all of them.

    The base models that read texts are among `folders`. Raises ModelError and CharterError as
    `readers.Words` does.
    """

    def __init__(self, table: TableTerms, embedding: int, folders: Sequence[Path] = ()) -> None:
        super().__init__()
        readers = [reader(column, tuple(folders)) for column in table.contents]
        self.readers = nn.ModuleList(readers)
        self.layer = Layer(table, [one.width for one in readers], embedding)

    def forward(
        self, numbers_BF: torch.Tensor, codes_BC: torch.Tensor, *contents: torch.Tensor
    ) -> torch.Tensor:
        """Embeddings of encoded records, [B, E]."""
        embedded_BE: torch.Tensor = self.layer(numbers_BF, codes_BC, *self._features(contents))
        return embedded_BE

    def of(self, records: Encoded) -> torch.Tensor:
        """Embeddings of these, [B, E]."""
        embedded_BE: torch.Tensor = self(*records.inputs)
        return embedded_BE

    @torch.no_grad()
    def read(self, records: Encoded) -> Encoded:
        """The records with features [N, D] of whatever is read by a reader that does not train, so that
        it is read once and not in every step."""
        contents = tuple(
            content if any(p.requires_grad for p in one.parameters()) else _read(one, content)
            for one, content in zip(self.readers, records.contents, strict=True)
        )
        return Encoded(records.numbers_NF, records.codes_NC, contents)

    def _features(self, contents: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return tuple(
            _read(one, content) for one, content in zip(self.readers, contents, strict=True)
        )


def _read(one: nn.Module, content: torch.Tensor) -> torch.Tensor:
    """Features [N, D]; if they have been read before, themselves."""
    if content.is_floating_point():
        return content
    return torch.cat([one(part) for part in torch.split(content, READ_AT_ONCE)])


class Top(nn.Module):
    """`members` small networks, each over its own part of the summed embedding; they see the same
    records and begin apart."""

    def __init__(self, terms: ModelTerms, outputs: int) -> None:
        super().__init__()
        self.terms = terms
        sizes = [terms.width, terms.hidden, outputs] if terms.hidden else [terms.width, outputs]
        self.weights = nn.ParameterList(
            torch.zeros(terms.members, i, o) for i, o in pairwise(sizes)
        )
        self.biases = nn.ParameterList(torch.zeros(terms.members, 1, o) for o in sizes[1:])

    def forward(
        self, embedded_BE: torch.Tensor, dropping: torch.Generator | None = None
    ) -> torch.Tensor:
        """Logits [M, B, O]; in training with a generator that says what is dropped out."""
        x_MBW = embedded_BE.view(len(embedded_BE), self.terms.members, -1).transpose(0, 1)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            x_MBW = self._dropped(torch.relu(x_MBW), dropping) @ weight + bias
        return x_MBW

    def _dropped(self, x: torch.Tensor, dropping: torch.Generator | None) -> torch.Tensor:
        """From a stream of its own, so that a program that is run again drops the same."""
        rate = self.terms.dropout
        if dropping is None or not rate:
            return x
        kept = torch.rand(x.shape, generator=dropping) >= rate
        return x * kept / (1 - rate)

    def probabilities(self, embedded_BE: torch.Tensor) -> torch.Tensor:
        """Of the second of two classes, [B], or of each of more, [B, K]: the mean over the members."""
        return probabilities(self(embedded_BE))


def probabilities(logits_MBO: torch.Tensor) -> torch.Tensor:
    """Of the second of two classes, [B], or of each of more, [B, K]: the mean over the members."""
    if logits_MBO.shape[-1] == 1:
        return torch.sigmoid(logits_MBO[..., 0]).mean(dim=0)
    return torch.softmax(logits_MBO, dim=-1).mean(dim=0)


class CrossEntropy:
    """The loss of a study: the mean of the records' cross-entropies, each times its class's weight.

    It is divided by the number of records and not by the sum of their weights, as is usual elsewhere:
    of a batch of one record, which gradients of single records are of, no weight would be left.
    """

    def __init__(self, class_weights: Sequence[float] = ()) -> None:
        self._weight_K = torch.tensor(class_weights) if class_weights else None

    def __call__(self, logits_BO: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
        """Of logits [B, O] or, of several members, [M, B, O]; the labels are numbers of classes."""
        label = label_B.expand(logits_BO.shape[:-1])
        weight_K = self._weight_K
        if logits_BO.shape[-1] == 1:
            weight = None if weight_K is None else weight_K[label]
            logits, truth = logits_BO[..., 0], label.to(logits_BO.dtype)
            return functional.binary_cross_entropy_with_logits(logits, truth, weight)
        total = functional.cross_entropy(
            logits_BO.flatten(0, -2), label.flatten(), weight_K, reduction="sum"
        )
        return total / label.numel()


def generator(*labels: str) -> torch.Generator:
    """A stream that follows from `labels`: not secret, and of no use for privacy."""
    digest = hashlib.sha256("/".join(labels).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)


def begin(module: nn.Module, *labels: str) -> None:
    """Starts all that trains in bottoms, tops and tables of vectors at numbers that follow from
    `labels`."""
    _begin(module, generator(*labels))


def _begin(part: nn.Module, drawn: torch.Generator) -> None:
    if isinstance(part, Words):
        part.begin(drawn)  # and nothing below it, which is the base model
        return
    if isinstance(part, nn.Linear | nn.Conv2d):
        width = part.weight[0].numel() ** -0.5
        nn.init.uniform_(part.weight, -width, width, generator=drawn)
        if part.bias is not None:
            nn.init.uniform_(part.bias, -width, width, generator=drawn)
    elif isinstance(part, nn.Embedding):
        nn.init.normal_(part.weight, std=TABLE_DEVIATION, generator=drawn)
    elif isinstance(part, Top):
        for weight in part.weights:
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5, generator=drawn)
    for child in part.children():
        _begin(child, drawn)

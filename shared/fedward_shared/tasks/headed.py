"""What the tasks with a head share: a linear layer that reads hidden states in public units."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from fedward_shared.charter_terms import AdapterTerms, TaskTerms
from fedward_shared.pretrained import load_encoder, load_tokenizer
from fedward_shared.tasks.base import Columns, StudyModel
from fedward_shared.tasks.examples import Batch, Examples

SMALLEST_SCALE = 1e-6


class HeadedModel(StudyModel):
    """An encoder and a head, which sees (read - mean) / scale: mean and scale are constants of the
    study that come from public text (`measure`).
    """

    def __init__(
        self, folder: Path, task: TaskTerms, adapter: AdapterTerms, outputs: Sequence[str]
    ) -> None:
        body, tokenizer = load_encoder(folder), load_tokenizer(folder)
        super().__init__(body, tokenizer, task, adapter)
        self.outputs = tuple(outputs)
        width = body.config.hidden_size
        self.head = nn.Linear(width, len(self.outputs))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def head_tensors(self) -> dict[str, torch.Tensor]:
        return {
            "head.weight": self.head.weight,
            "head.bias": self.head.bias,
            "head.mean": self.get_buffer("mean"),
            "head.scale": self.get_buffer("scale"),
        }

    @abstractmethod
    def unlabelled(self, texts: Sequence[str]) -> Columns:
        """`texts` as records of the task, whose targets mean nothing."""

    @abstractmethod
    def read(self, batch: Batch) -> torch.Tensor:
        """What the head reads of real texts and no padding, [K, D]."""

    def standardised(self, features: torch.Tensor) -> torch.Tensor:
        """`features` [..., D] in public units."""
        return (features - self.get_buffer("mean")) / self.get_buffer("scale")

    @torch.no_grad()
    def measure(self, examples: Examples) -> None:
        """Sets mean and scale from `examples`, which have to be public.

        Features are standardised and then divided by their mean length, so that a record's features
        weigh as much as the head's bias in its clipped gradient.
        """
        read_ND = torch.cat([self.read(batch) for _, batch in self.all_batches(examples)])
        self.get_buffer("mean").copy_(read_ND.mean(dim=0))
        deviation_D = read_ND.std(dim=0).clamp_min(SMALLEST_SCALE)
        standard_ND = (read_ND - read_ND.mean(dim=0)) / deviation_D
        self.get_buffer("scale").copy_(deviation_D * standard_ND.norm(dim=1).mean())

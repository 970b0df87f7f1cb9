"""Text classification: mean-pooled hidden states, standardised by public statistics, one linear head."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from fedward_shared.charter_terms import AdapterTerms, TaskTerms
from fedward_shared.errors import DataError
from fedward_shared.pretrained import load_encoder, load_tokenizer
from fedward_shared.tasks.base import Columns, StudyModel
from fedward_shared.tasks.examples import Batch, Examples

SMALLEST_SCALE = 1e-6


class TextClassifier(StudyModel):
    """One of the charter's labels for a text.

    The head sees (pooled - mean) / scale, where mean and scale are constants of the study that come
    from public text (`measure`).
    """

    roles: ClassVar[tuple[str, ...]] = ("text", "label")

    def __init__(self, folder: Path, task: TaskTerms, adapter: AdapterTerms) -> None:
        body, tokenizer = load_encoder(folder), load_tokenizer(folder)
        super().__init__(body, tokenizer, task, adapter)
        width = body.config.hidden_size
        self.head = nn.Linear(width, len(task.labels))
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

    def tokenise(self, columns: Columns) -> tuple[list[list[int]], list[Any]]:
        index = {label: i for i, label in enumerate(self.task.labels)}
        unknown = sorted(set(columns["label"]) - index.keys())
        if unknown:
            raise DataError(f"label: {unknown[0]!r} is not among the charter's labels")
        tokens = self.tokenizer(
            list(columns["text"]), truncation=True, max_length=self.task.max_tokens
        )["input_ids"]
        return tokens, [index[label] for label in columns["label"]]

    def positions(self, length: int) -> int:
        return 1 if self.head_only else length

    def lower(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        if not self.head_only:
            return super().lower(ids_BT, mask_BT)
        hidden_BTD = self.body(input_ids=ids_BT, attention_mask=mask_BT.long()).last_hidden_state
        return _mean(hidden_BTD, mask_BT)[:, None, :]

    def pooled(self, batch: Batch) -> torch.Tensor:
        """Mean over the positions of the last hidden states, [B, D]."""
        hidden_BTD = batch.hidden_BTD
        if not self.head_only:
            hidden_BTD = self.upper(hidden_BTD, batch.mask_BT).last_hidden_state
        return _mean(hidden_BTD, batch.mask_BT)

    def logits(self, batch: Batch) -> torch.Tensor:
        """Score of each label, [B, labels]."""
        features_BD = (self.pooled(batch) - self.get_buffer("mean")) / self.get_buffer("scale")
        scores: torch.Tensor = self.head(features_BD)
        return scores

    def forward(self, batch: Batch) -> torch.Tensor:
        return F.cross_entropy(self.logits(batch), batch.targets, reduction="none")

    @torch.no_grad()
    def measure(self, examples: Examples) -> None:
        """Sets mean and scale from `examples`, which have to be public.

        Features are standardised and then divided by their mean length, so that a record's features
        weigh as much as the head's bias in its clipped gradient.
        """
        pooled_ND = torch.cat([self.pooled(batch) for _, batch in self.all_batches(examples)])
        self.get_buffer("mean").copy_(pooled_ND.mean(dim=0))
        deviation_D = pooled_ND.std(dim=0).clamp_min(SMALLEST_SCALE)
        standard_ND = (pooled_ND - pooled_ND.mean(dim=0)) / deviation_D
        self.get_buffer("scale").copy_(deviation_D * standard_ND.norm(dim=1).mean())

    @torch.no_grad()
    def start_at_names(self, length: float) -> None:
        """Starts each label's row of the head at the features of the label's name, `length` long.

        The names are public, so this costs no privacy; `measure` has to come first.
        """
        labels = list(self.task.labels)
        names = self.prepare({"text": labels, "label": labels})
        pooled_KD = self.pooled(names.batch(np.arange(len(labels))))
        features_KD = (pooled_KD - self.get_buffer("mean")) / self.get_buffer("scale")
        self.head.weight.copy_(length * F.normalize(features_KD - features_KD.mean(dim=0), dim=1))

    @torch.no_grad()
    def predict(self, examples: Examples) -> np.ndarray:
        """Index of the best label for each example, [N]."""
        predicted = np.empty(len(examples), dtype=np.int64)
        for indices, batch in self.all_batches(examples):
            predicted[indices] = self.logits(batch).argmax(dim=1).numpy()
        return predicted

    @torch.no_grad()
    def evaluate(self, examples: Examples) -> dict[str, float]:
        loss = sum(float(self(batch).sum()) for _, batch in self.all_batches(examples))
        true_N = examples.targets.numpy()
        predicted_N = self.predict(examples)
        return {
            "loss": loss / len(examples),
            "accuracy": float((true_N == predicted_N).mean()),
            "macro_f1": macro_f1(true_N, predicted_N),
        }


def macro_f1(true_N: np.ndarray, predicted_N: np.ndarray) -> float:
    """Unweighted mean of F1 over the classes that occur in `true_N`."""
    classes = int(max(true_N.max(), predicted_N.max())) + 1
    true = np.bincount(true_N, minlength=classes)
    predicted = np.bincount(predicted_N, minlength=classes)
    right = np.bincount(true_N[true_N == predicted_N], minlength=classes)
    present = true > 0
    return float((2 * right[present] / (true[present] + predicted[present])).mean())


def _mean(hidden_BTD: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    weights_BT1 = mask_BT[:, :, None].to(hidden_BTD.dtype)
    return (hidden_BTD * weights_BT1).sum(dim=1) / weights_BT1.sum(dim=1)

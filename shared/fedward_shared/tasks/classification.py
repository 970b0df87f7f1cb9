"""Text classification: mean-pooled hidden states, standardised by public statistics, one linear head."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from fedward_shared.charter_terms import AdapterTerms, TaskTerms
from fedward_shared.errors import DataError
from fedward_shared.tasks.base import Columns
from fedward_shared.tasks.examples import Batch, Examples
from fedward_shared.tasks.headed import HeadedModel


class TextClassifier(HeadedModel):
    """One of the charter's labels for a text. The head reads its pooled hidden states."""

    roles: ClassVar[tuple[str, ...]] = ("text", "label")

    def __init__(self, folder: Path, task: TaskTerms, adapter: AdapterTerms) -> None:
        super().__init__(folder, task, adapter, task.labels)

    def unlabelled(self, texts: Sequence[str]) -> Columns:
        return {"text": list(texts), "label": [self.task.labels[0]] * len(texts)}

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

    def read(self, batch: Batch) -> torch.Tensor:
        return self.pooled(batch)

    def logits(self, batch: Batch) -> torch.Tensor:
        """Score of each label, [B, labels]."""
        scores: torch.Tensor = self.head(self.standardised(self.pooled(batch)))
        return scores

    def forward(self, batch: Batch) -> torch.Tensor:
        return F.cross_entropy(self.logits(batch), batch.targets, reduction="none")

    @torch.no_grad()
    def start_at_names(self, length: float) -> None:
        """Starts each label's row of the head at the features of the label's name, `length` long.

        The names are public, so this costs no privacy; `measure` has to come first.
        """
        labels = list(self.task.labels)
        names = self.prepare(self.unlabelled(labels))
        features_KD = self.standardised(self.pooled(names.batch(np.arange(len(labels)))))
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

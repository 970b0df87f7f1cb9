"""Causal language modelling with instructions: the prompt is read, only the completion is learnt."""

import math
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from fedward_shared.base_models import load_causal_lm, load_tokenizer
from fedward_shared.charter import AdapterTerms, TaskTerms
from fedward_shared.errors import CharterError, DataError
from fedward_shared.tasks.base import Columns, StudyModel
from fedward_shared.tasks.examples import Batch, Examples

IGNORED = -100


class CausalLanguageModel(StudyModel):
    """The next token of a completion, given the prompt and the completion so far."""

    roles: ClassVar[tuple[str, ...]] = ("prompt", "completion")

    def __init__(self, folder: Path, task: TaskTerms, adapter: AdapterTerms) -> None:
        if adapter.method == "head-only":
            raise CharterError("adapter.method: a causal language model has no head to train alone")
        body, tokenizer = load_causal_lm(folder), load_tokenizer(folder)
        super().__init__(body, tokenizer, task, adapter)

    def tokenise(self, columns: Columns) -> tuple[list[list[int]], list[Any]]:
        """The completion ends with the end-of-text token; a long prompt loses its beginning."""
        end = self.tokenizer.eos_token_id
        tokens, targets = [], []
        for row, (prompt, completion) in enumerate(
            zip(columns["prompt"], columns["completion"], strict=True), start=1
        ):
            answer = self.tokenizer(completion, add_special_tokens=False)["input_ids"]
            if not answer:
                raise DataError(f"completion: record {row} is empty")
            answer = [*answer, end][: self.task.max_tokens - 1]
            room = self.task.max_tokens - len(answer)
            question = self.tokenizer(prompt, add_special_tokens=False)["input_ids"][-room:]
            question = question or [end]
            tokens.append(question + answer)
            targets.append([IGNORED] * len(question) + answer)
        return tokens, targets

    def _token_losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and whether it counts, both [B, T - 1]."""
        logits_BTV = self.upper(batch.hidden_BTD, batch.mask_BT).logits[:, :-1]
        targets_BT = batch.targets[:, 1:]
        losses_BT = F.cross_entropy(
            logits_BTV.transpose(1, 2), targets_BT, ignore_index=IGNORED, reduction="none"
        )
        return losses_BT, targets_BT != IGNORED

    def forward(self, batch: Batch) -> torch.Tensor:
        losses_BT, counts_BT = self._token_losses(batch)
        return losses_BT.sum(dim=1) / counts_BT.sum(dim=1).clamp_min(1)

    @torch.no_grad()
    def evaluate(self, examples: Examples) -> dict[str, float]:
        total, count = 0.0, 0
        for _, batch in self.all_batches(examples):
            losses_BT, counts_BT = self._token_losses(batch)
            total += float(losses_BT.sum())
            count += int(counts_BT.sum())
        return {"loss": total / count, "perplexity": math.exp(total / count)}

    @torch.no_grad()
    def complete(self, prompt: str, new_tokens: int) -> str:
        """The most likely completion of `prompt`, token by token."""
        ids = self.tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
        out = self.body.generate(  # type: ignore[operator]
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new_tokens,
            do_sample=False,
            pad_token_id=self.tokenizer.eos_token_id,
        )
        return str(self.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))

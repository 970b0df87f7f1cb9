"""Causal language modelling with instructions: the prompt is read, only the completion is learnt."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from fedward_shared.charter_terms import AdapterTerms, TaskTerms
from fedward_shared.errors import CharterError, DataError
from fedward_shared.pretrained import load_causal_lm, load_tokenizer
from fedward_shared.tasks.base import Columns, StudyModel
from fedward_shared.tasks.examples import IGNORED, Batch, Examples


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

    def _losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum of the losses of each record's completion, and its number of tokens, both [B]."""
        targets_BT = batch.targets[:, 1:]
        counted_BT = targets_BT != IGNORED
        with self._reading_only(counted_BT):
            logits_KV = self.upper(batch.hidden_BTD, batch.mask_BT).logits[0]
        losses_K = F.cross_entropy(logits_KV, targets_BT[counted_BT], reduction="none")
        records_K = counted_BT.nonzero()[:, 0]
        sums_B = losses_K.new_zeros(len(targets_BT)).index_add(0, records_K, losses_K)
        return sums_B, counted_BT.sum(dim=1)

    @contextmanager
    def _reading_only(self, counted_BT: torch.Tensor) -> Iterator[None]:
        """While this is open, next tokens are predicted where they count, as one row: [1, K, V].

        Over a large vocabulary the prompt's logits would cost more than all adapted layers.
        """
        place: nn.Module = self.body.get_output_embeddings()  # type: ignore[operator]
        hook = place.register_forward_pre_hook(lambda _, args: (args[0][:, :-1][counted_BT][None],))
        try:
            yield
        finally:
            hook.remove()

    def forward(self, batch: Batch) -> torch.Tensor:
        sums_B, counts_B = self._losses(batch)
        return sums_B / counts_B

    @torch.no_grad()
    def evaluate(self, examples: Examples) -> dict[str, float]:
        total, count = 0.0, 0
        for _, batch in self.all_batches(examples):
            sums_B, counts_B = self._losses(batch)
            total += float(sums_B.sum())
            count += int(counts_B.sum())
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

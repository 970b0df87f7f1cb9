"""Named-entity recognition: a BIO tag for each token of the base model, from its last hidden state."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from fedward_shared.annotation import tags
from fedward_shared.annotation.agreement import Matches, matches
from fedward_shared.annotation.boundaries import Span
from fedward_shared.annotation.documents import Document, Entity, parse_entities
from fedward_shared.annotation.tags import Marked
from fedward_shared.charter_terms import AdapterTerms, TaskTerms
from fedward_shared.errors import DataError, ModelError
from fedward_shared.tasks.base import Columns
from fedward_shared.tasks.examples import IGNORED, Batch, Examples
from fedward_shared.tasks.headed import HeadedModel


def tag_names(labels: Sequence[str]) -> list[str]:
    """The head's rows: O, and for each label in the charter's order B and I."""
    return [tags.OUTSIDE, *(f"{kind}-{label}" for label in labels for kind in "BI")]


class TokenClassifier(HeadedModel):
    """The entities of a text. An entity has all tokens that it overlaps."""

    roles: ClassVar[tuple[str, ...]] = ("text", "entities")

    def __init__(self, folder: Path, task: TaskTerms, adapter: AdapterTerms) -> None:
        super().__init__(folder, task, adapter, tag_names(task.labels))
        if not self.tokenizer.is_fast:
            raise ModelError(
                f"{folder}: its tokenizer does not say where in a text its tokens are; one with "
                "tokenizer.json does"
            )

    def unlabelled(self, texts: Sequence[str]) -> Columns:
        return {"text": list(texts), "entities": ["[]"] * len(texts)}

    def tokenise(self, columns: Columns) -> tuple[list[list[int]], list[Any]]:
        """Special tokens have no target. Of two entities in one token, the first has it."""
        tokens, spans = self._tokens(columns["text"])
        index = {name: place for place, name in enumerate(self.outputs)}
        targets = []
        for row, (text, entities, own) in enumerate(
            zip(columns["text"], columns["entities"], spans, strict=True), start=1
        ):
            if not any(a < b for a, b in own):
                raise DataError(f"text: record {row} is empty")
            marked = tags.on_tokens(self._marked(text, entities, row), own)
            free: list[Marked] = []
            for one in marked:
                if not free or one[0] >= free[-1][1]:
                    free.append(one)
            named = tags.encode(free, len(own))
            targets.append(
                [index[tag] if a < b else IGNORED for tag, (a, b) in zip(named, own, strict=True)]
            )
        return tokens, targets

    def _tokens(self, texts: Sequence[str]) -> tuple[list[list[int]], list[list[Span]]]:
        """Ids, and where in the text they are; special tokens are nowhere."""
        found = self.tokenizer(
            list(texts),
            truncation=True,
            max_length=self.task.max_tokens,
            return_offsets_mapping=True,
        )
        return found["input_ids"], found["offset_mapping"]

    def _marked(self, text: str, entities: str, row: int) -> list[Marked]:
        """In code points, in order. Raises DataError for a record that cannot be tagged."""
        origin = f"entities: record {row}"
        document = Document.model_construct(text=text, entities=parse_entities(entities, origin))
        try:
            document.check(origin)
        except DataError:  # it quotes the record, which has no place in the log of a round
            raise DataError(
                f"{origin}: an offset does not fit the text; `fedward site annotation check` says which"
            ) from None
        marked = sorted((e.start, e.end, e.label) for e in document.entities)
        for place, (start, _, label) in enumerate(marked):
            if label not in self.task.labels:
                raise DataError(f"{origin}: {label!r} is not among the charter's labels")
            if place and start < marked[place - 1][1]:
                raise DataError(f"{origin}: two entities overlap at {start}; a tag holds one")
        return marked

    def lower(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        if not self.head_only:
            return super().lower(ids_BT, mask_BT)
        hidden_BTD: torch.Tensor = self.body(
            input_ids=ids_BT, attention_mask=mask_BT.long()
        ).last_hidden_state
        return hidden_BTD

    def hidden(self, batch: Batch) -> torch.Tensor:
        """Last hidden states, [B, T, D]."""
        if self.head_only:
            return batch.hidden_BTD
        hidden_BTD: torch.Tensor = self.upper(batch.hidden_BTD, batch.mask_BT).last_hidden_state
        return hidden_BTD

    def read(self, batch: Batch) -> torch.Tensor:
        return self.hidden(batch)[batch.targets != IGNORED]

    def logits(self, batch: Batch) -> torch.Tensor:
        """Score of each tag, [B, T, tags]."""
        scores_BTC: torch.Tensor = self.head(self.standardised(self.hidden(batch)))
        return scores_BTC

    def forward(self, batch: Batch) -> torch.Tensor:
        """Mean over the tokens of each record."""
        scores_BCT = self.logits(batch).transpose(1, 2)
        losses_BT = F.cross_entropy(
            scores_BCT, batch.targets, reduction="none", ignore_index=IGNORED
        )
        return losses_BT.sum(dim=1) / (batch.targets != IGNORED).sum(dim=1)

    @torch.no_grad()
    def _predicted(self, examples: Examples) -> Iterator[tuple[int, list[int], list[int]]]:
        """Each record's place, and the true and the best tag of its tokens, special ones left out."""
        for indices, batch in self.all_batches(examples):
            best_BT = self.logits(batch).argmax(dim=2)
            for place, true_T, own_T in zip(indices, batch.targets, best_BT, strict=True):
                real_T = true_T != IGNORED
                yield int(place), true_T[real_T].tolist(), own_T[real_T].tolist()

    @torch.no_grad()
    def evaluate(self, examples: Examples) -> dict[str, float]:
        """Loss, and F1 over entities of the same tokens and label: micro, and the mean over the labels
        that occur. Without the last two where nobody has marked anything.
        """
        loss = sum(float(self(batch).sum()) for _, batch in self.all_batches(examples))
        scores = {"loss": loss / len(examples)}
        pairs = [
            (self._spans(best), self._spans(true)) for _, true, best in self._predicted(examples)
        ]
        return scores | span_scores(pairs)

    def _spans(self, numbers: Sequence[int]) -> list[Marked]:
        return tags.decode([self.outputs[number] for number in numbers])

    def find(self, texts: Sequence[str]) -> list[tuple[Entity, ...]]:
        """The entities of each text, as far as `max_tokens` reach, each with what stands there."""
        examples = self.prepare(self.unlabelled(texts))
        spans = self._tokens(texts)[1]
        found: list[tuple[Entity, ...]] = [()] * len(texts)
        for place, _, best in self._predicted(examples):
            real = [(a, b) for a, b in spans[place] if a < b]
            text = texts[place]
            found[place] = tuple(
                Entity(start=start, end=end, label=label, text=text[start:end])
                for start, end, label in tags.in_text(self._spans(best), real)
            )
        return found


def span_scores(pairs: Sequence[tuple[list[Marked], list[Marked]]]) -> dict[str, float]:
    """Micro and macro F1 of what was found in each record, and what is there; empty if nothing is."""
    totals: dict[str, Matches] = defaultdict(Matches)
    for found, wanted in pairs:
        for label in {label for _, _, label in [*found, *wanted]}:
            totals[label] += matches(
                [one for one in found if one[2] == label],
                [one for one in wanted if one[2] == label],
            )
    micro = sum(totals.values(), Matches()).f1
    per_label = [total.f1 for total in totals.values() if total.wanted]
    if micro is None or not per_label:
        return {}
    return {"span_f1": micro, "macro_span_f1": float(np.mean([f1 or 0.0 for f1 in per_label]))}

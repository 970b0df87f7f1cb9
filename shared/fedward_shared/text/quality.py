"""How good a text is: a number in [0, 1], from a frozen encoder and a small head.

The head is a logistic regression of hidden states, averaged over the tokens, and of what can be read
off the text without a model (`surface.py`). It learns undamaged texts (1) and damaged ones (0), both
sides with the same weight in all; a score is the probability that it gives to the former.

The head that fedward brings was trained on English; `quality.md` beside it says on what, and what it
misses. A site trains one of its own labels with `train`, and keeps it with `Head.save`.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedward_shared import base_models, pretrained
from fedward_shared.errors import AdapterError, DataError, ModelError
from fedward_shared.tensors import Schema, Tensors
from fedward_shared.text import surface
from fedward_shared.text.heads import KeptHead

CUT = 0.7
"""Texts below it are taken for damaged."""

LAYER = 2
"""After which layer the states are taken: early ones know spelling and order, late ones the topic."""

MAX_TOKENS = 128
PASSAGE = 480
"""Characters of a passage: longer texts are cut at the ends of sentences, or else between words."""

LIMIT = 3.0
"""Standard deviations beyond which a feature counts no more: damage that no head has seen goes far."""

RIDGE = 0.01
"""What the mean loss is charged for the squares of the weights."""

STEPS = 200
SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")


class Head(KeptHead):
    """A logistic regression over standardised features.

    Its tensors: `mean` [F], `scale` [F], `weight` [F] and `bias` [1], all 32-bit floats.
    """

    @classmethod
    def load(cls, path: Path | None = None) -> "Head":
        """The head in `path`, by default the one that fedward brings. Raises as `read` does."""
        return cls.read(
            path or Path(str(files("fedward_shared.text"))) / "quality.safetensors", _schema
        )

    def score(self, features_NF: np.ndarray) -> np.ndarray:
        """The quality of each row, [N] in [0, 1]. Raises AdapterError for another width."""
        mean, scale, weight, bias = (
            self.tensors[name].numpy().astype(np.float64)
            for name in ("mean", "scale", "weight", "bias")
        )
        if features_NF.shape[1] != len(weight):
            raise AdapterError(
                f"the head takes {len(weight)} features and the texts have {features_NF.shape[1]}: "
                "train it again with this release"
            )
        # Row by row and without BLAS: a sum must not depend on how many rows there are.
        z_NF = np.clip((features_NF - mean) / scale, -LIMIT, LIMIT)
        logits_N = (z_NF * weight).sum(1) + bias
        scores: np.ndarray = 1 / (1 + np.exp(-logits_N))
        return scores


def _schema(content: Tensors) -> Schema:
    width = len(content.get("weight", ()))
    return {"mean": (width,), "scale": (width,), "weight": (width,), "bias": (1,)}


class Encoder:
    """Texts as features of the base model in a folder. Raises ModelError if it cannot be loaded."""

    def __init__(self, folder: Path) -> None:
        self.digest = base_models.digest(folder)
        self.folder = folder

    @cached_property
    def _model(self) -> Any:
        """The base model without the layers that nobody asks for."""
        model = pretrained.load_encoder(self.folder)
        try:
            model.encoder.layer = model.encoder.layer[:LAYER]
        except AttributeError as error:
            raise ModelError(f"{self.folder}: not a BERT: {error}") from error
        return model

    @cached_property
    def _tokenizer(self) -> Any:
        return pretrained.load_tokenizer(self.folder)

    def features(self, passages: Sequence[str]) -> np.ndarray:
        """Hidden states after `LAYER`, averaged over at most `MAX_TOKENS`, then `surface.features`.

        [N, width + F] in float32. Each passage goes through the model by itself: beside
        another it would be padded, and its numbers would differ in their last digits.
        """
        rows = [self._row(passage) for passage in passages]
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32)

    @torch.inference_mode()
    def _row(self, passage: str) -> np.ndarray:
        tokens = self._tokenizer(
            passage, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        state_D = self._model(**tokens).last_hidden_state[0].mean(0)
        pieces = int(tokens["input_ids"].shape[1]) - 2
        return np.concatenate([state_D.numpy(), surface.features(passage, pieces)])


class Scorer:
    """A head over its base model.

    Raises ModelError if the model in `folder` is not the one that the head was trained on.
    """

    def __init__(self, folder: Path, head: Head | None = None) -> None:
        self.head = head or Head.load()
        self.encoder = Encoder(folder)
        if self.encoder.digest != self.head.base_model:
            raise ModelError(
                f"{folder}: the base model's digest is {self.encoder.digest}, and the head that tells "
                f"the quality of texts was trained on {self.head.base_model}; give that model, or "
                "train a head of your own labels on this one"
            )

    def score(self, texts: Sequence[str]) -> list[float]:
        """The quality of each text in [0, 1]: the mean of its passages'; 0 for one without words."""
        return [self._of(passages(text)) for text in texts]

    def _of(self, parts: list[str]) -> float:
        return float(self.head.score(self.encoder.features(parts)).mean()) if parts else 0.0


def passages(text: str) -> list[str]:
    """`text` in parts of at most `PASSAGE` characters: whole sentences where they are short enough."""
    out: list[str] = []
    for sentence in SENTENCE.split(text.strip()) if len(text) > PASSAGE else [text.strip()]:
        while sentence:
            cut = len(sentence)
            if cut > PASSAGE:
                cut = sentence.rfind(" ", 1, PASSAGE) if " " in sentence[1:PASSAGE] else PASSAGE
            part, sentence = sentence[:cut], sentence[cut:].strip()
            if out and len(out[-1]) + len(part) < PASSAGE:
                out[-1] += f" {part}"
            else:
                out.append(part)
    return out


def train(encoder: Encoder, texts: Sequence[str], undamaged: Sequence[bool]) -> Head:
    """A head of labelled texts, each at most a passage long (what is longer is cut there).

    Raises DataError unless there are as many labels as texts, of both kinds, and no text is empty.
    """
    if len(texts) != len(undamaged):
        raise DataError(f"{len(texts)} texts and {len(undamaged)} labels of their quality")
    firsts = [passages(text)[:1] for text in texts]
    if not all(firsts):
        raise DataError(f"text {firsts.index([]) + 1} is empty; leave it out")
    features_NF = encoder.features([first for [first] in firsts])
    return fit(encoder.digest, features_NF, np.array(undamaged, dtype=bool))


def fit(base_model: str, features_NF: np.ndarray, undamaged_N: np.ndarray) -> Head:
    """The head of these features for the base model of that digest.

    The loss is convex: no seed, and the same features give the same bytes. Raises DataError unless
    there are undamaged texts and damaged ones.
    """
    good = int(undamaged_N.sum())
    bad = len(undamaged_N) - good
    if not good or not bad:
        raise DataError(f"{good} texts are undamaged and {bad} damaged: a head needs both")
    x_NF = torch.from_numpy(features_NF).double()
    y_N = torch.from_numpy(undamaged_N).double()
    share_N = torch.where(y_N > 0, 0.5 / good, 0.5 / bad)
    mean_F, scale_F = x_NF.mean(0), x_NF.std(0, correction=0).clamp(min=1e-3)
    z_NF = ((x_NF - mean_F) / scale_F).clamp(-LIMIT, LIMIT)
    weight_F = torch.zeros(z_NF.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight_F, bias], max_iter=STEPS, line_search_fn="strong_wolfe", tolerance_grad=1e-9
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        losses_N = torch.nn.functional.binary_cross_entropy_with_logits(
            z_NF @ weight_F + bias, y_N, reduction="none"
        )
        total = (share_N * losses_N).sum() + RIDGE * weight_F.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    found = {"mean": mean_F, "scale": scale_F, "weight": weight_F, "bias": bias}
    return Head(base_model, {name: value.detach().float() for name, value in found.items()})

"""Names that no rule finds: a frozen BERT reads the text, and a small head says which words name people.

A word is described by the model's hidden states after some layers, averaged over its tokens, and by how it
is written (the model that fedward's head was trained on knows no capitals). Each text is read by itself,
in windows where it is long, so what is found in it depends on nothing else.

`names.md` beside the head says what it was trained on, and what it misses.
"""

import itertools
import re
from collections.abc import Iterator
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from fedward_client.preparation.identifiers.patterns import plain
from fedward_client.preparation.identifiers.spans import Found, Kind
from fedward_shared import base_models, pretrained
from fedward_shared.errors import AdapterError, ModelError
from fedward_shared.tensors import Schema, Tensors
from fedward_shared.text.heads import KeptHead

RECOGNISER = "model"
WINDOW = 126
"""Tokens that are read at once, besides the two that every BERT puts around."""
MARGIN = 16
"""A token's state is taken from a window in which so many tokens stand on both sides, if there are any."""
SURFACE = 19
"""Features of how a word is written and what stands beside it."""
LIMIT = 4.0
"""Standard deviations beyond which a feature counts no more."""
WORD = re.compile(r"(?:[^\W\d_\u2e80-\U0010ffff][\u0300-\u036f]*)+")
"""A run of letters of alphabets, with their combining accents: Chinese is left to the rules."""
LATIN = re.compile("[A-Za-zÀ-ɏḀ-ỿ]")
HAN = re.compile("[㐀-鿿]")
BETWEEN = re.compile(r"[ .,'-]{1,2}")
"""What stands between the words of one name."""


class Words(NamedTuple):
    """Where the words of a text stand, and their features, [N, F] in float32."""

    places: list[tuple[int, int]]
    features_NF: np.ndarray


class Head(KeptHead):
    """A perceptron with one hidden layer over standardised features.

    Its tensors: `layers` [L], `mean` and `scale` [F], `inner` [H, F], `inner_bias` [H], `outer` [H],
    `outer_bias` [1] and `cut` [1], all 32-bit floats.
    """

    @classmethod
    def load(cls, path: Path | None = None) -> "Head":
        """The head in `path`, by default the one that fedward brings. Raises as `read` does."""
        package = "fedward_client.preparation.identifiers"
        return cls.read(path or Path(str(files(package))) / "names.safetensors", _schema)

    @property
    def layers(self) -> tuple[int, ...]:
        """After which layers of the base model the states are taken; 0 is before the first."""
        return tuple(int(layer) for layer in self.tensors["layers"])

    @property
    def cut(self) -> float:
        """The probability from which on a word is taken for a name."""
        return float(self.tensors["cut"])

    @torch.inference_mode()
    def probabilities(self, features_NF: np.ndarray) -> np.ndarray:
        """That each word names somebody, [N] in [0, 1]. Raises AdapterError for another width."""
        head = self.tensors
        if features_NF.shape[1] != len(head["mean"]):
            raise AdapterError(
                f"the head takes {len(head['mean'])} features and the words have "
                f"{features_NF.shape[1]}: train it again with this release"
            )
        z_NF = standardised(torch.from_numpy(features_NF), head["mean"], head["scale"])
        inner_NH = torch.relu(z_NF @ head["inner"].T + head["inner_bias"])
        probability_N: np.ndarray = torch.sigmoid(
            inner_NH @ head["outer"] + head["outer_bias"]
        ).numpy()
        return probability_N


def _schema(content: Tensors) -> Schema:
    width, hidden = len(content.get("mean", ())), len(content.get("outer", ()))
    return {
        "layers": (len(content.get("layers", ())),),
        "mean": (width,),
        "scale": (width,),
        "inner": (hidden, width),
        "inner_bias": (hidden,),
        "outer": (hidden,),
        "outer_bias": (1,),
        "cut": (1,),
    }


class Encoder:
    """Words as features of the base model in a folder. Raises ModelError if it cannot be loaded."""

    def __init__(self, folder: Path, layers: tuple[int, ...]) -> None:
        self.digest = base_models.digest(folder)
        self.folder, self.layers = folder, layers

    @cached_property
    def _model(self) -> Any:
        """The base model without the layers that nobody asks for."""
        model = pretrained.load_encoder(self.folder)
        try:
            model.encoder.layer = model.encoder.layer[: max(self.layers)]
        except AttributeError as error:
            raise ModelError(f"{self.folder}: not a BERT: {error}") from error
        return model

    @cached_property
    def _tokenizer(self) -> Any:
        return pretrained.load_tokenizer(self.folder)

    def words(self, text: str) -> Words:
        """The words of `text`, which is `plain`; none where it has no Latin letter."""
        found = places(text)
        if not found:
            return Words([], np.zeros((0, 0), np.float32))
        tokens = self._tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        states_TD = self._states(tokens["input_ids"])
        spans = _tokens(found, tokens["offset_mapping"])
        # A word that a tokenizer drops, such as one of control characters, has no state.
        states_ND = np.stack(
            [
                states_TD[first:end].mean(0) if end > first else np.zeros(states_TD.shape[1])
                for first, end in spans
            ]
        )
        surface_NS = _surface(text, found, [end - first for first, end in spans])
        return Words(found, np.concatenate([states_ND, surface_NS], axis=1, dtype=np.float32))

    @torch.inference_mode()
    def _states(self, ids: list[int]) -> np.ndarray:
        """Of each token, the states after all layers beside each other: [T, D]."""
        parts = []
        for window in windows(len(ids)):
            inner = [self._tokenizer.cls_token_id, *ids[window.start : window.end]]
            whole = torch.tensor([[*inner, self._tokenizer.sep_token_id]])
            states = self._model(
                input_ids=whole,
                attention_mask=torch.ones_like(whole),
                output_hidden_states=True,
            ).hidden_states
            taken = slice(window.first - window.start + 1, window.last - window.start + 1)
            parts.append(torch.cat([states[layer][0, taken] for layer in self.layers], 1))
        states_TD: np.ndarray = torch.cat(parts).numpy()
        return states_TD


class Tagger:
    """A head over its base model.

    Raises ModelError if the model in `folder` is not the one that the head was trained on.
    """

    def __init__(self, folder: Path, head: Head | None = None) -> None:
        self.head = head or Head.load()
        self.encoder = Encoder(folder, self.head.layers)
        if self.encoder.digest != self.head.base_model:
            raise ModelError(
                f"{folder}: the base model's digest is {self.encoder.digest}, and the head that finds "
                f"names was trained on {self.head.base_model}; give that model"
            )

    def find(self, text: str) -> list[Found]:
        """The names in `text`, in its order, none over another; none in one that is mostly Chinese."""
        read = plain(text)
        if len(HAN.findall(read)) > len(LATIN.findall(read)):
            return []
        words = self.encoder.words(read)
        if not words.places:
            return []
        return named(
            read, words.places, self.head.probabilities(words.features_NF) >= self.head.cut
        )


class Window(NamedTuple):
    """Tokens `start` to `end` are read, the states of `first` to `last` taken."""

    start: int
    end: int
    first: int
    last: int


def windows(tokens: int) -> Iterator[Window]:
    """Windows of at most `WINDOW` of so many tokens, from which each state is taken once, in order."""
    first = 0
    while first < tokens:
        start = max(0, first - MARGIN)
        end = min(tokens, start + WINDOW)
        last = end if end == tokens else end - MARGIN
        yield Window(start, end, first, last)
        first = last


def places(text: str) -> list[tuple[int, int]]:
    """Where the words of `text` stand; nowhere if it has no Latin letter."""
    return [match.span() for match in WORD.finditer(text)] if LATIN.search(text) else []


def named(text: str, places: list[tuple[int, int]], is_name_N: np.ndarray) -> list[Found]:
    """The words that are names, those of one name in one span."""
    found: list[Found] = []
    follows = False
    for (start, end), is_name in zip(places, is_name_N, strict=True):
        if is_name and follows and BETWEEN.fullmatch(text, found[-1].end, start):
            found[-1] = Found(found[-1].start, end, Kind.NAME, RECOGNISER)
        elif is_name:
            found.append(Found(start, end, Kind.NAME, RECOGNISER))
        follows = bool(is_name)
    return found


def standardised(
    features_NF: torch.Tensor, mean_F: torch.Tensor, scale_F: torch.Tensor
) -> torch.Tensor:
    """Features as the head reads them, [N, F]."""
    return ((features_NF - mean_F) / scale_F).clamp(-LIMIT, LIMIT)


def _tokens(
    places: list[tuple[int, int]], of_token: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Which tokens each word has: from the first to the one after the last."""
    spans = []
    first = 0
    for start, stop in places:
        while first < len(of_token) and of_token[first][1] <= start:
            first += 1
        end = first
        while end < len(of_token) and of_token[end][0] < stop:
            end += 1
        spans.append((first, end))
    return spans


def _surface(text: str, places: list[tuple[int, int]], pieces: list[int]) -> np.ndarray:
    """How each word is written and what stands beside it, [N, S]."""
    words = [text[start:end] for start, end in places]
    capitals = [word[0].isupper() for word in words]
    share = sum(capitals) / len(words)
    gaps = [
        text[end:start]
        for (_, end), (start, _) in itertools.pairwise([(0, 0), *places, (len(text), 0)])
    ]
    rows = []
    for at, word in enumerate(words):
        before, after = gaps[at], gaps[at + 1]
        rows.append(
            [
                capitals[at],
                len(word) > 1 and word.isupper(),
                len(word) == 1,
                len(word) / 10,
                pieces[at] / 4,
                share,
                at > 0 and capitals[at - 1] and before == " ",
                at + 1 < len(words) and capitals[at + 1] and after == " ",
                after[:1] == ".",
                after[:1] == ",",
                after[:1] == ":",
                ":" in before,
                before == "-" or after == "-",
                "\n" in before or not at,
                "\n" in after or at + 1 == len(words),
                any(c in ".!?" for c in before),
                any(c.isdigit() for c in before[-3:]),
                any(c.isdigit() for c in after[:3]),
                "(" in before or "[" in before,
            ]
        )
    return np.array(rows, np.float32)

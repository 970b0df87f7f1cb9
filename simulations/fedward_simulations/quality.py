"""The head that fedward brings to tell the quality of texts, and how well such heads do.

`python -m fedward_simulations.quality` trains it and writes it with its card to where it is shipped.
A head is judged on damage that it has not learned: kinds are left out of its training. Layer, clipping
and ridge were chosen by the figures of the first split.
"""

import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from jinja2 import Environment, PackageLoader, StrictUndefined

from fedward_shared import canonical
from fedward_shared.files import write_atomically
from fedward_shared.tensors import encode
from fedward_shared.text import surface
from fedward_shared.text.quality import CUT, PASSAGE, Encoder, Head, fit
from fedward_simulations.data import base_models, prose
from fedward_simulations.data.damage import KINDS

SEED = 0
DAMAGED_PER_TEXT = 2
SPLITS = 3
THREES = (
    ("ocr", "boilerplate", "repeated"),
    ("truncated", "mojibake", "markup"),
    ("language", "shuffled", "junk"),
)
"""Kinds that are left out together."""

HEURISTICS = ("length", "symbols", "compression")
"""What is commonly looked at without a model."""


class Sample(NamedTuple):
    """A text as it is judged: `kind` is that of its damage, empty where there is none."""

    source: str
    group: str
    kind: str
    text: str


@dataclass(frozen=True)
class Samples:
    """Texts and their features, [N, F]."""

    rows: list[Sample]
    features_NF: np.ndarray
    base_model: str
    seconds_per_text: float
    """On one core."""

    @property
    def kinds(self) -> np.ndarray:
        """The kind of each text's damage, [N]."""
        return np.array([row.kind for row in self.rows])

    @property
    def sources(self) -> np.ndarray:
        """Where each text is from, [N]."""
        return np.array([row.source for row in self.rows])


@dataclass(frozen=True)
class Figures:
    """What heads of some features did: shares in [0, 1], each the mean of the splits."""

    misranked: dict[str, float]
    """1 - AUC for each kind of damage, by a head that has not seen this kind."""
    misranked_three: dict[str, float]
    """The same where two other kinds were left out, too."""
    misranked_known: float
    """1 - AUC over all kinds, by a head that has seen them all."""
    alarms: dict[str, float]
    """Undamaged texts below the cut, by source."""
    missed: dict[str, float]
    """Damaged texts above the cut, by kind, by a head that has seen them all."""


def collect(seed: int = SEED, per_source: int = 400) -> list[Sample]:
    """Undamaged texts, and damaged ones made of them, the same for a seed. Raises MissingExtra."""
    undamaged = prose.load(seed, per_source)
    generator = np.random.default_rng(seed)
    names = sorted(KINDS)
    out = [Sample(text.source, text.group, "", text.text) for text in undamaged]
    for text in undamaged:
        if text.source == prose.PROBE:
            continue
        for index in generator.permutation(len(names))[:DAMAGED_PER_TEXT]:
            damaged = KINDS[names[index]](text.text, generator)[:PASSAGE].strip()
            if damaged and damaged != text.text:
                out.append(Sample(text.source, text.group, names[index], damaged))
    return out


def encoded(rows: list[Sample], folder: Path) -> Samples:
    """The features of each by the base model in `folder`."""
    encoder = Encoder(folder)
    encoder.features([rows[0].text])  # loads the model, which is not to be timed
    started = time.process_time()
    features_NF = encoder.features([row.text for row in rows])
    seconds = (time.process_time() - started) / len(rows)
    return Samples(rows, features_NF, encoder.digest, seconds)


def default_head(samples: Samples) -> Head:
    """The head of all samples but the probe's."""
    taken_N = samples.sources != prose.PROBE
    return fit(samples.base_model, samples.features_NF[taken_N], samples.kinds[taken_N] == "")


def measure(samples: Samples, columns: Iterable[int]) -> Figures:
    """What heads of the features `columns` do on groups of texts that they were not trained on."""
    x_NF = samples.features_NF[:, list(columns)]
    kind_N, source_N = samples.kinds, samples.sources
    misranked: dict[str, list[float]] = {kind: [] for kind in KINDS}
    in_threes: dict[str, list[float]] = {kind: [] for kind in KINDS}
    missed: dict[str, list[float]] = {kind: [] for kind in KINDS}
    alarms: dict[str, list[float]] = {str(source): [] for source in dict.fromkeys(source_N)}
    known: list[float] = []
    for split in range(SPLITS):
        train_N = _side(samples, split) & (source_N != prose.PROBE)
        test_N = ~train_N & (source_N != prose.PROBE)

        def without(*left_out: str, train_N: np.ndarray = train_N) -> np.ndarray:
            """The scores of all by a head that has not seen these kinds."""
            taken_N = train_N & ~np.isin(kind_N, left_out)
            return fit(samples.base_model, x_NF[taken_N], kind_N[taken_N] == "").score(x_NF)

        def wrong(score_N: np.ndarray, kinds: Iterable[str], test_N: np.ndarray = test_N) -> float:
            good_N = test_N & (kind_N == "")
            return 1 - auc(score_N[good_N], score_N[test_N & np.isin(kind_N, list(kinds))])

        for kind in KINDS:
            misranked[kind].append(wrong(without(kind), [kind]))
        for three in THREES:
            score_N = without(*three)
            for kind in three:
                in_threes[kind].append(wrong(score_N, [kind]))
        score_N = without()
        known.append(wrong(score_N, KINDS))
        for kind, shares in missed.items():
            shares.append(float((score_N[test_N & (kind_N == kind)] >= CUT).mean()))
        for source, shares in alarms.items():
            judged_N = (source_N == source) & (kind_N == "") & ~train_N
            shares.append(float((score_N[judged_N] < CUT).mean()))
    return Figures(
        misranked=_means(misranked),
        misranked_three=_means(in_threes),
        misranked_known=statistics.fmean(known),
        alarms=_means(alarms),
        missed=_means(missed),
    )


def auc(good_N: np.ndarray, bad_M: np.ndarray) -> float:
    """The share of pairs in which the undamaged text scores higher; equal scores count half."""
    order_M = np.sort(bad_M)
    below = np.searchsorted(order_M, good_N, "left") + np.searchsorted(order_M, good_N, "right")
    return float(below.sum() / (2 * len(good_N) * len(bad_M)))


def columns_of(samples: Samples) -> dict[str, list[int]]:
    """The features of each contender, by number: a head's own, parts of them, and heuristics."""
    width = samples.features_NF.shape[1]
    first = width - len(surface.FEATURES)
    number = {name: first + index for index, name in enumerate(surface.FEATURES)}
    return {
        "head": list(range(width)),
        "hidden states alone": list(range(first)),
        "surface alone": list(range(first, width)),
        "heuristics, fitted": [number[name] for name in HEURISTICS],
        **{name: [number[name]] for name in HEURISTICS},
    }


def card(samples: Samples, head: Head, figures: Figures) -> str:
    """The head's Markdown page."""
    environment = Environment(
        loader=PackageLoader("fedward_simulations", ""),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (Markdown, of our own numbers)
    )
    sources = samples.sources[samples.kinds == ""]
    return environment.get_template("quality.md.j2").render(
        figures=figures,
        counts={str(source): int((sources == source).sum()) for source in dict.fromkeys(sources)},
        damaged=int((samples.kinds != "").sum()),
        base_model=head.base_model,
        digest=canonical.digest(encode(head.tensors, note=head.base_model)),
        seed=SEED,
        features=len(surface.FEATURES),
        cut=CUT,
        splits=SPLITS,
        probe=prose.PROBE,
    )


def _side(samples: Samples, split: int) -> np.ndarray:
    """Which samples a head is trained on: half of the groups, [N]."""
    groups = sorted({row.group for row in samples.rows})
    drawn = np.random.default_rng(split).random(len(groups)) < 0.5
    side = dict(zip(groups, drawn, strict=True))
    return np.array([side[row.group] for row in samples.rows])


def _means(values: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.fmean(several) for name, several in values.items()}


def main(
    out: Annotated[Path, typer.Argument(help="Folder for the head and its card.")],
    base_model: Annotated[
        Path | None, typer.Option(help="Folder of a BERT; MiniLM if none is named.")
    ] = None,
) -> None:
    """Trains the head that fedward brings, and writes `quality.safetensors` and `quality.md`."""
    torch.set_num_threads(1)
    samples = encoded(collect(), base_model or base_models.minilm())
    head = default_head(samples)
    head.save(out / "quality.safetensors")
    figures = measure(samples, columns_of(samples)["head"])
    write_atomically(out / "quality.md", card(samples, head, figures).encode())
    print(f"{out / 'quality.safetensors'}: a head for {head.base_model}")


if __name__ == "__main__":
    typer.run(main)

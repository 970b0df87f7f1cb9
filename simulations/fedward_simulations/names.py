"""The head that fedward brings to find names, and how well it does on templates that it has not seen.

`python -m fedward_simulations.names` trains it and writes it with its card to where it is shipped. What
is chosen is chosen on templates of the development half and of `named_templates`, each left out of
training in turn. The held-out half of `planted` is not looked at here: `fedward bench identifiers`
measures it.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from jinja2 import Environment, PackageLoader, StrictUndefined

from fedward_client.preparation.identifiers import scrub, tagger
from fedward_client.preparation.identifiers.patterns import plain
from fedward_client.preparation.identifiers.spans import Found, Kind, merged
from fedward_client.preparation.identifiers.tagger import (
    Encoder,
    Head,
    Words,
    places,
    standardised,
)
from fedward_shared.files import write_atomically
from fedward_simulations.data import base_models, planted, prose
from fedward_simulations.data.named_templates import NAMED, NOBODY
from fedward_simulations.data.planted import Score, Text
from fedward_simulations.data.planted_templates import DEVELOPMENT

SEED = 0
LAYERS = (0, 2, 4)
COPIES = 8
PER_SOURCE = 120
HIDDEN = 64
DROPOUT = 0.3
EPOCHS = 12
BATCH = 512
RATE = 1e-3
DECAY = 0.05
FOLDS = 4
CUTS = (0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
AIM = 0.9
READ = ("en", "de")
"""Languages whose names the head is to find; of others it learns what none is."""
ABROAD = ("tr_TR", "pl_PL", "es_ES", "it_IT", "fr_FR", "nl_NL", "hr_HR", "ro_RO", "pt_BR", "sv_SE")
"""Patients of English and German hospitals have names from elsewhere, too."""
LOWER, UPPER = 0.12, 0.06
"""Of the texts so many are written without capitals, and in capitals alone."""


class Sample(NamedTuple):
    """A text, and the template that it was made of."""

    text: Text
    group: int


@dataclass(frozen=True)
class Figures:
    """What is found in texts of templates that the head has not seen; shares in [0, 1]."""

    cut: float
    names: int
    """In usual writing, as all here but `recased`."""
    by_rules: float
    by_model: float
    found: float
    """By both."""
    recased: float
    """By both, in texts without capitals or in capitals alone."""
    wrong: float
    """Finds of both in which there is no identifier."""
    wrong_by_rules: float
    of_nobody: float
    """The model's finds in a thousand words of texts in which nobody is named."""


@dataclass(frozen=True)
class Samples:
    """The words of all texts: their features [N, F], whether each names somebody [N], whether it counts
    in training [N], and its text's number [N]."""

    rows: list[Sample]
    base_model: str
    features_NF: np.ndarray
    is_name_N: np.ndarray
    counts_N: np.ndarray
    row_N: np.ndarray

    @property
    def groups(self) -> np.ndarray:
        """The template of each word's text, [N]."""
        group_N: np.ndarray = np.array([row.group for row in self.rows])[self.row_N]
        return group_N


def collect(seed: int = SEED, copies: int = COPIES, per_source: int = PER_SOURCE) -> list[Sample]:
    """Texts with names and without, the same for a seed. Raises MissingExtra."""
    locales = planted.LOCALES[False]
    out: list[Sample] = []
    for templates, times in ((DEVELOPMENT + NAMED, copies), (NOBODY, 2)):
        for template in templates:
            group = len({sample.group for sample in out})
            made = planted.filled([template], locales, times, seed * 1000 + group, ABROAD)
            out += [Sample(text, group) for text in made]
    first = len({sample.group for sample in out})
    groups: dict[str, int] = {}
    for text in prose.load(seed, per_source):
        group = groups.setdefault(text.group, first + len(groups))
        out.append(Sample(Text(text.text, (), "en"), group))
    return _recased(out, seed)


def encoded(rows: Sequence[Sample], encoder: Encoder) -> Samples:
    """The words of all texts as the encoder sees them."""
    parts: list[Words] = []
    names: list[np.ndarray] = []
    counts: list[np.ndarray] = []
    for row in rows:
        words = encoder.words(plain(row.text.text))
        parts.append(words)
        names.append(np.array([_touches(row.text, place, True) for place in words.places], bool))
        others = np.array([_touches(row.text, place, False) for place in words.places], bool)
        counts.append(names[-1] | ~others)
    sizes = [len(words.places) for words in parts]
    return Samples(
        list(rows),
        encoder.digest,
        np.concatenate([words.features_NF for words in parts if words.places]),
        np.concatenate(names),
        np.concatenate(counts),
        np.repeat(np.arange(len(rows)), sizes),
    )


def fit(
    samples: Samples, taken_N: np.ndarray, layers: Sequence[int], cut: float, epochs: int = EPOCHS
) -> Head:
    """A head of those words that are `taken_N`: the same words give the same bytes, on one thread."""
    chosen_N = taken_N & samples.counts_N
    x_NF = torch.from_numpy(samples.features_NF[chosen_N])
    y_N = torch.from_numpy(samples.is_name_N[chosen_N].astype(np.float32))
    mean_F, scale_F = x_NF.mean(0), x_NF.std(0, correction=0).clamp(min=1e-3)
    z_NF = standardised(x_NF, mean_F, scale_F)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        inner, outer = torch.nn.Linear(x_NF.shape[1], HIDDEN), torch.nn.Linear(HIDDEN, 1)
        net = torch.nn.Sequential(
            torch.nn.Dropout(DROPOUT), inner, torch.nn.ReLU(), torch.nn.Dropout(DROPOUT), outer
        )
        optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
        for _ in range(epochs):
            for batch_B in torch.split(torch.randperm(len(x_NF)), BATCH):
                loss = torch.nn.functional.binary_cross_entropy_with_logits(
                    net(z_NF[batch_B])[:, 0], y_N[batch_B]
                )
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
    found = {
        "layers": torch.tensor([float(layer) for layer in layers]),
        "mean": mean_F,
        "scale": scale_F,
        "inner": inner.weight,
        "inner_bias": inner.bias,
        "outer": outer.weight[0],
        "outer_bias": outer.bias,
        "cut": torch.tensor([cut]),
    }
    return Head(samples.base_model, {name: value.detach().float() for name, value in found.items()})


def unseen(samples: Samples, layers: Sequence[int]) -> np.ndarray:
    """The probability of each word by a head that has seen no text of its template, [N]."""
    probability_N = np.zeros(len(samples.row_N), np.float32)
    fold_N = samples.groups % FOLDS
    for fold in range(FOLDS):
        head = fit(samples, fold_N != fold, layers, CUTS[0])
        probability_N[fold_N == fold] = head.probabilities(samples.features_NF[fold_N == fold])
    return probability_N


def chosen(samples: Samples, probability_N: np.ndarray) -> Figures:
    """What is found at the highest cut at which `AIM` of the names in usual writing are, by rules and
    model together; at the lowest cut where none reaches it."""
    by_rules = [scrub.find(row.text.text) for row in samples.rows]
    for cut in reversed(CUTS):
        figures = measure(samples, probability_N, by_rules, cut)
        if figures.found >= AIM:
            break
    return figures


def measure(
    samples: Samples, probability_N: np.ndarray, by_rules: Sequence[list[Found]], cut: float
) -> Figures:
    """What is found at that cut, beside what the rules have found in each text."""
    sizes = np.bincount(samples.row_N, minlength=len(samples.rows))
    usual, recased, alone, rules = Score(), Score(), Score(), Score()
    words = finds = 0
    splits = np.split(probability_N, np.cumsum(sizes)[:-1])
    for row, of_rules, of_words_W in zip(samples.rows, by_rules, splits, strict=True):
        text = row.text
        if text.language not in READ:
            continue
        by_model = tagger.named(plain(text.text), places(plain(text.text)), of_words_W >= cut)
        if text.text in (text.text.lower(), text.text.upper()):
            recased.add(text, merged([*of_rules, *by_model]))
            continue
        usual.add(text, merged([*of_rules, *by_model]))
        alone.add(text, by_model)
        rules.add(text, of_rules)
        if not text.planted:
            words += len(of_words_W)
            finds += len(by_model)
    return Figures(
        cut=cut,
        names=usual.planted[Kind.NAME],
        by_rules=rules.share_found(Kind.NAME),
        by_model=alone.share_found(Kind.NAME),
        found=usual.share_found(Kind.NAME),
        recased=recased.share_found(Kind.NAME),
        wrong=usual.share_wrong(Kind.NAME),
        wrong_by_rules=rules.share_wrong(Kind.NAME),
        of_nobody=1000 * finds / max(1, words),
    )


def card(samples: Samples, head: Head, figures: Figures) -> str:
    """The head's Markdown page."""
    environment = Environment(
        loader=PackageLoader("fedward_simulations", ""),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (Markdown, of our own numbers)
    )
    return environment.get_template("names.md.j2").render(
        figures=figures,
        digest=head.digest,
        base_model=head.base_model,
        layers=LAYERS,
        hidden=HIDDEN,
        seed=SEED,
        folds=FOLDS,
        aim=AIM,
        copies=COPIES,
        development=len(DEVELOPMENT),
        named=len(NAMED),
        nobody=len(NOBODY),
        texts=len(samples.rows),
        words=int(samples.counts_N.sum()),
        of_names=int(samples.is_name_N.sum()),
        lower=LOWER,
        upper=UPPER,
        abroad=len(ABROAD),
    )


def _recased(samples: Iterable[Sample], seed: int) -> list[Sample]:
    randomness = random.Random(seed)  # noqa: S311 (which texts lose their capitals)
    out = []
    for sample in samples:
        drawn = randomness.random()
        change = str.lower if drawn < LOWER else str.upper if drawn < LOWER + UPPER else str
        # A letter that becomes two, such as ß, would move what stands after it.
        whole = "".join(c if len(change(c)) > 1 else change(c) for c in sample.text.text)
        text = Text(whole, sample.text.planted, sample.text.language, sample.text.patient)
        out.append(Sample(text, sample.group))
    return out


def _touches(text: Text, place: tuple[int, int], names: bool) -> bool:
    start, end = place
    return any(
        (value.kind is Kind.NAME) == names and value.start < end and start < value.end
        for value in text.planted
    )


def main(
    out: Annotated[Path, typer.Argument(help="Folder for the head and its card.")],
    base_model: Annotated[
        Path | None, typer.Option(help="Folder of a BERT; MiniLM if none is named.")
    ] = None,
) -> None:
    """Trains the head that fedward brings, and writes `names.safetensors` and `names.md`."""
    torch.set_num_threads(1)
    samples = encoded(collect(), Encoder(base_model or base_models.minilm(), LAYERS))
    figures = chosen(samples, unseen(samples, LAYERS))
    head = fit(samples, np.ones(len(samples.row_N), bool), LAYERS, figures.cut)
    head.save(out / "names.safetensors")
    write_atomically(out / "names.md", card(samples, head, figures).encode())
    print(f"{out / 'names.safetensors'}: a head for {head.base_model}")


if __name__ == "__main__":
    typer.run(main)

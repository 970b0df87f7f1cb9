"""Undamaged texts from installed packages, each short enough for an encoder of sentences.

Visits and leaflets are clinosim's, diagnoses those of ICD-10-CM, prose the paragraphs of scientific
Python's own documentation. `group` says what must not lie on two sides of a split.
"""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedward_shared.errors import MissingExtra
from fedward_simulations.data import foreign, icd10, notes

PACKAGES = ("numpy", "scipy", "torch", "polars")
SHORTEST, LONGEST = 80, 480
"""Characters of a paragraph."""

DRUGS_TOGETHER, LISTS = 5, 16
"""So many medicines are only on lists with each other, on so many lists."""

PROBE = "chinese"
"""The source that no head is trained on."""


class Text(NamedTuple):
    """An undamaged text, where it is from, and which others it must stay with."""

    source: str
    text: str
    group: str


def load(seed: int, per_source: int = 400) -> list[Text]:
    """At most `per_source` texts of each source, as `seed` draws them.

    Raises MissingExtra without clinosim or ICD-10-CM.
    """
    generator = np.random.default_rng(seed)
    out: list[Text] = []
    for source in (
        _visits(seed, per_source),
        _diagnoses(),
        leaflets(),
        paragraphs(),
        drugs(seed),
    ):
        unique = list({text.text: text for text in source}.values())
        chosen = generator.permutation(len(unique))[:per_source]
        out += [unique[index] for index in sorted(chosen)]
    return out + [Text("chinese", text, text) for text in foreign.CHINESE]


def _visits(seed: int, count: int) -> list[Text]:
    half = count // 2
    (site,) = notes.load(seed, sites=1, records_per_site=half, held_out=1).sites
    return [
        Text("visits", text, note.patient)
        for note in site
        for text in (note.prompt.split("\n", 1)[1].strip(), note.completion)
    ]


def _diagnoses() -> list[Text]:
    records = icd10.load(0).train
    return [Text("diagnoses", record.text, record.category) for record in records]


def leaflets() -> list[Text]:
    """What patients are told at discharge, and phrases of admission and progress notes.

    Raises MissingExtra without clinosim.
    """
    root = _package("clinosim")
    out = []
    for path in (
        root / "modules/document/reference_data/discharge_instructions.yaml",
        root / "locale/shared/narrative_phrases.yaml",
    ):
        for text in re.findall(
            r"^\s+en: [\"']?(.+?)[\"']?$", path.read_text("utf-8"), re.MULTILINE
        ):
            if len(text) >= 25 and "{" not in text:
                out.append(Text("leaflets", text, text))
    return out


def drugs(seed: int) -> list[Text]:
    """Lists of medicines as a discharge letter has them. Raises MissingExtra without clinosim."""
    path = _package("clinosim") / "locale/shared/chronic_medications.yaml"
    found = re.findall(
        r'drug: "([^"]+)",.*? dose: "([^"]+)", route: "(\w+)", frequency: "(\w+)"',
        path.read_text("utf-8"),
    )
    lines = sorted({f"{drug} {dose} {route} {often}" for drug, dose, route, often in found})
    generator = np.random.default_rng(seed)
    out = []
    for start in range(0, len(lines), DRUGS_TOGETHER):
        together = lines[start : start + DRUGS_TOGETHER]
        for _ in range(LISTS):
            order = generator.permutation(len(together))[: generator.integers(1, 6)]
            between = str(generator.choice([", ", "; ", "\n"]))
            text = between.join(together[index] for index in order)
            out.append(Text("drugs", text, f"drugs {start}"))
    return out


def paragraphs() -> Iterator[Text]:
    """Paragraphs of sentences from the documentation in source files, which nothing imports."""
    for package in PACKAGES:
        root = _package(package)
        for path in sorted(root.glob("*/*.py")):
            if "test" in path.name or path.stat().st_size > 400_000:
                continue
            for text in _documentation(path):
                yield Text("prose", text, f"{package}/{path.relative_to(root)}")


def _documentation(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            continue
        for part in (ast.get_docstring(node) or "").split("\n\n"):
            text = " ".join(part.split())
            if (
                SHORTEST <= len(text) <= LONGEST
                and re.match(r"[A-Z][a-z]+ ", text)
                and text.endswith(".")
                and not re.search(r">>>|::|--|\.\. |:[a-z]+:|[_=`<>{}\[\]|\\*]", text)
            ):
                yield text


def _package(module: str) -> Path:
    """The folder of an installed module, found without running its code."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise MissingExtra(f"{module} is not installed: pip install 'fedward-simulations[data]'")
    return Path(spec.origin).parent

"""The folder of one hospital: whose diagnoses lie in which system, and what else lies about."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from fedward_shared import records
from fedward_simulations.data import prose
from fedward_simulations.raw import (
    bad,
    clinic,
    dicom,
    fhir,
    hl7,
    omop,
    pdf,
    people,
    plain,
    tables,
    texts,
)
from fedward_simulations.raw.items import Diagnosis, Item
from fedward_simulations.raw.ward import Ward

TIDY = "tidy.jsonl"
SYSTEMS = {
    "bundle": 0.18,
    "export": 0.12,
    "hl7": 0.26,
    "omop": 0.14,
    "csv": 0.1,
    "tsv": 0.08,
    "xlsx": 0.06,
    "parquet": 0.06,
}
"""The share of patients whose diagnoses are kept in each."""

TWICE = 0.05
"""The share of diagnoses that a second system keeps, too."""

NOTES = {
    "plain": 0.45,
    "hl7": 0.4,
    "dicom": 0.45,
    "letters": 0.2,
    "tables": 0.3,
    "omop": 0.2,
    "export": 0.1,
}
"""Notes a patient, by where they lie."""

GUIDELINES = 0.12
DATABASES = ("omop-north", "omop-south")


@dataclass(frozen=True)
class Size:
    """`scale`: of all that is no diagnosis. `long_line`: see `bad`."""

    scale: float = 1.0
    long_line: int = bad.LONG_LINE


def write(folder: Path, diagnoses: Sequence[Diagnosis], seed: int, size: Size) -> None:
    """All of it into `folder`, which is not there yet; a thousand patients give about 2,300 files.

    Raises MissingExtra without the packages of the extra `data`.
    """
    draw = random.Random(f"{seed} {folder.name}")  # noqa: S311 (invented people)
    ward = Ward(folder)
    dealt = people.dealt(draw, diagnoses)
    everyone = [one[0].patient for one in dealt]
    pieces = texts.pool()

    def count(a_patient: float) -> int:
        return max(2, round(a_patient * size.scale * len(dealt)))

    wanted = {where: count(share) for where, share in NOTES.items()}
    notes = texts.notes(draw, everyone, sum(wanted.values()), pieces)
    parts = _parts(notes, wanted)
    kept = _systems(draw, dealt)
    seen = clinic.visits(draw.getrandbits(31), round(min(1.0, size.scale) * len(kept["bundle"])))
    fhir.bundles(ward, draw, kept["bundle"], seen)
    fhir.export(ward, _flat(kept["export"]), parts["export"])
    hl7.admissions(ward, draw, kept["hl7"])
    hl7.reports(ward, draw, parts["hl7"])
    for number, kind in enumerate(tables.KINDS):
        both = _flat(kept[kind]) + parts["tables"][number :: len(tables.KINDS)]
        tables.lists(ward, draw, kind, draw.sample(both, len(both)))
    for number, name in enumerate(DATABASES):
        two = slice(number, None, len(DATABASES))
        omop.database(ward, name, _flat(kept["omop"][two]), parts["omop"][two])
    plain.texts(ward, draw, parts["plain"])
    drugs = sorted({one for text in prose.drugs(seed) for one in re.split("[,;] |\n", text.text)})
    pdf.letters(ward, draw, parts["letters"])
    pdf.guidelines(ward, draw, count(GUIDELINES), pieces, drugs)
    dicom.studies(ward, draw, parts["dicom"])
    some = next(one for one in notes if one.text.isascii())
    bad.everything(ward, draw, some, size.long_line)
    _tidy(folder, dealt, diagnoses)
    ward.close({"version": 1, "seed": seed, "site": folder.name, "patients": len(dealt)})


def _parts(notes: Sequence[Item], wanted: dict[str, int]) -> dict[str, list[Item]]:
    """The notes by where they will lie; letters have those that every PDF can write."""
    letters = [one for one in notes if pdf.writable(one)][: wanted["letters"]]
    taken = {one.name for one in letters}
    rest = iter([one for one in notes if one.name not in taken])
    parts = {
        where: list(islice(rest, count)) for where, count in wanted.items() if where != "letters"
    }
    parts["plain"] += rest
    return parts | {"letters": letters}


def _systems(draw: random.Random, dealt: Sequence[list[Item]]) -> dict[str, list[list[Item]]]:
    """By system, the diagnoses of each patient that it keeps."""
    names = list(SYSTEMS)
    kept: dict[str, list[list[Item]]] = {name: [] for name in names}
    for number, diagnoses in enumerate(dealt):
        some = number < len(names)  # each has somebody, however few there are
        name = names[number] if some else draw.choices(names, list(SYSTEMS.values()))[0]
        kept[name].append(diagnoses)
        again = [one for one in diagnoses if draw.random() < TWICE]
        if again:
            other = draw.choice([one for one in names if one != name])
            kept[other].append([*map(_again, again)])
    return kept


def _again(one: Item) -> Item:
    said = {"like": one.name, "within": True, "similarity": "1.0000"}
    return replace(one, name=f"{one.name}, again", planted=said)


def _flat(people: Sequence[Sequence[Item]]) -> list[Item]:
    return [one for several in people for one in several]


def _tidy(folder: Path, dealt: Sequence[Sequence[Item]], diagnoses: Sequence[Diagnosis]) -> None:
    labels = {one.code: one.label for one in diagnoses}
    items = list(_flat(dealt))
    records.write_jsonl(
        folder / TIDY,
        {
            "text": [one.text for one in items],
            "label": [labels[one.code] for one in items],
            "code": [one.code for one in items],
            "owner": [one.patient.number for one in items],
        },
    )

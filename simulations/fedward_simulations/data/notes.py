"""Instruction records from synthetic outpatient visits: the facts of a visit → its assessment.

`clinosim` simulates a town of persons, its own physiology deciding their vitals and laboratory
values, and writes a progress note for each visit. The prompt holds what the physician sees (age,
sex, reason, problems, vitals, laboratory values), the completion what the physician concludes:
whether blood pressure or HbA1c is at goal, which drug goes on, when the patient returns.

A patient gives one record, so the privacy unit "record" is the patient here. A household lies on
one side as a whole. The notes come from templates, in English: their form is quickly learnt, and
what is left to learn is to judge the values.
"""

import json
import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fedward_simulations.data import town

PERSONS_PER_PATIENT = 3.8
"""How many persons a town needs for one patient with a usable note (3.5 measured)."""

PROBLEMS_PER_NOTE = 2
"""How many judged problems a completion holds: prompt and completion stay below 200 tokens."""

JUDGED_LABS = frozenset({"HbA1c", "LDL", "Creatinine", "eGFR", "PT_INR", "Glucose"})
"""The laboratory values that clinosim's assessments speak of."""

UCUM_BRACES = str.maketrans("", "", "{}")
"""Units are written in UCUM, which has annotations in braces: `mL/min/{1.73_m2}`, `{INR}`."""


class Note(NamedTuple):
    """A visit as an instruction: the facts, the assessment and plan, and whose visit it was."""

    prompt: str
    completion: str
    patient: str


class NotesSplit(NamedTuple):
    """The sites' records and the held-out ones; no patient and no household is on two sides."""

    sites: list[list[Note]]
    held_out: list[Note]


def load(seed: int, sites: int = 3, records_per_site: int = 256, held_out: int = 96) -> NotesSplit:
    """`records_per_site` patients for each site and `held_out` others, as `seed` draws them.

    Offline, on one core: about 5 s and 14 s per 1,000 records. Raises MissingExtra without
    `clinosim`.
    """
    sizes = [held_out] + [records_per_site] * sites
    persons = 100 + int(PERSONS_PER_PATIENT * sum(sizes))
    while (sides := _deal(_households(seed, persons), sizes, seed)) is None:
        persons += persons // 2
    return NotesSplit(sites=sides[1:], held_out=sides[0])


def _deal(households: list[list[Note]], sizes: list[int], seed: int) -> list[list[Note]] | None:
    """Households in random order to each side until it holds its size, or None if they run out.

    What a side's last household has too many is left out.
    """
    order = np.random.default_rng(seed).permutation(len(households))
    rest = (households[index] for index in order)
    sides: list[list[Note]] = []
    for size in sizes:
        side: list[Note] = []
        while len(side) < size:
            if (household := next(rest, None)) is None:
                return None
            side += household
        sides.append(side[:size])
    return sides


def _households(seed: int, persons: int) -> list[list[Note]]:
    """The usable notes of a town of `persons`, by household, in the order of the visits."""
    visits = _visits(seed, persons)
    sections = _sections(visits)
    households: dict[str, list[Note]] = {}
    for visit in visits:
        if (note := _note(visit, sections[visit.encounters[0].encounter_id])) is not None:
            households.setdefault(visit.patient.household_id, []).append(note)
    return list(households.values())


def _visits(seed: int, persons: int) -> list[Any]:
    """Each patient's first outpatient visit in the quarter, of patients with a chronic condition.

    A record is clinosim's CIFPatientRecord.
    """
    records = town.simulated(seed, persons)
    first: dict[str, Any] = {}
    for record in sorted(records, key=lambda record: record.encounters[0].admission_datetime):
        # A vaccination is an encounter of its own beside the visit's, with its own note.
        noted = any(
            document.task_type == "outpatient_soap"
            and document.encounter_id == record.encounters[0].encounter_id
            for document in record.documents
        )
        if noted and record.patient.chronic_conditions:
            first.setdefault(record.patient.patient_id, record)
    return list(first.values())


def _sections(visits: list[Any]) -> dict[str, dict[str, str]]:
    """What clinosim writes about the visits: by encounter, the named sections of its note.

    Its writer of narratives works on a folder: a temporary one here.
    """
    from clinosim.modules.document.narrative.passes import TemplateNarrativePass
    from clinosim.modules.output.cif_writer import write_cif
    from clinosim.types.output import CIFDataset

    with tempfile.TemporaryDirectory(prefix="fedward-notes-") as folder:
        write_cif(CIFDataset(patients=visits), folder)
        TemplateNarrativePass(folder, country="US", tasks=["outpatient_soap"]).run()
        documents = [
            json.loads(path.read_bytes())
            for path in Path(folder, "narratives", "template", "documents").glob("*/*.json")
        ]
    return {document["encounter_id"]: document["narrative"]["sections"] for document in documents}


def _note(visit: Any, sections: dict[str, str]) -> Note | None:
    """The instruction, or None where the note judges none of the patient's problems."""
    lines = [re.sub(r"^\d+\. ", "", line) for line in sections["assessment"].splitlines()]
    judged = [
        line
        for line in lines
        if "not condition-specific" not in line and not line.startswith("Encounter reason")
    ]
    if not judged:
        return None
    seen = sections["subjective"].replace(" patient presenting for ", ". Visit: ")
    seen = seen.replace("Follow-up of chronic conditions:", "Problems:")
    facts = [seen, f"Vitals: {sections['objective']}."]
    if labs := [lab for lab in visit.lab_results if lab.lab_name in JUDGED_LABS]:
        values = ", ".join(f"{lab.lab_name} {lab.value:g} {lab.unit}" for lab in labs)
        facts.append(f"Labs: {values.translate(UCUM_BRACES)}.")
    return Note(
        prompt="\n".join(["Write the assessment and plan.", *facts, ""]),
        completion="\n".join([*judged[:PROBLEMS_PER_NOTE], sections["plan"].splitlines()[-1]]),
        patient=visit.patient.patient_id,
    )

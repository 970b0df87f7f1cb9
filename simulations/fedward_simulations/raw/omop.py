"""A database of the OMOP CDM for each part of the house, and the settings that tell of it."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing

from fedward_simulations.raw.items import Item
from fedward_simulations.raw.ward import DATABASES, Expected, Ward

SCHEMA = """
CREATE TABLE note (note_id INTEGER PRIMARY KEY, person_id INTEGER NOT NULL, note_date TEXT NOT NULL,
    note_title TEXT, note_text TEXT NOT NULL);
CREATE TABLE condition_occurrence (condition_occurrence_id INTEGER PRIMARY KEY,
    person_id INTEGER NOT NULL, condition_concept_id INTEGER NOT NULL,
    condition_start_date TEXT NOT NULL);
CREATE TABLE concept (concept_id INTEGER PRIMARY KEY, concept_name TEXT NOT NULL,
    vocabulary_id TEXT NOT NULL, concept_code TEXT NOT NULL);
"""


def database(ward: Ward, name: str, diagnoses: Sequence[Item], notes: Sequence[Item]) -> None:
    """Both in the database `name`."""
    with closing(sqlite3.connect(ward.databases / f"{name}.sqlite")) as opened, opened:
        opened.executescript(SCHEMA)
        for number, one in enumerate(notes, start=1):
            row = (number, int(one.patient.number), one.day.isoformat(), one.kind, one.text)
            opened.execute("INSERT INTO note VALUES (?, ?, ?, ?, ?)", row)
        for number, one in enumerate(diagnoses, start=1):
            concept = 44_000_000 + number
            about = (concept, one.text, "ICD10CM", one.code)
            opened.execute("INSERT INTO concept VALUES (?, ?, ?, ?)", about)
            had = (number, int(one.patient.number), concept, one.day.isoformat())
            opened.execute("INSERT INTO condition_occurrence VALUES (?, ?, ?, ?)", had)
    expected = [Expected.of(one, f"NOTE, record {at}") for at, one in enumerate(notes, start=1)]
    expected += [
        Expected.of(one, f"CONDITION_OCCURRENCE, record {at}", kind="")
        for at, one in enumerate(diagnoses, start=1)
    ]
    settings = f'url = "sqlite:///../../{DATABASES}/{name}.sqlite"\nomop = true\n'
    path = ward.put("sql", f"Archive/{name}.sql.toml", settings.encode(), expected)
    path.chmod(0o600)

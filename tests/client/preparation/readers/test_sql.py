"""Databases: the OMOP CDM and queries, and settings that are refused."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from client.preparation.made import NOTE

from fedward_client.preparation import readers
from fedward_client.preparation.documents import Document, Found, Remark
from fedward_shared.errors import Unreadable

OMOP = f"""
CREATE TABLE note (note_id, person_id, note_date, note_title, note_text);
INSERT INTO note VALUES (2, 8, '2026-01-03', NULL, ''), (1, 7, '2026-01-02', 'Visit', '{NOTE}');
CREATE TABLE condition_occurrence
    (condition_occurrence_id, person_id, condition_start_date, condition_concept_id);
INSERT INTO condition_occurrence VALUES (1, 7, '2026-01-01', 260139), (2, 8, '2026-01-01', 0);
CREATE TABLE concept (concept_id, concept_name, concept_code);
INSERT INTO concept VALUES (260139, 'Acute bronchitis', '10509002');
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    path = tmp_path / "cdm.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(OMOP)
    return f"sqlite:///{path}"


def read(tmp_path: Path, settings: str, mode: int = 0o600) -> list[Found]:
    path = tmp_path / "ward.sql.toml"
    path.write_text(settings)
    path.chmod(mode)
    return list(readers.read(path, path.name))


def test_a_relative_name_is_one_beside_the_settings(tmp_path: Path, url: str) -> None:
    here, there = (
        read(tmp_path, f'url = "{u}"\nomop = true') for u in ("sqlite:///cdm.sqlite", url)
    )
    assert here == there
    assert any(isinstance(one, Document) for one in here)


def test_omop(tmp_path: Path, url: str) -> None:
    note, empty, condition, unknown = read(tmp_path, f'url = "{url}"\nomop = true')
    assert isinstance(note, Document)
    assert isinstance(condition, Document)
    assert (note.text, note.provenance.place) == (NOTE, "NOTE, record 1")
    assert note.fields == {"unit": "7", "date": "2026-01-02", "kind": "Visit"}
    assert condition.text == "Acute bronchitis"
    assert condition.fields == {"unit": "7", "date": "2026-01-01", "code": "10509002"}
    assert isinstance(empty, Remark)
    assert isinstance(unknown, Remark)


def test_a_query(tmp_path: Path, url: str) -> None:
    query = (
        "SELECT note_text AS text, person_id AS unit, 1 AS other FROM note ORDER BY note_id DESC"
    )
    empty, note = read(tmp_path, f'url = "{url}"\nquery = "{query}"')
    assert isinstance(note, Document)
    assert note.fields == {"unit": "7"}
    assert isinstance(empty, Remark)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("omop = true", "needs a url"),
        ('url = "URL"', "either omop = true or a query"),
        ('url = "URL"\nomop = true\nquery = "x"', "either omop = true or a query"),
        ('url = "URL"\nomop = "yes"', "'omop' is no setting"),
        ('url = "URL"\npassword = "x"', "'password' is no setting"),
        ('url = "nothing"\nomop = true', "its url is none"),
        ('url = "URL"\nquery = "SELECT 1 AS x"', "no column is called text"),
        ('url = "URL"\nquery = "SELECT text FROM x"', "the database says OperationalError"),
        ("url =", "no TOML"),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, url: str, settings: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read(tmp_path, settings.replace("URL", url))


def test_settings_that_others_may_read_or_write(tmp_path: Path, url: str) -> None:
    for mode in (0o640, 0o606):
        with pytest.raises(Unreadable, match="chmod 600"):
            read(tmp_path, f'url = "{url}"\nomop = true', mode)

"""Raw folders: a seed gives their bytes, and the site's own readers find in them what the truth says."""

import csv
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedward_client.preparation import folder as folders
from fedward_client.preparation.documents import Document, Person, Picture, Remark
from fedward_client.preparation.finishing import Rules
from fedward_client.preparation.folder import Quarantined, Read
from fedward_client.preparation.identifiers.spans import Kind
from fedward_client.preparation.labels import Labels
from fedward_client.preparation.prepare import Way, prepare
from fedward_client.preparation.sandbox import Sandbox
from fedward_client.preparation.store import ALIKE, DOCUMENTS, LABELLED, Store, rows
from fedward_shared.errors import UsageError
from fedward_shared.text.duplicates import Terms
from fedward_simulations.cli import simulate
from fedward_simulations.data import damage, icd10
from fedward_simulations.raw import hospital, hospitals
from fedward_simulations.raw.hospital import Size
from fedward_simulations.raw.items import Diagnosis
from fedward_simulations.raw.ward import FILES, TRUTH
from fedward_simulations.scenarios.hospitals import Options

BONES = ("femur", "tibia", "ulna", "radius", "scapula", "clavicle", "sternum", "patella")
DIAGNOSES = [
    Diagnosis(f"{kind} fracture of the {side} {bone}", f"S{n}{m}.{k}", "injury")
    for n, bone in enumerate(BONES)
    for m, side in enumerate(("left", "right"))
    for k, kind in enumerate(("Open", "Stress"))
]
KINDS = {
    *("bad", "csv", "dicom", "fhir bundle", "fhir ndjson", "hl7"),
    *("parquet", "pdf", "plain", "sql", "tsv", "xlsx"),
}


@dataclass(frozen=True)
class Hospital:
    """A folder, what it is said to hold, and what the site's readers find in it."""

    folder: Path
    truth: dict[str, Any]
    documents: dict[tuple[str, str], Document]
    remarks: dict[tuple[str, str], list[str]]
    outcomes: dict[str, Read | Quarantined]


@pytest.fixture(scope="module")
def north(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    path = tmp_path_factory.mktemp("raw") / "north"
    hospital.write(path, DIAGNOSES, 2, Size(scale=5.0))
    found = Hospital(path, json.loads((path / TRUTH).read_bytes()), {}, defaultdict(list), {})
    with Sandbox() as box:
        for one in folders.read(path / FILES, box):
            match one:
                case Document():
                    found.documents[one.provenance.file, one.provenance.place] = one
                case Remark():
                    found.remarks[one.provenance.file, one.provenance.place].append(one.text)
                case Person() | Picture():
                    pass
                case _:
                    found.outcomes[one.file] = one
    return found


def planted(north: Hospital, what: str) -> Iterator[dict[str, Any]]:
    yield from (one for one in north.truth["documents"] if what in one["planted"])


def test_the_documents_are_those_of_the_truth(north: Hospital) -> None:
    expected = {(one["file"], one["place"]): one for one in north.truth["documents"]}
    assert len(expected) == len(north.truth["documents"]) > 100
    assert north.documents.keys() == expected.keys()
    for where, one in expected.items():
        found = north.documents[where]
        assert dict(found.fields) == one["fields"], where
        match one["match"]:
            case "exact":
                assert found.text == one["text"], where
            case "words":
                assert found.text.split() == one["text"].split(), where
            case _:
                assert one["text"] in found.text, where


def test_exactly_the_bad_files_are_quarantined_each_for_its_reason(north: Hospital) -> None:
    found = {n: one.reason for n, one in north.outcomes.items() if isinstance(one, Quarantined)}
    assert found == {one["file"]: one["reason"] for one in north.truth["quarantined"]}
    assert len(found) == 30


def test_scanned_pages_are_remarked(north: Hospital) -> None:
    assert north.truth["remarks"]
    for one in north.truth["remarks"]:
        assert one["remark"] in north.remarks[one["file"], one["place"]]


def test_every_kind_is_there_and_counted(north: Hospital) -> None:
    assert set(north.truth["files"]) == KINDS
    links = {"symlink": 3, "fifo": 1, "name": 1}
    assert sum(north.truth["files"].values()) + sum(links.values()) == len(north.outcomes)
    read = {name for name, one in north.outcomes.items() if isinstance(one, Read)}
    assert len({name.rpartition("/")[0] for name in read}) > 20


def test_planted_identifiers_stand_where_the_truth_says(north: Hospital) -> None:
    texts = [*planted(north, "identifiers")]
    assert texts
    for one in texts:
        for kind, start, end in one["planted"]["identifiers"]:
            assert one["text"][start:end].strip()
            if Kind(kind) is Kind.EMAIL:
                assert re.fullmatch(r"\S+@\S+", one["text"][start:end])


def test_damage_is_of_a_known_kind(north: Hospital) -> None:
    kinds = {one["planted"]["damage"] for one in planted(north, "damage")}
    assert kinds
    assert kinds <= damage.KINDS.keys()


def test_a_dataset_of_it_has_the_diagnoses_and_not_their_duplicates(
    north: Hospital, tmp_path: Path
) -> None:
    rules = Rules(bytes(32), Labels({"S": "injury"}), False, None)
    with Store(tmp_path / "dataset", {"version": 1}) as store:
        prepare(north.folder / FILES, store, Way(Terms(), rules, 0.0), lambda *_: None)
    tidy = [*rows(north.folder / hospital.TIDY)]
    made = [*rows(tmp_path / "dataset" / LABELLED)]
    assert sorted((one["code"], one["label"]) for one in made) == sorted(
        (one["code"], one["label"]) for one in tidy
    )
    owners = {one["code"]: one["owner"] for one in tidy}
    assert len({(one["owner"], owners[one["code"]]) for one in made}) == len(set(owners.values()))

    name = {(one["file"], one["place"]): one["name"] for one in north.truth["documents"]}
    lines = [*rows(tmp_path / "dataset" / DOCUMENTS)]
    names = [name[one["file"], one["place"]] for one in lines]
    alike = {
        frozenset((names[one["number"]], names[one["like"]]))
        for one in rows(tmp_path / "dataset" / ALIKE)
    }
    instead = {
        frozenset((names[one["number"]], names[one["instead"]]))
        for one in lines
        if one["outcome"] == "duplicate"
    }
    # Of files that say whose a text is, and whose text is no more than the note.
    whole = {
        one["name"]
        for one in north.truth["documents"]
        if one["fields"].get("unit") and one["match"] == "exact"
    }
    copies = {
        one["name"]: one["planted"]
        for one in planted(north, "like")
        if {one["name"], one["planted"]["like"]} <= whole
    }
    assert {said["within"] for said in copies.values()} == {True, False}
    for copy, said in copies.items():
        pair = frozenset((copy, said["like"]))
        assert (pair in instead) == said["within"]
        assert said["within"] or pair in alike


def digests(folder: Path) -> dict[bytes, str]:
    found = {}
    for path in folder.rglob("*"):
        kind = path.lstat().st_mode
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        link = str(path.readlink()) if path.is_symlink() else ""
        said = f"{kind if not link else 0} {link} {hashlib.sha256(content).hexdigest()}"
        found[os.fsencode(path.relative_to(folder))] = said
    return found


def test_a_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for at, seed in (("a", 1), ("b", 1), ("c", 2)):
        hospital.write(tmp_path / at / "north", DIAGNOSES[:12], seed, Size(0.1, long_line=10))
    first = digests(tmp_path / "a")
    assert digests(tmp_path / "b") == first
    assert digests(tmp_path / "c") != first


def test_sites_have_the_records_that_the_scenario_deals_them(tmp_path: Path) -> None:
    options = Options(out=tmp_path / "out", records=20, sites=1)
    assert hospitals.write(options, Size(0.1, long_line=10)) == {"north": tmp_path / "out/north"}
    known = {(one.text, one.label, one.code) for one in icd10.load(0).train}
    tidy = [*rows(tmp_path / "out/north" / hospital.TIDY)]
    assert len(tidy) == 20
    assert {(one["text"], one["label"], one["code"]) for one in tidy} <= known
    with (tmp_path / "out" / hospitals.LABELS).open() as file:
        assert len([*csv.DictReader(file)]) > 1800
    labels = Labels.read(tmp_path / "out" / hospitals.LABELS)
    assert all(labels.of(one["code"]) == one["label"] for one in tidy)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--scale", "-1"], "--scale"),
        (["--partition", "column:ward"], "--partition"),
        (["--out", "."], "--out"),
    ],
)
def test_what_cannot_be_written_is_refused(options: list[str], named: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(simulate, ["raw", "--out", str(out), *options])
    assert isinstance(result.exception, UsageError)
    assert named in str(result.exception)
    assert not out.exists()

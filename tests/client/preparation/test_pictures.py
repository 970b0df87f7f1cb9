"""Pictures of a dataset: all that were read are somewhere, once for each owner, to be trained on."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client.preparation.made import dicom, film
from client.preparation.test_prepare import KEY, made
from PIL import Image
from pydicom import dcmread

from fedward_client.preparation.identifiers.pseudonyms import Pseudonyms
from fedward_client.preparation.store import rows
from fedward_shared.vertical.columns import ImageColumn, TableTerms
from fedward_shared.vertical.encoding import encode


def of(patient: str, name: str = "MR_small.dcm", day: str = "20210305") -> bytes:
    """The same picture of another patient, who is named in the header."""
    data = dcmread(io.BytesIO(dicom(name)))
    data.PatientID, data.PatientName, data.StudyDate = patient, "Quillfeather^Zebediah", day
    file = io.BytesIO()
    data.save_as(file)
    return file.getvalue()


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    ward = tmp_path / "ward"
    ward.mkdir()
    (ward / "1.dcm").write_bytes(of("P7"))
    (ward / "2.dcm").write_bytes(of("p7 "))  # a duplicate, of the same person
    (ward / "3.dcm").write_bytes(of("P8"))  # the same picture, of another
    (ward / "4.dcm").write_bytes(of("P7", "CT_small.dcm"))
    (ward / "cine.dcm").write_bytes(of("P9", "examples_ybr_color.dcm"))
    (ward / "film.mp4").write_bytes(film())
    (ward / "cut.dcm").write_bytes(of("P7")[:-10])
    (ward / "words.txt").write_text("Cough.")
    return ward


def pictures(out: Path) -> list[dict[str, Any]]:
    return list(rows(out / "pictures.jsonl"))


def test_all_that_was_read_is_somewhere(ward: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    report = made(ward, out)
    counted = report["pictures"]
    assert counted["read"] == 4 + 16 + 3 == counted["kept"] + counted["duplicates"]
    assert (counted["duplicates"], counted["same_across_owners"]) == (1, 1)
    assert (counted["owners"], counted["most_of_an_owner"]) == (4, 16)
    assert counted["kinds"] == {"CT": 1, "MR": 2, "US": 16, "video": 3}
    assert counted["dated"] == 19
    frames, kept = list(rows(out / "frames.jsonl")), pictures(out)
    assert [line["number"] for line in frames] == list(range(counted["read"]))
    assert [line["record"] for line in frames if "record" in line] == list(range(len(kept)))
    assert {line["file"]: line["instead"] for line in frames if "instead" in line} == {"2.dcm": 0}
    assert (frames[0]["height"], frames[0]["width"], frames[0]["place"]) == (64, 64, "frame 1")
    assert sum(file["pictures"] for file in rows(out / "files.jsonl")) == counted["read"]
    assert [row["file"] for row in rows(out / "quarantine.jsonl")] == ["cut.dcm"]


def test_a_record_names_nobody(ward: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    made(ward, out)
    person = Pseudonyms(KEY).person("P7")
    [first, other] = [one for one in pictures(out) if one["owner"] == person.pseudonym]
    assert first.keys() == {"image", "kind", "date", "owner"}
    assert (first["kind"], other["kind"]) == ("MR", "CT")
    moved = np.datetime64("2021-03-05") + person.days
    assert first["date"] == other["date"] == str(moved)
    assert "date" not in pictures(out)[-1]  # nobody is named, and no day is said
    for path in out.rglob("*"):
        if path.is_file():
            held = path.read_bytes()
            assert b"Quillfeather" not in held, path
            assert b'"P7"' not in held, path


def test_what_is_kept_is_masked(ward: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    made(ward, out)
    for record in pictures(out):
        with Image.open(io.BytesIO(base64.b64decode(record["image"]))) as image:
            pixel_HW = np.asarray(image)
        if record["kind"] in ("US", "video"):
            assert not pixel_HW[: len(pixel_HW) // 4].any()
        assert pixel_HW[len(pixel_HW) // 4 :].any()


def test_a_vertical_study_reads_them_as_they_are(ward: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    made(ward, out)
    column = ImageColumn(name="image", height=16, width=16, channels=1)
    files = [record["image"] for record in pictures(out)]
    [image_NKHW] = encode(TableTerms(columns=(column,)), [files]).contents
    assert image_NKHW.shape == (22, 1, 16, 16)
    assert image_NKHW[:, :, 8:].flatten(1).any(dim=1).all()


def test_new_ones_are_added_and_held_against_those_of_before(ward: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    made(ward, out)
    before = (out / "pictures.jsonl").read_bytes()
    (ward / "5.dcm").write_bytes(of("P8"))
    (ward / "6.dcm").write_bytes(of("P8", "CT_small.dcm"))
    report = made(ward, out)
    assert (out / "pictures.jsonl").read_bytes().startswith(before)
    assert (report["pictures"]["duplicates"], report["pictures"]["same_across_owners"]) == (2, 2)
    last = list(rows(out / "frames.jsonl"))[-2:]
    assert [line.get("instead") for line in last] == [2, None]
    whole = tmp_path / "whole"
    made(ward, whole)
    assert made(ward, whole)["pictures"] == report["pictures"]

"""A dataset has all that was read, is the same however often it was stopped, and only grows."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from client.preparation.made import NOTE, good

from fedward_client.preparation import prepare as preparing
from fedward_client.preparation.finishing import Quality, Rules
from fedward_client.preparation.identifiers.pseudonyms import Pseudonyms
from fedward_client.preparation.labels import Labels
from fedward_client.preparation.mask import Mask
from fedward_client.preparation.prepare import Way, prepare
from fedward_client.preparation.publishing import PUBLISHED
from fedward_client.preparation.store import REPORT, Store, rows
from fedward_shared.errors import DataError, StateError, UsageError
from fedward_shared.text import quality
from fedward_shared.text.duplicates import Terms
from fedward_shared.text.quality import Encoder
from fedward_simulations.data import base_models

GOOD = good()
KEY = bytes(range(32))
TERMS = {"version": 1}
LABELS = Labels({"J": "lung", "R05": "symptom"})
RULES = Rules(KEY, LABELS, False, None)
NAMES = (*PUBLISHED, REPORT)


def way(rules: Rules = RULES, processes: int = 1, **terms: Any) -> Way:
    return Way(Terms(**terms), rules, 0.7, processes, Mask(0.25, 0, 0, 0))


def silent(_step: str, _done: int, _of: int) -> None:
    """Nobody looks."""


def patients(count: int) -> bytes:
    """A table with a note of each patient, which names another person; two of patient 0 are alike."""
    lines = [
        f'patient {n},"Seen by Dr. Maria Gonzalez on 2021-03-0{n % 9 + 1}: finding {n} {n * 7}",J20.{n}'
        for n in range(count)
    ]
    return "\n".join(["patient_id,text,code", *lines, lines[0]]).encode()


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    ward = tmp_path / "ward"
    for at, names in {"a": list(GOOD), "b/deeper": ["a.txt", "letter.pdf"]}.items():
        (ward / at).mkdir(parents=True)
        for name in names:
            (ward / at / name).write_bytes(GOOD[name])
    (ward / "many.csv").write_bytes(patients(30))
    (ward / "cut.pdf").write_bytes(GOOD["letter.pdf"][:-20])
    (ward / "out").symlink_to("/etc/passwd")
    (ward / "empty.csv").touch()
    return ward


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many segments that there is something between them."""
    monkeypatch.setattr(preparing, "FILES_AT_ONCE", 4)
    monkeypatch.setattr(preparing, "DOCUMENTS_AT_ONCE", 16)


def made(
    ward: Path,
    out: Path,
    how: Way | None = None,
    progress: Callable[[str, int, int], None] = silent,
) -> dict[str, Any]:
    with Store(out, TERMS) as store:
        return prepare(ward, store, how or way(), progress)


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in NAMES}


def test_all_that_was_read_is_somewhere(ward: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    report = made(ward, out)
    files, documents = report["files"], report["documents"]
    assert files["found"] == sum(not path.is_dir() for path in ward.rglob("*"))
    assert files["found"] == files["read"] + files["quarantined"]
    assert files["quarantined"] == 3
    assert (
        documents["read"] == documents["kept"] + documents["duplicates"] + documents["low_quality"]
    )
    lines = list(rows(out / "documents.jsonl"))
    assert [line["number"] for line in lines] == list(range(documents["read"]))
    assert sum(file["documents"] for file in rows(out / "files.jsonl")) == documents["read"]
    records = list(rows(out / "records.jsonl"))
    assert len(records) == documents["kept"]
    assert [line["record"] for line in lines if "record" in line] == list(range(len(records)))
    assert {row["file"] for row in rows(out / "quarantine.jsonl")} == {
        "cut.pdf",
        "empty.csv",
        "out",
    }
    repeated = [line for line in lines if line["file"] == "many.csv" and "instead" in line]
    assert len(repeated) == 1
    first = lines[repeated[0]["instead"]]
    assert (first["file"], first["outcome"]) == ("many.csv", "kept")
    labelled = list(rows(out / "labelled.jsonl"))
    assert labelled == [record for record in records if "label" in record]
    assert report["labels"]["lung"] == 30 + 1


def test_no_name_and_no_number_of_a_patient_is_in_it(ward: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    made(ward, out)
    person = Pseudonyms(KEY).person("patient 7")
    [record] = [r for r in rows(out / "records.jsonl") if r["owner"] == person.pseudonym]
    assert record["text"].startswith("Seen by Dr. [NAME] on 20")
    assert "2021-03-08" not in record["text"]
    for path in out.rglob("*"):
        if path.is_file():
            held = path.read_bytes()
            assert b"Gonzalez" not in held, path
            assert b"patient 7" not in held, path
            assert path.parent.stat().st_mode & 0o077 == 0, path


def test_who_is_named_in_one_file_is_found_in_the_others(tmp_path: Path) -> None:
    ward = tmp_path / "ward"
    ward.mkdir()
    (ward / "a.csv").write_text("mrn,text\nP7,saw Quillfeather again\nP8,saw Quillfeather again\n")
    (ward / "z.csv").write_text("mrn,patient_name,text\np7,Zebediah Quillfeather,well\n")
    made(ward, tmp_path / "dataset")
    own, other, _ = rows(tmp_path / "dataset" / "records.jsonl")
    pseudonym = Pseudonyms(KEY).person("P7").pseudonym
    assert own["text"] == f"saw [{pseudonym}] again"
    assert "Quillfeather" in other["text"]


def test_it_is_the_same_wherever_it_was_stopped(ward: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    told: list[str] = []
    made(ward, whole, progress=lambda step, *_: told.append(step))
    names = ("read", "compare", "finish", "publish", "pictures")
    assert set(names) == set(told)
    stopped = tmp_path / "stopped"
    steps = [told.index(step) for step in names]
    for at in (*steps, steps[0] + 2, steps[4] + 2, steps[1] + 30, steps[2] + 2, len(told) - 1):
        shutil.rmtree(stopped, ignore_errors=True)
        calls = 0

        def stop(_step: str, _done: int, _of: int, at: int = at) -> None:
            nonlocal calls
            calls += 1
            if calls == at + 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            made(ward, stopped, progress=stop)
        made(ward, stopped)
        assert contents(stopped) == contents(whole), at
        assert not list((stopped / "work").glob("read-*"))
        assert not list((stopped / "work").glob("seen-*"))


def test_it_is_the_same_on_several_cores(ward: Path, tmp_path: Path) -> None:
    made(ward, tmp_path / "one")
    made(ward, tmp_path / "two", way(processes=2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_new_files_are_added_and_what_was_there_stays(ward: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    first, before = made(ward, out), contents(out)
    assert made(ward, out) == first
    assert contents(out) == before
    (ward / "more.csv").write_bytes(patients(31))
    (ward / "cut.pdf").write_bytes(GOOD["letter.pdf"])
    (ward / "many.csv").touch()
    (ward / "a" / "a.txt").unlink()
    report = made(ward, out)
    after = contents(out)
    assert after["records.jsonl"].startswith(before["records.jsonl"])
    assert report["files"]["quarantined"] == 2
    assert report["files"]["found"] == first["files"]["found"] + 1
    assert report["documents"]["duplicates"] == first["documents"]["duplicates"] + 31
    assert report["records"]["owners"] == first["records"]["owners"] + 2


def test_a_file_that_says_something_else_now_is_refused(ward: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    made(ward, out)
    before = contents(out)
    (ward / "many.csv").write_bytes(patients(29))
    with pytest.raises(DataError, match=r"1 files are others than.*many\.csv"):
        made(ward, out)
    assert contents(out) == before


def test_folders_that_are_no_datasets_are_left_alone(ward: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    made(ward, out)
    with pytest.raises(StateError, match="version was 1, now 2"):
        Store(out, {"version": 2})
    with pytest.raises(UsageError, match="no dataset of fedward"):
        Store(ward, TERMS)
    with pytest.raises(UsageError, match="no dataset of fedward"):
        Store(ward / "many.csv", TERMS)
    with pytest.raises(UsageError, match="folders apart"):
        made(ward, ward / "a" / "dataset")
    with Store(out, TERMS), pytest.raises(StateError, match="another process"):
        Store(out, TERMS)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="no files"):
        made(tmp_path / "nothing", tmp_path / "of-nothing")
    with pytest.raises(DataError, match="no such folder"):
        made(tmp_path / "nowhere", tmp_path / "of-nothing")


def test_damage_to_what_is_kept_is_found(ward: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    made(ward, out)
    segment = out / "work" / "done-0001-000000"
    segment.write_bytes(segment.read_bytes()[:-20])
    (ward / "more.csv").write_bytes(patients(3))
    with pytest.raises(StateError, match="damaged"):
        made(ward, out)


def test_low_quality_is_flagged_or_left_out(tmp_path: Path, tiny_bert_folder: Path) -> None:
    fine = [f"acute infarction of the heart, day {number}" for number in range(8)]
    bad = [f"{number}@@##{number}heart%%heart^^{number}" for number in range(8)]
    head = quality.train(Encoder(tiny_bert_folder), fine + bad, [True] * 8 + [False] * 8)
    head.save(tmp_path / "head.safetensors")
    ward = tmp_path / "ward"
    ward.mkdir()
    for number, text in enumerate(fine + bad):
        (ward / f"{number:02}.txt").write_text(text)

    def with_quality(leaves_out: bool) -> Rules:
        scoring = Quality(tiny_bert_folder, tmp_path / "head.safetensors", 0.7, leaves_out)
        return Rules(KEY, LABELS, False, scoring)

    flagged = made(ward, tmp_path / "flagged", way(with_quality(False)))
    assert (flagged["documents"]["kept"], flagged["records"]["below_cut"]) == (16, 8)
    assert sum(flagged["quality"]) == 16
    left_out = made(ward, tmp_path / "left-out", way(with_quality(True)))
    assert (left_out["documents"]["kept"], left_out["documents"]["low_quality"]) == (8, 8)
    scores = [row["quality"] for row in rows(tmp_path / "flagged" / "records.jsonl")]
    assert min(scores[:8]) >= 0.7 > max(scores[8:])


def test_names_are_found_by_a_model_where_the_rules_say_so(tmp_path: Path) -> None:
    ward = tmp_path / "ward"
    ward.mkdir()
    (ward / "a.txt").write_text("Handover: Kowalczyk is waiting for CT, potassium low.")
    made(ward, tmp_path / "rules")
    by_model = Rules(KEY, LABELS, False, None, base_models.minilm())
    report = made(ward, tmp_path / "model", way(by_model))
    [one], [other] = (rows(tmp_path / by / "records.jsonl") for by in ("rules", "model"))
    assert "Kowalczyk" in one["text"]
    assert other["text"] == one["text"].replace("Kowalczyk", "[NAME]")
    assert report["identifiers"]["found"] == {"name/model": 1}


def test_a_record_does_not_depend_on_the_others(ward: Path, tmp_path: Path) -> None:
    made(ward, tmp_path / "all")
    (tmp_path / "alone").mkdir()
    shutil.copy(ward / "many.csv", tmp_path / "alone" / "many.csv")
    made(tmp_path / "alone", tmp_path / "one")
    mine = (tmp_path / "one" / "records.jsonl").read_bytes()
    assert mine in (tmp_path / "all" / "records.jsonl").read_bytes()
    assert NOTE not in json.dumps(mine.decode())

"""Prepared records are kept for exactly what they were made of, and made anew for anything else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import texts

from fedward_shared import base_models, canonical, noted, records, tasks, tensors
from fedward_shared.charter_terms import AdapterTerms, TaskTerms
from fedward_shared.errors import DataError
from fedward_shared.records import LeftOut
from fedward_shared.tasks import prepared as module
from fedward_shared.tasks.base import Columns, StudyModel
from fedward_shared.tasks.examples import Examples
from fedward_shared.tasks.prepared import prepared


@pytest.fixture(autouse=True)
def as_in_a_new_process() -> Iterator[None]:
    module._memory.clear()
    yield
    module._memory.clear()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "records.jsonl"
    records.write_jsonl(path, texts(6))
    return path


@pytest.fixture
def model(tiny_bert_folder: Path, task: TaskTerms, adapter: AdapterTerms) -> StudyModel:
    return tasks.build(tiny_bert_folder, task, adapter)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of records of each time that a model encoded some."""
    counts: list[int] = []
    real = StudyModel.prepare

    def counted(self: StudyModel, columns: Columns) -> Examples:
        counts.append(len(columns["label"]))
        return real(self, columns)

    monkeypatch.setattr(StudyModel, "prepare", counted)
    return counts


def same(a: Examples, b: Examples) -> bool:
    return (
        torch.equal(a.hidden_PD, b.hidden_PD)
        and list(a.offsets) == list(b.offsets)
        and torch.equal(a.targets, b.targets)
    )


def test_the_second_call_encodes_nothing(model: StudyModel, data: Path, encoded: list[int]) -> None:
    first = prepared(model, "base", data, {}, None)
    assert prepared(model, "base", data, {}, None) is first
    assert encoded == [6]


def test_another_process_reads_the_file(
    model: StudyModel, data: Path, encoded: list[int], tmp_path: Path
) -> None:
    first = prepared(model, "base", data, {}, tmp_path / "cache")
    module._memory.clear()
    assert same(prepared(model, "base", data, {}, tmp_path / "cache"), first)
    assert encoded == [6]
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600


def test_what_is_kept_is_not_taken_for_anything_else(
    model: StudyModel,
    data: Path,
    encoded: list[int],
    tmp_path: Path,
    tiny_bert_folder: Path,
    task: TaskTerms,
    adapter: AdapterTerms,
) -> None:
    cache = tmp_path / "cache"
    prepared(model, "base", data, {}, cache)
    lower = adapter.model_copy(update={"layers": (0, 1)})
    head_only = AdapterTerms(method="head-only", layers=(1,))
    shorter = task.model_copy(update={"max_tokens": 4})
    turned = task.model_copy(update={"labels": ("heart", "bone")})
    for number, other in enumerate(
        (
            tasks.build(tiny_bert_folder, task, lower),
            tasks.build(tiny_bert_folder, task, head_only),
            tasks.build(tiny_bert_folder, shorter, adapter),
            tasks.build(tiny_bert_folder, turned, adapter),
        ),
        start=2,
    ):
        prepared(other, "base", data, {}, cache)
        assert len(encoded) == number
    prepared(model, base_models.digest(tiny_bert_folder), data, {}, cache)
    prepared(model, "base", data, {"text": "text"}, cache)
    assert len(encoded) == 7


def test_changed_records_are_encoded_anew(
    model: StudyModel, data: Path, encoded: list[int], tmp_path: Path
) -> None:
    for count in (6, 5):
        records.write_jsonl(data, texts(count))
        module._memory.clear()
        assert len(prepared(model, "base", data, {}, tmp_path / "cache")) == count
    assert encoded == [6, 5]


def test_who_objected_is_not_trained_on_from_what_was_kept(
    model: StudyModel, tmp_path: Path, encoded: list[int]
) -> None:
    """In one process and in the next, and again once the objection is withdrawn."""
    path, cache = tmp_path / "owned.jsonl", tmp_path / "cache"
    records.write_jsonl(path, {**texts(6), "patient": ["a", "a", "b", "b", "c", "c"]})
    everybody = prepared(model, "base", path, {}, cache, left_out=LeftOut.of("patient", []))
    for forget in (False, True):
        if forget:
            module._memory.clear()
        without = prepared(model, "base", path, {}, cache, left_out=LeftOut.of("patient", ["b"]))
        assert len(without) == 4
        kept = [0, 1, 4, 5]
        assert torch.equal(without.targets, everybody.targets[kept])
        assert len(without.hidden_PD) < len(everybody.hidden_PD)
    assert encoded == [6, 4]
    alone = tensors.decode((cache / "owned.1.safetensors").read_bytes(), "cache")
    assert len(alone["targets"]) == 4
    by_label = prepared(model, "base", path, {}, cache, left_out=LeftOut.of("label", ["b"]))
    assert len(by_label) == 6
    assert encoded == [6, 4, 6]


def test_another_file_than_the_registered_one_is_not_read(model: StudyModel, data: Path) -> None:
    digest = canonical.digest(data.read_bytes())
    assert prepared(model, "base", data, {}, None, file=digest)
    records.write_jsonl(data, texts(5))
    with pytest.raises(DataError, match=r"records\.jsonl: changed since it was registered"):
        prepared(model, "base", data, {}, None, file=digest)


@pytest.mark.parametrize("damage", [b"", b"garbage", "cut", "flipped"])
def test_a_damaged_file_is_made_anew(
    damage: bytes | str, model: StudyModel, data: Path, encoded: list[int], tmp_path: Path
) -> None:
    first = prepared(model, "base", data, {}, tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    whole = kept.read_bytes()
    middle = len(whole) // 2
    flipped = bytes([whole[middle] ^ 1])
    forms = {"cut": whole[:-1], "flipped": whole[:middle] + flipped + whole[middle + 1 :]}
    kept.write_bytes(forms[damage] if isinstance(damage, str) else damage)
    module._memory.clear()
    assert same(prepared(model, "base", data, {}, tmp_path / "cache"), first)
    assert encoded == [6, 6]
    assert kept.read_bytes() == whole


def test_a_record_that_the_task_cannot_take_names_the_file(model: StudyModel, data: Path) -> None:
    records.write_jsonl(data, {"text": ["a"], "label": ["liver"]})
    with pytest.raises(DataError, match=r"records\.jsonl: label: 'liver'"):
        prepared(model, "base", data, {}, None)


def test_only_the_last_files_stay_in_memory(model: StudyModel, tmp_path: Path) -> None:
    for number in range(module.KEPT_IN_MEMORY + 3):
        path = tmp_path / f"{number}.jsonl"
        records.write_jsonl(path, texts(2, number))
        prepared(model, "base", path, {}, None)
    assert len(module._memory) == module.KEPT_IN_MEMORY


@pytest.fixture
def of_patients(tmp_path: Path) -> Path:
    path = tmp_path / "patients.jsonl"
    columns = texts(6)
    columns["patient"] = [f"secret-{i // 2}" for i in range(6)]
    columns["ward"] = ["a"] * 6
    records.write_jsonl(path, columns)
    return path


def test_whose_a_record_is_is_kept_as_a_number(
    model: StudyModel, of_patients: Path, encoded: list[int], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    first = prepared(model, "base", of_patients, {}, cache, "patient")
    assert first.owners is not None
    assert first.owners.tolist() == [0, 0, 1, 1, 2, 2]
    module._memory.clear()
    again = prepared(model, "base", of_patients, {}, cache, "patient")
    assert same(again, first)
    assert again.owners is not None
    assert again.owners.tolist() == first.owners.tolist()
    assert encoded == [6]
    (kept,) = cache.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert b"secret" not in kept.read_bytes()


def test_another_owner_is_another_preparation(
    model: StudyModel, of_patients: Path, encoded: list[int], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    for number, owner in enumerate(["patient", "ward", None, "patient"], start=1):
        module._memory.clear()
        found = prepared(model, "base", of_patients, {}, cache, owner)
        assert (found.owners is None) == (owner is None)
        assert len(encoded) == number
    prepared(model, "base", of_patients, {}, cache, "ward")
    assert len(encoded) == 5


def test_changed_numbers_are_made_anew(
    model: StudyModel, of_patients: Path, encoded: list[int], tmp_path: Path
) -> None:
    """A patient split in two would be protected half."""
    cache = tmp_path / "cache"
    prepared(model, "base", of_patients, {}, cache, "patient")
    (kept,) = cache.iterdir()
    content, note = noted.decode(kept.read_bytes(), "test")
    content["owners"] = torch.arange(6)
    kept.write_bytes(tensors.encode(content, note=note))
    module._memory.clear()
    found = prepared(model, "base", of_patients, {}, cache, "patient")
    assert found.owners is not None
    assert found.owners.tolist() == [0, 0, 1, 1, 2, 2]
    assert encoded == [6, 6]


def test_a_record_of_nobody_is_refused_before_anything_is_encoded(
    model: StudyModel, tmp_path: Path, encoded: list[int]
) -> None:
    path = tmp_path / "patients.jsonl"
    records.write_jsonl(path, {**texts(2), "patient": ["a", " "]})
    with pytest.raises(DataError, match=r"patients\.jsonl: column 'patient'.*nobody in record 2"):
        prepared(model, "base", path, {}, tmp_path / "cache", "patient")
    assert encoded == []
    assert not (tmp_path / "cache").exists()

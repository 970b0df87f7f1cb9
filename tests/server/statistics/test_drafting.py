"""From the command line to a charter that sites can approve."""

from pathlib import Path

import pytest
from conftest import COORDINATOR, key_of
from server.test_drafting import filled, run
from shared.statistics.made import SITES

from fedward_server.cli import study
from fedward_shared.errors import CharterError, PrivacyError, UsageError
from fedward_shared.statistics import charter as charters
from fedward_shared.statistics.terms import CategoryColumn, NumberColumn

AGE, WARD = "age=number:0:120:24", 'ward=category:heart,bone,Ω "x"'


@pytest.fixture
def key(tmp_path: Path) -> Path:
    COORDINATOR.save(tmp_path / "coordinator.key")
    return tmp_path / "coordinator.key"


def draft(key: Path, *options: object, columns: tuple[str, ...] = (AGE, WARD)) -> Path:
    folder = key.parent / "study"
    given: list[object] = ["--study", "before", "--coordinator", "university", "--key", key]
    for name in SITES:
        given += ["--participant", f"{name}=100={key_of(name).public.text}"]
    for column in columns:
        given += ["--column", column]
    run(study, "draft-statistics", folder, *given, *options)
    return folder


def test_a_draft_is_signed_and_read(key: Path) -> None:
    folder = draft(
        key, "--label", "ward", "--epsilon", "0.7", "--unit", "patient", "--most-records", "3"
    )
    filled(folder)
    said = run(study, "sign", folder)
    assert "each site's answer costs it ε = 0.7 at most" in said
    found = charters.load(folder)
    assert found.statistics.columns == (
        NumberColumn(name="age", low=0, high=120, bins=24),
        CategoryColumn(name="ward", values=("heart", "bone", 'Ω "x"')),
    )
    assert (found.statistics.label, found.unit, found.statistics.most_records) == (
        "ward",
        "patient",
        3,
    )
    assert [one.name for one in found.participants] == list(SITES)
    assert "0 of 3 sites have answered" in run(study, "status", folder)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("age", "Input tag '' found"),
        ("age=number", "low: Input should be a valid number"),
        ("age=number:1", "high: Field required"),
        ("age=number:0:1:2:3", "is expected"),
        ("age=number:0:1:x", "bins"),
        ("age=number:2:1", "low is 2, high is 1"),
        ("ward=category:", "at least 1 character"),
        ("ward=text:a", "Input tag 'text'"),
        ("=category:a", "name"),
    ],
)
def test_a_column_that_is_written_wrong_is_named(key: Path, column: str, said: str) -> None:
    with pytest.raises(UsageError, match="--column") as error:
        draft(key, columns=(column,))
    assert said in str(error.value)
    assert not (key.parent / "study").exists()


def test_what_cannot_be_had_together_is_said(key: Path) -> None:
    with pytest.raises(UsageError, match="label: age is no category"):
        draft(key, "--label", "age")
    with pytest.raises(PrivacyError):
        draft(key, "--epsilon", "0")


def test_nothing_is_written_over_and_nothing_unsigned_counts(key: Path) -> None:
    folder = draft(key)
    with pytest.raises(UsageError, match="is there already"):
        draft(key)
    with pytest.raises(CharterError, match="purpose"):
        run(study, "sign", folder)
    assert not (folder / "charter.json").exists()

"""The clinosim notes: disjoint households, judged facts, the same records for the same seed."""

import sys

import pytest

from fedward_shared.errors import MissingExtra
from fedward_simulations.data import notes

SITES, RECORDS, HELD_OUT = 3, 8, 6


@pytest.fixture(scope="module")
def split() -> notes.NotesSplit:
    return notes.load(0, SITES, RECORDS, HELD_OUT)


def test_sizes(split: notes.NotesSplit) -> None:
    assert [len(side) for side in split.sites] == [RECORDS] * SITES
    assert len(split.held_out) == HELD_OUT


def test_a_patient_gives_one_record_to_one_side(split: notes.NotesSplit) -> None:
    patients = [note.patient for side in [*split.sites, split.held_out] for note in side]
    assert len(set(patients)) == len(patients) == SITES * RECORDS + HELD_OUT


def test_a_note_is_an_instruction(split: notes.NotesSplit) -> None:
    for note in sum(split.sites, split.held_out):
        task, seen, vitals, *_ = note.prompt.splitlines()
        assert task == "Write the assessment and plan."
        assert "-year-old" in seen
        assert "Visit: " in seen
        assert vitals.startswith("Vitals: ")
        assert note.prompt.endswith(".\n")
        *judged, plan = note.completion.splitlines()
        assert 1 <= len(judged) <= notes.PROBLEMS_PER_NOTE
        assert plan.startswith("Next visit: in ")
        assert "not condition-specific" not in note.completion


def test_the_assessment_speaks_of_the_facts(split: notes.NotesSplit) -> None:
    pressures = [
        (note.prompt, line.partition(": BP ")[2].partition(" mmHg")[0])
        for note in sum(split.sites, split.held_out)
        for line in note.completion.splitlines()
        if "hypertension: BP " in line
    ]
    assert pressures
    assert all(f"BP {pressure} mmHg" in prompt for prompt, pressure in pressures)


def test_the_seed_decides(split: notes.NotesSplit) -> None:
    assert notes.load(0, SITES, RECORDS, HELD_OUT) == split
    assert notes.load(1, 1, 1, 1).held_out != split.held_out[:1]


def test_households_stay_whole() -> None:
    households = [
        [notes.Note("p", "c", f"{home}.{person}") for person in range(1 + home % 3)]
        for home in range(30)
    ]
    sides = notes._deal(households, [10, 10, 10], seed=0)
    assert sides is not None
    homes = [{note.patient.partition(".")[0] for note in side} for side in sides]
    assert sum(map(len, homes)) == len(set().union(*homes))
    assert notes._deal(households, [60, 10], seed=0) is None


def test_without_clinosim_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "clinosim.api", None)
    with pytest.raises(MissingExtra, match=r"fedward-simulations\[data\]"):
        notes.load(0, 1, 1, 1)


@pytest.mark.slow
def test_the_default_size() -> None:
    split = notes.load(0)
    assert [len(side) for side in split.sites] == [256] * 3
    assert len({note.completion for side in split.sites for note in side}) > 600

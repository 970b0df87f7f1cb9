"""Near-duplicates: who stays, what one unit decides for others, and what a killed process leaves."""

import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fedward_shared.errors import DataError, StateError, UsageError
from fedward_shared.text import signatures
from fedward_shared.text.duplicates import Index, Report, Terms
from fedward_shared.text.signatures import BANDS, sketch
from fedward_shared.text.workers import processes

pytest.importorskip("datasketch")
NOTE = (
    "patient denies chest pain and fever and was seen in the clinic on monday "
    "with a dry cough since a week"
)
WORDS = NOTE.split()

DOCUMENTS = st.lists(
    st.tuples(
        st.lists(st.integers(0, len(WORDS) - 1), max_size=2),
        st.sampled_from("pqrs"),
    ),
    max_size=14,
)
"""Notes in which none, one or two words are others, and whose each is."""


def texts_of(drawn: list[tuple[list[int], str]]) -> list[str]:
    return [
        " ".join("other" if place in changed else word for place, word in enumerate(WORDS))
        for changed, _ in drawn
    ]


def compared(
    texts: list[str], units: list[str], terms: Terms, sizes: int = 100
) -> tuple[list[int], bytes]:
    """Who is left out for whom, and the links, of an index that is opened anew for every `sizes`."""
    with TemporaryDirectory() as folder:
        for first in range(0, len(texts), sizes):
            with Index(Path(folder), terms) as index:
                index.add(texts[first : first + sizes], units[first : first + sizes])
        with Index(Path(folder), terms) as index:
            return index.instead().tolist(), index.links().tobytes()


def one_by_one(texts: list[str], units: list[str], terms: Terms) -> list[int]:
    """The rule as the module states it, without any index."""
    if not texts:
        return []
    one = sketch(texts, terms.seed)
    sets = [set(part.tolist()) for part in np.split(one.shingles_S, one.starts[1:-1])]

    def alike(a: int, b: int) -> bool:
        return len(sets[a] & sets[b]) / len(sets[a] | sets[b]) >= terms.threshold

    instead = list(range(len(texts)))
    for later in range(len(texts)):
        for earlier in range(later):
            candidates = (one.keys_DB[later] == one.keys_DB[earlier]).any()
            same = units[later] == units[earlier] and instead[earlier] == earlier
            if candidates and same and alike(later, earlier):
                instead[later] = earlier
                break
    kept = [number for number in range(len(texts)) if instead[number] == number]
    for place, later in enumerate(kept):
        found = []
        for band in range(terms.suppresses):
            bucket = [e for e in kept[:place] if one.keys_DB[e, band] == one.keys_DB[later, band]]
            found += [bucket[-1]] if bucket and alike(later, bucket[-1]) else []
        instead[later] = min(found, default=later)
    return instead


@settings(deadline=None, max_examples=30)
@example([([18], "p"), ([0, 13], "p"), ([], "p")], 0.5, 0, 1)  # the first through one band alone
@given(
    DOCUMENTS,
    st.sampled_from([0.5, 0.7, 0.85]),
    st.sampled_from([0, 1, 5, BANDS]),
    st.integers(1, 5),
)
def test_who_stays_is_what_the_rule_says_in_however_many_calls(
    drawn: list[tuple[list[int], str]], threshold: float, suppresses: int, sizes: int
) -> None:
    texts, units = texts_of(drawn), [unit for _, unit in drawn]
    terms = Terms(threshold, 1, suppresses)
    at_once = compared(texts, units, terms)
    assert at_once[0] == one_by_one(texts, units, terms)
    assert compared(texts, units, terms, sizes) == at_once


@settings(deadline=None, max_examples=30)
@given(DOCUMENTS, st.sampled_from([0.5, 0.85]), st.sampled_from([0, 1, 4, BANDS]))
def test_a_unit_decides_the_presence_of_at_most_so_many_documents_of_others(
    drawn: list[tuple[list[int], str]], threshold: float, suppresses: int
) -> None:
    texts, units = texts_of(drawn), [unit for _, unit in drawn]
    assume(texts)
    terms = Terms(threshold, 1, suppresses)
    with_all = one_by_one(texts, units, terms)
    assert with_all == compared(texts, units, terms)[0]
    within = one_by_one(texts, units, Terms(threshold, 1, 0))
    for gone in set(units):
        others = [number for number, unit in enumerate(units) if unit != gone]
        without, _ = compared([texts[n] for n in others], [units[n] for n in others], terms)
        presence = [(with_all[n] == n, without[place] == place) for place, n in enumerate(others)]
        remaining = sum(unit == gone and within[n] == n for n, unit in enumerate(units))
        assert sum(before != after for before, after in presence) <= suppresses * remaining


def test_across_units_documents_are_reported_and_stay(tmp_path: Path) -> None:
    with Index(tmp_path) as index:
        index.add([NOTE, NOTE.upper(), NOTE, "something else"], ["p", "P ", "q", "q"])
        assert index.instead().tolist() == [0, 0, 2, 3]
        (link,) = index.links()
        assert (link["later"], link["earlier"], link["similarity"]) == (2, 0, 1.0)
        assert index.report() == Report(documents=4, stay=3, within=1, across=0, alike=1)


def test_across_units_the_first_stays_where_the_caller_says_so(tmp_path: Path) -> None:
    with Index(tmp_path, Terms(suppresses=1)) as index:
        index.add([NOTE] * 4, ["p", "q", "q", "r"])
        assert index.instead().tolist() == [0, 0, 1, 1]
        assert index.report() == Report(documents=4, stay=1, within=1, across=2, alike=2)


def test_thousands_of_one_unit_are_passed_in_one_step(tmp_path: Path) -> None:
    with Index(tmp_path) as index:
        index.add([NOTE] * 5000, ["p"] * 5000)
        assert not index.instead().any()


def test_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "PIECE", 4)
    texts = [f"{NOTE} {number % 9} {number % 4}" for number in range(40)]
    units = [f"p{number % 3}" for number in range(40)]
    with processes(2) as work, Index(tmp_path / "two") as two:
        two.add(texts, units, work)
    with Index(tmp_path / "one") as one:
        one.add(texts, units)
    files = [p.name for p in sorted((tmp_path / "one").iterdir())]
    assert files == [p.name for p in sorted((tmp_path / "two").iterdir())]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
from fedward_shared.text import duplicates, shelf, signatures
signatures.PIECE = duplicates.BATCH = 3
calls = 0
def fsync(handle, real=os.fsync):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)
os.fsync = fsync
with duplicates.Index(Path(sys.argv[1])) as index:
    texts = sys.argv[3].split("|")[len(index):]
    index.add(texts, (["p", "q"] * 20)[len(index):])
"""


def test_one_that_is_killed_anywhere_goes_on_to_the_same_result(tmp_path: Path) -> None:
    texts = [f"{NOTE} {number % 5} {number % 3}" for number in range(40)]
    units = ["p", "q"] * 20
    expected = compared(texts, units, Terms())
    for call in (1, 3, 7, 8, 12, 16):
        folder = tmp_path / str(call)
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(folder), str(call), "|".join(texts)]
        )
        assert done.returncode == -signal.SIGKILL
        with Index(folder) as index:
            assert len(index) < len(texts)
            index.add(texts[len(index) :], units[len(index) :])
            assert (index.instead().tolist(), index.links().tobytes()) == expected


def test_a_full_disk_is_said_and_what_counted_still_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with Index(tmp_path) as index:
        index.add([NOTE], ["p"])
        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", full)
            with pytest.raises(StateError, match="No space left"):
                index.add([NOTE, NOTE], ["p", "q"])
    with Index(tmp_path) as index:
        assert len(index) == 1
        index.add([NOTE, NOTE], ["p", "q"])
        assert index.instead().tolist() == [0, 0, 2]


def test_a_folder_keeps_to_its_terms_and_to_one_process(tmp_path: Path) -> None:
    with Index(tmp_path) as index:
        index.add([NOTE], ["p"])
        with pytest.raises(StateError, match="in use"):
            Index(tmp_path)
    with pytest.raises(StateError, match="made under"):
        Index(tmp_path, Terms(seed=2))
    (tmp_path / "shingles.bin").write_bytes(b"")
    with pytest.raises(StateError, match="cut off"):
        Index(tmp_path)
    (tmp_path / "shelf.json").write_bytes(b"{")
    with pytest.raises(StateError, match="damaged"):
        Index(tmp_path)


def test_texts_and_units_are_as_many(tmp_path: Path) -> None:
    with Index(tmp_path) as index:
        with pytest.raises(DataError, match="more texts"):
            index.add([NOTE, NOTE], ["p"])
        with pytest.raises(DataError, match="more units"):
            index.add([NOTE], ["p", "q"])
        index.add([], [])
        assert len(index) == 0


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0.2}, {"threshold": 1.1}, {"seed": -1}, {"suppresses": 17}]
)
def test_terms_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Terms(**wrong)  # type: ignore[arg-type]

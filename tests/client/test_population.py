"""One account for each population: whatever was done to the file, its records are known again."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
import tomli_w
from conftest import COORDINATOR, key_of, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_client import population
from fedward_client.ledger import Ledger, Limit
from fedward_client.population import check_registered, fingerprint, register
from fedward_client.recovery import recover
from fedward_client.registry import Registration
from fedward_client.settings import DatasetSettings
from fedward_client.site import Site
from fedward_shared import audit, canonical, records
from fedward_shared.errors import AuditError, DataError, StateError
from fedward_shared.privacy.plan import Event

KEY = b"k" * 32
NOTES = [f"Patient {number} was seen for a cough." for number in range(20)]


def dataset(path: Path, account: str = "people", **fields: Any) -> DatasetSettings:
    return DatasetSettings(path=path, account=account, epsilon=8.0, **fields)


def write(path: Path, notes: list[str], **columns: list[Any]) -> Path:
    table = pl.DataFrame({"text": notes, "label": ["a", "b"] * (len(notes) // 2), **columns})
    {".jsonl": table.write_ndjson, ".csv": table.write_csv, ".parquet": table.write_parquet}[
        path.suffix
    ](path)
    return path


def ignore(_registration: Registration) -> None:
    """No log is kept."""


def enter(ledger: Ledger, name: str, dataset: DatasetSettings) -> tuple[Registration, bool]:
    return register(ledger, KEY, name, dataset, ignore)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger in which NOTES belong to the account people."""
    with closing(Ledger(tmp_path / "ledger.sqlite")) as opened:
        enter(opened, "records", dataset(write(tmp_path / "records.jsonl", NOTES)))
        yield opened


def test_a_registration_says_what_was_registered(ledger: Ledger, tmp_path: Path) -> None:
    made = ledger.registry.of("records")
    assert made is not None
    assert (made.number, made.account, made.records) == (1, "people", 20)
    assert made.file == canonical.digest((tmp_path / "records.jsonl").read_bytes())
    assert ledger.registry.of("others") is None
    again, new = enter(ledger, "records", dataset(tmp_path / "records.jsonl"))
    assert (again, new) == (made, False)


SAME: dict[str, Callable[[list[str]], list[str]]] = {
    "renamed": lambda notes: notes,
    "in another order": lambda notes: notes[::-1],
    "filtered": lambda notes: notes[4:8],
    "overlapping in two": lambda notes: [*notes[:2], *(f"new {n}" for n in range(10))],
    "in capitals": lambda notes: [note.upper() for note in notes],
    "with other white space": lambda notes: [note.replace(" ", " \t ") + "\n" for note in notes],
    "in full-width letters": lambda notes: [
        "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in note) for note in notes
    ],
}


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("change", SAME)
def test_the_same_records_under_another_account_are_refused(
    change: str, ending: str, ledger: Ledger, tmp_path: Path
) -> None:
    path = write(tmp_path / f"prepared{ending}", SAME[change](NOTES))
    with pytest.raises(DataError) as caught:
        enter(ledger, "prepared", dataset(path, "others"))
    message = str(caught.value)
    shared = {"filtered": 4, "overlapping in two": 2}.get(change, 20)
    assert f"it shares {shared} with the account people" in message
    assert 'write account = "people" under [datasets.prepared] in site.toml' in message
    assert ledger.registry.of("prepared") is None
    made, new = enter(ledger, "prepared", dataset(path, "people"))
    assert (made.number, new) == (2, True)


def test_other_records_have_another_account(ledger: Ledger, tmp_path: Path) -> None:
    path = write(tmp_path / "others.jsonl", [f"Other {n}" for n in range(6)])
    assert enter(ledger, "others", dataset(path, "others"))[0].account == "others"


def test_an_account_keeps_the_records_of_every_version(ledger: Ledger, tmp_path: Path) -> None:
    """The file loses a record, and the account does not."""
    path = tmp_path / "records.jsonl"
    write(path, NOTES[:18])
    assert enter(ledger, "records", dataset(path))[0].number == 2
    write(tmp_path / "rest.jsonl", NOTES[18:])
    with pytest.raises(DataError, match="of 2 records it shares 2 with the account people"):
        enter(ledger, "rest", dataset(tmp_path / "rest.jsonl", "rest"))


def test_a_file_of_two_populations_has_no_account(ledger: Ledger, tmp_path: Path) -> None:
    others = [f"Other {n}" for n in range(6)]
    enter(ledger, "others", dataset(write(tmp_path / "others.jsonl", others), "others"))
    both = write(tmp_path / "both.jsonl", NOTES[:2] + others[:4])
    for account, said in (
        ("people", "it shares 4 with the account others"),
        ("others", "it shares 2 with the account people"),
        ("new", "it shares 4 with the account others, 2 with the account people"),
    ):
        with pytest.raises(DataError) as caught:
            enter(ledger, "both", dataset(both, account))
        assert said in str(caught.value)
        assert "no account covers all of others, people: keep the records of one" in str(
            caught.value
        )


def test_an_owner_is_known_again_by_other_notes(ledger: Ledger, tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", ["first visit", "first call"], patient=["p1", "p2"])
    second = write(tmp_path / "b.jsonl", ["second visit", "new"], patient=["P2 ", "p3"])
    enter(ledger, "a", dataset(first, "visits", owner="patient"))
    with pytest.raises(DataError, match="of 2 records it shares 1 with the account visits"):
        enter(ledger, "b", dataset(second, "calls", owner="patient"))
    assert enter(ledger, "b", dataset(second, "calls"))[1]


def test_a_pseudonym_made_anew_does_not_hide_the_note(ledger: Ledger, tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", ["note one", "note two"], patient=["x1", "x2"])
    again = write(tmp_path / "b.jsonl", ["note one", "note two"], patient=["y8", "y9"])
    enter(ledger, "a", dataset(first, "visits", owner="patient"))
    for owner in ("patient", None):
        with pytest.raises(DataError, match="shares 2 with the account visits"):
            enter(ledger, "b", dataset(again, "again", owner=owner))


def test_a_prompt_and_its_completion_are_one_content(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    rows = [{"prompt": "Summarise:", "completion": f"note {n}"} for n in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    read = fingerprint(KEY, "d", dataset(path))
    assert len({*read.records}) == 3
    assert [len(record) for record in read.records] == [1, 1, 1]


def test_empty_texts_are_nobodys(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "blank.jsonl"
    records.write_jsonl(path, {"text": ["", "  ", "a note"], "label": ["a", "b", "a"]})
    read = fingerprint(KEY, "blank", dataset(path))
    assert [len(record) for record in read.records] == [0, 0, 1]
    enter(ledger, "blank", dataset(path, "one"))
    records.write_jsonl(path, {"text": ["\t", "another note"], "label": ["a", "b"]})
    assert enter(ledger, "other", dataset(path, "two"))[1]


def test_without_the_key_a_fingerprint_says_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", NOTES)
    one, other = (fingerprint(key, "r", dataset(path)) for key in (KEY, b"x" * 32))
    assert one.file == other.file
    assert not {*one.records} & {*other.records}
    assert {len(f) for record in one.records for f in record} == {16}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({}, r"no column for text, .* datasets\.d; it has note, label"),
        ({"columns": {"text": "nota"}}, "no column for text"),
        ({"owner": "patient"}, "no column 'patient'"),
        ({"owner": "age"}, "decimal point"),
    ],
)
def test_what_has_no_text_and_no_owner(tmp_path: Path, columns: dict[str, Any], said: str) -> None:
    path = tmp_path / "d.jsonl"
    table = {"note": ["a", "b"], "label": ["x", "y"]}
    pl.DataFrame(table | ({"age": [1.5, 2.0]} if "owner" in columns else {})).write_ndjson(path)
    with closing(Ledger(tmp_path / "l.sqlite")) as ledger:
        with pytest.raises(DataError, match=said):
            enter(ledger, "d", dataset(path, **columns))
        assert list(ledger.registry.all()) == []


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=5))
@settings(max_examples=40)
def test_whatever_the_texts_are_the_same_file_is_known_again(notes: list[str]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "r.jsonl"
        records.write_jsonl(path, {"text": notes, "label": ["a"] * len(notes)})
        with closing(Ledger(Path(folder) / "l.sqlite")) as ledger:
            enter(ledger, "r", dataset(path, "one"))
            shared = sum(1 for note in notes if records.normalised(note))
            if not shared:
                assert enter(ledger, "s", dataset(path, "two"))[1]
                return
            with pytest.raises(DataError, match=f"it shares {shared} with the account one"):
                enter(ledger, "s", dataset(path, "two"))


# A file at training time


def test_a_file_that_is_as_registered_passes(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    digest = canonical.digest(path.read_bytes())
    assert check_registered(ledger, "records", dataset(path)) == digest
    shutil.copy(path, tmp_path / "moved.jsonl")
    assert check_registered(ledger, "records", dataset(tmp_path / "moved.jsonl")) == digest


def test_a_file_that_changed_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    check_registered(ledger, "records", dataset(path))
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # nor does an old date help
    with pytest.raises(DataError, match=r"changed since .* `fedward site register records`"):
        check_registered(ledger, "records", dataset(path))
    path.unlink()
    with pytest.raises(DataError, match=r"records\.jsonl: cannot be read"):
        check_registered(ledger, "records", dataset(path))


@pytest.mark.parametrize("change", [{"columns": {"text": "label"}}, {"owner": "text"}])
def test_other_columns_are_another_dataset(
    change: dict[str, Any], ledger: Ledger, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="changed since it was registered"):
        check_registered(ledger, "records", dataset(tmp_path / "records.jsonl", **change))
    other = {"columns": {"label": "text"}}  # a label is in no fingerprint
    assert check_registered(ledger, "records", dataset(tmp_path / "records.jsonl", **other))


def test_another_account_and_an_unknown_dataset(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with pytest.raises(DataError, match='registered with account = "people"; '):
        check_registered(ledger, "records", dataset(path, "others"))
    with pytest.raises(DataError, match=r"datasets\.notes was never registered; run"):
        check_registered(ledger, "notes", dataset(path))


def test_a_digest_is_known_again_without_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "r.jsonl", NOTES)
    first = population.file_digest(path)
    reads: list[Path] = []
    real = Path.open

    def counted(self: Path, *arguments: Any, **options: Any) -> Any:
        reads.append(self)
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", counted)
    assert population.file_digest(path) == first
    assert reads == []
    path.touch()
    assert population.file_digest(path) == first
    assert reads == [path]


# What happens to the ledger


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The settings of a site with a witness and 24 records."""
    folder = tmp_path / "site"
    records.write_jsonl(folder / "records.jsonl", texts(24))
    key_of("north").save(folder / "site.key")
    content = {
        "name": "north",
        "coordinators": {"university": COORDINATOR.public.text},
        "base_models": [],
        "witness": "../elsewhere/witness.json",
        "datasets": {"records": {"path": "records.jsonl", "account": "people", "epsilon": 8.0}},
    }
    (folder / "site.toml").write_text(tomli_w.dumps(content), "utf-8")
    return folder / "site.toml"


def entries(home: Path) -> list[audit.Entry]:
    return audit.read(home.parent / "state" / "audit.jsonl", key_of("north").public)


def test_the_log_has_counts_and_digests_and_no_record(home: Path) -> None:
    with closing(Site.open(home)) as site:
        made, _ = site.register("records")
        site.register("records")
    _, entry = entries(home)
    assert entry.event == "registered"
    assert entry.details["registration"] == made.as_json()
    written = (home.parent / "state" / "audit.jsonl").read_text("utf-8")
    assert "femur" not in written
    with closing(Site.open(home)) as site, pytest.raises(DataError, match=r"datasets\.notes"):
        site.register("notes")


def test_what_cannot_be_logged_is_not_registered(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise AuditError("disk full")

    with closing(Site.open(home)) as site:
        monkeypatch.setattr(site.audit, "append", full)
        with pytest.raises(AuditError, match="disk full"):
            site.register("records")
        assert site.ledger.registry.of("records") is None


class PowerCut(BaseException):
    """Nothing catches it."""


def test_a_registration_that_a_crash_cut_off_is_given_up_and_made_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site.open(home)
    real = site.log

    def cut(event: str, **details: object) -> None:
        real(event, **details)
        raise PowerCut

    monkeypatch.setattr(site, "log", cut)
    with pytest.raises(PowerCut):
        site.register("records")
    for _ in range(2):
        with closing(Site.open(home)) as again:
            assert again.ledger.registry.of("records") is None
    with closing(Site.open(home)) as again:
        assert again.register("records")[0].number == 1
    with closing(Site.open(home)):
        pass
    events = [entry.event for entry in entries(home)]
    assert events == ["witnessed", "registered", "registration given up", "registered"]


def book(site: Site, number: int) -> None:
    event = Event("poisson-gaussian", 0.1, 4.0, 10)
    limits = [Limit(name, "site.toml", 8.0, 1e-5) for name in ("people", "sha256:" + "0" * 64)]
    site.ledger.reserve(
        *limits, number, "r", event, lambda made: site.log("reserved", booking=made.as_json())
    )


@pytest.mark.parametrize("restored", [1, 2])
def test_an_older_copy_that_lacks_a_registration_is_refused(
    restored: int, home: Path, tmp_path: Path
) -> None:
    """Also the copy of just before registration and booking, which lacks one of each."""
    state = home.parent / "state"
    with closing(Site.open(home)) as site:
        if restored == 2:
            site.register("records")
            records.write_jsonl(home.parent / "records.jsonl", texts(30))
    copy = shutil.copytree(state, tmp_path / "older")
    with closing(Site.open(home)) as site:
        site.register("records")
        book(site, 1)
    for path in state.glob("ledger.sqlite*"):
        path.unlink()
    for path in copy.glob("ledger.sqlite*"):
        shutil.copy(path, state / path.name)
    said = f"ends at booking 0 and registration {restored - 1}, .* booking 1 and registration {restored}"
    with pytest.raises(StateError, match=said):
        Site.open(home)
    lines = recover(home, "the disk failed", "anna")
    assert lines[0].endswith("now booked: 1")
    assert "registrations of which the fingerprints are lost: 1" in lines[1]
    with closing(Site.open(home)) as site:
        assert site.ledger.spending("people").bookings == 1
        assert site.register("records")[1]
    with closing(Site.open(home)):
        pass


def test_registrations_and_fingerprints_that_were_changed_are_noticed(home: Path) -> None:
    path = home.parent / "state" / "ledger.sqlite"
    with closing(Site.open(home)) as site:
        site.register("records")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "DELETE FROM fingerprints WHERE fingerprint IN (SELECT min(fingerprint) FROM fingerprints)"
        )
    records.write_jsonl(home.parent / "records.jsonl", texts(30))
    with (
        closing(Site.open(home)) as site,
        pytest.raises(StateError, match="fingerprints of regist"),
    ):
        site.register("records")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE registrations SET account = 'others'")
    with pytest.raises(StateError, match="registration 1 is not what was registered"):
        Site.open(home)

"""Whatever is done to a log, the line is named; a crash leaves whole entries."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_shared import audit
from fedward_shared.audit import EMPTY, AuditLog, Head
from fedward_shared.errors import AuditError
from fedward_shared.identity import SigningKey

KEY = SigningKey.from_seed(bytes(32))
OTHER = SigningKey.from_seed(b"\x01" * 32)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    writer = AuditLog(path, KEY)
    for number in range(1, 6):
        writer.append("reserved", {"round": number}, NOON)
    writer.close()
    return path


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_what_is_written_is_read(log: Path) -> None:
    entries = list(audit.read(log, KEY.public))
    assert [entry.number for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.details for entry in entries] == [{"round": n} for n in range(1, 6)]
    assert entries[0].at == "2026-11-24T12:00:00.000+00:00"
    again = AuditLog(log, KEY)
    assert again.head == entries[-1].head
    assert log.stat().st_mode & 0o777 == 0o600
    audit.check_heads(entries, [EMPTY, *(entry.head for entry in entries)], log)


TAMPERINGS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "a digit changed": (
        lambda c: [*c[:2], c[2].replace(b'"round":3', b'"round":4'), *c[3:]],
        "line 3: the signature .* the line was changed",
    ),
    "deleted": (lambda c: [*c[:2], *c[3:]], "line 3: it is entry 4: a line before it was deleted"),
    "first deleted": (lambda c: c[1:], "line 1: it is entry 2"),
    "repeated": (lambda c: [*c[:3], c[2], *c[3:]], "line 4: it is entry 3"),
    "reordered": (lambda c: [c[0], c[2], c[1], *c[3:]], "line 2: it is entry 3"),
    "cut within a line": (lambda c: [*c[:4], c[4][:-9]], "line 5: the line is cut off"),
    "a line of nothing": (lambda c: [*c[:3], b"\n", *c[3:]], "line 4: not canonical JSON"),
    "white space": (lambda c: [*c[:3], b" " + c[3], *c[4:]], "line 4: not canonical JSON"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_named_by_line(name: str, log: Path) -> None:
    change, said = TAMPERINGS[name]
    log.write_bytes(b"".join(change(lines(log))))
    with pytest.raises(AuditError, match=said):
        list(audit.read(log, KEY.public))


def test_an_entry_of_somebody_else_is_refused(log: Path, tmp_path: Path) -> None:
    forged = AuditLog(tmp_path / "forged", OTHER)
    for number in range(1, 6):
        forged.append("reserved", {"round": number}, NOON)
    log.write_bytes(b"".join([*lines(log)[:3], *lines(tmp_path / "forged")[3:]]))
    with pytest.raises(AuditError, match="line 4: not signed by this institution"):
        list(audit.read(log, KEY.public))


def test_another_history_signed_with_the_right_key_does_not_chain(
    log: Path, tmp_path: Path
) -> None:
    other = AuditLog(tmp_path / "other", KEY)
    for number in range(1, 6):
        other.append("reserved", {"round": number + 10}, NOON)
    log.write_bytes(b"".join([*lines(log)[:3], *lines(tmp_path / "other")[3:]]))
    with pytest.raises(AuditError, match="line 4: it does not follow the line before it"):
        list(audit.read(log, KEY.public))


def test_an_end_that_was_cut_off_shows_against_a_kept_head(log: Path) -> None:
    entries = list(audit.read(log, KEY.public))
    kept = [entries[1].head, entries[4].head]
    log.write_bytes(b"".join(lines(log)[:4]))
    shorter = list(audit.read(log, KEY.public))
    with pytest.raises(AuditError, match="ends at entry 4, but entry 5 was seen elsewhere"):
        audit.check_heads(shorter, kept, log)
    with pytest.raises(AuditError, match="line 2: another entry was seen elsewhere"):
        audit.check_heads(shorter, [Head(2, entries[0].head.digest)], log)


def test_a_last_line_that_a_crash_cut_off_is_removed(log: Path) -> None:
    whole = log.read_bytes()
    log.write_bytes(whole + lines(log)[4][:50])
    writer = AuditLog(log, KEY)
    assert writer.head.number == 5
    assert log.read_bytes() == whole
    assert writer.append("reserved", {}, NOON).number == 6
    assert len(list(audit.read(log, KEY.public))) == 6


def test_two_writers_make_one_chain(log: Path) -> None:
    one, two = AuditLog(log, KEY), AuditLog(log, KEY)
    for number in range(6):
        (one if number % 2 else two).append("refused", {}, NOON)
    assert [entry.number for entry in audit.read(log, KEY.public)] == list(range(1, 12))


def test_a_full_disk_leaves_what_was_there(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = AuditLog(log, KEY)
    whole = log.read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:20]))
    with pytest.raises(AuditError, match="No space left"):
        writer.append("reserved", {}, NOON)
    monkeypatch.undo()
    assert log.read_bytes() == whole
    assert writer.append("reserved", {}, NOON).number == 6


def test_a_blinded_head_is_the_same_for_the_same_key_alone() -> None:
    head = Head(3, audit.START)
    assert head.blinded(bytes(32)) == head.blinded(bytes(32))
    assert head.blinded(bytes(32)) != head.blinded(b"\x01" * 32)
    assert head.blinded(bytes(32)) != Head(4, audit.START).blinded(bytes(32))


@settings(max_examples=200)
@given(data=st.data())
def test_no_byte_can_be_changed(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("flip") / "audit.jsonl"
    writer = AuditLog(path, KEY)
    for number in range(3):
        writer.append("cleared", {"digest": "sha256:" + "0" * 64, "round": number}, NOON)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(AuditError, match=r"line [123]"):
        list(audit.read(path, KEY.public))

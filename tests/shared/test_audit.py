"""Whatever is done to a log, the line is named; a crash leaves whole entries."""

import os
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_shared import audit
from fedward_shared.audit import EMPTY, KEY_CHANGED, AuditLog, Head
from fedward_shared.errors import AuditError
from fedward_shared.identity import SigningKey
from fedward_shared.key_change import KeyChange

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


NEW = SigningKey.from_seed(b"\x02" * 32)


def change(old: SigningKey, new: SigningKey) -> dict[str, str]:
    said = KeyChange(site="north", old=old.public.text, new=new.public.text, at="now")
    return {"change": said.signed(old, new).decode()}


@pytest.fixture
def rotated(log: Path) -> Path:
    """Five entries of KEY, its change to NEW, and three of NEW."""
    with closing(AuditLog(log, KEY)) as writer:
        writer.append(KEY_CHANGED, change(KEY, NEW), NOON)
    with closing(AuditLog(log, NEW)) as writer:
        for number in range(7, 10):
            writer.append("reserved", {"round": number}, NOON)
    return log


def test_a_log_is_one_across_a_change_of_key(rotated: Path) -> None:
    for key in (KEY, NEW):
        entries = audit.read(rotated, key.public)
        assert [entry.number for entry in entries] == list(range(1, 10))
        assert [entry.signer for entry in entries] == [KEY.public] * 6 + [NEW.public] * 3
    with pytest.raises(AuditError, match="line 1: not signed by this institution"):
        audit.read(rotated, OTHER.public)


def test_the_old_key_writes_no_more(rotated: Path) -> None:
    with pytest.raises(AuditError, match=rf"the key was changed to {NEW.public}, but the site has"):
        AuditLog(rotated, KEY)
    with pytest.raises(AuditError, match="line 1: not signed by this institution"):
        AuditLog(rotated, OTHER)


def test_a_process_that_had_the_old_key_writes_no_more(log: Path) -> None:
    slow, quick = AuditLog(log, KEY), AuditLog(log, KEY)
    quick.append(KEY_CHANGED, change(KEY, NEW), NOON)
    whole = log.read_bytes()
    with pytest.raises(AuditError, match="the key was changed"):
        slow.append("reserved", {}, NOON)
    with pytest.raises(AuditError, match="the key was changed"):
        quick.append("reserved", {}, NOON)
    assert log.read_bytes() == whole


def test_what_the_old_key_signs_after_its_change_is_refused(rotated: Path, tmp_path: Path) -> None:
    """Whoever has stolen the old key cannot go on with the log."""
    before = lines(rotated)[:6]
    stolen = tmp_path / "stolen.jsonl"
    stolen.write_bytes(b"".join(before[:5]))
    with closing(AuditLog(stolen, KEY)) as thief:
        thief.append("reserved", {"round": 6}, NOON)
        thief.append("reserved", {"round": 7}, NOON)
    rotated.write_bytes(b"".join([*before, lines(stolen)[6]]))
    with pytest.raises(AuditError, match=rf"line 7: not signed by this institution \({NEW.public}"):
        audit.read(rotated, KEY.public)
    with pytest.raises(AuditError, match="line 1: not signed by this institution"):
        audit.read(stolen, NEW.public)


@pytest.mark.parametrize(
    "details",
    [{}, {"change": None}, {"change": "{}"}, change(OTHER, NEW), change(NEW, KEY)],
    ids=["nothing", "null", "empty", "of others", "turned round"],
)
def test_a_change_that_the_keys_did_not_sign_is_not_written(
    details: dict[str, str], log: Path
) -> None:
    whole = log.read_bytes()
    with closing(AuditLog(log, KEY)) as writer:
        with pytest.raises(AuditError, match=r"line 6: .*the key was not changed rightly"):
            writer.append(KEY_CHANGED, details, NOON)
        assert writer.append("reserved", {}, NOON).number == 6
    assert log.read_bytes()[: len(whole)] == whole


def test_a_change_of_key_that_is_cut_out_is_noticed(rotated: Path) -> None:
    rotated.write_bytes(b"".join([*lines(rotated)[:5], *lines(rotated)[6:]]))
    with pytest.raises(AuditError, match="line 6: not signed by this institution"):
        audit.read(rotated, KEY.public)


def test_what_was_checked_before_is_checked_again_once_a_byte_of_it_has_changed(
    tmp_path: Path,
) -> None:
    """A standing process opens its log for each call, and does not verify the same bytes twice."""
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, KEY)
    for number in range(3):
        log.append("cleared", {"round": number}, NOON)
    log.close()
    again = AuditLog(path, KEY)
    assert again.entries == log.entries
    again.append("cleared", {"round": 3}, NOON)
    again.close()
    good = path.read_bytes()
    for place in range(0, len(good) - 1, 37):
        bad = bytearray(good)
        bad[place] ^= 1
        path.write_bytes(bytes(bad))
        with pytest.raises(AuditError):
            AuditLog(path, KEY)
    path.write_bytes(good)
    whole = AuditLog(path, KEY)
    assert [entry.details["round"] for entry in whole.entries] == [0, 1, 2, 3]
    whole.close()
    shorter = good[: good.rindex(b"\n", 0, -1) + 1]
    path.write_bytes(shorter)  # whether that may be is for the witness to say
    assert len(AuditLog(path, KEY).entries) == 3

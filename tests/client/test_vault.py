"""The vault: secrets of a round, for their site, their study and their time alone."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fedward_client.vault import FOLDER, Vault, sweep
from fedward_shared.errors import StateError

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
CHARTER, OTHER = "sha256:" + "0" * 64, "sha256:" + "1" * 64
KEY = bytes(range(32))


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    vault = Vault(tmp_path, KEY, CHARTER)
    vault.write("party", b"the secrets", LATER)
    return vault


def files(vault: Vault) -> list[Path]:
    return sorted((vault.runtime / FOLDER).iterdir())


def test_what_is_kept_is_read_until_it_expires_and_erased_then(vault: Vault) -> None:
    assert vault.read("party", NOON) == b"the secrets"
    assert vault.read("vector", NOON) is None
    assert vault.read("party", LATER) is None
    assert files(vault) == []


def test_it_is_for_nobody_elses_eyes(vault: Vault) -> None:
    [path] = files(vault)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert b"secrets" not in path.read_bytes()
    assert Vault(vault.runtime, bytes(32), CHARTER).read("party", NOON) is None


@pytest.mark.parametrize("place", [0, 7, 8, 19, 20, -1])
def test_a_changed_byte_opens_nothing_and_keeps_nothing_longer(vault: Vault, place: int) -> None:
    [path] = files(vault)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert vault.read("party", NOON) is None


@pytest.mark.parametrize("length", [0, 5, 8, 15, 30])
def test_a_file_that_is_cut_off_is_nothing(vault: Vault, length: int) -> None:
    [path] = files(vault)
    path.write_bytes(path.read_bytes()[:length])
    assert vault.read("party", NOON) is None


def test_a_file_under_another_name_or_study_is_nothing(vault: Vault) -> None:
    [path] = files(vault)
    path.with_suffix(".vector").write_bytes(path.read_bytes())
    assert vault.read("vector", NOON) is None
    moved = path.with_name(path.name.replace("0" * 64, "1" * 64))
    moved.write_bytes(path.read_bytes())
    assert Vault(vault.runtime, KEY, OTHER).read("party", NOON) is None


def test_erasing_and_sweeping_leave_what_is_not_meant(vault: Vault) -> None:
    vault.write("vector", b"numbers", LATER + timedelta(hours=1))
    vault.erase("answer", "nothing")
    assert len(files(vault)) == 2
    sweep(vault.runtime, NOON)
    assert len(files(vault)) == 2
    sweep(vault.runtime, LATER)
    assert [path.suffix for path in files(vault)] == [".vector"]
    vault.erase("vector")
    assert files(vault) == []
    sweep(vault.runtime / "nowhere", LATER)


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("no folder")
    with pytest.raises(StateError, match="cannot be written"):
        Vault(tmp_path, KEY, CHARTER).write("party", b"", LATER)

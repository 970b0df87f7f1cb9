"""Studies are found by the digests of their charters."""

from pathlib import Path

import pytest

from fedward_server.registry import STUDIES_VARIABLE, all_registered, register, registered
from fedward_shared.errors import UsageError

DIGEST = "sha256:" + "1" * 64


def test_a_study_is_found_by_its_charters_digest_and_by_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STUDIES_VARIABLE, str(tmp_path / "known"))
    folder = tmp_path / "study"
    folder.mkdir()
    with pytest.raises(UsageError, match="no such study"):
        registered(DIGEST)
    register(folder, DIGEST)
    assert registered(DIGEST) == folder.resolve()
    moved = folder.rename(tmp_path / "moved")
    register(moved, DIGEST)  # launched from where it lies now
    assert registered(DIGEST) == moved
    assert all_registered() == [moved]
    for foreign in ("", DIGEST + "/..", str(moved), DIGEST.upper()):
        with pytest.raises(UsageError):
            registered(foreign)

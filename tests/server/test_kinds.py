"""A study is opened by the kind of its charter."""

from pathlib import Path

import pytest
from conftest import COORDINATOR
from server.sessions.parties import saved, vertical_charter
from server.test_studies import CHARTER, START

from fedward_server.kinds import AnyStudy, open_study
from fedward_server.sessions.studies import SessionStudy
from fedward_server.studies import STUDY_FILE, Study
from fedward_shared import charter as charters
from fedward_shared.agreement import CHARTER_FILE
from fedward_shared.errors import CharterError, StatementError, UsageError


def test_either_kind_can_be_asked_the_same(tmp_path: Path) -> None:
    vertical = saved(tmp_path / "vertical", vertical_charter())
    rounds = tmp_path / "rounds"
    charters.save(rounds, CHARTER, START, COORDINATOR)
    (rounds / STUDY_FILE).write_text('base_model = "../model"\n')
    found: list[AnyStudy] = []
    for folder, kind, progress in (
        (vertical, SessionStudy, "0 of 3 parties are done"),
        (rounds, Study, "0 of 3 rounds"),
    ):
        study = open_study(folder)
        assert type(study) is kind
        found.append(study)
        study.read()
        assert (study.begun, study.progress, study.account) == (False, progress, [])
        assert study.settings.key == folder / "coordinator.key"


def test_a_vertical_study_has_no_base_model(tmp_path: Path) -> None:
    folder = saved(tmp_path / "vertical", vertical_charter())
    (folder / STUDY_FILE).write_text('base_model = "model"\n')
    with pytest.raises(UsageError, match="base_model: Extra inputs"):
        open_study(folder)


def test_a_file_that_is_no_charter_is_named(tmp_path: Path) -> None:
    with pytest.raises(CharterError, match=r"charter\.json: no such file"):
        open_study(tmp_path)
    (tmp_path / CHARTER_FILE).write_text("{}")
    with pytest.raises(StatementError, match=r"charter\.json: "):
        open_study(tmp_path)

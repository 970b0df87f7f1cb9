"""A study of whichever kind, as commands and the ServerApp see it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from fedward_server.sessions.studies import SessionStudy
from fedward_server.statistics.studies import StatisticsStudy
from fedward_server.studies import Study, StudySettings
from fedward_shared import agreement, sessions
from fedward_shared.agreement import CHARTER_FILE, Agreement
from fedward_shared.statistics.charter import StatisticsCharter


class AnyStudy(Protocol):
    """What every study can be asked, once `read` has taken its state from the disk."""

    @property
    def folder(self) -> Path:
        """Where it lies."""

    @property
    def charter(self) -> Agreement:
        """What its sites have approved."""

    @property
    def settings(self) -> StudySettings:
        """What concerns the coordinator alone."""

    def read(self) -> None:
        """Raises StateError for a state that is damaged."""

    @property
    def begun(self) -> bool:
        """Whether sites may have been asked for anything."""

    @property
    def progress(self) -> str:
        """How far it is, in words."""

    @property
    def account(self) -> list[str]:
        """What has become of it, in lines for people; those that stay come first."""

    def let_go(self) -> None:
        """Lets the sites leave what they are in, for a study that is stopped; needs no `read` before."""


OneStudy = Study | SessionStudy | StatisticsStudy
KINDS: Mapping[str, Callable[[Path], OneStudy]] = {
    **dict.fromkeys(sessions.CHARTERS, SessionStudy),
    StatisticsCharter.KIND: StatisticsStudy,
}
"""By the kind of the charter; one of no other kind is of a study of rounds."""


def open_study(folder: Path) -> OneStudy:
    """The study in `folder`, by the kind of its charter. Raises as that kind does."""
    return KINDS.get(agreement.kind(folder / CHARTER_FILE), Study)(folder)

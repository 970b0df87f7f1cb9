"""A study of either kind, as commands and the ServerApp see it."""

from pathlib import Path
from typing import Protocol

from fedward_server.sessions.studies import SessionStudy
from fedward_server.studies import Study, StudySettings
from fedward_shared import sessions
from fedward_shared.agreement import Agreement


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


def open_study(folder: Path) -> Study | SessionStudy:
    """The study in `folder`, by the kind of its charter. Raises as that kind does."""
    if sessions.has_sessions(folder):
        return SessionStudy(folder)
    return Study(folder)

"""A study of statistics on the coordinator's disk: charter, settings, and what the sites have answered.

    STUDY/charter.json          what the sites approve
    STUDY/coordinator.key       the key that signs charter and requests
    STUDY/study.toml            where that key lies, and how long is waited
    STUDY/answers.json          the tally of each site as it has signed it, and why others have none
    STUDY/statistics.json       the figures made of them; statistics.html shows them
    STUDY/outcome.json          how the study ended

A site answers once and keeps its answer: asking it again costs nothing and brings the same.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from fedward_server.studies import StudySettings, keep, read_settings
from fedward_shared import canonical
from fedward_shared.errors import CharterError, StateError, StatementError
from fedward_shared.statistics import charter as charters
from fedward_shared.statistics import page, tally
from fedward_shared.statistics.charter import StatisticsCharter
from fedward_shared.statistics.summary import summary
from fedward_shared.statistics.tally import Tally
from fedward_shared.terms import Digest, Name, describe

ANSWERS_FILE = "answers.json"


class Answers(BaseModel):
    """What `answers.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    charter: Digest
    tallies: dict[Name, str] = {}
    """Site → the tally that it has signed, in the order in which they came."""
    failures: dict[Name, str] = {}
    """Site → why it had not answered when it was last asked."""
    checksum: str = ""
    """Digest of all other fields, as `computed` gives it."""

    @property
    def computed(self) -> str:
        """What `checksum` has to be."""
        content = self.model_dump(mode="json", exclude={"checksum"})
        return canonical.digest(json.dumps(content).encode())


class StatisticsStudy:
    """The study in `folder`. Raises CharterError, StatementError or UsageError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.charter: StatisticsCharter = charters.load(folder)
        self.settings = read_settings(folder, StudySettings)
        self.answers: Answers | None = None
        self.tallies: dict[str, Tally] = {}

    def read(self) -> None:
        """Takes what has been answered. Raises StateError for a file that is damaged."""
        path = self.folder / ANSWERS_FILE
        try:
            found = Answers.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            self.answers, self.tallies = None, {}
            return
        except ValidationError as error:
            raise StateError(f"{path}: the answers are damaged: {describe(error)}") from error
        except OSError as error:
            raise StateError(f"{path}: cannot be read: {error.strerror}") from error
        if found.checksum != found.computed:
            raise StateError(f"{path}: the answers are damaged: the checksum is another one")
        if found.charter != self.charter.digest:
            raise StateError(f"{path}: they are to another charter, {found.charter}")
        self.answers, self.tallies = found, self._checked(found)

    def _checked(self, found: Answers) -> dict[str, Tally]:
        path = str(self.folder / ANSWERS_FILE)
        try:
            return {
                site: tally.read(text.encode(), self.charter, site, path)
                for site, text in found.tallies.items()
            }
        except (StatementError, CharterError) as error:
            raise StateError(f"the answers are damaged: {error}") from error

    @property
    def begun(self) -> bool:
        """Whether sites may have been asked; `read` has to be called before."""
        return self.answers is not None

    @property
    def outstanding(self) -> list[str]:
        """The sites that have not answered."""
        names = [participant.name for participant in self.charter.participants]
        return [name for name in names if name not in self.tallies]

    @property
    def progress(self) -> str:
        """How far it is, in words."""
        return f"{len(self.tallies)} of {len(self.charter.participants)} sites have answered"

    @property
    def account(self) -> list[str]:
        """Who has answered, and who has not and why, in lines for people."""
        failures = self.answers.failures if self.answers else {}
        said = [
            f"  {site}: answered; its ledger says ε = {one.epsilon}, δ = {one.delta}"
            for site, one in self.tallies.items()
        ]
        return said + [f"  {site}: {reason}" for site, reason in failures.items()]

    def let_go(self) -> None:
        """Nothing holds the sites: each finishes what it was asked for."""

    def note(self, signed: Mapping[str, bytes], failures: Mapping[str, str]) -> None:
        """Keeps the tallies that were `signed`, and why others have not answered. Raises StateError."""
        made = Answers(
            charter=self.charter.digest,
            tallies={site: data.decode() for site, data in signed.items()},
            failures=dict(sorted(failures.items())),
        )
        made = made.model_copy(update={"checksum": made.computed})
        keep(self.folder / ANSWERS_FILE, made.model_dump_json(indent=2).encode())
        self.answers, self.tallies = made, self._checked(made)

    @property
    def signed(self) -> dict[str, bytes]:
        """Site → the tally that it has signed."""
        return (
            {site: text.encode() for site, text in self.answers.tallies.items()}
            if self.answers
            else {}
        )

    def publish(self) -> None:
        """Writes the figures of all who have answered. Raises StateError where that cannot be."""
        missing = (
            {site: self.answers.failures.get(site, "") for site in self.outstanding}
            if self.answers
            else {}
        )
        found = summary(self.charter, self.tallies, missing)
        keep(self.folder / page.PAGE_FILE, page.render(found).encode())
        keep(self.folder / page.STATISTICS_FILE, found.encode())

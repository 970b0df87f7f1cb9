"""A study of statistics over one grid: sites are gathered and asked once, what comes is published."""

import time

import structlog
from flwr.serverapp import Grid

from fedward_server.acknowledging import acknowledge
from fedward_server.asking import Asking, Sender
from fedward_server.gathering import Gathering
from fedward_server.observer import Observer
from fedward_server.reasons import NOT_CONNECTED, SITE_ERROR
from fedward_server.statistics.stage import AnswerStage
from fedward_server.statistics.studies import StatisticsStudy
from fedward_shared.assurances import Receipt
from fedward_shared.errors import CohortError
from fedward_shared.identity import SigningKey
from fedward_shared.messages import STATISTICS, Answer, StatisticsCall
from fedward_shared.statistics.page import STATISTICS_FILE
from fedward_shared.statistics.tally import ONCE, StatisticsRequest

AGAIN = "`fedward study resume` asks them again, and costs those who have answered nothing"
log = structlog.get_logger()


class Survey:
    """One study over one grid."""

    def __init__(self, study: StatisticsStudy, grid: Grid, observer: Observer) -> None:
        self.study = study
        self.charter = study.charter
        self.observer = observer
        self.key = SigningKey.load(study.settings.key)
        self.sender = Sender(grid, self.charter.deadline_seconds, study.settings.poll_seconds)
        patience = study.settings.gather_seconds
        self.gathering = Gathering(self.sender, self.charter, patience, 1)

    def run(self) -> None:
        """Asks all who have not answered. Raises CohortError, naming them, if some still have not; what
        the others have answered is published all the same."""
        self.study.read()
        if self.study.outstanding:
            self._ask(self._gathered())
        self.study.publish()
        if left := self.study.outstanding:
            failures = self.study.answers.failures if self.study.answers else {}
            reasons = "; ".join(f"{site}: {failures.get(site, NOT_CONNECTED)}" for site in left)
            raise CohortError(
                f"{self.study.progress}, and {STATISTICS_FILE} holds theirs ({reasons}); {AGAIN}"
            )

    def _gathered(self) -> dict[str, int]:
        """The nodes of all who are there and have not answered; why the others are not is kept."""
        self.gathering.gather()
        refused = self.gathering.refused
        self.observer.gathered(sorted(self.gathering.nodes), refused)
        nodes = self.gathering.connected()
        wanted = self.study.outstanding
        away = {s: refused.get(s, NOT_CONNECTED) for s in wanted if s not in nodes}
        self.study.note(self.study.signed, away)
        return {site: nodes[site] for site in wanted if site in nodes}

    def _ask(self, nodes: dict[str, int]) -> None:
        if not nodes:
            return
        digest = self.charter.digest
        request = StatisticsRequest(charter=digest).signed(self.key)
        records = dict.fromkeys(nodes, StatisticsCall(digest, request).to_record())
        before, away = (
            self.study.signed,
            dict(self.study.answers.failures if self.study.answers else {}),
        )
        until = time.monotonic() + self.charter.deadline_seconds
        stage = AnswerStage(self.charter, frozenset(nodes), until)
        asking = Asking(self.sender, STATISTICS, str(ONCE), records, nodes)

        def take(site: str, answer: Answer | None) -> None:
            if answer is None:
                stage.fail(site, SITE_ERROR)
            else:
                stage.offer(site, answer)
            self.study.note(before | stage.signed, away | stage.failed)
            log.info("site answered", site=site, done=site in stage.signed)

        asking.until_closed(stage, take)
        self.study.note(before | stage.signed, away | stage.failed)
        receipts = {site: self._receipt(site) for site in stage.signed}
        patience = self.study.settings.gather_seconds
        acknowledge(self.sender, digest, str(ONCE), receipts, nodes, patience)

    def _receipt(self, site: str) -> bytes:
        tally, digest = self.study.tallies[site], self.charter.digest
        return Receipt(
            charter=digest, site=site, round=ONCE, update=tally.update, head=tally.head
        ).signed(self.key)

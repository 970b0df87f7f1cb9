"""Rounds without masks: each site sends its own update, and a late one may count in a later round."""

import time
from collections.abc import Mapping

import structlog
from flwr.app import RecordDict

from fedward_server.asking import Asking
from fedward_server.collecting import collector
from fedward_server.conduct import Conduct
from fedward_server.layout import Layout
from fedward_server.reasons import NOT_CHOSEN, SITE_ERROR
from fedward_server.rounds import Ask, Round, chosen
from fedward_server.studies import Study
from fedward_shared import tensors
from fedward_shared.errors import CohortError
from fedward_shared.messages import TRAIN, UNSHARED, Answer
from fedward_shared.tensors import Schema

UPDATES_FOLDER = "updates"
"""In a study's folder, while a round lasts whose rule has to see all updates at once."""

log = structlog.get_logger()


def schema_of_updates(study: Study, number: int) -> Schema:
    """That of an update of round `number`, of a site with the study's rank."""
    return study.charter.sent(tensors.schema_of(study.initial), None, number)


class PlainRounds:
    """Runs the rounds of one study."""

    def __init__(self, conduct: Conduct) -> None:
        self._with = conduct
        self._charter = conduct.charter
        self._late: dict[str, Ask] = {}
        """Sites that the next round has asked already, in an earlier one."""
        self._under_way: dict[str, str] = {}
        """Message id → site, of the requests to them."""

    def run(self, number: int) -> Round:
        """Round `number`, closed. Raises CohortError where fewer updates came than the charter wants."""
        nodes = self._with.gathering.connected()
        asked, under_way = self._asked(number, nodes)
        round_ = self._opened(number, asked)
        round_.missing |= dict.fromkeys(nodes.keys() - asked.keys(), NOT_CHOSEN)
        round_.missing |= self._with.gathering.refused
        if len(asked) < self._charter.aggregation.minimum_cohort:
            raise CohortError(_too_few(round_))
        targets = {s: nodes[s] for s in sorted(asked, key=lambda s: (asked[s].round, s))}
        records = self._records(asked)
        asking = Asking(self._with.sender, TRAIN, str(number), records, targets, under_way)
        self._with.observer.round_opened(number, sorted(asked))
        asking.until_closed(round_, lambda site, answer: self._take(round_, site, answer))
        self._late = round_.carried
        self._under_way = {m: site for m, site in asking.waiting.items() if site in self._late}
        if not round_.sufficient:
            raise CohortError(_too_few(round_))
        return round_

    def _opened(self, number: int, asked: Mapping[str, Ask]) -> Round:
        layout = Layout(schema_of_updates(self._with.study, number))
        start = self._with.study.initial | self._with.study.adapter
        folder = self._with.study.folder / UPDATES_FOLDER
        return Round(
            number, self._charter, asked, layout, collector(self._charter, layout, start, folder)
        )

    def _asked(
        self, number: int, nodes: Mapping[str, int]
    ) -> tuple[dict[str, Ask], dict[str, str]]:
        """Whom round `number` waits for, and the messages to those who were asked in earlier ones.

        A late site whose message has expired, or was sent by a process before this one, is sent it
        again: that costs it nothing if it has trained, as it keeps its answer.
        """
        now = time.monotonic()
        expired = now - self._charter.aggregation.round_deadline_seconds
        late = self._with.study.history[-1].late
        asked = {
            site: ask
            for site, ask in self._late.items()
            if site in late and site in nodes and ask.at > expired
        }
        under_way = {message: site for message, site in self._under_way.items() if site in asked}
        for site in late.keys() & nodes.keys() - asked.keys():
            asked[site] = self._ask(late[site], now)
        fresh = self._ask(number, now)
        free = nodes.keys() - asked.keys()
        asked |= dict.fromkeys(chosen(self._charter, number, free, len(asked)), fresh)
        return asked, under_way

    def _ask(self, number: int, now: float) -> Ask:
        return Ask(number, tensors.digest(self._with.study.adapter_before(number)), now)

    def _records(self, asked: Mapping[str, Ask]) -> dict[str, RecordDict]:
        """What each site gets: its own round's signed request and adapter, and its last receipt."""
        records: dict[str, RecordDict] = {}
        for number in {ask.round for ask in asked.values()}:
            sites = [site for site, ask in asked.items() if ask.round == number]
            train = self._with.requests.training(number, self._with.requests.round(number), sites)
            records |= {site: train(site, UNSHARED) for site in sites}
        return records

    def _take(self, round_: Round, site: str, answer: Answer | None) -> None:
        if answer is None:
            round_.fail(site, SITE_ERROR)
        else:
            round_.offer(site, answer)
        if site in round_.missing:
            log.warning("site missing", round=round_.number, site=site, reason=round_.missing[site])
        self._with.observer.answered(round_.number, site)


def _too_few(round_: Round) -> str:
    reasons = "; ".join(f"{site}: {why}" for site, why in sorted(round_.missing.items()))
    return (
        f"round {round_.number}: {len(round_.updates)} sites of the minimum "
        f"{round_.charter.aggregation.minimum_cohort} ({reasons or 'none connected'})"
    )

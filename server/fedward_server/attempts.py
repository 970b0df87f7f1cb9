"""The attempts at masked rounds: the sites are asked stage by stage, and again with fresh keys.

    STUDY/attempt.json    the last attempt that was begun, and whether its sites were asked who survived

It is written before the sites are asked: a coordinator that was killed never uses an attempt's number
twice, and knows of a round that its sites will not answer for again.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import structlog
from flwr.app import RecordDict
from pydantic import BaseModel, ConfigDict, ValidationError

from fedward_server.asking import Asking
from fedward_server.conduct import Conduct
from fedward_server.masked import ABANDONED, MaskedRound
from fedward_server.plain import schema_of_updates
from fedward_server.reasons import SITE_ERROR
from fedward_server.requests import TrainRecord
from fedward_server.rounds import chosen
from fedward_server.studies import keep
from fedward_shared import tensors
from fedward_shared.errors import AdapterError, CohortError, RoundAbandoned, StateError
from fedward_shared.messages import MASKS, TRAIN, Answer, MaskRequest, Sharing, stage_of
from fedward_shared.terms import describe

ATTEMPTS = 3
"""How often a round is attempted by one process before it is given up."""

FILE = "attempt.json"

log = structlog.get_logger()


class Attempt(BaseModel):
    """What `attempt.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    round: int = 0
    attempt: int = 0
    agreeing: bool = False


class AttemptBook:
    """The file in the folder of a study. Raises StateError where it cannot be read or written."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        try:
            self.last = Attempt.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            self.last = Attempt()
        except (OSError, ValidationError) as error:
            why = describe(error) if isinstance(error, ValidationError) else error
            raise StateError(f"{self._path}: cannot be read: {why}") from error

    def begin(self, number: int) -> int:
        """The number of the next attempt at round `number`."""
        before = self.last.attempt if self.last.round == number else 0
        self._write(Attempt(round=number, attempt=before + 1))
        return before + 1

    def agreeing(self) -> None:
        """The sites of the last attempt will be asked who survived it."""
        self._write(self.last.model_copy(update={"agreeing": True}))

    def answered_for(self, number: int) -> bool:
        """Whether sites have, or may have, answered for round `number` for good."""
        return self.last.round == number and self.last.agreeing

    def _write(self, attempt: Attempt) -> None:
        keep(self._path, attempt.model_dump_json().encode())
        self.last = attempt


class Attempts:
    """Runs the masked rounds of one study."""

    def __init__(self, conduct: Conduct) -> None:
        self._with = conduct
        self._charter = conduct.charter
        self._book = AttemptBook(conduct.study.folder)

    def run(self, number: int) -> MaskedRound:
        """The last attempt at round `number`, done or abandoned.

        Raises CohortError where too few sites are there and none has been asked to train: that costs
        nothing and can be resumed.
        """
        if self._book.answered_for(number):
            round_ = self._opened(number, self._book.last.attempt, {})
            round_.abandon("the coordinator was stopped after the sites were asked who survived")
            return round_
        round_ = self._attempt(number, self._chosen(number))
        booked, tries = round_.booked, 1
        while round_.abandoned and not round_.agreeing and tries < ATTEMPTS:
            nodes = self._chosen(number)
            if len(nodes) < self._charter.aggregation.minimum_cohort:
                break
            before, round_ = round_, self._attempt(number, nodes)
            round_.bytes_up += before.bytes_up
            round_.bytes_down += before.bytes_down
            booked, tries = booked or round_.booked, tries + 1
        if round_.abandoned and not booked:
            raise CohortError(f"{round_.abandoned} ({_reasons(round_)})")
        return round_

    def _chosen(self, number: int) -> dict[str, int]:
        """The sites that are there and belong to the round's cohort."""
        nodes = self._with.gathering.connected()
        return {site: nodes[site] for site in chosen(self._charter, number, nodes, 0)}

    def _attempt(self, number: int, nodes: Mapping[str, int]) -> MaskedRound:
        round_ = self._opened(number, self._book.begin(number), nodes)
        request = self._with.requests.round(number, round_.attempt)
        train = self._with.requests.training(number, request, nodes)
        while not (round_.done or round_.abandoned):
            if round_.stage == "survivors":
                self._book.agreeing()
            self._ask(round_, nodes, request, train)
            try:
                round_.advance(time.monotonic())
            except (RoundAbandoned, AdapterError) as error:
                log.warning("attempt abandoned", stage=round_.stage, reason=str(error))
                round_.abandon(str(error))
        return round_

    def _opened(self, number: int, attempt: int, nodes: Mapping[str, int]) -> MaskedRound:
        adapter, now = self._with.study.adapter, time.monotonic()
        digest, schema = tensors.digest(adapter), schema_of_updates(self._with.study, number)
        asked = frozenset(nodes)
        round_ = MaskedRound(number, attempt, self._charter, digest, schema, now, asked)
        round_.missing |= self._with.gathering.refused
        return round_

    def _ask(
        self, round_: MaskedRound, nodes: Mapping[str, int], request: bytes, train: TrainRecord
    ) -> None:
        """One stage, until all have answered or are given up."""
        training, number = round_.stage == "training", round_.number
        asked = {site: node for site, node in nodes.items() if site in round_.asked}
        records = {site: self._record(round_, site, request, train) for site in asked}
        kind = TRAIN if training else MASKS
        asking = Asking(self._with.sender, kind, str(number), records, asked)
        if training:
            self._with.observer.round_opened(number, sorted(asked))

        def take(site: str, answer: Answer | None) -> None:
            if answer is None:
                round_.fail(site, SITE_ERROR)
            else:
                round_.offer(site, answer)
            if site in round_.dropped:
                log.warning("site lost", round=number, site=site, stage=round_.stage)
            if training:
                self._with.observer.answered(number, site)

        asking.until_closed(round_, take)

    def _record(
        self, round_: MaskedRound, site: str, request: bytes, train: TrainRecord
    ) -> RecordDict:
        content = round_.requests[site]
        if isinstance(content, Sharing):
            return train(site, content)
        stage = stage_of(round_.stage)
        return MaskRequest(self._charter.digest, request, stage, content).to_record()


def _reasons(round_: MaskedRound) -> str:
    reasons = sorted(round_.missing.items())
    return "; ".join(f"{site}: {why}" for site, why in reasons if why != ABANDONED)

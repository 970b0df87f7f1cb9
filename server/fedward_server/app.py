"""The ServerApp: gather the sites, run the rounds, keep a checkpoint of each.

`app` is what a deployed SuperLink starts; a simulation makes its own with `create_app`.
"""

import math
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

import structlog
import torch
from flwr.app import Context, RecordDict
from flwr.serverapp import Grid, ServerApp

from fedward_server import optimizers
from fedward_server.asking import Asking, Sender
from fedward_server.collecting import collector
from fedward_server.gathering import Gathering
from fedward_server.layout import Layout
from fedward_server.rounds import NOT_CHOSEN, SITE_ERROR, Ask, Round, chosen
from fedward_server.studies import Study, StudyLock, registered
from fedward_shared import base_models, names, tasks, tensors
from fedward_shared.assurances import Receipt, RoundRequest
from fedward_shared.errors import CohortError, FedwardError, StateError
from fedward_shared.identity import SigningKey
from fedward_shared.messages import RECEIPT, TRAIN, Answer, ReceiptNote, TrainRequest
from fedward_shared.report import RoundRecord
from fedward_shared.tasks.base import StudyModel
from fedward_shared.tasks.examples import Examples
from fedward_shared.tasks.prepared import prepared
from fedward_shared.tensors import Tensors

STUDY_KEY = "study"
"""The run configuration has the digest of the study's charter under this key."""

UPDATES_FOLDER = "updates"
"""In a study's folder, while a round lasts whose rule has to see all updates at once."""

log = structlog.get_logger()


class Observer:
    """Told what happens, as it happens; does nothing until a view overrides it."""

    def gathered(self, sites: list[str], refused: dict[str, str]) -> None:
        """These sites take part; these participants refused, and why."""

    def round_opened(self, number: int, asked: list[str]) -> None:
        """Round `number` was sent to these sites."""

    def answered(self, number: int, site: str) -> None:
        """`site` has answered in round `number`, or will not any more."""

    def round_closed(self, record: RoundRecord) -> None:
        """The round is in the checkpoint."""


def create_app(open_study: Callable[[Context], Study], observer: Observer) -> ServerApp:
    """The ServerApp of the study that `open_study` opens for a run."""
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        study = open_study(context)
        with StudyLock(study.folder, study.settings.lock_seconds):
            try:
                Coordination(study, grid, observer).run()
            except FedwardError as error:
                # A disk that is full must not hide what went wrong first.
                with suppress(StateError):
                    study.end(str(error), error.exit_code)
                raise
            except KeyboardInterrupt:
                study.end("interrupted; it can be resumed", 130)
                raise
            study.end("complete", 0)

    return server


class Coordination:
    """One study over one grid."""

    def __init__(self, study: Study, grid: Grid, observer: Observer) -> None:
        self.study = study
        self.charter = study.charter
        self.observer = observer
        self.key = SigningKey.load(study.settings.key)
        deadline = self.charter.aggregation.round_deadline_seconds
        self.sender = Sender(grid, deadline, study.settings.poll_seconds)
        self.gathering = Gathering(self.sender, self.charter, study.settings.gather_seconds)
        self._late: dict[str, Ask] = {}
        """Sites that the next round has asked already, in an earlier one."""
        self._under_way: dict[str, str] = {}
        """Message id → site, of the requests to them."""

    def run(self) -> None:
        """All rounds that are still to do. Raises CohortError if too few sites are there for one."""
        torch.set_num_threads(self.study.settings.threads)
        base_models.check(self.study.settings.base_model, self.charter.base_model.digest)
        model = tasks.build(self.study.settings.base_model, self.charter.task, self.charter.adapter)
        model.load(self.study.initial, "initial tensors")
        self.study.start(self._first())
        for number in range(self.study.rounds_done + 1, self.charter.training.rounds + 1):
            started = time.monotonic()
            model.enter_round(number, self.charter.training)
            evaluation = self._evaluation(
                model
            )  # a file that cannot be used costs no site anything
            self.gathering.gather()
            self.observer.gathered(sorted(self.gathering.nodes), self.gathering.refused)
            round_ = self._run_round(number)
            if not round_.sufficient:
                raise CohortError(self._too_few(round_))
            adapter, state = optimizers.advance(
                self.charter.adapter.method,
                self.study.initial | self.study.adapter,
                self.study.adapter,
                round_.mean(),
                self.study.optimizer_state,
                self.charter.aggregation,
            )
            model.load(adapter, "aggregate")
            last = number == self.charter.training.rounds
            every = self.study.settings.evaluate == "every-round"
            scores = model.evaluate(evaluation) if evaluation and (every or last) else {}
            record = self._record(round_, scores, time.monotonic() - started)
            self.study.finish_round(
                adapter,
                state,
                record,
                round_.updates,
                round_.heads,
                round_.made_for,
                {site: ask.round for site, ask in self._late.items()},
            )
            self.observer.round_closed(record)
        self._acknowledge()

    def _first(self) -> Tensors:
        """What the first round hands out; what is not among the study's first tensors is zero."""
        initial = self.study.initial
        schema = self.charter.handed_out(tensors.schema_of(initial))
        return {name: initial.get(name, torch.zeros(shape)) for name, shape in schema.items()}

    def _evaluation(self, model: StudyModel) -> Examples | None:
        path = self.study.settings.evaluation
        if path is None:
            return None
        return prepared(
            model, self.charter.base_model.digest, path, {}, self.study.folder / "cache"
        )

    def _run_round(self, number: int) -> Round:
        nodes = self.gathering.connected()
        asked, under_way = self._asked(number, nodes)
        initial, terms = tensors.schema_of(self.study.initial), self.charter.adapter
        turn = self.charter.training.turn(number)
        layout = Layout(names.sent(initial, terms.method, turn, terms.rank))
        start = self.study.initial | self.study.adapter
        updates = collector(self.charter, layout, start, self.study.folder / UPDATES_FOLDER)
        round_ = Round(number, self.charter, asked, layout, updates)
        round_.missing |= dict.fromkeys(nodes.keys() - asked.keys(), NOT_CHOSEN)
        round_.missing |= self.gathering.refused
        if len(asked) < self.charter.aggregation.minimum_cohort:
            raise CohortError(self._too_few(round_))
        asking = Asking(
            self.sender,
            TRAIN,
            str(number),
            self._requests(asked),
            {site: nodes[site] for site in sorted(asked, key=lambda s: (asked[s].round, s))},
            under_way,
        )
        self.observer.round_opened(number, sorted(asked))
        asking.until_closed(round_, lambda site, answer: self._take(round_, site, answer))
        self._late = round_.carried
        self._under_way = {m: site for m, site in asking.waiting.items() if site in self._late}
        return round_

    def _asked(
        self, number: int, nodes: Mapping[str, int]
    ) -> tuple[dict[str, Ask], dict[str, str]]:
        """Whom round `number` waits for, and the messages to those who were asked in earlier ones.

        A late site whose message has expired, or was sent by a process before this one, is sent it
        again: that costs it nothing if it has trained, as it keeps its answer.
        """
        now = time.monotonic()
        expired = now - self.charter.aggregation.round_deadline_seconds
        late = self.study.history[-1].late
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
        asked |= dict.fromkeys(chosen(self.charter, number, free, len(asked)), fresh)
        return asked, under_way

    def _ask(self, number: int, now: float) -> Ask:
        return Ask(number, tensors.digest(self.study.adapter_before(number)), now)

    def _requests(self, asked: Mapping[str, Ask]) -> dict[str, RecordDict]:
        """What each site gets: its own round's signed request and adapter, and its last receipt."""
        receipts = self._receipts(asked)
        requests: dict[str, RecordDict] = {}
        for number, digest in {(ask.round, ask.adapter) for ask in asked.values()}:
            request = RoundRequest(charter=self.charter.digest, round=number, adapter=digest)
            signed, adapter = request.signed(self.key), self.study.adapter_before(number)
            encoded = tensors.encode(adapter)
            for site in (site for site, ask in asked.items() if ask.round == number):
                receipt = receipts.get(site, b"")
                message = TrainRequest(self.charter.digest, signed, receipt, encoded)
                requests[site] = message.to_record()
        return requests

    def _take(self, round_: Round, site: str, answer: Answer | None) -> None:
        if answer is None:
            round_.fail(site, SITE_ERROR)
        else:
            round_.offer(site, answer)
        if site in round_.missing:
            log.warning("site missing", round=round_.number, site=site, reason=round_.missing[site])
        self.observer.answered(round_.number, site)

    def _receipts(self, sites: Collection[str]) -> dict[str, bytes]:
        """For each of `sites` of which a checkpoint has an update, a receipt for the last one."""
        history = self.study.history
        newest: dict[str, int] = {}
        for number in reversed(range(len(history))):
            newest = dict.fromkeys(history[number].updates.keys() & set(sites), number) | newest
            if len(newest) == len(sites):
                break
        return {site: self._receipt(site, number) for site, number in newest.items()}

    def _receipt(self, site: str, number: int) -> bytes:
        kept = self.study.history[number]
        return Receipt(
            charter=self.charter.digest,
            site=site,
            round=kept.made_for.get(site, number),
            update=kept.updates[site],
            head=kept.heads[site],
        ).signed(self.key)

    def _acknowledge(self) -> None:
        """Sends each site the receipt for its last update, which no further request carries."""
        nodes = self.gathering.nodes
        receipts = self._receipts(nodes)
        notes = [
            (nodes[site], ReceiptNote(self.charter.digest, receipts[site]).to_record())
            for site in sorted(receipts)
        ]
        waiting = set(self.sender.send(RECEIPT, str(self.study.rounds_done), notes))
        until = time.monotonic() + self.study.settings.gather_seconds
        while waiting and time.monotonic() < until:
            for reply in self.sender.grid.pull_messages(sorted(waiting)):
                waiting.discard(reply.metadata.reply_to_message_id)
            if waiting:
                self.sender.pause()

    def _record(self, round_: Round, metrics: dict[str, float], seconds: float) -> RoundRecord:
        size = len(tensors.encode(self.study.adapter))
        return RoundRecord(
            study=self.charter.study,
            round=round_.number,
            cohort=sorted(round_.updates),
            missing=dict(sorted(round_.missing.items())),
            metrics=metrics,
            epsilon={
                site: None if math.isinf(value) else value
                for site, value in sorted(round_.epsilon.items())
            },
            bytes_up=round_.bytes_up,
            bytes_down=size * sum(ask.round == round_.number for ask in round_.asked.values()),
            seconds=seconds,
        )

    def _too_few(self, round_: Round) -> str:
        reasons = "; ".join(f"{site}: {why}" for site, why in sorted(round_.missing.items()))
        return (
            f"round {round_.number}: {len(round_.updates)} sites of the minimum "
            f"{self.charter.aggregation.minimum_cohort} ({reasons or 'none connected'})"
        )


def _open_deployed(context: Context) -> Study:
    return Study(registered(str(context.run_config[STUDY_KEY])))


app = create_app(_open_deployed, Observer())

"""The ServerApp: gather the sites, run the rounds, keep a checkpoint of each.

Some studies have sessions in the place of rounds (`sessions/conducting.py`).

`app` is what a deployed SuperLink starts; a simulation makes its own with `create_app`.
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import structlog
import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedward_server import optimizers
from fedward_server.asking import Sender
from fedward_server.attempts import Attempts
from fedward_server.conduct import Conduct
from fedward_server.exchange.sessions import Sessions
from fedward_server.gathering import Gathering
from fedward_server.kinds import open_study
from fedward_server.masked import MaskedRound
from fedward_server.observer import Observer
from fedward_server.plain import PlainRounds
from fedward_server.registry import STUDY_KEY, registered
from fedward_server.requests import Requests
from fedward_server.rounds import Round
from fedward_server.sessions.conducting import Conducting
from fedward_server.sessions.studies import SessionStudy
from fedward_server.studies import NOBODY, Study, StudyLock, end
from fedward_shared import base_models, tasks, tensors
from fedward_shared import sketch as sketches
from fedward_shared.errors import CohortError, FedwardError, StateError
from fedward_shared.messages import RECEIPT, ReceiptNote
from fedward_shared.report import RoundRecord
from fedward_shared.tasks.base import StudyModel
from fedward_shared.tasks.examples import Examples
from fedward_shared.tasks.prepared import prepared
from fedward_shared.tensors import Tensors

log = structlog.get_logger()


def create_app(
    study_of: Callable[[Context], Study | SessionStudy], observer: Observer
) -> ServerApp:
    """The ServerApp of the study that `study_of` opens for a run."""
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        study = study_of(context)
        with StudyLock(study.folder, study.settings.lock_seconds):
            try:
                _coordination(study, grid, observer).run()
            except FedwardError as error:
                # A disk that is full must not hide what went wrong first.
                with suppress(StateError):
                    end(study.folder, str(error), error.exit_code)
                raise
            except KeyboardInterrupt:
                end(study.folder, "interrupted; it can be resumed", 130)
                raise
            end(study.folder, "complete", 0)

    return server


def _coordination(
    study: Study | SessionStudy, grid: Grid, observer: Observer
) -> "Coordination | Conducting":
    if isinstance(study, SessionStudy):
        return Conducting(study, grid, observer, Sessions.here())
    return Coordination(study, grid, observer)


class Coordination:
    """One study that goes in rounds, over one grid."""

    def __init__(self, study: Study, grid: Grid, observer: Observer) -> None:
        self.study = study
        self.charter = study.charter
        self.observer = observer
        self.requests = Requests(study)
        deadline = self.charter.aggregation.round_deadline_seconds
        self.sender = Sender(grid, deadline, study.settings.poll_seconds)
        minimum = self.charter.aggregation.minimum_cohort
        patience = study.settings.gather_seconds
        self.gathering = Gathering(self.sender, self.charter, patience, minimum)
        conduct = Conduct(study, self.sender, self.gathering, self.requests, observer)
        self.rounds = PlainRounds(conduct)
        self.attempts = Attempts(conduct)

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
            # A file that cannot be used costs no site anything.
            evaluation = self._evaluation(model)
            self.gathering.gather()
            self.observer.gathered(sorted(self.gathering.nodes), self.gathering.refused)
            if self.charter.secure_aggregation is None:
                self._close(model, self.rounds.run(number), evaluation, started)
            else:
                self._close_masked(model, self.attempts.run(number), evaluation, started)
        self._acknowledge()

    def _first(self) -> Tensors:
        """What the first round hands out; what is not among the study's first tensors is zero."""
        initial = self.study.initial
        schema = self.charter.handed_out(tensors.schema_of(initial))
        return {name: initial.get(name, torch.zeros(shape)) for name, shape in schema.items()}

    def _close(
        self, model: StudyModel, round_: Round, evaluation: Examples | None, started: float
    ) -> None:
        adapter, state, scores = self._step(model, round_.mean(), evaluation, round_.number)
        late = {site: ask.round for site, ask in round_.carried.items()}
        self._finish(round_, adapter, state, scores, started, round_.made_for, late)

    def _step(
        self, model: StudyModel, mean: Tensors, evaluation: Examples | None, number: int
    ) -> tuple[Tensors, Tensors, dict[str, float]]:
        """Adapter and optimiser state after the round's mean update, and how the model scores then."""
        if sketch := sketches.of(self.charter, number):
            full = self.charter.trained(tensors.schema_of(self.study.initial), None, number)
            mean = sketch.spread(mean, full)
        adapter, state = optimizers.advance(
            self.charter.adapter.method,
            self.study.initial | self.study.adapter,
            self.study.adapter,
            mean,
            self.study.optimizer_state,
            self.charter.aggregation,
        )
        model.load(adapter, "aggregate")
        wanted = self.study.settings.evaluate == "every-round"
        last = number == self.charter.training.rounds
        return adapter, state, model.evaluate(evaluation) if evaluation and (wanted or last) else {}

    def _close_masked(
        self, model: StudyModel, round_: MaskedRound, evaluation: Examples | None, started: float
    ) -> None:
        """Takes the sum, or goes on without it: what was booked at the sites stays booked."""
        if not round_.abandoned:
            adapter, state, scores = self._step(model, round_.mean, evaluation, round_.number)
            if ruined := self._ruined(scores):
                round_.abandon(ruined)
        if round_.abandoned:
            adapter, state, scores = self.study.adapter, self.study.optimizer_state, {}
            model.load(adapter, "adapter")
            log.warning("round abandoned", round=round_.number, reason=round_.abandoned)
        before = self.study.history[-1].record
        self._finish(round_, adapter, state, scores, started)
        if round_.abandoned and before is not None and before.abandoned:
            raise CohortError(f"two rounds in a row were abandoned: {round_.abandoned}")

    def _ruined(self, scores: dict[str, float]) -> str:
        """Why a sum is not taken that nobody could look into, empty if it is."""
        known = [
            record.metrics["loss"] for record in self.study.records if "loss" in record.metrics
        ]
        loss, most = scores.get("loss", 0.0), self.study.settings.largest_loss
        if not all(map(math.isfinite, scores.values())):
            return "with this sum the model's scores are no numbers"
        if known and loss > most * known[-1]:
            return f"with this sum the loss is {loss:.3g}, more than {most:g} times {known[-1]:.3g}"
        return ""

    def _finish(
        self,
        round_: Round | MaskedRound,
        adapter: Tensors,
        state: Tensors,
        scores: dict[str, float],
        started: float,
        made_for: Mapping[str, int] = NOBODY,
        late: Mapping[str, int] = NOBODY,
    ) -> None:
        record = self._record(round_, scores, time.monotonic() - started)
        self.study.finish_round(
            adapter, state, record, round_.updates, round_.heads, made_for, late
        )
        self.observer.round_closed(record)

    def _evaluation(self, model: StudyModel) -> Examples | None:
        path = self.study.settings.evaluation
        if path is None:
            return None
        return prepared(
            model, self.charter.base_model.digest, path, {}, self.study.folder / "cache"
        )

    def _acknowledge(self) -> None:
        """Sends each site the receipt for its last update, which no further request carries."""
        nodes = self.gathering.nodes
        receipts = self.requests.receipts(nodes)
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

    def _record(
        self, round_: Round | MaskedRound, metrics: dict[str, float], seconds: float
    ) -> RoundRecord:
        masked = round_ if isinstance(round_, MaskedRound) else None
        sent = round_.trained if isinstance(round_, MaskedRound) else round_.fresh
        size = len(tensors.encode(self.study.adapter))
        return RoundRecord(
            study=self.charter.study,
            round=round_.number,
            cohort=sorted(round_.updates),
            missing=dict(sorted(round_.missing.items())),
            dropped=dict(sorted(masked.dropped.items())) if masked else {},
            abandoned=masked.abandoned if masked else "",
            metrics=metrics,
            epsilon={
                site: None if math.isinf(value) else value
                for site, value in sorted(round_.epsilon.items())
            },
            bytes_up=round_.bytes_up,
            bytes_down=size * sent + (masked.bytes_down if masked else 0),
            seconds=seconds,
        )


def _open_deployed(context: Context) -> Study | SessionStudy:
    return open_study(registered(str(context.run_config[STUDY_KEY])))


app = create_app(_open_deployed, Observer())

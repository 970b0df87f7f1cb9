"""The ServerApp: gather the sites, run the rounds, keep a checkpoint of each.

`app` is what a deployed SuperLink starts; a simulation makes its own with `create_app`.
"""

import hmac
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import structlog
import torch
from flwr.app import Context, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid, ServerApp

from fedward_server import optimizers
from fedward_server.rounds import LATER, NOT_CONNECTED, SITE_ERROR, Round
from fedward_server.studies import Study, StudyLock, registered
from fedward_shared import base_models, names, tasks, tensors
from fedward_shared.assurances import (
    Objection,
    Presence,
    Receipt,
    RoundRequest,
    check_approved,
)
from fedward_shared.errors import (
    CharterError,
    CohortError,
    FedwardError,
    StateError,
    StatementError,
)
from fedward_shared.identity import SigningKey
from fedward_shared.messages import (
    HELLO,
    RECEIPT,
    TRAIN,
    Answer,
    Hello,
    MessageError,
    ReceiptNote,
    Refusal,
    TrainRequest,
    Welcome,
    answer_from_record,
)
from fedward_shared.report import RoundRecord
from fedward_shared.tasks.base import StudyModel
from fedward_shared.tasks.examples import Examples
from fedward_shared.tasks.prepared import prepared
from fedward_shared.tensors import Tensors

LATER_SECONDS = 60.0
"""After so long a site that said `later` is asked again."""

STUDY_KEY = "study"
"""The run configuration has the digest of the study's charter under this key."""

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
        self.grid = grid
        self.observer = observer
        self.key = SigningKey.load(study.settings.key)
        self.nodes: dict[str, int] = {}
        """Participant → the node it answers from."""
        self.refused: dict[str, str] = {}
        self._greeted: set[int] = set()
        self._challenge = os.urandom(32).hex()

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
            self._gather(self.study.settings.gather_seconds if not self._greeted else 0.0)
            round_ = self._run_round(number)
            if not round_.sufficient:
                raise CohortError(self._too_few(round_))
            adapter, state = optimizers.advance(
                self.charter.adapter.method,
                round_.start,
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
            self.study.finish_round(adapter, state, record, round_.updates, round_.heads)
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

    # Who is there

    def _gather(self, patience: float) -> None:
        """Greets nodes that are new; waits up to `patience` seconds for all participants."""
        until = time.monotonic() + patience
        waiting: dict[str, int] = {}
        greetings_end = math.inf
        while True:
            new = set(self.grid.get_node_ids()) - self._greeted
            if new:
                self._greeted |= new
                hello = Hello(self.charter.digest, self._challenge).to_record()
                nodes = sorted(new)
                ids = self.grid.push_messages(
                    [self._message(hello, HELLO, node, "0") for node in nodes]
                )
                waiting |= dict(zip(ids, nodes, strict=True))
                greetings_end = time.monotonic() + self.study.settings.gather_seconds
            for reply in self.grid.pull_messages(sorted(waiting)) if waiting else ():
                node = waiting.pop(reply.metadata.reply_to_message_id, None)
                if node is not None and reply.has_error():
                    self._greeted.discard(node)  # its process failed: it is greeted again
                elif node is not None:
                    self._welcome(reply, node)
            known = self.nodes.keys() | self.refused.keys()
            complete = known >= {participant.name for participant in self.charter.participants}
            now = time.monotonic()
            if complete or (now >= until and (not waiting or now >= greetings_end)):
                break
            time.sleep(self.study.settings.poll_seconds)
        self.observer.gathered(sorted(self.nodes), self.refused)

    def _welcome(self, reply: Message, node: int) -> None:
        answer = _answer(reply)
        names = {participant.name for participant in self.charter.participants}
        if answer is None or answer.site not in names:
            return
        try:
            self._check_presence(answer)
        except (StatementError, CharterError) as error:
            # Anybody with a node could say this; it must not keep the site itself out.
            log.warning("not believed", node=node, site=answer.site, reason=str(error))
            return
        if isinstance(answer, Refusal):
            self.refused[answer.site] = f"refused: {answer.code.value}"
            log.warning("site refused", site=answer.site, code=answer.code.value)
        elif answer.site in self.nodes and self.nodes[answer.site] != node:
            # Two nodes with one name: which of them is the site cannot be told, so neither is.
            del self.nodes[answer.site]
            self.refused[answer.site] = "two nodes claim this name"
        elif answer.site not in self.refused:
            self.nodes[answer.site] = node

    def _check_presence(self, answer: Answer) -> None:
        """Raises StatementError unless it is the participant itself that says so, now."""
        site, origin = answer.site, f"answer of {answer.site}"
        match answer:
            case Welcome():
                check_approved(answer.decision, self.charter, site, origin)
                presence = Presence.read_of(answer.presence, self.charter, site, origin)
                said = presence.challenge
            case Refusal():
                objection = Objection.read_of(answer.objection, self.charter, site, origin)
                said = objection.answers if objection.code == answer.code else ""
            case _:
                said = ""
        if not hmac.compare_digest(said, self._challenge):
            raise StatementError(f"{origin}: it answers another challenge")

    # A round

    def _run_round(self, number: int) -> Round:
        asked = self._connected()
        initial, terms = tensors.schema_of(self.study.initial), self.charter.adapter
        round_ = Round(
            number,
            self.charter,
            tensors.digest(self.study.adapter),
            names.sent(initial, terms.method, self.charter.training.turn(number), terms.rank),
            time.monotonic(),
            frozenset(asked),
            self.study.initial | self.study.adapter,
        )
        round_.missing |= self.refused
        if len(asked) < self.charter.aggregation.minimum_cohort:
            raise CohortError(self._too_few(round_))
        asking = RoundRequest(charter=self.charter.digest, round=number, adapter=round_.adapter)
        signed, adapter = asking.signed(self.key), tensors.encode(self.study.adapter)
        receipts = self._receipts()
        requests = {
            site: TrainRequest(
                self.charter.digest, signed, receipts.get(site, b""), adapter
            ).to_record()
            for site in asked
        }
        waiting = self._ask(requests, asked, number)
        self.observer.round_opened(number, sorted(asked))
        away: set[str] = set()
        again_at: dict[str, float] = {}
        while not round_.closed:
            waiting |= self._ask(requests, self._returned(round_, asked, away), number)
            waiting |= self._ask(requests, self._due(round_, asked, again_at), number)
            for reply in self.grid.pull_messages(sorted(waiting)):
                site = waiting.pop(reply.metadata.reply_to_message_id, None)
                if site is not None and _node_is_gone(reply):
                    away.add(site)
                elif site is not None:
                    self._take(round_, site, reply)
            if round_.sufficient and round_.outstanding <= away | round_.postponed:
                for site in round_.outstanding:
                    round_.fail(site, LATER if site in round_.postponed else NOT_CONNECTED)
            round_.tick(time.monotonic())
            if not round_.closed:
                time.sleep(self.study.settings.poll_seconds)
        return round_

    def _connected(self) -> dict[str, int]:
        """The sites that are there, once they are enough or have been waited for."""
        until = time.monotonic() + self.study.settings.gather_seconds
        while True:
            there = set(self.grid.get_node_ids())
            found = {site: node for site, node in self.nodes.items() if node in there}
            minimum = self.charter.aggregation.minimum_cohort
            hopeless = len(self.nodes) < minimum or time.monotonic() >= until
            if len(found) >= minimum or hopeless:
                return found
            time.sleep(self.study.settings.poll_seconds)

    def _ask(
        self, requests: Mapping[str, RecordDict], nodes: Mapping[str, int], number: int
    ) -> dict[str, str]:
        """Sends the round's requests to `nodes`; message id → site."""
        sites = sorted(nodes)
        messages = [
            self._message(requests[site], TRAIN, nodes[site], str(number)) for site in sites
        ]
        return dict(zip(self.grid.push_messages(messages), sites, strict=True)) if sites else {}

    def _returned(self, round_: Round, asked: Mapping[str, int], away: set[str]) -> dict[str, int]:
        """Sites that were gone and are back without having answered; keeps `away` up to date.

        What a node had pulled when it died is not delivered again. Asking anew costs a site nothing
        if it has trained already: its ledger keeps the answer. Sites that are gone are waited for,
        up to the deadline, where the minimum cohort needs them.
        """
        connected = set(self.grid.get_node_ids())
        away |= {site for site in round_.outstanding if asked[site] not in connected}
        back = {site for site in away if asked[site] in connected}
        away -= back
        return {site: asked[site] for site in back & round_.outstanding}

    def _due(
        self, round_: Round, asked: Mapping[str, int], again_at: dict[str, float]
    ) -> dict[str, int]:
        """Sites that said `later` a while ago; keeps `again_at` up to date. They are waited for, up to
        the deadline, where the minimum cohort needs them."""
        now, connected = time.monotonic(), set(self.grid.get_node_ids())
        waiting = round_.postponed & round_.outstanding
        due = {s for s in waiting if again_at.get(s, math.inf) <= now and asked[s] in connected}
        for site in due | (waiting - again_at.keys()):
            again_at[site] = now + LATER_SECONDS
        return {site: asked[site] for site in due}

    def _take(self, round_: Round, site: str, reply: Message) -> None:
        answer = _answer(reply)
        if answer is None:
            round_.fail(site, SITE_ERROR)
        else:
            round_.offer(site, answer)
        if site in round_.missing:
            log.warning("site missing", round=round_.number, site=site, reason=round_.missing[site])
        self.observer.answered(round_.number, site)

    def _receipts(self) -> dict[str, bytes]:
        """For each site whose update is in the last checkpoint, a receipt for it."""
        kept = self.study.history[-1]
        return {
            site: Receipt(
                charter=self.charter.digest,
                site=site,
                round=self.study.rounds_done,
                update=update,
                head=kept.heads[site],
            ).signed(self.key)
            for site, update in kept.updates.items()
        }

    def _acknowledge(self) -> None:
        """Sends the receipts of the last round, which no further request carries."""
        receipts = self._receipts()
        sites = sorted(receipts.keys() & self.nodes.keys())
        number = str(self.study.rounds_done)
        notes = [ReceiptNote(self.charter.digest, receipts[site]).to_record() for site in sites]
        messages = [
            self._message(note, RECEIPT, self.nodes[site], number)
            for note, site in zip(notes, sites, strict=True)
        ]
        waiting = set(self.grid.push_messages(messages))
        until = time.monotonic() + self.study.settings.gather_seconds
        while waiting and time.monotonic() < until:
            for reply in self.grid.pull_messages(sorted(waiting)):
                waiting.discard(reply.metadata.reply_to_message_id)
            if waiting:
                time.sleep(self.study.settings.poll_seconds)

    def _message(self, content: RecordDict, kind: str, node: int, group: str) -> Message:
        return Message(
            content=content,
            dst_node_id=node,
            message_type=kind,
            group_id=group,
            ttl=self.charter.aggregation.round_deadline_seconds,
        )

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
            bytes_down=size * len(round_.asked),
            seconds=seconds,
        )

    def _too_few(self, round_: Round) -> str:
        reasons = "; ".join(f"{site}: {why}" for site, why in sorted(round_.missing.items()))
        return (
            f"round {round_.number}: {len(round_.updates)} sites of the minimum "
            f"{self.charter.aggregation.minimum_cohort} ({reasons or 'none connected'})"
        )


def _node_is_gone(reply: Message) -> bool:
    """Whether the SuperLink says so in place of a reply that it will not get."""
    return reply.has_error() and reply.error.code == ErrorCode.NODE_UNAVAILABLE


def _answer(reply: Message) -> Answer | None:
    """What a node said, or None for a failed process or something that is no answer."""
    if reply.has_error():
        return None
    try:
        return answer_from_record(reply.content)
    except MessageError:
        return None


def _open_deployed(context: Context) -> Study:
    return Study(registered(str(context.run_config[STUDY_KEY])))


app = create_app(_open_deployed, Observer())

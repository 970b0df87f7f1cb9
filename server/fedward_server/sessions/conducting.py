"""A study with sessions over one grid: the parties are gathered, called to a session, and waited for.

The session's messages go through the exchange, which lets the parties in while the session's file is
there. What comes of it stays with them: they answer that they are done, and what their ledgers say.
"""

import time
from datetime import UTC, datetime

import structlog
from flwr.app import RecordDict
from flwr.serverapp import Grid

from fedward_server.asking import Asking, Sender
from fedward_server.exchange.sessions import Session, Sessions
from fedward_server.gathering import Gathering
from fedward_server.observer import Observer
from fedward_server.reasons import NOT_CONNECTED, SITE_ERROR
from fedward_server.sessions.stage import SessionStage
from fedward_server.sessions.studies import SessionRecord, SessionStudy
from fedward_shared.assurances import SessionRequest
from fedward_shared.errors import CohortError
from fedward_shared.identity import SigningKey
from fedward_shared.messages import SESSION, Answer, SessionCall

AGAIN = "`fedward study resume` goes on with the same session, which costs no party anything more"
OVER = (
    "its time is over; `fedward study resume --new-session` opens another, which every party books "
    "anew"
)

log = structlog.get_logger()


class Conducting:
    """One study over one grid, with the exchange whose `sessions` these are."""

    def __init__(
        self, study: SessionStudy, grid: Grid, observer: Observer, sessions: Sessions
    ) -> None:
        self.study = study
        self.charter = study.charter
        self.observer = observer
        self.sessions = sessions
        self.key = SigningKey.load(study.settings.key)
        deadline = self.charter.exchange.deadline_seconds
        self.sender = Sender(grid, deadline, study.settings.poll_seconds)
        everybody = len(self.charter.participants)
        patience = study.settings.gather_seconds
        self.gathering = Gathering(self.sender, self.charter, patience, everybody)

    def run(self) -> None:
        """What is left of the session. Raises CohortError where a party is missing or fails."""
        self.study.read()
        if not self.study.outstanding:
            return
        nodes = self._gathered()
        now = datetime.now(UTC)
        record = self.study.begin(now)
        assert record.deadline is not None
        left = (record.deadline - now).total_seconds()
        signed = {site: text.encode() for site, text in record.completions.items()}
        stage = SessionStage(self.charter, record.session, time.monotonic() + left, signed)
        stage.tick(time.monotonic())
        if not stage.closed:
            try:
                self._call(stage, record, nodes)
            finally:
                self.sessions.close(stage.session)
        self._note(stage)
        if not stage.sufficient:
            raise CohortError(_in_words(stage, datetime.now(UTC) >= record.deadline))

    def _gathered(self) -> dict[str, int]:
        """The nodes of all who have not done their part yet; before that nobody is asked anything."""
        self.gathering.gather()
        refused = self.gathering.refused
        self.observer.gathered(sorted(self.gathering.nodes), refused)
        nodes = self.gathering.connected()
        wanted = self.study.outstanding
        missing = [f"{s}: {refused.get(s, NOT_CONNECTED)}" for s in wanted if s not in nodes]
        if missing:
            raise CohortError(
                f"{'; '.join(missing)}; a session needs all its parties: `fedward study resume` calls "
                "them again"
            )
        return {site: nodes[site] for site in wanted}

    def _call(self, stage: SessionStage, record: SessionRecord, nodes: dict[str, int]) -> None:
        """Lets the parties into the exchange, calls them, and takes their answers."""
        digest, deadline = self.charter.digest, record.deadline
        assert deadline is not None
        request = SessionRequest(
            charter=digest, session=record.session, purpose=record.purpose, model=record.model
        ).signed(self.key)
        requests: dict[str, RecordDict] = {}

        def write() -> None:
            """Whoever is called from now on need not wait for those who are done."""
            done = b"\n".join(stage.signed.values())
            requests.update(dict.fromkeys(nodes, SessionCall(digest, request, done).to_record()))

        write()
        self._open(stage, deadline)
        log.info(
            "session open",
            session=record.session[:16],
            purpose=record.purpose,
            parties=sorted(nodes),
        )
        asking = Asking(self.sender, SESSION, stage.session, requests, nodes)

        def take(site: str, answer: Answer | None) -> None:
            if answer is None:
                stage.fail(site, SITE_ERROR)
            else:
                stage.offer(site, answer)
            self._note(stage)
            if site in stage.signed:
                self._open(stage, deadline)
                write()
            reason = stage.failed.get(site, "later" if site in stage.outstanding else "")
            log.info("party answered", site=site, done=site in stage.signed, reason=reason)

        asking.until_closed(stage, take)

    def _open(self, stage: SessionStage, deadline: datetime) -> None:
        """The exchange waits for none that are done, also where it, or the session, starts again."""
        patience = self.charter.exchange.patience_seconds
        self.sessions.open(
            Session.of(self.charter, stage.session, deadline, patience, stage.signed)
        )

    def _note(self, stage: SessionStage) -> None:
        self.study.note(stage.signed, stage.failed, stage.postponed & stage.outstanding)


def _in_words(stage: SessionStage, over: bool) -> str:
    reasons = [f"{site}: {why}" for site, why in sorted(stage.failed.items())]
    left = [f"not done: {', '.join(sorted(stage.outstanding))}"] if stage.outstanding else []
    return "; ".join([*reasons, *left, OVER if over else AGAIN])

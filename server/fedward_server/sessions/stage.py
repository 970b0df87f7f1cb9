"""A session's end as a state machine without I/O: which party is done, which is not, and why.

The shell around it calls the parties and hands it every answer; the clock is an argument. All parties
are needed, so the first one that fails closes the stage, and nobody can be left out.
"""

from dataclasses import dataclass, field

from fedward_server.reasons import NO_REPLY
from fedward_server.refusals import MEANING
from fedward_server.sessions.studies import completed
from fedward_shared.errors import CharterError, RefusalCode, StatementError
from fedward_shared.exchange.charter import SessionCharter
from fedward_shared.messages import Answer, Refusal, SessionDone


@dataclass
class SessionStage:
    """`session` of the study of `charter`; after `until` (s, of the shell's clock) its time is over.

    `signed`: party → its completion, also those of earlier runs.
    """

    charter: SessionCharter
    session: str
    until: float
    signed: dict[str, bytes] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Party → why the session cannot go on with it."""
    postponed: set[str] = field(default_factory=set)
    """Parties that have said `later`: they are outstanding and can be called again."""

    @property
    def outstanding(self) -> frozenset[str]:
        """Parties that are neither done nor failed."""
        names = {participant.name for participant in self.charter.participants}
        return frozenset(names - self.signed.keys() - self.failed.keys())

    @property
    def closed(self) -> bool:
        """Whether all are done, or one has failed."""
        return bool(self.failed) or not self.outstanding

    @property
    def sufficient(self) -> bool:
        """Whether all are done."""
        return not self.failed and not self.outstanding

    def offer(self, site: str, answer: Answer) -> None:
        """Takes the answer of `site`. Whatever is wrong with it fails the party."""
        if site not in self.outstanding:
            return
        match answer:
            case SessionDone() if answer.site == site:
                self._complete(site, answer.completion)
            case Refusal(code=RefusalCode.LATER):
                self.postponed.add(site)
            case Refusal():
                self.fail(site, f"refused: {answer.code.value} ({MEANING[answer.code]})")
            case _:
                self.fail(site, "answered another question")

    def _complete(self, site: str, data: bytes) -> None:
        try:
            completed(data, self.charter, self.session, site, f"completion of {site}")
        except (StatementError, CharterError) as error:
            self.fail(site, str(error))
        else:
            self.signed[site] = data

    def fail(self, site: str, reason: str) -> None:
        """No usable answer of `site` will come."""
        if site in self.outstanding:
            self.failed[site] = reason

    def tick(self, now: float) -> None:
        """Gives up on all who are outstanding once the session's time is over."""
        if now >= self.until:
            for site in self.outstanding:
                self.fail(site, NO_REPLY)

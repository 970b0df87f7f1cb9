"""The answers of a study of statistics as a state machine without I/O: who has answered, or not and why.

The shell around it asks the sites and hands it every answer; the clock is an argument. No site is
needed: one that fails is named, and the others' answers are good without it.
"""

from dataclasses import dataclass, field

from fedward_server.reasons import NO_REPLY
from fedward_server.refusals import MEANING
from fedward_shared.errors import CharterError, RefusalCode, StatementError
from fedward_shared.messages import Answer, Counted, Refusal
from fedward_shared.statistics import tally
from fedward_shared.statistics.charter import StatisticsCharter


@dataclass
class AnswerStage:
    """The sites that were `asked`; after `until` (s, of the shell's clock) no more is waited for.

    `signed`: site → its tally.
    """

    charter: StatisticsCharter
    asked: frozenset[str]
    until: float
    signed: dict[str, bytes] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Site → why no answer of it will come."""
    postponed: set[str] = field(default_factory=set)
    """Sites that have said `later`: they are outstanding and can be asked again."""

    @property
    def outstanding(self) -> frozenset[str]:
        """Sites that have neither answered nor failed."""
        return self.asked - self.signed.keys() - self.failed.keys()

    @property
    def closed(self) -> bool:
        """Whether nobody is waited for any more."""
        return not self.outstanding

    @property
    def sufficient(self) -> bool:
        """Whoever is away, or says `later`, is not waited for once somebody has answered."""
        return bool(self.signed)

    def offer(self, site: str, answer: Answer) -> None:
        """Takes the answer of `site`. Whatever is wrong with it fails the site."""
        if site not in self.outstanding:
            return
        match answer:
            case Counted() if answer.site == site:
                self._take(site, answer.tally)
            case Refusal(code=RefusalCode.LATER):
                self.postponed.add(site)
            case Refusal():
                self.fail(site, f"refused: {answer.code.value} ({MEANING[answer.code]})")
            case _:
                self.fail(site, "answered another question")

    def _take(self, site: str, data: bytes) -> None:
        try:
            tally.read(data, self.charter, site, f"tally of {site}")
        except (StatementError, CharterError) as error:
            self.fail(site, str(error))
        else:
            self.signed[site] = data

    def fail(self, site: str, reason: str) -> None:
        """No usable answer of `site` will come."""
        if site in self.outstanding:
            self.failed[site] = reason

    def tick(self, now: float) -> None:
        """Gives up on all who are outstanding once the time is over."""
        if now >= self.until:
            for site in self.outstanding:
                self.fail(site, NO_REPLY)

"""A search from a charter and SEARCH.toml to settings that may be told.

    FOLDER/search.json     which search this is, and the name of its bookings
        drawn.json         how many trials there are, of a selection; stays secret
        search.sqlite      the trials
        result.toml        the settings and the loss, with its noise: all that may leave

What is decided about one search is decided here: what it costs, whether it goes on, and when it is over.
"""

import json
import math
import secrets
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import tomli_w

from fedward_client import charters
from fedward_client import settings as site_settings
from fedward_client.ledger import shown
from fedward_client.searching import asked, scoring
from fedward_client.searching.asked import SiteSearch
from fedward_client.searching.booking import Books
from fedward_client.searching.trial import Trials, scored
from fedward_client.site import Site
from fedward_client.training.trainer import Progress
from fedward_client.trusted import Trusted
from fedward_shared.charter import Charter
from fedward_shared.errors import CharterError, MissingExtra, StateError, UsageError
from fedward_shared.files import write_atomically
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event
from fedward_shared.privacy.selection import Repetitions, Selection
from fedward_shared.searching.search import Parameters, Private, Report, Stopped, Value, search
from fedward_shared.searching.selecting import DRAWN, select

IDENTITY, RESULT = "search.json", "result.toml"
NOTHING = "# no trial came to a loss\n"
WHOLE = 1
"""The number under which a selection is booked, which is one booking, and the first trial of another."""
SEEDS = 2**32

Say = Callable[[str], None]


@dataclass(frozen=True)
class Identity:
    """Which search a folder holds, the name of its bookings, and the seed of what it draws."""

    study: str
    request: str
    seed: int


class Search:
    """The search in the file `terms` for settings of the charter in `source`, in the folder `out`.

    Made, it has checked all that can be refused without the records, and has written nothing. Raises
    UsageError, CharterError, PrivacyError, BudgetExceeded, StateError or MissingExtra.
    """

    def __init__(
        self, settings: Path, source: Path, terms: Path, out: Path, epsilon: float
    ) -> None:
        if find_spec("optuna") is None:
            raise MissingExtra('a search needs optuna: pip install "fedward-client[search]"')
        asked.check_epsilon(epsilon)
        self._settings, self._out = settings, out
        self.terms: SiteSearch = asked.read(terms)
        charter, _ = charters.read(source)
        if not isinstance(charter, Charter):
            raise CharterError(f"charter {charter.study}: it has no rounds, nothing to search for")
        asked.check(self.terms, charter)
        offer = Trusted(lambda: site_settings.load(settings)).offer(charter.digest, b"")
        self.charter, self._offer = charter, offer
        self._trial = asked.event(charter, offer.site)
        study = asked.study(self.terms, charter)
        kept = self._kept(study)
        self._identity = kept or Identity(study, secrets.token_hex(16), secrets.randbelow(SEEDS))
        self._books = Books(self._opened, charter, study, epsilon, self._identity.request)
        self.begun = kept is not None and self._books.booked(WHOLE)
        """Whether something was booked for it before, so that it goes on."""
        if not self.begun:
            self._books.check([self._event])

    def _opened(self) -> Site:
        return Site.open(self._settings)

    @property
    def selection(self) -> Selection | None:
        """What is booked as one, if it is."""
        chosen = self.terms.selection
        if chosen is None:
            return None
        return Selection(self._trial, Repetitions(chosen.mean, chosen.shape))

    @property
    def _event(self) -> Event:
        """What has to fit so that the search can begin."""
        return self._trial if self.selection is None else self.selection.booked

    def cost(self) -> list[str]:
        """What a person reads before it begins."""
        books, event = self._books, self._event
        spent, after, account = books.after([event])
        if self.begun:
            return [
                f"a search that was begun goes on; {account.name} has spent ε = {shown(spent.epsilon)}"
            ]
        alone = f"ε = {shown(accountant.epsilon([event], account.delta))} at δ = {account.delta:g}"
        lines = [f"the search is one booking: {alone}, however many trials there are"]
        if self.selection is None:
            number, most = books.fitting(event, self.terms.trials), self.terms.trials
            lines = [
                f"a trial costs {alone}",
                f"{number} of {most} trials fit into --epsilon {books.epsilon:g} and the account",
            ]
        held = (
            f"ε = {shown(spent.held)} held, {shown(after)} with {'it' if self.selection else 'one'}"
        )
        return [*lines, f"account {account.name}: {held}, {account.epsilon:g} allowed"]

    def spent(self) -> str:
        """What the account has spent now."""
        spending, _, account = self._books.after([])
        cost = f"ε = {shown(spending.epsilon)} at δ = {account.delta:g}"
        return f"account {account.name}: {cost} spent now"

    def run(self, say: Say, progress: Progress) -> str:
        """Runs what is left of it; what may be told, as TOML.

        Raises what a training raises, NotNow or BudgetExceeded before anything is read.
        """
        with closing(self._opened()) as site:
            key = site.secrets.derive("search")
        trials = Trials(self._offer, self._books.file, key, progress)
        self._begin()
        if self.selection is None:
            text = self._searched(trials, say)
        else:
            text = self._selected(trials, self.selection)
        write_atomically(self._out / RESULT, text.encode(), mode=0o600)
        return text

    def _selected(self, trials: Trials, selection: Selection) -> str:
        answer = self._books.answer(WHOLE)
        if answer is not None:
            return answer.decode()
        if (self._out / DRAWN).exists() and not self._books.booked(WHOLE):
            raise StateError(
                f"{self._out / DRAWN}: the ledger has no booking for it: the folder is of another site, "
                "or one of the two is an older copy; begin in another folder"
            )
        winner = select(
            self._out,
            self.terms,
            trials,
            selection,
            lambda booked: self._books.book(WHOLE, booked.booked),
        )
        text = (
            NOTHING if winner is None else told(winner.parameters, winner.loss, self._deviation())
        )
        self._books.complete(WHOLE, text.encode())
        return text

    def _searched(self, trials: Trials, say: Say) -> str:
        def trained(parameters: Parameters, report: Report) -> float:
            loss = math.nan
            try:
                loss = trials(parameters, report)
            except Stopped:
                self._books.complete(report.number + 1, repr(loss).encode())
                raise
            self._books.complete(report.number + 1, repr(loss).encode())
            return loss

        private = Private(
            lambda _: self._trial, lambda number, event: self._books.book(number + 1, event)
        )
        seed = self._identity.seed
        found = search(self._out, self.terms, trained, seed=seed, private=private)
        if found.ended is not None:
            say(f"the search ended before its time: {found.ended}")
        if found.parameters is None or found.loss is None:
            return NOTHING
        return told(found.parameters, found.loss, self._deviation())

    def _deviation(self) -> float:
        plan, expected = scored(self.charter, self._offer.site)
        most = scoring.bound(self.charter.task, self._offer.base_model)
        return most * scoring.deviation(plan, expected)

    def _kept(self, study: str) -> Identity | None:
        path = self._out / IDENTITY
        try:
            found = Identity(**json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            if self._out.exists() and (not self._out.is_dir() or any(self._out.iterdir())):
                raise UsageError(f"--out {self._out}: there is something else there") from None
            return None
        except (OSError, ValueError, TypeError) as error:
            raise StateError(
                f"{path}: cannot be read ({error}); begin in another folder"
            ) from error
        if found.study != study:
            raise StateError(
                f"{path}: of another charter or SEARCH.toml; begin this one in another folder"
            )
        return found

    def _begin(self) -> None:
        self._out.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._out.chmod(0o700)
        if not self.begun:
            content = json.dumps(asdict(self._identity)).encode()
            write_atomically(self._out / IDENTITY, content, mode=0o600)


def told(parameters: Parameters, loss: float, deviation: float) -> str:
    """The settings as a draft of a charter has them, and what is known of their loss."""
    content: dict[str, dict[str, Value]] = {}
    for name, value in sorted(parameters.items()):
        section, _, key = name.partition(".")
        content.setdefault(section, {})[key] = value
    return f"# loss {loss:.4f}, noise in it of deviation {deviation:.4f}\n{tomli_w.dumps(content)}"

"""The world of one run: a copy of the consortium, a clock, the operations, and all that was seen.

Whoever acts reports the points that it passes (`injection.py`), and `World.passes` lets happen what is
due there. What the invariants are checked against is noted here, apart from the product's own books.
"""

import contextlib
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from fedward_client import consent
from fedward_client import settings as site_settings
from fedward_client.site import AUDIT_FILE, Site
from fedward_shared.errors import FedwardError
from fedward_shared.privacy.randomness import Randomness
from fedward_simulations.faults import books, disk
from fedward_simulations.faults.consortium import (
    START,
    site_file,
    site_folder,
    study_folder,
    witness_folder,
)
from fedward_simulations.faults.disk import Image
from fedward_simulations.faults.operations import COORDINATOR, Operation

TURN_SECONDS = 10.0
"""What a site takes for one message."""

RESTARTED_AFTER = 30.0
"""Seconds until a site that was killed is there again."""

COPIES = {
    "restore ledger": ("ledger.sqlite*",),
    "restore log": (AUDIT_FILE,),
    "restore both": ("ledger.sqlite*", AUDIT_FILE),
    "restore masks": ("*.party", "*.vector", "*.answer"),
}
PEOPLE = "people"
WITNESS_FILE = "witness.json"
NEWEST_PUT_BACK = "the newest copies of {site} were put back"


class Killed(BaseException):
    """The power is cut for whoever acts: no code of the product may catch it."""


class Clock:
    """Stands in for the module `time`: nobody waits, the seconds are counted."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        """Seconds since the run began."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """They pass at once."""
        self.seconds += seconds


@dataclass
class Turn:
    """What a site does about one message."""

    site: str
    round: int = 0
    reserving: bool = False
    trained: bool = False
    struck: bool = False


@dataclass(frozen=True)
class Crossing:
    """An answer of a site on its way. `barred` says why it should not have left, if it should not."""

    site: str
    answer: str
    round: int
    update: bytes
    barred: str
    attempt: int = 1
    said: str = ""
    """The digest of what it said in a stage of a masked round."""


@dataclass
class World:
    """One run. `folder` gets a copy of the `template`."""

    template: Path
    folder: Path
    operations: list[Operation]
    clock: Clock = field(default_factory=Clock)
    happened: list[Operation] = field(default_factory=list)
    trainings: Counter[str] = field(default_factory=Counter)
    """Site → how often its records were trained on."""
    undisturbed: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Site and round → how often it trained, and nothing struck it then."""
    crashed: Counter[str] = field(default_factory=Counter)
    """Site → reservations that a fault cut off before the training."""
    left: list[Crossing] = field(default_factory=list)
    received: list[Crossing] = field(default_factory=list)
    withdrawn: set[str] = field(default_factory=set)
    older: set[str] = field(default_factory=set)
    """Sites with an older copy about which people have not decided."""
    accepted: list[str] = field(default_factory=list)
    """Sites that opened over an older copy."""
    decisions: list[str] = field(default_factory=list)
    """What people had to decide, so that the study could go on."""
    integers: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)
    """Site and round → what the site last made of its update, before masks."""
    event: str = ""
    """The last entry of an audit log."""
    away: dict[str, float] = field(default_factory=dict)
    """Site → until when nobody reaches it."""

    def __post_init__(self) -> None:
        shutil.copytree(self.template, self.folder)
        self._acting = COORDINATOR
        self._turn: Turn | None = None
        self._passed: Counter[tuple[str, str]] = Counter()
        self._offset: dict[str, timedelta] = {}
        self._full = False
        self._image: Image | None = None
        self._backups: defaultdict[str, list[Image]] = defaultdict(list)
        self._newest: dict[str, Image] = {}

    # Who acts, and when

    def now(self, site: str) -> datetime:
        """What the clock on the wall of a site shows."""
        passed = timedelta(seconds=self.clock.seconds)
        return START + passed + self._offset.get(site, timedelta())

    def randomness(self, label: str) -> Randomness:
        """Another stream for each training, as in deployment: the same request trains to other bytes."""
        return Randomness.from_seed(0, label, str(self.trainings[self._acting]))

    @contextmanager
    def acting(self, party: str) -> Iterator[None]:
        """Within, the points are passed by `party`. A kill leaves its disk as it was at that instant."""
        before = self._acting
        self._acting = party
        try:
            yield
        except Killed:
            assert self._image is not None
            self._image.put_back()
            raise
        finally:
            self._acting = before
            self._end_full_disk()

    @contextmanager
    def turn(self, site: str) -> Iterator[None]:
        """Within, the site is about one message."""
        turn = self._turn = Turn(site)
        try:
            with self.acting(site):
                yield
        except Killed:
            self.away[site] = self.clock.seconds + RESTARTED_AFTER
            raise
        finally:
            if turn.reserving and turn.struck and not turn.trained:
                self.crashed[site] += 1
            if turn.trained and not turn.struck:
                self.undisturbed[site, turn.round] += 1
            self.clock.seconds += TURN_SECONDS

    def reserving(self, round_number: int) -> None:
        """The site that acts begins to book a round."""
        if self._turn:
            self._turn.reserving, self._turn.round = True, round_number

    def encoding(self, site: str, number: int, numbers: np.ndarray) -> None:
        """A site makes integers of its update of a round."""
        self.integers[site, number] = numbers.copy()

    def training(self) -> None:
        """The site that acts begins to train on its records."""
        if self._turn:
            self._turn.trained = True
        self.trainings[self._acting] += 1

    # What happens

    def passes(self, point: str, half: Callable[[], object] = lambda: None) -> list[Operation]:
        """Lets happen what is due at this point; `half` is what of a step is done when it is cut off.

        Returns the faults of the network that are due, which are for the network to carry out. Raises
        Killed.
        """
        self._passed[self._acting, point] += 1
        at = (self._acting, point, self._passed[self._acting, point])
        due = [o for o in self.operations if (o.party, o.point, o.passing) == at]
        for operation in sorted(due, key=lambda o: o.fault == "kill"):
            self._happens(operation, half)
        return due

    def _happens(self, operation: Operation, half: Callable[[], object]) -> None:
        party = operation.party
        match operation.fault:
            case "withdraw":
                if not self._withdraw(party):
                    return
            case "restore ledger" | "restore log" | "restore both" | "restore masks":
                if not self._restore(party, COPIES[operation.fault], operation.amount):
                    return
            case "clock" if party == COORDINATOR:
                self.clock.seconds += operation.amount
            case "clock":
                self._offset[party] = timedelta(days=operation.amount)
            case "disk full":
                self._fill(operation)
            case _:
                pass
        self.happened.append(operation)
        if self._turn and self._turn.site == party:
            self._turn.struck = True
        if operation.fault == "kill":
            self._end_full_disk()
            half()
            self._image = Image.of(*self._places(party))
            raise Killed

    def _places(self, party: str) -> tuple[Path, ...]:
        if party == COORDINATOR:
            return (study_folder(self.folder),)
        folder = site_folder(self.folder, party)
        return folder / "state", witness_folder(self.folder, party), folder / "run"

    def _fill(self, operation: Operation) -> None:
        room = operation.amount
        if operation.point.startswith("log."):
            log = site_folder(self.folder, operation.party) / "state" / AUDIT_FILE
            room += log.stat().st_size
        disk.fill(room)
        self._full = True

    def _end_full_disk(self) -> None:
        if self._full:
            disk.make_room()
            self._full = False

    # What people at a site do

    def _site(self, site: str) -> Site:
        return Site(site_settings.load(site_file(self.folder, site)), lambda: self.now(site))

    def opens(self, site: str) -> bool:
        """Whether the site opens, for people who look after it."""
        with self.acting(PEOPLE):
            try:
                self._site(site).close()
            except FedwardError:
                return False
        return True

    def _withdraw(self, site: str) -> bool:
        if site in self.withdrawn:
            return False
        with contextlib.suppress(FedwardError), closing(self._site(site)) as opened:
            consent.withdraw(opened, opened.charters.known[0])
        # What was decided is what the file says, not whether the command went through.
        if any(self._places(site)[0].glob("charters/*/decision-0002.json")):
            self.withdrawn.add(site)
        return site in self.withdrawn

    def back_up(self, site: str) -> None:
        """Keeps a copy of ledger and log, if one will be put back."""
        if any(o.party == site and o.fault in COPIES for o in self.operations):
            state, _, run = self._places(site)
            self._backups[site].append(Image.of(state, run))

    def _restore(self, site: str, names: tuple[str, ...], ago: int) -> bool:
        copies = self._backups[site]
        if ago >= len(copies):
            return False
        if site not in self.older:
            self._newest[site] = Image.of(self._places(site)[0])
        copies[-1 - ago].put_back(*names)
        if names != COPIES["restore masks"] and self._is_older(site):
            self.older.add(site)
        return True

    def _is_older(self, site: str) -> bool:
        """Whether ledger and log are such that the site must not go on.

        A log that lacks lines must not be accepted, but for a last one that was never witnessed: what it
        says was not done. A ledger that is one booking behind its log may be: a crash leaves it so, and
        the log has all that it lacks.
        """
        state, elsewhere, _ = self._places(site)
        log = (state / AUDIT_FILE).read_bytes()
        if len(log) < len(self._newest[site].files[state / AUDIT_FILE][0]):
            witnessed = json.loads((elsewhere / WITNESS_FILE).read_bytes())["number"]
            if witnessed > log.count(b"\n"):
                return True
        return len(books.announced(log)) - len(books.booked(state)) > 1

    def barred(self, site: str) -> str:
        """Why the site must let nothing out; empty if it may."""
        if site in self.withdrawn:
            return "it has withdrawn"
        return "it has an older copy" if site in self.older else ""

    def heal(self) -> bool:
        """Whoever can repairs network, clocks and copies. Says whether there was anything to repair."""
        broken = bool(self.away or self._offset or self.older)
        self.away.clear()
        self._offset.clear()
        for site in sorted(self.older):
            if self.opens(site):
                self.accepted.append(site)
            self._newest[site].put_back(*COPIES["restore both"])
            self.decisions.append(NEWEST_PUT_BACK.format(site=site))
        self.older.clear()
        return broken

"""The charters that this site has decided about: a folder for each, with its signed decisions.

CHARTERS/<digest>/charter.json, initial.safetensors    the copy that was decided about; the
                                                       second only of a study of rounds
CHARTERS/<digest>/decision-0001.json                   approve, refuse or withdraw; the last counts
CHARTERS/<digest>/assent-anna.json                     of one person, where several have to agree
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from fedward_shared import agreement, sessions
from fedward_shared import charter as horizontal
from fedward_shared.agreement import CHARTER_FILE, Agreement
from fedward_shared.assurances import Assent, Choice, Decision
from fedward_shared.canonical import DIGEST_PREFIX
from fedward_shared.charter import INITIAL_FILE
from fedward_shared.errors import CharterError
from fedward_shared.files import write_atomically
from fedward_shared.identity import PublicKey, SigningKey
from fedward_shared.statistics import charter as statistics
from fedward_shared.statistics.charter import StatisticsCharter
from fedward_shared.tensors import Arrays
from fedward_shared.terms import DIGEST_PATTERN

FILES = (INITIAL_FILE, CHARTER_FILE)
"""Of a charter, in the order in which they are kept: it is there when the last one is."""


def read(folder: Path) -> tuple[Agreement, Arrays]:
    """The signed charter in `folder`, of whichever kind, and the tensors it starts from, if any.

    Raises CharterError, StatementError or AdapterError as the kind's own `load` does.
    """
    if sessions.has_sessions(folder):
        return sessions.load(folder), {}
    if agreement.kind(folder / CHARTER_FILE) == StatisticsCharter.KIND:
        return statistics.load(folder), {}
    return horizontal.load(folder)


class ApprovedCharters:
    """What the people at `site` have decided, below `folder`, signed with `key`."""

    def __init__(
        self, folder: Path, site: str, key: SigningKey, clock: Callable[[], datetime]
    ) -> None:
        self._folder = folder
        self._site = site
        self._key = key
        self._clock = clock

    def keep(self, source: Path) -> Agreement:
        """Keeps a copy of the charter in `source`, undecided. Raises as `read` does."""
        charter, _ = read(source)
        target = self._place(charter.digest)
        for name in FILES:
            if not (source / name).is_file():
                continue  # the charter comes alone
            data = (source / name).read_bytes()
            if not (target / name).is_file() or (target / name).read_bytes() != data:
                write_atomically(target / name, data)
        return charter

    def next_decision(
        self, digest: str, choice: Choice, people: tuple[str, ...] = ()
    ) -> Decision | None:
        """What would be decided about a charter that is kept; None if that is decided already."""
        last = self.decision(digest)
        if last is not None and last.choice == choice:
            return None
        return Decision(
            charter=digest,
            site=self._site,
            choice=choice,
            number=1 if last is None else last.number + 1,
            at=self._clock().isoformat(timespec="seconds"),
            people=people,
        )

    def decide(self, decision: Decision) -> None:
        """Signs and keeps a decision."""
        path = self._decision_file(decision.charter, decision.number)
        write_atomically(path, decision.signed(self._key))

    def assent(self, digest: str, person: str, key: SigningKey) -> None:
        """Keeps that `person`, who holds `key`, wants the charter approved."""
        assent = Assent(charter=digest, site=self._site, person=person)
        write_atomically(self._assent_file(digest, person), assent.signed(key))

    def assents(self, digest: str, people: Mapping[str, PublicKey]) -> tuple[str, ...]:
        """Which of `people` want the charter approved. Raises StatementError for a false assent."""
        given = []
        for person, key in sorted(people.items()):
            path = self._assent_file(digest, person)
            if path.is_file():
                said = Assent.read(path.read_bytes(), digest, key, person, str(path))
                said.by(self._site, str(path))
                given.append(person)
        return tuple(given)

    def decision(self, digest: str) -> Decision | None:
        """The last decision about the charter. Raises StatementError for one that is not ours."""
        data = self.decision_bytes(digest)
        if data is None:
            return None
        path = str(self._place(digest))
        said = Decision.read(data, digest, self._key.public, self._site, path)
        return said.by(self._site, path)

    def decision_bytes(self, digest: str) -> bytes | None:
        """The last decision as it is sent to the coordinator."""
        files = sorted(self._place(digest).glob("decision-*.json"))
        return files[-1].read_bytes() if files else None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever decided here."""
        return not any(self._folder.glob("*"))

    @property
    def known(self) -> list[str]:
        """The digests of all charters that are kept."""
        return sorted(
            f"{DIGEST_PREFIX}{path.name}" for path in self._folder.glob("*") if path.is_dir()
        )

    def read(self, digest: str) -> tuple[Agreement, Arrays]:
        """The kept charter with this digest, whatever was decided, and its initial tensors.

        Raises CharterError if there is none or its copy is another charter.
        """
        target = self._place(digest)
        if not (target / CHARTER_FILE).is_file():
            raise CharterError(
                f"charter {digest} is not approved here; `fedward site approve` would do that"
            )
        charter, initial = read(target)
        if charter.digest != digest:
            raise CharterError(f"{target}: the copy of the charter has changed")
        return charter, initial

    def load(self, digest: str) -> tuple[Agreement, Arrays]:
        """As `read`, if the site's last decision approves. Raises CharterError otherwise."""
        charter, initial = self.read(digest)
        self._check_key(charter)
        decision = self.decision(digest)
        if decision is None or decision.choice != "approve":
            said = (
                "no decision was made"
                if decision is None
                else f"the site chose to {decision.choice}"
            )
            raise CharterError(
                f"charter {charter.study} ({digest}) is not approved here: {said}; "
                "`fedward site approve` would do that"
            )
        return charter, initial

    def _check_key(self, charter: Agreement) -> None:
        named, own = charter.participant(self._site).key, self._key.public.text
        if named != own:
            raise CharterError(
                f"charter {charter.study}: it names this site by {named}, which is not its key any "
                f"more; the coordinator has to draw up one that names {own}, to be approved anew"
            )

    def _decision_file(self, digest: str, number: int) -> Path:
        return self._place(digest) / f"decision-{number:04d}.json"

    def _assent_file(self, digest: str, person: str) -> Path:
        return self._place(digest) / f"assent-{person}.json"

    def _place(self, digest: str) -> Path:
        if not re.fullmatch(DIGEST_PATTERN, digest):
            raise CharterError("that is no charter's digest")
        return self._folder / digest.removeprefix(DIGEST_PREFIX)

"""A question of the active party's people to the model of a vertical study, from their file to scores.

The daemon takes the question to the next prediction (`attendance/queries.py`); here it is checked
before, waited for, and its answer written down.
"""

import csv
import io
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fedward_client.attendance.outcomes import COMPLETION_FILE, RESULT_FILE
from fedward_client.attendance.queries import PREFIX, Queries, write
from fedward_client.objections import left_out
from fedward_client.policy import encoders
from fedward_client.settings import DatasetSettings
from fedward_client.site import Site
from fedward_client.vertical.records import PartyRecords
from fedward_shared import canonical, records
from fedward_shared.charter_terms import WITHOUT_DP
from fedward_shared.errors import CharterError, DataError, ExchangeError, Interrupted, UsageError
from fedward_shared.files import write_atomically
from fedward_shared.psi.identifiers import normalised
from fedward_shared.vertical.charter import VerticalCharter

MAX_BYTES = 32 * 2**20
"""Of a file that is asked about: it crosses the socket to the worker in one piece."""
POLL_SECONDS = 0.5
SCORE = "score"
WITHDRAWN = (
    "the question is withdrawn; a prediction that has begun with it goes on, and the same command shows "
    "its answer"
)


@dataclass(frozen=True)
class Question:
    """Whom people ask about: the rows of their file, by the columns that say who each is of."""

    charter: VerticalCharter
    path: Path
    data: bytes
    identifier: Sequence[str]

    def scored(self, result: bytes) -> bytes:
        """A CSV file: the columns of the identifier as they were written, and the score or, of more than
        two classes, one for each; empty for who is not with all parties."""
        scores = canonical.decode(result)["scores"]
        content = records.table(self.path, self.data)
        columns = [records.texts(self.path, content, c, "identifier") for c in self.identifier]
        whole = normalised(columns, self.charter.vertical.alignment.rules)
        made = io.StringIO()
        writer = csv.writer(made, lineterminator="\n")
        classes = self.charter.vertical.classes
        named = [SCORE] if len(classes) == 2 else [f"{SCORE} {name}" for name in classes]
        writer.writerow([*self.identifier, *named])
        for *parts, one in zip(*columns, whole, strict=True):
            writer.writerow([*parts, *scores.get(one.decode(), [""] * len(named))])
        return made.getvalue().encode()


class Waiting:
    """One question among the site's `queries`, until it is answered."""

    def __init__(self, queries: Queries, data: bytes, suffix: str) -> None:
        self._queries = queries
        digest = canonical.digest(data).removeprefix(canonical.DIGEST_PREFIX)
        self._name = f"{PREFIX}{digest}{suffix.lower()}"
        if self.answer is None and not (queries.folder / self._name).is_file():
            write(queries.folder / self._name, data)

    @property
    def answer(self) -> bytes | None:
        """The result of a session that has answered it, canonical JSON."""
        for path in self._copies():
            if (path.parent / COMPLETION_FILE).is_file():
                return (path.parent / RESULT_FILE).read_bytes()
        return None

    @property
    def under_way(self) -> bool:
        """Whether a session has taken it."""
        return bool(self._copies())

    def withdraw(self) -> None:
        """No session takes it any more."""
        self._queries.withdraw(self._name)

    def _copies(self) -> list[Path]:
        folder = self._queries.folder
        return [p for p in sorted(folder.parent.glob(f"*/{self._name}")) if p.parent != folder]


def ask(
    settings: Path,
    digest: str,
    path: Path,
    out: Path,
    timeout: float | None,
    say: Callable[[str], None],
) -> None:
    """Asks about the records in the file `path`, and writes their scores to `out` when they have come.

    Raises CharterError for a study in which this site asks nothing, DataError or AlignmentError for
    records that cannot be asked about, ExchangeError where nothing has come after `timeout` seconds, and
    Interrupted. The question is withdrawn then.
    """
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}")
    with closing(Site.open(settings)) as site:
        question = _question(site, digest, path)
        queries = Queries(site.settings.state, question.charter)
    if question.charter.epsilon is None:
        say(f"NOT PRIVATE: {WITHOUT_DP}. The other parties answer without noise")
    waiting = Waiting(queries, question.data, path.suffix)
    try:
        result = _waited_for(waiting, timeout, say)
    except KeyboardInterrupt as error:
        raise Interrupted(WITHDRAWN) from error
    finally:
        waiting.withdraw()
    write_atomically(out, question.scored(result), mode=0o600)
    found = canonical.decode(result)
    say(f"{found['records']} of those asked about are with all parties; scores are in {out}")


def _question(site: Site, digest: str, path: Path) -> Question:
    """What is asked, checked as the worker will check it."""
    charter, _ = site.charters.load(digest)
    if not isinstance(charter, VerticalCharter) or site.name != charter.vertical.active:
        raise CharterError(
            f"charter {charter.study}: this site has no label in it, and nothing to ask"
        )
    terms = charter.vertical
    if not terms.predictions:
        raise CharterError(
            f"charter {charter.study}: vertical.predictions is 0; what the model says of other people "
            "needs a charter that allows predictions, which all parties approve"
        )
    dataset: DatasetSettings = site.permit(charter).dataset
    assert dataset.alignment is not None  # the policy has asked for it
    identifier, data = dataset.alignment.identifier, records.read_bytes(path)
    if len(data) > MAX_BYTES:
        raise DataError(f"{path}: {len(data)} bytes, at most {MAX_BYTES} can be asked about")
    models = encoders(charter, site.settings)
    asked = PartyRecords.parse(path, data, terms, site.name, identifier, left_out(dataset), models)
    if len(asked.identifiers) > terms.alignment.most:
        raise DataError(
            f"{path}: {len(asked.identifiers)} records, vertical.alignment.most of the charter is "
            f"{terms.alignment.most}"
        )
    return Question(charter, path, data, identifier)


def _waited_for(waiting: Waiting, timeout: float | None, say: Callable[[str], None]) -> bytes:
    told, until = "", None if timeout is None else time.monotonic() + timeout
    while (answer := waiting.answer) is None:
        state = (
            "a prediction is under way; the other parties are waited for"
            if waiting.under_way
            else "waiting for the coordinator to hold a prediction (`fedward study predict`); this "
            "site's daemon has to run, and all other parties"
        )
        if state != told:
            say(told := state)
        if until is not None and time.monotonic() >= until:
            raise ExchangeError(f"no answer after {timeout:g} s: {WITHDRAWN}")
        time.sleep(POLL_SECONDS)
    return answer

"""The trials of a search in a folder that any number of processes of one machine share.

Optuna's own SQLite file has all trials. A process that runs one holds the lock of its file until it is
finished; the system gives it back when the process ends, however it ends. So a trial that is said to
run and whose lock is free has died, and whoever asks for the next trial gets its settings again.
"""

import fcntl
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from fedward_shared.errors import Interrupted, StateError

DATABASE, LOCK, RUNNING = "search.sqlite", "lock", "running"
NAME = "search"
TRIES = 3
"""A trial that has died so often is given up: it may be what kills its process."""
WAIT_SECONDS = 60
OF, FIRST, TRIES_SO_FAR = "of", "first", "tries"
DIED, INTERRUPTED, UNBOOKED, IDENTITY = "died", "interrupted", "unbooked", "identity"

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Trial:
    """A trial that this process runs. Left without an end, it has died, or was interrupted.

    `first` is the number of the trial that it continues: its own, or that of one that died.
    """

    def __init__(self, study: optuna.Study, trial: optuna.Trial, lock: IO[bytes]) -> None:
        self._study, self._trial, self._lock = study, trial, lock
        self.number = trial.number
        self.first: int = trial.user_attrs.get(FIRST, trial.number)
        self.parameters: dict[str, Any] = trial.params

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is not None and issubclass(kind, Interrupted):
            self._trial.set_user_attr(INTERRUPTED, True)
        self._lock.close()

    def report(self, step: int, loss: float) -> bool:
        """Keeps a finite loss on the way; whether the trial should stop, by the pruner."""
        self._trial.report(loss, step)
        return self._trial.should_prune()

    def finish(self, loss: float) -> None:
        self._study.tell(self.number, loss)

    def stop(self) -> None:
        """Ends it as one that is worse than others."""
        self._study.tell(self.number, state=TrialState.PRUNED)

    def refuse(self) -> None:
        """Ends it as one that was never run."""
        self._trial.set_user_attr(UNBOOKED, True)
        self._study.tell(self.number, state=TrialState.FAIL)


class Trials:
    """Those in `folder`, which is made if there is none.

    `identity` is what makes it this search and no other. Raises StateError where the folder has
    another, or its file cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        space: dict[str, BaseDistribution],
        sampler: Callable[[int], optuna.samplers.BaseSampler],
        pruner: optuna.pruners.BasePruner,
    ) -> None:
        self._folder, self._space, self._sampler = folder, space, sampler
        (folder / RUNNING).mkdir(parents=True, exist_ok=True)
        said = json.dumps(identity, sort_keys=True)
        try:
            with self._locked():
                _log_ahead(folder / DATABASE)
                self._storage = optuna.storages.RDBStorage(
                    f"sqlite:///{folder / DATABASE}",
                    engine_kwargs={"connect_args": {"timeout": WAIT_SECONDS}},
                )
                self._study = optuna.create_study(
                    storage=self._storage, study_name=NAME, pruner=pruner, load_if_exists=True
                )
                found = self._study.user_attrs.get(IDENTITY)
                if found is None:
                    self._study.set_user_attr(IDENTITY, said)
        except Exception as error:  # SQLAlchemy's and optuna's have no common class
            raise StateError(
                f"{folder / DATABASE}: the search cannot be read ({error}); restore it from a backup or "
                "begin one in another folder"
            ) from error
        if found not in (None, said):
            raise StateError(
                f"{folder / DATABASE}: a search with other settings: {found}; begin this one in another "
                "folder"
            )

    def close(self) -> None:
        """Closes the file; what the log has goes into it."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def next(self, most: int) -> Trial | None:
        """The next trial, none where `most` are done or running. One that has died comes first.

        Its settings are drawn by the seed, its number and what the others have come to.
        """
        with self._locked():
            self._bury_the_dead()
            if sum(map(_counts, self.all())) >= most:
                return None
            self._study.sampler = self._sampler(len(self.all()))
            trial = self._study.ask(self._space)
            return Trial(self._study, trial, _hold(self._file(trial.number)))

    def all(self) -> list[FrozenTrial]:
        """As optuna has them, the first one first."""
        return self._study.get_trials(deepcopy=False)

    def lost(self) -> int:
        """How many were given up."""
        return sum(map(_given_up, self.all()))

    def importances(self) -> dict[str, float]:
        """For each parameter how much it decides whether a trial is among the best (Watanabe et al.
        2023, PED-ANOVA), as parts of 1; nothing where too few trials are finished to say."""
        finished = [trial for trial in self.all() if trial.state == TrialState.COMPLETE]
        if len(finished) < 10:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return dict(found)

    def _bury_the_dead(self) -> None:
        for trial in self.all():
            if trial.state == TrialState.RUNNING and not _held(self._file(trial.number)):
                self._storage.set_trial_user_attr(trial._trial_id, DIED, True)
                self._study.tell(trial.number, state=TrialState.FAIL)
        again = {trial.user_attrs.get(OF) for trial in self.all()}
        for trial in self.all():
            if DIED in trial.user_attrs and trial.number not in again and not _given_up(trial):
                first = trial.user_attrs.get(FIRST, trial.number)
                tries = trial.user_attrs.get(TRIES_SO_FAR, 1) + (
                    INTERRUPTED not in trial.user_attrs
                )
                self._study.enqueue_trial(
                    trial.params, {OF: trial.number, FIRST: first, TRIES_SO_FAR: tries}
                )

    def _file(self, number: int) -> Path:
        return self._folder / RUNNING / str(number)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / LOCK).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _log_ahead(path: Path) -> None:
    """Has SQLite write a log ahead, for good: a worker that reads then waits for none that writes."""
    with closing(sqlite3.connect(path, timeout=WAIT_SECONDS)) as database:
        database.execute("PRAGMA journal_mode=WAL")


def _counts(trial: FrozenTrial) -> bool:
    """Whether it is one of those that were asked for; one that died is, when it is run again."""
    if trial.state == TrialState.FAIL:
        return _given_up(trial)
    return trial.state != TrialState.WAITING


def _given_up(trial: FrozenTrial) -> bool:
    died = DIED in trial.user_attrs and INTERRUPTED not in trial.user_attrs
    return died and trial.user_attrs.get(TRIES_SO_FAR, 1) >= TRIES


def _hold(path: Path) -> IO[bytes]:
    file = path.open("ab")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _held(path: Path) -> bool:
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False

"""A search over the settings of a training, each trial of which is one, by the code that trains.

    RUN/configuration.json       what is searched around, and the other files of a search
        tokenizer/ corpus/       made once, for all trials
        trials/0007/             a training of its own: its configuration, diary and curves
        search.sqlite            the trials, and search.html of them

Any number of processes of one machine share the folder. A trial goes on from its newest checkpoint,
whichever process began it; once it has ended, its checkpoints are deleted.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from fedward_server.pretraining import running
from fedward_server.pretraining.assembling import CHECKPOINTS
from fedward_server.pretraining.configuration import Pretraining, written
from fedward_server.pretraining.preparing import Prepared, prepare
from fedward_server.pretraining.reports import EvaluationReport
from fedward_server.pretraining.training.launched import worker_count
from fedward_server.pretraining.training.loop import GivenUp
from fedward_shared.errors import ModelError, UsageError
from fedward_shared.searching import search_page
from fedward_shared.searching.search import (
    Found,
    Parameters,
    Report,
    Stopped,
    search,
)
from fedward_shared.terms import describe

PAGE, TRIALS = "search.html", "trials"


def tune(
    terms: Pretraining, root: Path, folder: Path, console: Console, trials: int | None = None
) -> str:
    """Runs the trials that are left of `[search]`, or until there are `trials`; the best one, as TOML.

    Raises what `running.run` raises, UsageError for a configuration without `[search]` or for several
    processes that train together.
    """
    asked = terms.search
    if asked is None:
        raise UsageError("[search] is not in the configuration: name there what is to be tried")
    if worker_count() > 1:
        raise UsageError("a trial is trained by one process: start the same command several times")
    if trials is not None:
        asked = asked.model_copy(update={"trials": trials})
    running.begin(terms, root, folder)
    with _alone(folder):
        prepared = prepare(terms, root, folder, console)
    trial = _Trial(terms, root, folder, prepared, console)
    page = folder / PAGE
    title = folder.resolve().name
    found = search(
        folder,
        asked,
        trial,
        seed=terms.seed,
        after=lambda trials: search_page.write(page, asked, trials, title),
    )
    return _told(terms, found, page)


class _Trial:
    """What a search calls to train with some settings."""

    def __init__(
        self, terms: Pretraining, root: Path, folder: Path, prepared: Prepared, console: Console
    ) -> None:
        self._terms, self._root, self._folder = terms, root, folder
        self._prepared, self._console = prepared, console
        self._weights = {source.name: source.weight for source in terms.sources}

    def __call__(self, parameters: Parameters, report: Report) -> float:
        self._say(report, _settings(parameters))
        try:
            loss = self._trained(parameters, report)
        except (GivenUp, ModelError, Stopped) as error:
            self._say(report, f"stopped: {error}")
            raise Stopped(str(error)) from error
        except ValidationError as error:
            self._say(report, f"stopped: {describe(error)}")
            raise Stopped(describe(error)) from error
        self._say(report, f"loss {loss:.4f}")
        return loss

    def _say(self, report: Report, text: str) -> None:
        self._console.print(f"trial {report.number}: {text}", soft_wrap=True, markup=False)

    def _trained(self, parameters: Parameters, report: Report) -> float:
        """The loss after the last step."""
        terms = self._terms.having(parameters)
        # Processes that share a machine would want the same port.
        quiet = terms.monitoring.model_copy(update={"prometheus_port": None})
        terms = terms.model_copy(update={"monitoring": quiet})
        folder = self._folder / TRIALS / f"{report.first:04}"
        running.begin(terms, self._root, folder)

        losses: dict[int, float] = {}

        def evaluated(evaluation: EvaluationReport) -> None:
            losses[evaluation.step] = self._mean(evaluation)
            report(evaluation.step, losses[evaluation.step])

        silent = Console(quiet=True)
        try:
            with running.ready(terms, folder, self._prepared, silent, evaluated) as training:
                training.run()
                if training.step not in losses:  # it was killed after its last step
                    evaluated(training.evaluate())
        except (GivenUp, Stopped):
            shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
            raise
        shutil.rmtree(folder / CHECKPOINTS)
        return losses[terms.schedule.steps]

    def _mean(self, evaluation: EvaluationReport) -> float:
        """Over the sources, by their weights."""
        weights = {name: self._weights[name] for name in evaluation.losses}
        summed = sum(weights[name] * loss for name, loss in evaluation.losses.items())
        return summed / sum(weights.values())


def _settings(parameters: Parameters) -> str:
    named = sorted(parameters.items())
    return ", ".join(f"{name} = {search_page.word(value)}" for name, value in named)


def _told(terms: Pretraining, found: Found, page: Path) -> str:
    counts = f"{found.finished} finished, {found.stopped} stopped, {found.lost} given up"
    if found.parameters is None:
        return f"# No trial came to an end: {counts}. {page}"
    return (
        f"# Trial {found.number} has the least loss, {found.loss:.4f}: "
        f"{_settings(found.parameters)}\n"
        f"# {counts}; {page}\n\n{written(terms.having(found.parameters))}"
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits until no other process makes tokenizer or corpus."""
    with (folder / "preparing").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

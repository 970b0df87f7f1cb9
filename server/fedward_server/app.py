"""The ServerApp: it opens the run's study, holds it locked, and says how it ended.

What a study does is for its kind: rounds, `coordination.py`, sessions, `sessions/conducting.py`, or one
question, `statistics/survey.py`. Only rounds need torch and models, which take seconds to import.

`app` is what a deployed SuperLink starts; a simulation makes its own with `create_app`.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedward_server.exchange.sessions import Sessions
from fedward_server.kinds import OneStudy, open_study
from fedward_server.observer import Observer
from fedward_server.registry import STUDY_KEY, registered
from fedward_server.sessions.conducting import Conducting
from fedward_server.sessions.studies import SessionStudy
from fedward_server.statistics.studies import StatisticsStudy
from fedward_server.statistics.survey import Survey
from fedward_server.studies import StudyLock, end
from fedward_shared.errors import FedwardError, StateError

if TYPE_CHECKING:
    from fedward_server.coordination import Coordination


def create_app(study_of: Callable[[Context], OneStudy], observer: Observer) -> ServerApp:
    """The ServerApp of the study that `study_of` opens for a run."""
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        study = study_of(context)
        with StudyLock(study.folder, study.settings.lock_seconds):
            try:
                _coordination(study, grid, observer).run()
            except FedwardError as error:
                # A disk that is full must not hide what went wrong first.
                with suppress(StateError):
                    end(study.folder, str(error), error.exit_code)
                raise
            except KeyboardInterrupt:
                end(study.folder, "interrupted; it can be resumed", 130)
                raise
            end(study.folder, "complete", 0)

    return server


def _coordination(
    study: OneStudy, grid: Grid, observer: Observer
) -> "Coordination | Conducting | Survey":
    match study:
        case SessionStudy():
            return Conducting(study, grid, observer, Sessions.here())
        case StatisticsStudy():
            return Survey(study, grid, observer)
    from fedward_server.coordination import Coordination

    return Coordination(study, grid, observer)


def _open_deployed(context: Context) -> OneStudy:
    return open_study(registered(str(context.run_config[STUDY_KEY])))


app = create_app(_open_deployed, Observer())

"""Everything that watches one training, opened and closed together."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

from prometheus_client import CollectorRegistry
from pydantic import Field
from rich.console import Console

from fedward_server.pretraining.monitoring import curves, diary
from fedward_server.pretraining.monitoring.diary import Diary
from fedward_server.pretraining.monitoring.figures import Machine
from fedward_server.pretraining.monitoring.metrics import Metrics, served
from fedward_server.pretraining.monitoring.tensorboard import TensorBoard
from fedward_server.pretraining.monitoring.terminal import TerminalView
from fedward_server.pretraining.monitoring.watchers import Watchers
from fedward_server.pretraining.reports import Watcher
from fedward_shared.terms import Terms

TENSORBOARD = "tensorboard"
CURVES = "curves.html"


class MonitoringTerms(Terms):
    """Who is told of a training besides its diary and the terminal.

    Metrics are served at `prometheus_host`:`prometheus_port` (0: a free port; none: not at all). Whoever
    reaches the port reads them. `tensorboard` has its files written into the run's folder.
    """

    prometheus_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    prometheus_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    tensorboard: bool = False


@contextmanager
def watching(
    terms: MonitoringTerms, folder: Path, machine: Machine, console: Console
) -> Iterator[Watchers]:
    """The watchers of the run in `folder`, which exists; for the first worker alone.

    At the end the curves of the diary are drawn, whatever it was that ended. Raises before: StateError
    of the diary, UsageError of the port, MissingExtra of TensorBoard.
    """
    with ExitStack() as stack:
        found: list[Watcher] = [stack.enter_context(Diary(folder / diary.FILE, machine))]
        notices = []
        if terms.prometheus_port is not None:
            registry = CollectorRegistry()
            found.append(Metrics(machine, registry))
            place = served(registry, terms.prometheus_host, terms.prometheus_port)
            notices.append(f"metrics at {stack.enter_context(place)}")
        if terms.tensorboard:
            found.append(stack.enter_context(TensorBoard(folder / TENSORBOARD, machine)))
        found.append(stack.enter_context(TerminalView(console, machine)))
        watchers = Watchers(found)
        for text in notices:
            watchers.notice(text)
        stack.callback(_draw, folder, watchers)
        yield watchers


def _draw(folder: Path, watchers: Watchers) -> None:
    try:
        curves.write(folder / CURVES, curves.of([folder]))
    except Exception as error:  # a training that is done has not failed for it
        watchers.notice(f"{folder / CURVES}: could not be drawn: {error}")

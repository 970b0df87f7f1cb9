"""One run: the study among the struck parties, resumed until it ends or until people have to decide."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Context, RecordDict, UserConfig
from flwr.serverapp import ServerApp

from fedward_client import settings as site_settings
from fedward_client.app import create_app as create_client_app
from fedward_client.core import Core
from fedward_client.trusted import Trusted
from fedward_server.app import create_app as create_server_app
from fedward_server.studies import Study
from fedward_shared.errors import FedwardError
from fedward_simulations.faults.consortium import site_file, study_folder
from fedward_simulations.faults.injection import Watching, installed
from fedward_simulations.faults.network import NODES, FaultyGrid
from fedward_simulations.faults.operations import COORDINATOR, SITES, Operation
from fedward_simulations.faults.world import Killed, World
from fedward_simulations.federation import PARTITION

MAX_RESUMES = 8
REFUSED = re.compile(r"(\w+): (?:\w+: )?refused: (\w+)")


@dataclass(frozen=True)
class Ending:
    """How a run ended. `stopped` is what the coordinator said when it could not go on, empty if it is
    complete; `reasons` name what people have to decide then, none if nobody could say."""

    resumes: int
    stopped: str
    reasons: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """In a few words that many runs share."""
        if self.stopped:
            return f"stopped: {' and '.join(self.reasons) or 'for no reason that is known'}"
        return "resumed and complete" if self.resumes else "complete"


def run(template: Path, folder: Path, operations: list[Operation]) -> tuple[World, Ending]:
    """Runs the study in a copy of `template`, which `folder` becomes; at the end all is healed."""
    world = World(template, folder, operations)
    client = create_client_app(_Cores(world).core_of, world.randomness)
    server = create_server_app(lambda _: Study(study_folder(folder)), Watching(world))
    grid = FaultyGrid(world, client)
    with installed(world):
        ending = _until_it_ends(world, server, grid)
        grid.deliver_the_rest()
        world.heal()
    return world, ending


class _Cores:
    """The trusted side of each node's site, opened anew for each message."""

    def __init__(self, world: World) -> None:
        self._world = world

    @contextmanager
    def core_of(self, context: Context) -> Iterator[Core]:
        """That of the site which the node's configuration numbers."""
        site = NODES[int(context.node_config[PARTITION]) + 1]
        path = site_file(self._world.folder, site)
        yield Trusted(
            lambda: site_settings.load(path),
            lambda: self._world.now(site),
            randomness=self._world.randomness,
        )


def _until_it_ends(world: World, server: ServerApp, grid: FaultyGrid) -> Ending:
    for resumes in range(MAX_RESUMES + 1):
        grid.abandon()
        try:
            with world.acting(COORDINATOR):
                server(grid, _context())
            return Ending(resumes, "", ())
        except Killed:
            world.heal()
            continue
        except FedwardError as error:
            stopped = str(error)
        except Exception as error:
            return Ending(resumes, f"untyped {type(error).__name__}: {error}", ())
        if not world.heal() and (reasons := _to_decide(world, stopped)):
            return Ending(resumes, stopped, reasons)
    return Ending(MAX_RESUMES, f"it was resumed {MAX_RESUMES} times", ())


def _to_decide(world: World, said: str) -> tuple[str, ...]:
    """What people have to decide, if nothing else keeps the study from going on."""
    refused = dict(REFUSED.findall(said))
    reasons = {
        ("budget", False): "budget used up",
        ("charter", True): "approval withdrawn",
    }
    named = {reasons.get((code, site in world.withdrawn)) for site, code in refused.items()}
    others = [site for site in SITES if f"{site}: " in said and site not in refused]
    if others or None in named:
        return ()
    return tuple(sorted(reason for reason in named if reason))


def _context() -> Context:
    return Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=UserConfig())

"""The very ServerApp and ClientApp of deployment, run on one machine by either of two engines.

`in-process` is an implementation of Flower's `Grid` that starts at once: a message goes through the
same bytes as on the wire and is answered in this process. `flower` is Flower's own simulation engine
(Ray): many sites on many cores. Both give the same adapter, bit for bit.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from flwr.app import Context, Message, RecordDict, UserConfig
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fedward_client import settings as site_settings
from fedward_client.app import create_app as create_client_app
from fedward_client.core import Core
from fedward_client.trusted import Trusted
from fedward_server.app import create_app as create_server_app
from fedward_server.kinds import open_study
from fedward_server.observer import Observer
from fedward_shared.errors import MissingExtra
from fedward_shared.messages import MASKS, TRAIN, MaskRequest
from fedward_shared.privacy.randomness import Randomness
from fedward_simulations.engines import Engine

PARTITION = "partition-id"
"""Flower's simulation engine numbers its nodes under this key of their configuration."""


@dataclass(frozen=True)
class SimulatedSites:
    """The trusted side of each node's site, and randomness that comes from the simulation's seed."""

    settings: tuple[Path, ...]
    seed: int

    @contextmanager
    def core_of(self, context: Context) -> Iterator[Core]:
        """That of the site which the node's configuration numbers, without a process between."""
        path = self.settings[int(context.node_config[PARTITION])]
        yield Trusted(lambda: site_settings.load(path), randomness=self.randomness)

    def randomness(self, label: str) -> Randomness:
        """The same stream for the same seed and label."""
        return Randomness.from_seed(self.seed, label)


def run(
    study: Path,
    sites: Iterable[Path],
    seed: int,
    observer: Observer,
    engine: Engine,
    dropping: int = 0,
) -> None:
    """Runs, or resumes, the study in the folder `study` with the sites of these `site.toml` files.

    The last `dropping` of them drop out in the middle of each masked round (in-process alone). Raises
    what the ServerApp raises.
    """
    run_sites(study, SimulatedSites(tuple(sites), seed), observer, engine, dropping)


def run_sites(
    study: Path, simulated: SimulatedSites, observer: Observer, engine: Engine, dropping: int = 0
) -> None:
    """The same, with sites that may be of another kind."""
    client = create_client_app(simulated.core_of, simulated.randomness)
    server = create_server_app(lambda _: open_study(study), observer)
    if engine == "flower":
        _run_flower(server, client, len(simulated.settings))
    else:
        nodes = {index + 1: client for index in range(len(simulated.settings))}
        dropped = frozenset(sorted(nodes)[len(nodes) - dropping :])
        grid = DroppingGrid(nodes, dropped) if dropped else InProcessGrid(nodes)
        server(grid, _context(0, {}))


def _context(node: int, config: UserConfig) -> Context:
    return Context(
        run_id=1, node_id=node, node_config=config, state=RecordDict(), run_config=UserConfig()
    )


class InProcessGrid(Grid):
    """Flower's Grid over ClientApps in this process; node n is the site number n - 1.

    A message is answered when its reply is first asked for, one at a time in the order of sending, so
    a run is deterministic. Every message and reply passes through its protobuf bytes. As with the
    real SuperLink, a reply is given once.
    """

    def __init__(self, nodes: Mapping[int, ClientApp]) -> None:
        self._nodes = dict(nodes)
        self._contexts = {node: _context(node, {PARTITION: node - 1}) for node in self._nodes}
        self._waiting: dict[str, Message] = {}
        self._run = Run.create_empty(run_id=1)
        # Flower stamps every message with the identity of the process that makes it.
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 0, 1

    def set_run(self, run: Run) -> None:
        """Flower's ServerApp process would set the run; here there is one only."""
        self._run = run

    @property
    def run(self) -> Run:
        """The one run."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message to a node."""
        return Message(
            content=content,
            message_type=message_type,
            dst_node_id=dst_node_id,
            group_id=group_id,
            ttl=ttl,
        )

    def get_node_ids(self) -> Iterable[int]:
        """All nodes."""
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Accepts messages; returns their ids in the same order."""
        ids = []
        for message in messages:
            sent = through_bytes(message)
            sent.metadata.__dict__["_message_id"] = str(uuid4())
            self._waiting[sent.metadata.message_id] = sent
            ids.append(sent.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The reply to the first of `message_ids` that has none yet, in the order of sending."""
        wanted = set(message_ids)
        for message_id in list(self._waiting):
            if message_id in wanted:
                return [self._answer(self._waiting.pop(message_id))]
        return []

    def _answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        return through_bytes(self._nodes[node](message, self._contexts[node]))

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """All replies; `timeout` cannot pass, since nothing is waited for."""
        del timeout
        ids = list(self.push_messages(messages))
        return [reply for message_id in ids for reply in self.pull_messages([message_id])]


class DroppingGrid(InProcessGrid):
    """Nodes in `dropped` are gone once they are asked to train, and back when the sum is revealed.

    By then they have shared the secrets of a masked round, and the others have masked with them.
    """

    def __init__(self, nodes: Mapping[int, ClientApp], dropped: frozenset[int]) -> None:
        super().__init__(nodes)
        self._dropped = dropped
        self._away: frozenset[int] = frozenset()

    def get_node_ids(self) -> Iterable[int]:
        """Those that are there."""
        return [node for node in super().get_node_ids() if node not in self._away]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Takes the messages; those to nodes that are gone are never answered."""
        sent = list(messages)
        if any(message.metadata.message_type == TRAIN for message in sent):
            self._away = self._dropped
        if any(_reveals(message) for message in sent):
            self._away = frozenset()
        ids = list(super().push_messages(sent))
        for message_id, message in zip(ids, sent, strict=True):
            if message.metadata.dst_node_id in self._away:
                del self._waiting[message_id]
        return ids


def _reveals(message: Message) -> bool:
    if message.metadata.message_type != MASKS:
        return False
    return MaskRequest.from_record(message.content).stage == "reveal"


def through_bytes(message: Message) -> Message:
    """`message` as it is after it has crossed the wire."""
    data = message_to_proto(message).SerializeToString()
    received = message_from_proto(MessageProto.FromString(data))
    received.metadata.__dict__["_message_id"] = message.metadata.message_id
    return received


def _run_flower(server: ServerApp, client: ClientApp, nodes: int) -> None:
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    try:
        import ray
        from flwr.simulation import run_simulation
    except ImportError as error:
        raise MissingExtra(
            "Flower's simulation engine is not installed: pip install 'fedward-simulations[ray]'"
        ) from error
    try:
        run_simulation(server, client, nodes)
    finally:
        ray.shutdown()

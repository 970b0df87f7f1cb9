"""The points of a site's and the coordinator's own steps, put around the product's code from outside.

A site passes, in a round: `reserve.before`; `log.reserved.…` and `witness.reserved.…`, each `before`,
`torn` (half of it written) and `after`; `reserve.commit` (nothing committed yet), `reserve.after`;
`train.before`, `train.middle`, `train.after`; `log.cleared.…`, `witness.cleared.…`; `complete.before`,
`complete.after`. In a masked round `log.masked.…`, `log.agreed.…` and `log.revealed.…` take the place of
`log.cleared.…`, and each write of its secrets passes `vault.…`. The coordinator passes `gathered`,
`round.opened`, `round.answered`, `tensors.…`, `record.…`, `round.closed` and, at its end, `outcome.…`;
where an attempt at a masked round begins, and before it asks who survived, `attempt.…`. The messages
between are `network.py`'s.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fedward_client import vault
from fedward_client.ledger import Booking, Ledger, Limit
from fedward_client.reconciliation import Witness
from fedward_client.training import round as training
from fedward_server import asking, attempts, coordination, gathering, plain, studies
from fedward_server.observer import Observer
from fedward_shared.audit import AuditLog, Head
from fedward_shared.masked import MaskedTerms
from fedward_shared.privacy.plan import Event
from fedward_shared.report import RoundRecord
from fedward_simulations.faults.world import World

Wrapped = Callable[..., Any]


@contextmanager
def installed(world: World) -> Iterator[None]:
    """Within, whoever acts reports to `world`, and the coordinator's clock is that of the world."""
    with ExitStack() as stack:
        for owner, name, wrap in (
            (AuditLog, "_write", _log),
            (Witness, "write", _witness),
            (Ledger, "reserve", _reserve),
            (Ledger, "complete", _complete),
            (training, "train", _train),
            (studies, "write_atomically", _checkpoint),
            (vault, "write_atomically", _vault),
            (MaskedTerms, "encode", _encode),
        ):
            stack.enter_context(_replaced(owner, name, wrap(world, getattr(owner, name))))
        for module in (asking, attempts, coordination, gathering, plain, studies):
            stack.enter_context(_replaced(module, "time", world.clock))
        yield


@contextmanager
def _replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _in_parts(world: World, step: str, half: Callable[[], object]) -> Iterator[None]:
    """Passes `step` before, torn and, if it succeeds, after; the step itself is taken within."""
    world.passes(f"{step}.before")
    world.passes(f"{step}.torn", half)
    yield
    world.passes(f"{step}.after")


def _log(world: World, real: Wrapped) -> Wrapped:
    def write(log: AuditLog, file: int, line: bytes) -> None:
        world.event = json.loads(line)["body"]["event"]
        half = line[: len(line) // 2]
        with _in_parts(world, f"log.{world.event}", lambda: os.write(file, half)):
            real(log, file, line)

    return write


def _witness(world: World, real: Wrapped) -> Wrapped:
    def write(witness: Witness, head: Head) -> None:
        with _in_parts(world, f"witness.{world.event}", lambda: _half(witness.path, b'{"dig')):
            real(witness, head)

    return write


def _checkpoint(world: World, real: Wrapped) -> Wrapped:
    def write(path: Path, data: bytes, **options: Any) -> None:
        step = {".safetensors": "tensors", ".json": "record"}[path.suffix]
        step = {studies.OUTCOME_FILE: "outcome", attempts.FILE: "attempt"}.get(path.name, step)
        with _in_parts(world, step, lambda: _half(path, data)):
            real(path, data, **options)

    return write


def _vault(world: World, real: Wrapped) -> Wrapped:
    def write(path: Path, data: bytes, **options: Any) -> None:
        with _in_parts(world, "vault", lambda: _half(path, data)):
            real(path, data, **options)

    return write


def _encode(world: World, real: Wrapped) -> Wrapped:
    def encode(terms: MaskedTerms, update: Any, site: str, randomness: Any) -> Any:
        numbers = real(terms, update, site, randomness)
        world.encoding(site, terms.number, numbers)
        return numbers

    return encode


def _half(path: Path, data: bytes) -> None:
    """What an atomic write leaves when it is cut off: a part, under another name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / f".{path.name}.cut").write_bytes(data[: len(data) // 2])


def _reserve(world: World, real: Wrapped) -> Wrapped:
    def reserve(
        ledger: Ledger,
        account: Limit,
        study: Limit,
        round_number: int,
        request: str,
        event: Event,
        announce: Callable[[Booking], None],
    ) -> int:
        def announced(booking: Booking) -> None:
            announce(booking)
            world.passes("reserve.commit")

        world.reserving(round_number)
        world.passes("reserve.before")
        number: int = real(ledger, account, study, round_number, request, event, announced)
        world.passes("reserve.after")
        return number

    return reserve


def _complete(world: World, real: Wrapped) -> Wrapped:
    def complete(ledger: Ledger, number: int, delivery: bytes, update: bytes) -> None:
        world.passes("complete.before")
        real(ledger, number, delivery, update)
        world.passes("complete.after")

    return complete


def _train(world: World, real: Wrapped) -> Wrapped:
    def train(*terms: Any, **more: Any) -> Any:
        *given, progress = terms

        def stepped(done: int, of: int) -> None:
            progress(done, of)
            if done < of:
                world.passes("train.middle")

        world.passes("train.before")
        world.training()
        exact = real(*given, stepped, **more)
        world.passes("train.after")
        return exact

    return train


class Watching(Observer):
    """The coordinator's points between its messages and its checkpoints."""

    def __init__(self, world: World) -> None:
        self._world = world

    def gathered(self, _sites: list[str], _refused: dict[str, str]) -> None:
        """Passes `gathered`."""
        self._world.passes("gathered")

    def round_opened(self, _number: int, _asked: list[str]) -> None:
        """Passes `round.opened`."""
        self._world.passes("round.opened")

    def answered(self, _number: int, _site: str) -> None:
        """Passes `round.answered`."""
        self._world.passes("round.answered")

    def round_closed(self, _record: RoundRecord) -> None:
        """Passes `round.closed`."""
        self._world.passes("round.closed")

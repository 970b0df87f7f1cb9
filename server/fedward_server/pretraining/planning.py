"""What a training would take, before anything is trained: `--dry-run`, and the table of presets.

Arithmetic on exact parameter counts (`counting`), on what a device holds (`memory`) and on what a
cluster can do (`hardware`). What does not fit is said together with what would.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedward_server.pretraining.architectures import Architecture
from fedward_server.pretraining.counting import Counts, counts, flops_per_token
from fedward_server.pretraining.hardware import Cluster
from fedward_server.pretraining.memory import Memory, Run, memory

if TYPE_CHECKING:
    from rich.table import Table

TOKENS_PER_PARAMETER = 20
"""How long a model is worth training, where nobody says (Hoffmann et al. 2022, section 3.4)."""

USABLE = 0.9
"""Of a device's memory: the rest is the driver's, the communication's, and lost between tensors."""

_SPARING: dict[str, object] = {"strategy": "fsdp2", "checkpointing": True, "micro_batch": 1}
_MOST_ROWS = 4_096
_MOST_DEVICES = 4_096
_SHORTEST = 128
_DAY = 86_400


@dataclass(frozen=True)
class Plan:
    """A training as it would be: on which cluster, what it costs, whether it fits."""

    name: str
    architecture: Architecture
    vocabulary: int
    cluster: Cluster
    run: Run
    tokens: float
    number: Counts
    memory: Memory
    flops: float
    """Of a token of a row, forward and backward."""

    @property
    def fits(self) -> bool:
        return self.memory.total <= USABLE * self.cluster.memory * 1e9

    @property
    def days(self) -> float:
        """At the utilisation that the run states, which nothing here promises."""
        cluster = self.cluster
        useful = cluster.devices * cluster.peak * 1e12 * self.run.utilisation
        return self.tokens * self.flops / useful / _DAY


def plan(
    name: str,
    architecture: Architecture,
    vocabulary: int,
    cluster: Cluster,
    run: Run,
    tokens: float | None = None,
) -> Plan:
    """`tokens`: of the training; if None, 20 for each parameter that a token meets."""
    number = counts(architecture, vocabulary)
    return Plan(
        name=name,
        architecture=architecture,
        vocabulary=vocabulary,
        cluster=cluster,
        run=run,
        tokens=TOKENS_PER_PARAMETER * number.active if tokens is None else tokens,
        number=number,
        memory=memory(architecture, vocabulary, number, run, cluster.devices),
        flops=flops_per_token(architecture, vocabulary),
    )


def _changed(
    planned: Plan,
    *,
    run: dict[str, object] | None = None,
    devices: int | None = None,
    context: int | None = None,
) -> Plan:
    """The same with another run, cluster or context."""
    cluster = planned.cluster.model_copy(update={"devices": devices} if devices else {})
    shape = planned.architecture.model_copy(update={"context": context} if context else {})
    changed = planned.run.model_copy(update=run or {})
    return plan(planned.name, shape, planned.vocabulary, cluster, changed, planned.tokens)


def largest_micro_batch(planned: Plan) -> int | None:
    """Rows of the largest micro-batch that fits, as powers of two; None if one row does not."""
    rows, found = 1, None
    while rows <= _MOST_ROWS and _changed(planned, run={"micro_batch": rows}).fits:
        rows, found = 2 * rows, rows
    return found


def remedies(planned: Plan) -> list[str]:
    """What would fit, each for itself; nothing if the plan fits. Each was computed, none is a guess.

    More devices and a shorter context are named where nothing on this cluster helps.
    """
    if planned.fits:
        return []
    return list(_on_this_cluster(planned)) or list(_beyond(planned))


def _on_this_cluster(planned: Plan) -> Iterator[str]:
    rows = largest_micro_batch(planned)
    if rows is not None:
        yield f"a micro-batch of {rows} instead of {planned.run.micro_batch}"
    if not planned.run.checkpointing:
        rows = largest_micro_batch(_changed(planned, run={"checkpointing": True}))
        if rows is not None:
            most = min(rows, planned.run.micro_batch)
            yield f"activation checkpointing, with a micro-batch of {most}"
    if planned.run.strategy != "fsdp2" and planned.cluster.devices > 1:
        rows = largest_micro_batch(_changed(planned, run=_SPARING))
        if rows is not None:
            most = min(rows, planned.run.micro_batch)
            yield f"fsdp2 with activation checkpointing, with a micro-batch of {most}"


def _beyond(planned: Plan) -> Iterator[str]:
    devices = planned.cluster.devices
    while (devices := 2 * devices) <= _MOST_DEVICES:
        if _changed(planned, run=_SPARING, devices=devices).fits:
            yield f"{devices} such devices, with fsdp2, activation checkpointing and a micro-batch of 1"
            break
    context = planned.architecture.context // 2
    while context >= max(_SHORTEST, planned.architecture.window or 0):
        if _changed(planned, run=_SPARING, context=context).fits:
            yield f"a context of {context}, with activation checkpointing and a micro-batch of 1"
            break
        context //= 2


def told(planned: Plan) -> str | None:
    """None if the plan fits; else one sentence that says so, and what would."""
    if planned.fits:
        return None
    has, needs = planned.cluster.memory, planned.memory.total / 1e9
    found = "; ".join(remedies(planned))
    return (
        f"{planned.name} needs {needs:,.1f} GB on a device that has {USABLE * has:,.1f} of "
        f"{has:,.1f} GB to use; what would fit: {found or 'a smaller model, or larger devices'}"
    )


COLUMNS = (
    "preset",
    "parameters",
    "active",
    "GFLOP/token",
    "tokens",
    "states",
    "gathered",
    "activations",
    "logits",
    "GB/device",
    "fits",
    "largest micro-batch",
    "days",
)


def row(planned: Plan) -> tuple[str, ...]:
    """One line of the table; memory in GB (10⁹ bytes)."""
    held = planned.memory
    parts = (held.states, held.gathered, held.activations, held.logits, held.total)
    largest = largest_micro_batch(planned)
    return (
        planned.name,
        _short(planned.number.total),
        _short(planned.number.active),
        f"{planned.flops / 1e9:,.4g}",
        _short(planned.tokens),
        *(_hundredths(part / 1e9) for part in parts),
        "yes" if planned.fits else "no",
        "none" if largest is None else f"{largest:,}",
        _hundredths(planned.days),
    )


def _hundredths(number: float) -> str:
    return f"{number:,.2f}" if number == 0 or number >= 0.005 else "< 0.01"


def _short(number: float) -> str:
    for unit, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if number >= scale:
            return f"{number / scale:,.2f} {unit}"
    return f"{number:,.0f}"


WIDE = 180
"""Columns of a terminal that `table` takes."""


def sideways(plans: Sequence[Plan], title: str) -> "Table":
    """Of a few plans, for a terminal of 80 columns: a column for each."""
    from rich.table import Table

    shown = Table(title=title)
    shown.add_column("")
    for planned in plans:
        shown.add_column(planned.name, justify="right")
    for name, *values in zip(COLUMNS[1:], *(row(planned)[1:] for planned in plans), strict=True):
        shown.add_row(name, *values)
    return shown


def table(plans: Sequence[Plan], title: str) -> "Table":
    """Of many, for a terminal of `WIDE` columns."""
    from rich.table import Table

    shown = Table(title=title)
    for name in COLUMNS:
        shown.add_column(name, justify="left" if name == "preset" else "right")
    for planned in plans:
        shown.add_row(*row(planned))
    return shown


def markdown(plans: Sequence[Plan]) -> str:
    """The same for a document."""
    lines = [COLUMNS, ("---", *("--:" for _ in COLUMNS[1:])), *(row(planned) for planned in plans)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

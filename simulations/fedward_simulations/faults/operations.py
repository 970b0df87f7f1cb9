"""What happens to whom, and when: a run's faults as a list of operations, derived from a seed.

An operation strikes when a party passes a *point* for the `passing`-th time. Points are steps of reserve
→ train → commit → send → receipt (`injection.py`) and the messages between (`network.py`). The same list
gives the same run: a bug that was found lives on as its literal list in `tests/faults/`.
"""

import random
from dataclasses import dataclass, replace
from typing import Literal

COORDINATOR = "coordinator"
SITES = ("north", "south", "east")
ROUNDS = 3
MINIMUM_COHORTS = (2, 3)
BOUND = 2.0
"""What a coordinate of a masked update is cut off at."""

"""Where two sites suffice a study goes on without the third, else it waits or stops."""

Fault = Literal[
    "kill",
    "disk full",
    "lose",
    "twice",
    "again later",
    "late",
    "out of order",
    "cut",
    "clock",
    "restore ledger",
    "restore log",
    "restore both",
    "restore masks",
    "withdraw",
]


@dataclass(frozen=True)
class Operation:
    """`fault` strikes `party` when it passes `point` for the `passing`-th time (from 1).

    `amount` is what the fault takes: for `cut` and a late reply seconds, for `clock` days at a site
    and seconds at the coordinator, for `disk full` the bytes that are still free, for `restore …` how
    many messages ago the copy was made.
    """

    fault: Fault
    party: str
    point: str
    passing: int = 1
    amount: int = 0


@dataclass(frozen=True)
class Kind:
    """A fault at a point, before it is said at whom and when; `before` is what it takes first, `masked`
    whether the study is to have masks.
    """

    fault: Fault
    point: str
    amounts: tuple[int, ...] = (0,)
    at_site: bool = True
    before: tuple["Kind", ...] = ()
    masked: bool = False


MESSAGES = ("hello", "train", "receipt")
PARTS = ("before", "torn", "after")
WRITTEN = ("reserved", "cleared", "received")
"""The entries of a site's audit log that a round makes."""

SITE_STEPS = (
    *(f"{way}.{message}" for message in MESSAGES for way in ("request", "reply")),
    *(
        f"{file}.{event}.{part}"
        for event in WRITTEN
        for file in ("log", "witness")
        for part in PARTS
    ),
    *("reserve.before", "reserve.commit", "reserve.after"),
    *("train.before", "train.middle", "train.after"),
    *("complete.before", "complete.after"),
)
COORDINATOR_STEPS = (
    *(f"push.{message}" for message in MESSAGES),
    *("gathered", "round.opened", "round.answered", "round.closed"),
    *(f"{file}.{part}" for file in ("tensors", "record", "outcome") for part in PARTS),
)
SITE_WRITES = (
    *(f"{file}.{event}.before" for event in WRITTEN for file in ("log", "witness")),
    *("reserve.commit", "complete.before"),
)
DAYS = (-400, -1, 1, 40)
"""The charter ends after 30 days."""

CUT_ONCE_BOOKED = Kind("kill", "witness.reserved.after")
"""Leaves a booking that is in the log alone."""


MASKS_WRITTEN = ("masked", "agreed", "revealed")
"""The entries that a masked round makes besides."""

MASKED_SITE_STEPS = (
    *(f"{way}.{message}" for message in ("masks", "train") for way in ("request", "reply")),
    *(
        f"{file}.{event}.{part}"
        for event in MASKS_WRITTEN
        for file in ("log", "witness")
        for part in PARTS
    ),
    *(f"vault.{part}" for part in PARTS),
    *("complete.before", "complete.after", "train.after"),
)
MASKED_COORDINATOR_STEPS = (
    *("push.masks", "push.train", "round.opened", "round.answered", "round.closed"),
    *(f"attempt.{part}" for part in PARTS),
)


def catalogue() -> list[Kind]:
    """Every fault at every point where it makes sense, those of masked studies last."""
    return [*_open_kinds(), *(replace(kind, masked=True) for kind in _masked_kinds())]


def _masked_kinds() -> list[Kind]:
    request, reply = "request.masks", "reply.masks"
    return [
        *(Kind("kill", point) for point in MASKED_SITE_STEPS),
        *(Kind("kill", point, at_site=False) for point in MASKED_COORDINATOR_STEPS),
        *(Kind("disk full", f"log.{event}.before", (0, 100)) for event in MASKS_WRITTEN),
        Kind("disk full", "vault.before", (0, 100)),
        Kind("disk full", "attempt.before", at_site=False),
        *(Kind("lose", point) for point in (request, reply)),
        *(Kind("twice", point) for point in (request, reply)),
        *(Kind(fault, request) for fault in ("again later", "late", "out of order", "withdraw")),
        Kind("late", reply, (20, 2000)),
        *(Kind("cut", point, (5, 100, 2000)) for point in (request, reply)),
        Kind("clock", request, DAYS),
        *(
            Kind(fault, point, (1, 2, 3))
            for fault in ("restore masks", "restore log", "restore both")
            for point in (request, "request.train")
        ),
    ]


def _open_kinds() -> list[Kind]:
    requests = tuple(f"request.{message}" for message in MESSAGES)
    replies = tuple(f"reply.{message}" for message in MESSAGES)
    return [
        *(Kind("kill", point) for point in SITE_STEPS),
        *(Kind("kill", point, at_site=False) for point in COORDINATOR_STEPS),
        *(
            Kind("kill", f"{file}.rebooked.{part}", before=(CUT_ONCE_BOOKED,))
            for file in ("log", "witness")
            for part in PARTS
        ),
        *(Kind("disk full", point, (0, 100)) for point in SITE_WRITES),
        *(
            Kind("disk full", f"{file}.before", at_site=False)
            for file in ("tensors", "record", "outcome")
        ),
        *(Kind("lose", point) for point in (*requests, *replies)),
        *(Kind("twice", point) for point in (*requests, *replies)),
        *(Kind("again later", point) for point in requests),
        *(Kind("late", point) for point in requests),
        *(Kind("late", point, (20, 2000)) for point in replies),
        *(Kind("out of order", point) for point in requests),
        *(Kind("cut", point, (5, 100, 2000)) for point in (*requests, *replies)),
        *(Kind("clock", point, DAYS) for point in (*requests, "train.before", "train.after")),
        *(
            Kind("clock", point, (10, 2000), at_site=False)
            for point in ("round.opened", "gathered")
        ),
        *(
            Kind(fault, "request.train", (1, 2, 3))
            for fault in ("restore ledger", "restore log", "restore both")
        ),
        *(
            Kind(fault, "request.receipt", (1, 2, 3, 4))
            for fault in ("restore ledger", "restore log", "restore both")
        ),
        *(Kind("withdraw", point) for point in (*requests, "train.before", "train.after")),
    ]


def minimum_cohort(seed: int) -> int:
    """How many sites a round needs in the run with this seed."""
    return MINIMUM_COHORTS[seed // len(catalogue()) % len(MINIMUM_COHORTS)]


def masked(seed: int) -> bool:
    """Whether the study of the run with this seed has masks."""
    kinds = catalogue()
    return kinds[seed % len(kinds)].masked


def derive(seed: int) -> list[Operation]:
    """The operations of the run with this seed: one kind after the other of the catalogue, with up to
    three more that are drawn."""
    drawn = random.Random(seed)  # noqa: S311  # a schedule, no secret
    everything = catalogue()
    first = everything[seed % len(everything)]
    kinds = [kind for kind in everything if kind.masked == first.masked]
    chosen = [first, *drawn.sample(kinds, drawn.choice((0, 0, 1, 2, 3)))]
    found: list[Operation] = []
    for kind in chosen:
        parties = [COORDINATOR]
        if kind.at_site:
            parties = drawn.sample(SITES, drawn.choice((1, 1, 1, 2)))
        for party in parties:
            passing = drawn.randint(1, _passings(kind.point))
            found += [
                Operation(each.fault, party, each.point, passing, drawn.choice(each.amounts))
                for each in kind.before
            ]
            at = 1 if kind.before else passing
            found.append(Operation(kind.fault, party, kind.point, at, drawn.choice(kind.amounts)))
    return list(dict.fromkeys(found))


def _passings(point: str) -> int:
    """How often a party passes the point in a study that nothing disturbs."""
    step, _, rest = point.partition(".")
    if "hello" in rest or "receipt" in rest or step == "outcome":
        return 1
    if step in ("tensors", "record"):
        return ROUNDS + 1
    if rest == "masks" or step == "vault":
        return ROUNDS * (6 if step == "vault" else 4)
    if step == "attempt":
        return ROUNDS * 2
    return ROUNDS * len(SITES) if point == "round.answered" else ROUNDS

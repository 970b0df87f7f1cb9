"""The names of a study's tensors, and which of them cross between the parties in which round.

Known without the model: a site's trusted side holds an update against the charter by these names and
loads no model for it. What the coordinator makes of the updates is in `adapters`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

A_MARK = ".lora_A."
B_MARK = ".lora_B."
OUTPUTS = "outputs.weight"
MOVED = ".moved"
PREFIX_MARK = "prompt_encoder."
HEAD_MARK = "head."
HEAD_TRAINED = ("head.weight", "head.bias")

Part = Literal["A", "B", "prefix", "moved", "head", "fixed"]
"""What a tensor is: `moved` is the change of a frozen weight, in parts of the adapter's scale."""


@dataclass(frozen=True)
class Traffic:
    """What an adapter method moves. `trains`: which parts a site trains and sends in each round in which
    adapters move, from the first round again when they are through. `kept`: what else changes from
    round to round, so that the coordinator hands it out. `each`: what the coordinator has to know of
    every single update, empty where their weighted sum is enough. `exact`: whether the adapted weights
    that a round of plain means ends with are the mean of the sites'. `ages`: whether an update still
    fits when the study's tensors have changed since it was made.
    """

    trains: tuple[tuple[Part, ...], ...] = ((),)
    kept: tuple[Part, ...] = ()
    each: str = ""
    exact: bool = True
    mixed_ranks: bool = False
    ages: bool = True

    @property
    def moves_base(self) -> bool:
        """Whether frozen weights change too, by a tensor of their own shape."""
        return "moved" in self.kept


METHODS: dict[str, Traffic] = {
    "head-only": Traffic(),
    "lora-xs": Traffic((("B",),), ("B",)),
    "ffa-lora": Traffic((("B",),), ("B",)),
    "fedsvd": Traffic((("B",),), ("A", "B"), ages=False),
    "lora": Traffic((("A", "B"),), ("A", "B"), exact=False),
    "rolora": Traffic((("B",), ("A",)), ("A", "B"), ages=False),
    "fedex-lora": Traffic(
        (("A", "B"),), ("A", "B", "moved"), each="the product of its B and A", ages=False
    ),
    "flora": Traffic(
        (("A", "B"),), ("moved",), each="the product of its B and A", mixed_ranks=True, ages=False
    ),
    "hetlora": Traffic(
        (("A", "B"),),
        ("A", "B"),
        each="the norm of the product of its B and A",
        exact=False,
        mixed_ranks=True,
        ages=False,
    ),
    "prefix-tuning": Traffic((("prefix",),), ("prefix",)),
}


def part_of(name: str) -> Part:
    """Which part of a study the tensor `name` is."""
    if name in HEAD_TRAINED:
        return "head"
    if name.startswith(PREFIX_MARK):
        return "prefix"
    if name.endswith(MOVED):
        return "moved"
    if A_MARK in name:
        return "A"
    return "B" if B_MARK in name and not name.endswith(OUTPUTS) else "fixed"


def trains(name: str, method: str, turn: int) -> bool:
    """Whether the tensor `name` trains in the round number `turn` of those in which adapters move.

    They are counted from 1; in a round with `turn` 0 the head moves alone.
    """
    turns = METHODS[method].trains
    moving = turns[(turn - 1) % len(turns)] if turn else ()
    return part_of(name) in ("head", *moving)


def sent(
    initial: Mapping[str, tuple[int, ...]], method: str, turn: int, rank: int
) -> dict[str, tuple[int, ...]]:
    """Name → shape of what a site of this rank sends in a round, from the tensors of the start."""
    return {
        name: at_rank(name, shape, rank)
        for name, shape in initial.items()
        if trains(name, method, turn)
    }


def sketched(shape: tuple[int, ...], share: float) -> int:
    """How many numbers of a tensor of this shape `sketch.py` draws."""
    return max(1, round(share * math.prod(shape)))


def handed_out(initial: Mapping[str, tuple[int, ...]], method: str) -> dict[str, tuple[int, ...]]:
    """Name → shape of what a round hands out, to all sites alike: all that changes in the study."""
    traffic = METHODS[method]
    schema = {n: s for n, s in initial.items() if part_of(n) in ("head", *traffic.kept)}
    if traffic.moves_base:
        for name in [name for name in initial if part_of(name) == "A"]:
            outputs = initial[name.replace(A_MARK, B_MARK)][0]
            schema[moved_name(name)] = (outputs, initial[name][1])
    return schema


def moved_name(factor: str) -> str:
    """The name of the change of the weight that the adapter's tensor `factor` adapts."""
    mark = A_MARK if A_MARK in factor else B_MARK
    return factor.partition(mark)[0] + MOVED


def at_rank(name: str, shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The shape of the tensor `name` at a site of this rank, which has the first rows of A."""
    match part_of(name):
        case "A":
            return (min(rank, shape[0]), *shape[1:])
        case "B":
            return (*shape[:-1], min(rank, shape[-1]))
        case _:
            return shape

"""How long a model is trained, in steps of how many rows, and at which rates."""

import math
from typing import Annotated, Literal

from pydantic import Field

from fedward_shared.terms import Terms


class ScheduleTerms(Terms):
    """Of AdamW (Loshchilov and Hutter 2019), whose rate rises in a line and falls by half a cosine.

    `batch` is the rows of one optimiser step, whatever the workers and however many fit at once;
    `micro_batch` is how many of them one worker takes through the model at once, by default the most
    that fit. `rate` falls to its `final` share. `clipping` bounds the norm of a step's gradient.
    """

    steps: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)] = 2_048
    micro_batch: Annotated[int, Field(ge=1)] | Literal["most"] = "most"
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    warm_up: Annotated[int, Field(ge=0)] = 2_000
    final: Annotated[float, Field(ge=0, le=1)] = 0.1
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (
        0.9,
        0.95,
    )
    clipping: Annotated[float, Field(gt=0)] = 1.0
    save_every: Annotated[int, Field(ge=1)] = 500
    evaluate_every: Annotated[int, Field(ge=1)] = 500
    keep: Annotated[int, Field(ge=2)] = 3


class Course(Terms):
    """What became of a schedule: a doctor lowers the rate and has it rise again from where it acted.

    From `since` on, the schedule's rate is taken times `factor`, and rises to it within `warm_up` steps.
    """

    factor: float = 1.0
    since: int = 0
    warm_up: int = 0

    def rate(self, terms: ScheduleTerms, step: int) -> float:
        """The rate of step `step`, counted from 0."""
        again = 1.0 if not self.warm_up else min(1.0, (step - self.since + 1) / self.warm_up)
        return self.factor * again * planned(terms, step)

    def slower(self, step: int, factor: float, warm_up: int) -> "Course":
        """The course after a doctor's intervention before step `step`."""
        return Course(factor=self.factor * factor, since=step, warm_up=warm_up)


def planned(terms: ScheduleTerms, step: int) -> float:
    """The rate that `terms` have for step `step`, counted from 0."""
    if step < terms.warm_up:
        return terms.rate * (step + 1) / terms.warm_up
    through = (step - terms.warm_up) / max(1, terms.steps - terms.warm_up)
    cosine = (1 + math.cos(math.pi * min(1.0, through))) / 2
    return terms.rate * (terms.final + (1 - terms.final) * cosine)

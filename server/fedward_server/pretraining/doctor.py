"""The doctor of a training: looks at every step, and says what is to be done before it is lost.

No I/O and no tensors: observations in, treatments out. The loop carries them out, and its watchers
write down each with its reason. The same observations have the same treatments, so a run that is killed
and resumed comes to the same ones again.

    loss or gradient not finite    back to the checkpoint before, slower, with other rows
    loss spikes and stays          the same (Chowdhery et al. 2022, section 5.1: go back, skip the rows)
    loss oscillates                the same
    memory runs out                activation checkpointing, then half the micro-batch; same global batch
    held-out loss does not fall    sources that are drawn less than equally are drawn more
    while the training's does
    the loader stalls              a new one, from the same place

What helped nothing several times over is not tried for ever: the doctor gives up and says why.
"""

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from fedward_shared.terms import Terms


class DoctorTerms(Terms):
    """When the doctor acts. `window` is the steps that say what is usual.

    A loss is a spike if it is `spike` usual deviations above the usual for `patience` steps in a row;
    the loss oscillates if the deviation of the last quarter of a window is `oscillation` times the
    usual one. `slower` is what the rate is multiplied by, and `warm_up` how many steps it takes to rise
    again. After `most` treatments in a row between which the loss came to no new low, it gives up.
    """

    window: Annotated[int, Field(ge=16)] = 64
    spike: Annotated[float, Field(gt=1)] = 8.0
    patience: Annotated[int, Field(ge=1)] = 3
    oscillation: Annotated[float, Field(gt=1)] = 5.0
    slower: Annotated[float, Field(gt=0, lt=1)] = 0.5
    warm_up: Annotated[int, Field(ge=0)] = 100
    stalled_seconds: Annotated[float, Field(gt=0)] = 300
    most: Annotated[int, Field(ge=1)] = 6


class GoBack(NamedTuple):
    """To the newest checkpoint of at most step `to`; then `factor` times the rate, after a warm-up."""

    reason: str
    to: int
    factor: float
    warm_up: int


class SaveMemory(NamedTuple):
    """Activations are computed again in the backward pass, or fewer rows are taken at once."""

    reason: str
    recompute: bool
    micro_batch: int


class Reweight(NamedTuple):
    """Rows are drawn with these shares of the sources."""

    reason: str
    weights: dict[str, float]


class NewLoader(NamedTuple):
    """The loader is given up, and another begins where it was."""

    reason: str


class GiveUp(NamedTuple):
    """The training ends; what is kept stays."""

    reason: str


Treatment = GoBack | SaveMemory | Reweight | NewLoader | GiveUp


class Doctor:
    """Of one training. `state` and `restore` carry it across a restart."""

    def __init__(self, terms: DoctorTerms) -> None:
        self._terms = terms
        self._losses: list[float] = []
        self._above = 0
        self._best = math.inf
        self._tried = 0
        self._held_out: list[tuple[float, float]] = []

    def step(self, step: int, loss: float, gradient_norm: float) -> Treatment | None:
        """After optimiser step `step` (from 0): its loss per token, its gradient before clipping."""
        if not (math.isfinite(loss) and math.isfinite(gradient_norm)):
            said = f"step {step}: loss {loss:.4g}, gradient norm {gradient_norm:.4g}: not finite"
            return self._back(said, step)
        usual, deviation = self._usual()
        self._above = self._above + 1 if loss > usual + self._terms.spike * deviation else 0
        if self._above >= self._terms.patience:
            said = (
                f"step {step}: loss {loss:.4g} for {self._above} steps, "
                f"where {usual:.4g} ± {deviation:.2g} is usual: a spike"
            )
            return self._back(said, step - self._above + 1)
        self._losses = [*self._losses, loss][-self._terms.window :]
        if treatment := self._oscillation(step):
            return treatment
        self._note_lows()
        return None

    def evaluated(
        self, step: int, losses: Mapping[str, float], weights: Mapping[str, float]
    ) -> Treatment | None:
        """After an evaluation of held-out rows of each source, which are drawn with `weights`."""
        if not losses or not self._losses:
            return None
        self._held_out = [*self._held_out, (fmean(losses.values()), fmean(self._losses[-16:]))][-3:]
        if len(self._held_out) < 3:
            return None
        (first, trained_before), (last, trained) = self._held_out[0], self._held_out[-1]
        if last < 0.998 * first or trained >= 0.998 * trained_before:
            return None
        share = 1 / len(losses)
        raised = {name: max(weights[name], share) for name in losses}
        total = sum(raised.values())
        shares = {name: weight / total for name, weight in raised.items()}
        if all(abs(shares[name] - weights[name]) < 1e-6 for name in losses):
            return None
        self._held_out = []
        return Reweight(
            f"step {step}: held-out loss {first:.4g} → {last:.4g} while that of the training fell from "
            f"{trained_before:.4g} to {trained:.4g}: the rows drawn are not like those held out",
            shares,
        )

    def out_of_memory(self, step: int, recomputes: bool, micro_batch: int) -> Treatment:
        """Memory ran out with `micro_batch` rows at once; whether activations are recomputed already."""
        said = f"step {step}: out of memory with {micro_batch} rows at once"
        if not recomputes:
            return SaveMemory(f"{said}: activations are computed again", True, micro_batch)
        if micro_batch > 1:
            return SaveMemory(f"{said}: half as many at once", True, micro_batch // 2)
        return GiveUp(f"{said}, and activations computed again: the model does not fit this device")

    def stalled(self, step: int, waited: float) -> Treatment:
        """The loader has given nothing for `waited` seconds."""
        said = f"step {step}: the loader has given nothing for {waited:.3g} s"
        return self._or_give_up(NewLoader(f"{said}: a new one from the same place"))

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, as JSON."""
        return {
            "losses": self._losses,
            "above": self._above,
            "best": None if math.isinf(self._best) else self._best,
            "tried": self._tried,
            "held_out": [list(pair) for pair in self._held_out],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` returned. What was tried since then stays tried."""
        self._losses = list(state["losses"])
        self._above = state["above"]
        self._best = math.inf if state["best"] is None else state["best"]
        self._tried = max(self._tried, state["tried"])
        self._held_out = [(held, trained) for held, trained in state["held_out"]]

    def _usual(self) -> tuple[float, float]:
        """Recent median and deviation of the window; nothing is unusual before it is full.

        The deviation is at least a hundredth of the loss: a run that knows tiny data by heart has none.
        """
        if len(self._losses) < self._terms.window:
            return math.inf, 0.0
        usual = float(np.median(self._losses[-self._terms.window // 4 :]))
        return usual, max(_deviation(self._losses), 0.01 * abs(usual))

    def _oscillation(self, step: int) -> Treatment | None:
        recent = self._terms.window // 4
        if len(self._losses) < self._terms.window:
            return None
        before, now = _deviation(self._losses[:-recent]), _deviation(self._losses[-recent:])
        usual = max(before, 0.01 * abs(float(np.median(self._losses))))
        if now <= self._terms.oscillation * usual:
            return None
        said = (
            f"step {step}: the loss varies by {now:.2g} where {usual:.2g} was usual: it oscillates"
        )
        return self._back(said, step - recent)

    def _back(self, said: str, to: int) -> Treatment:
        factor, warm_up = self._terms.slower, self._terms.warm_up
        self._losses, self._above, self._held_out = [], 0, []
        return self._or_give_up(
            GoBack(
                f"{said}; back, {factor:g} times the rate, other rows", max(0, to), factor, warm_up
            )
        )

    def _or_give_up(self, treatment: Treatment) -> Treatment:
        self._tried += 1
        if self._tried > self._terms.most:
            return GiveUp(f"{treatment.reason}; {self._terms.most} treatments have not helped")
        return treatment

    def _note_lows(self) -> None:
        """A new low, of means over some steps, says that what was done helped."""
        recent = self._losses[-16:]
        if len(recent) == 16 and fmean(recent) < self._best:
            self._best, self._tried = fmean(recent), 0


def _deviation(losses: list[float]) -> float:
    """Robust standard deviation of independent noise on a slow course, by the differences of neighbours.

    They have √2 times its deviation, which is 1.4826 times the median of their absolute values.
    """
    return float(1.4826 / math.sqrt(2) * np.median(np.abs(np.diff(losses))))

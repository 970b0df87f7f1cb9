"""The page of a search: how the loss fell, what it depends on, and every trial."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from fedward_shared import charts, pages
from fedward_shared.charts import Dot
from fedward_shared.files import write_atomically
from fedward_shared.searching.search import Choice, Found, Range, SearchTerms, Value, found

if TYPE_CHECKING:
    from fedward_shared.searching.trials import Trials

TEMPLATE = "search.html.j2"
SHOWN = 0.8
"""This part of the losses, the best ones, decides the height of a chart; the others lie at its edge."""
WORDS = {"COMPLETE": "finished", "PRUNED": "stopped", "FAIL": "begun again or given up"}


@dataclass(frozen=True)
class Line:
    """A trial as the page has it; `loss` is its last, None where there is none."""

    number: int
    loss: float | None
    finished: bool
    how: str
    parameters: dict[str, Value]
    best: bool


def write(path: Path, terms: SearchTerms, trials: "Trials", title: str) -> None:
    """Writes the page of the trials so far, one file without a script, wholly or not at all."""
    lines, result = lines_of(trials), found(trials)
    page = pages.environment(Path(__file__).parent).get_template(TEMPLATE)
    text = page.render(
        title=title,
        terms=terms,
        found=result,
        answer=_answer(result),
        lines=lines,
        names=sorted(terms.parameters),
        history=_history(lines),
        slices=[
            (name, _slice(lines, name, terms.parameters[name])) for name in sorted(terms.parameters)
        ],
        importances=[
            (name, share, charts.meter(share, 1.0, title=f"{name}: {share:.0%}"))
            for name, share in sorted(trials.importances().items(), key=lambda item: -item[1])
        ],
        write=word,
    )
    write_atomically(path, text.encode())


def lines_of(trials: "Trials") -> list[Line]:
    """The trials that have ended, the first one first."""
    best = found(trials).number
    lines = []
    for trial in trials.all():
        if trial.state.is_finished():
            last = max(trial.intermediate_values, default=None)
            loss = trial.value
            if loss is None and last is not None:
                loss = trial.intermediate_values[last]
            name = trial.state.name
            ended = (trial.number, loss, name == "COMPLETE", WORDS[name])
            lines.append(Line(*ended, dict(trial.params), trial.number == best))
    return lines


def word(value: Value) -> str:
    """A setting or loss in few digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _answer(result: Found) -> str:
    if result.loss is None:
        return "No trial has been finished."
    return f"The least loss is {word(result.loss)}, of trial {result.number}."


def _dots(lines: Sequence[Line], place: dict[int, float]) -> list[Dot]:
    return [
        Dot(
            place[line.number],
            line.loss,
            "dp" if line.finished else "open",
            f"trial {line.number}, {line.how}: {word(line.loss)}",
        )
        for line in lines
        if line.loss is not None
    ]


def _top(lines: Sequence[Line]) -> float | None:
    losses = sorted(line.loss for line in lines if line.loss is not None)
    return losses[int(SHOWN * (len(losses) - 1))] if losses else None


def _history(lines: Sequence[Line]) -> Markup:
    finished = [line for line in lines if line.finished]
    losses = [line.loss for line in finished if line.loss is not None]
    steps = list(
        zip((float(line.number) for line in finished), accumulate(losses, min), strict=True)
    )
    last = max((line.number for line in lines), default=1)
    ticks, _ = charts.nice_ticks(0, max(last, 1))
    return charts.scatter(
        _dots(lines, {line.number: float(line.number) for line in lines}),
        title="Loss of each trial, and the least so far",
        along="trial",
        places=[(tick, f"{tick:g}") for tick in ticks if tick.is_integer()],
        top=_top(lines),
        path=_stairs(steps),
    )


def _stairs(steps: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The least so far stays until there is a lesser."""
    path = list(steps[:1])
    for x, y in steps[1:]:
        path += [(x, path[-1][1]), (x, y)]
    return path


def _slice(lines: Sequence[Line], name: str, terms: Range | Choice) -> Markup:
    having = [line for line in lines if name in line.parameters]
    if isinstance(terms, Choice):
        places = [(float(index), word(value)) for index, value in enumerate(terms.values)]
        where = {line.number: float(_index(terms, line.parameters[name])) for line in having}
    else:
        scale = math.log10 if terms.log else float
        places = [(scale(value), f"{value:.3g}") for value in _marks(terms)]
        where = {line.number: scale(float(line.parameters[name])) for line in having}
    return charts.scatter(
        _dots(having, where), title=f"Loss over {name}", along=name, places=places, top=_top(having)
    )


def _index(terms: Choice, value: Value) -> int:
    return [(type(each), each) for each in terms.values].index((type(value), value))


def _marks(terms: Range) -> list[float]:
    """The ends, and one or two values between them."""
    low, high = float(terms.low), float(terms.high)
    if not terms.log:
        return [low, (low + high) / 2, high]
    first, last = math.ceil(math.log10(low) + 1e-9), math.floor(math.log10(high) - 1e-9)
    every = max(1, (last - first + 1) // 3)
    span = math.log10(high / low)
    between = [10.0**power for power in range(first, last + 1, every)]
    clear = [v for v in between if min(math.log10(v / low), math.log10(high / v)) > 0.1 * span]
    return [low, *clear, high]

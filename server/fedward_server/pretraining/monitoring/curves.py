"""The curves of trainings as a page: one of them, or several beside each other."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from markupsafe import Markup

from fedward_server.pretraining.monitoring import diary
from fedward_server.pretraining.monitoring.diary import Record
from fedward_server.pretraining.monitoring.figures import perplexity
from fedward_server.pretraining.reports import EvaluationReport, StepReport
from fedward_shared import charts, formats, pages
from fedward_shared.charts import Series
from fedward_shared.errors import DataError
from fedward_shared.files import write_atomically

POINTS = 240
"""Of a curve, at most: each is then of several steps, put together as its chart says."""
TONES = 6

Points = tuple[tuple[float, float], ...]
Marks = Sequence[tuple[float, str]]


class _Look(NamedTuple):
    """What a figure says of itself. `log` is of the axis."""

    title: str
    remark: str
    log: bool = False
    from_zero: bool = False


class _Chart(NamedTuple):
    """A figure of steps; `joined` makes one value of those of several, `left_too` shows courses left."""

    look: _Look
    joined: Callable[[Sequence[StepReport]], float]
    left_too: bool = False


def _of_tokens(some: Sequence[StepReport]) -> float:
    """The mean loss of the tokens that some steps predicted."""
    return sum(r.loss * r.predicted for r in some) / max(1, sum(r.predicted for r in some))


CHARTS = (
    _Chart(_Look("Loss in training", "nats per predicted token, mean"), _of_tokens, left_too=True),
    _Chart(
        _Look("Perplexity in training", "of the mean loss; logarithmic", log=True),
        lambda some: perplexity(_of_tokens(some)),
    ),
    _Chart(
        _Look("Rate", "AdamW's, mean", from_zero=True), lambda some: fmean(r.rate for r in some)
    ),
    _Chart(
        _Look("Gradient norm", "before clipping, largest; logarithmic", log=True),
        lambda some: max(r.gradient_norm for r in some),
        left_too=True,
    ),
    _Chart(
        _Look("Tokens per second", "of all workers, in steps alone", from_zero=True),
        lambda some: sum(r.tokens for r in some) / (sum(r.seconds for r in some) or math.inf),
    ),
)


class _Figure(NamedTuple):
    title: str
    remark: str
    chart: Markup


def of(folders: Sequence[Path]) -> dict[str, Record]:
    """The diaries of some runs, by the names of their folders: by their paths where two have one name.

    Raises DataError if one has none.
    """
    names = Counter(folder.resolve().name for folder in folders)
    return {
        name if names[name] == 1 else str(folder): diary.read(folder / diary.FILE)
        for folder in folders
        for name in (folder.resolve().name,)
    }


def write(path: Path, runs: Mapping[str, Record]) -> None:
    """The page of `runs`, by their names, whole or not at all. Raises DataError if none has a step."""
    write_atomically(path, page(runs).encode())


def page(runs: Mapping[str, Record]) -> str:
    """The page. Raises DataError if no run has a step."""
    if not any(record.steps for record in runs.values()):
        raise DataError(f"{', '.join(runs)}: no step is in the diary yet, so there are no curves")
    marks = [
        (float(each.step), f"{name}: {each.reason}" if len(runs) > 1 else each.reason)
        for name, record in runs.items()
        for each in record.treatments
    ]
    figures = [_of_steps(chart, runs, marks) for chart in CHARTS]
    figures[1:1] = _held_out(runs, marks)
    template = pages.environment(Path(__file__).parent).get_template("curves.html.j2")
    return template.render(
        title=_title(runs),
        figures=figures,
        runs=[_Row.of(name, record) for name, record in runs.items()],
        treatments=[(name, each) for name, r in runs.items() for each in r.treatments],
        left=any(record.left for record in runs.values()),
        several=len(runs) > 1,
    )


class _Row(NamedTuple):
    """A run in figures."""

    name: str
    steps: str
    loss: str
    tokens: str
    speed: str
    workers: str
    begun: str

    @classmethod
    def of(cls, name: str, record: Record) -> "_Row":
        steps, seconds = record.steps, sum(r.seconds for r in record.steps)
        tokens = sum(r.tokens for r in steps)
        counts = sorted({each.workers for each in record.begun})
        return cls(
            name,
            f"{steps[-1].step + 1:,} of {steps[-1].steps:,}" if steps else "0",
            f"{_of_tokens(steps[-16:]):.4f}" if steps else formats.NOTHING,
            f"{tokens:,}",
            f"{tokens / seconds:,.0f}" if seconds else formats.NOTHING,
            ", ".join(map(str, counts)),
            f"{len(record.begun)}",
        )


def _title(runs: Mapping[str, Record]) -> str:
    return (
        f"Pretraining: {' · '.join(runs)}" if len(runs) <= 3 else f"Pretraining: {len(runs)} runs"
    )


def _of_steps(chart: _Chart, runs: Mapping[str, Record], marks: Marks) -> _Figure:
    def points(steps: Sequence[StepReport]) -> Points:
        return _scaled(_thinned(steps, chart.joined), chart.look.log)

    left = [
        Series(f"{name}, left", points(course), "other", labelled=False)
        for name, record in runs.items()
        for course in record.left
        if chart.left_too
    ]
    course = _lines({name: points(record.steps) for name, record in runs.items()})
    return _figure(chart.look, [*left, *course], marks)


def _held_out(runs: Mapping[str, Record], marks: Marks) -> Iterator[_Figure]:
    """Loss and accuracy: of one run a line for each source, of several a figure for each source."""
    measures: tuple[tuple[str, str, Callable[[EvaluationReport], Mapping[str, float]]], ...] = (
        ("Held-out loss", "nats per predicted token", lambda report: report.losses),
        ("Held-out accuracy", "share of right tokens", lambda report: report.accuracies),
    )
    for title, remark, told in measures:
        found = {name: _by_source(record.evaluations, told) for name, record in runs.items()}
        if len(found) == 1:
            (sources,) = found.values()
            yield _figure(_Look(title, remark), _lines(sources), marks)
            continue
        for source in dict.fromkeys(source for sources in found.values() for source in sources):
            lines = {name: sources.get(source, ()) for name, sources in found.items()}
            yield _figure(_Look(f"{title}, {source}", remark), _lines(lines), marks)


def _lines(named: Mapping[str, Points]) -> list[Series]:
    """Each in a colour and dashes of its own: where two are one, both show."""
    return [
        Series(name, points, f"c{place % TONES + 1}", place)
        for place, (name, points) in enumerate(named.items())
    ]


def _by_source(
    evaluations: Sequence[EvaluationReport], told: Callable[[EvaluationReport], Mapping[str, float]]
) -> dict[str, Points]:
    found: dict[str, list[tuple[float, float]]] = {}
    for report in evaluations:
        for source, value in told(report).items():
            if math.isfinite(value):
                found.setdefault(source, []).append((float(report.step), value))
    return {source: tuple(points) for source, points in found.items()}


def _figure(look: _Look, series: Sequence[Series], marks: Marks) -> _Figure:
    drawn = [item for item in series if item.points]
    if not drawn:
        return _Figure(look.title, look.remark, Markup("<p>nothing yet</p>"))
    read = _power if look.log else float
    ends = "; ".join(
        f"{item.label}: {read(item.points[-1][1]):.4g}" for item in drawn if item.labelled
    )
    chart = charts.lines(
        drawn,
        title=f"{look.title} over the steps. {ends}",
        write=lambda value: f"{read(value):,.5g}",
        tick=lambda value, _: _short(read(value)),
        from_zero=look.from_zero,
        over="step",
        marks=marks,
    )
    return _Figure(look.title, look.remark, chart)


def _thinned(
    steps: Sequence[StepReport], joined: Callable[[Sequence[StepReport]], float]
) -> Points:
    """At most POINTS of them, each at the last of the steps that it is of; none that is not finite."""
    each = math.ceil(len(steps) / POINTS) or 1
    groups = (steps[first : first + each] for first in range(0, len(steps), each))
    points = ((float(group[-1].step + 1), joined(group)) for group in groups)
    return tuple((x, y) for x, y in points if math.isfinite(y))


def _scaled(points: Points, log: bool) -> Points:
    return tuple((x, math.log10(y)) for x, y in points if y > 0) if log else points


def _power(exponent: float) -> float:
    return math.inf if exponent > 308 else 10.0**exponent


def _short(value: float) -> str:
    """Of an axis: at most five characters or so."""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e").replace(".0e", "e")
    return f"{value / 1000:.3g}k" if abs(value) >= 1_000 else f"{value:.3g}"

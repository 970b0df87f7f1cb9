"""`result.json` and `report.html`: what a study found, for programs and for people.

The page is one file that asks nothing of a network and runs no script; it knows no scenario and
serves simulations and deployed studies alike. The data model is in :mod:`fedward_shared.result`,
the wording of figures in :mod:`fedward_shared.formats`, the drawing in
:mod:`fedward_shared.charts`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from fedward_shared import charts, files, formats, pages
from fedward_shared.result import (
    MetricSpec,
    Result,
    RoundRecord,
    Row,
    Sample,
    SiteSummary,
    encode,
    load,
)

__all__ = [
    "MetricSpec",
    "Result",
    "RoundRecord",
    "Row",
    "Sample",
    "SiteSummary",
    "headline",
    "load",
    "render",
    "write",
]

RESULT_FILE = "result.json"
REPORT_FILE = "report.html"
FEDERATED = ("federated-dp", "federated")
"""The rows that a site's own figure is held against: the first of them that was measured."""

_Curve = tuple[tuple[float, float], ...]
"""(round, ε) of a site, ascending."""

LABELS_SHOWN = 6
LINES_NAMED = 6


def write(result: Result, directory: Path) -> None:
    """Writes `result.json` and `report.html` into `directory`, each wholly or not at all."""
    page = render(result).encode("utf-8")
    files.write_atomically(directory / RESULT_FILE, encode(result))
    files.write_atomically(directory / REPORT_FILE, page)


def render(result: Result) -> str:
    """The page `report.html` as text, to be written as UTF-8."""
    columns = [_Column.of(spec, result) for spec in result.metrics]
    return (
        pages.environment()
        .get_template("report.html.j2")
        .render(
            result=result,
            formats=formats,
            sign=charts.sign,
            tone=_tone,
            answer=_unbroken(headline(result)),
            beside=_unbroken(_beside(result)),
            focus=_focus(result),
            any_private=any(row.private for row in result.rows) or _any_epsilon(result),
            columns=[c for c in columns if any(c.value(row) is not None for row in result.rows)],
            tones=sorted({_tone(row.private) for row in result.rows}),
            row_delta=_one(row.delta for row in result.rows if row.epsilon is not None),
            site_delta=_one(site.delta for site in result.sites if site.epsilon is not None),
            figures=[*_quality_figures(result, columns), *_epsilon_figures(result)],
            round_count=max((len(part) for part in _studies(result).values()), default=0),
            site_table=_SiteTable.of(result, columns),
            missing=_missing(result),
            setting=_setting,
        )
    )


def headline(result: Result) -> str:
    """The answer in one sentence, made of the rows that exist; empty if none was measured.

    It speaks of the primary metric: the federated row, then how far that is from a site alone, then
    what giving up privacy would change.
    """
    row, spec = _focus(result), result.primary
    if row is None or spec is None:
        return ""
    column = _Column.of(spec, result)
    value = row.metrics[spec.name] or 0.0
    lower = "" if spec.higher_is_better else " (lower is better)"
    sentence = (
        f"{row.label} reaches {_within(spec.label)} {column.write(value)}{lower}{_at_epsilon(row)}"
    )
    alone = column.value(result.row("alone"))
    if row.name in FEDERATED and alone is not None:
        sentence += f", {column.compare(value, alone)} a site alone"
    openly = column.value(result.row("federated"))
    if row.name == "federated-dp" and openly is not None:
        sentence += f"; giving up privacy would {column.change(value, openly)}"
    return f"{sentence}."


@dataclass(frozen=True)
class _Column:
    """A metric as a column of the comparison: its digits and the scale of its bars."""

    spec: MetricSpec
    decimals: int
    low: float
    high: float

    @classmethod
    def of(cls, spec: MetricSpec, result: Result) -> "_Column":
        rows = [(cls._read(row, spec), row.spread.get(spec.name, 0.0)) for row in result.rows]
        known = [(value, spread) for value, spread in rows if value is not None]
        values = [value for value, _ in known]
        ends = [value + sign * spread for value, spread in known for sign in (-1, 1)]
        high = 1.0 if max(values, default=0.0) <= 1 else max(ends)
        decimals = formats.decimals_for(values, spec.format)
        return cls(spec, decimals, min([0.0, *values]), high)

    @staticmethod
    def _read(row: Row | None, spec: MetricSpec) -> float | None:
        return None if row is None else row.metrics.get(spec.name)

    def value(self, row: Row | None) -> float | None:
        """The metric of `row`, if both exist."""
        return self._read(row, self.spec)

    def write(self, value: float | None) -> str:
        """A value of this column in words."""
        return formats.metric(value, self.spec.format, self.decimals)

    def spread(self, row: Row) -> str:
        """`± 0.012`, or nothing."""
        spread = row.spread.get(self.spec.name)
        if not spread:
            return ""
        return f"± {self.write(spread)}"

    def bar(self, row: Row) -> Markup:
        """The bar of `row`; nothing where the metric was not measured."""
        value = self.value(row)
        if value is None:
            return Markup()
        return charts.bar(
            value,
            self.low,
            self.high,
            tone=_tone(row.private),
            spread=row.spread.get(self.spec.name, 0.0),
            title=f"{row.label}: {self.spec.label} {self.write(value)} {self.spread(row)}".strip(),
        )

    def compare(self, value: float, other: float) -> str:
        """How `value` stands to `other`: `0.140 above`."""
        if self.write(value) == self.write(other):
            return "level with"
        return f"{self._gap(value, other)} {'above' if value > other else 'below'}"

    def change(self, value: float, other: float) -> str:
        """What going from `value` to `other` would do: `add 0.120`."""
        if self.write(value) == self.write(other):
            return "change nothing"
        return f"{'add' if other > value else 'take off'} {self._gap(value, other)}"

    def _gap(self, value: float, other: float) -> str:
        return formats.difference(value - other, self.spec.format, self.decimals)


@dataclass(frozen=True)
class _Figure:
    """A chart and what stands above it."""

    title: str
    remark: str
    chart: Markup


@dataclass(frozen=True)
class _SiteRow:
    """A site in the per-site table: its summary, drawings beside it."""

    site: SiteSummary
    meter: Markup
    comparison: str
    pair: Markup
    stack: Markup
    labels: str


@dataclass(frozen=True)
class _SiteTable:
    """The per-site table, and which of its columns have something to show."""

    rows: list[_SiteRow]
    metric: str
    federated: str
    legend: list[tuple[str, str]]
    records: bool
    epsilon: bool

    @classmethod
    def of(cls, result: Result, columns: Sequence[_Column]) -> "_SiteTable":
        federated = next((row for name in FEDERATED if (row := result.row(name))), None)
        ranked = sorted(columns, key=lambda column: column.spec != result.primary)
        shown = [c for c in ranked if any(c.spec.name in site.alone for site in result.sites)]
        column = shown[0] if shown else None
        scale = _pair_scale(result.sites, column, federated)
        legend = _label_classes(result.sites)
        return cls(
            rows=[_site_row(site, column, federated, scale, legend) for site in result.sites],
            metric=column.spec.label if column else "",
            federated=federated.label if federated else "",
            legend=[*legend.items(), *_others(result.sites, legend)],
            records=any(site.records is not None for site in result.sites),
            epsilon=any(
                site.epsilon is not None or site.epsilon_limit is not None for site in result.sites
            ),
        )


def _site_row(
    site: SiteSummary,
    column: _Column | None,
    federated: Row | None,
    scale: tuple[float, float],
    legend: dict[str, str],
) -> _SiteRow:
    meter = pair = stack = Markup()
    comparison = labels = ""
    if site.epsilon is not None and site.epsilon_limit is not None:
        spent, limit = formats.epsilon(site.epsilon), formats.epsilon(site.epsilon_limit)
        title = f"{site.name} spent ε {spent} of {limit}"
        meter = charts.meter(site.epsilon, site.epsilon_limit, title=title)
    if column and column.spec.name in site.alone:
        alone, joint = site.alone[column.spec.name], column.value(federated)
        comparison = column.write(alone)
        if federated and joint is not None:
            comparison = f"{comparison} → {column.write(joint)}"
            title = f"{site.name}: {column.spec.label} {comparison}, alone to federated"
            pair = charts.pair(alone, joint, *scale, tone=_tone(federated.private), title=title)
    total = sum(site.labels.values())
    if total:
        most = sorted(site.labels.items(), key=lambda item: (-item[1], item[0]))[:2]
        labels = ", ".join(f"{name} {count / total:.0%}" for name, count in most)
        named = [(name, site.labels.get(name, 0), tone) for name, tone in legend.items()]
        rest = total - sum(count for _, count, _ in named)
        parts = [part for part in (*named, ("other labels", rest, "other")) if part[1]]
        stack = charts.stack(parts, title=f"Labels of {site.name}, mostly {labels}")
    return _SiteRow(site, meter, comparison, pair, stack, labels)


def _pair_scale(
    sites: Sequence[SiteSummary], column: _Column | None, federated: Row | None
) -> tuple[float, float]:
    """The least and the greatest of the values that are compared, the same for every site."""
    if column is None:
        return 0.0, 1.0
    values = [site.alone[column.spec.name] for site in sites if column.spec.name in site.alone]
    joint = column.value(federated)
    values += [] if joint is None else [joint]
    return min(values), max(values)


def _label_classes(sites: Sequence[SiteSummary]) -> dict[str, str]:
    """The labels that weigh most at some site, each with a class for its colour."""
    weight: dict[str, float] = {}
    for site in sites:
        total = sum(site.labels.values()) or 1
        for label, count in site.labels.items():
            weight[label] = max(weight.get(label, 0.0), count / total)
    chosen = sorted(weight, key=lambda label: (-weight[label], label))[:LABELS_SHOWN]
    return {label: f"c{index}" for index, label in enumerate(chosen, start=1)}


def _others(sites: Sequence[SiteSummary], legend: dict[str, str]) -> list[tuple[str, str]]:
    unnamed = any(label not in legend for site in sites for label in site.labels)
    return [("other labels", "other")] if unnamed else []


def _quality_figures(result: Result, columns: Sequence[_Column]) -> Iterable[_Figure]:
    """One figure for each metric that the rounds report, the ones without a column last."""
    by_name = {column.spec.name: column for column in columns}
    reported = {name for record in result.rounds for name in record.metrics}
    for name in [*by_name, *sorted(reported - set(by_name))]:
        if name in reported:
            spec = by_name[name].spec if name in by_name else _unspecified(name)
            better = "higher is better" if spec.higher_is_better else "lower is better"
            yield _quality_figure(result, spec, better if name in by_name else "")


def _unspecified(name: str) -> MetricSpec:
    label = name.replace("_", " ")
    return MetricSpec(name=name, label=label[:1].upper() + label[1:])


def _quality_figure(result: Result, spec: MetricSpec, remark: str) -> _Figure:
    series: list[charts.Series] = []
    dashes = {"dp": 0, "open": 0}
    drawn: set[str] = set()
    for study, records in _studies(result).items():
        points = tuple(
            (float(r.round), r.metrics[spec.name]) for r in records if spec.name in r.metrics
        )
        if points:
            tone = _tone(_study_private(result, study))
            series.append(charts.Series(_study_label(result, study), points, tone, dashes[tone]))
            dashes[tone] += 1
            drawn.add(study)
    for row in result.rows:
        value = row.metrics.get(spec.name)
        if row.name not in drawn and value is not None:
            tone = _tone(row.private)
            series.append(charts.Series(row.label, ((0.0, value),), tone, level=True))
    values = [y for item in series for _, y in item.points]
    decimals = formats.decimals_for(values, spec.format)
    return _Figure(
        title=spec.label,
        remark=remark,
        chart=charts.lines(
            series,
            title=f"{spec.label} after each round. {_ends(series, spec, decimals)}",
            write=lambda value: formats.metric(value, spec.format, decimals),
            tick=lambda value, step: _tick(value, step, spec),
        ),
    )


def _ends(series: Sequence[charts.Series], spec: MetricSpec, decimals: int) -> str:
    """Where each line ends, in words, for those who hear the page."""
    last = (
        f"{item.label}: {formats.metric(item.points[-1][1], spec.format, decimals)}"
        for item in series
    )
    return "; ".join(last)


def _tick(value: float, step: float, spec: MetricSpec) -> str:
    """An axis value with as many digits as tell it from its neighbours, `step` away."""
    if abs(value) >= formats.LONG:
        return formats.signed(f"{value:.3g}")
    scale = 100.0 if spec.format == "percent" else 1.0
    digits = 0
    while digits < 6 and not math.isclose(step * scale, round(step * scale, digits)):
        digits += 1
    text = f"{value * scale:,.{digits}f}"
    return formats.signed(f"{text} %" if spec.format == "percent" else text)


def _epsilon_figures(result: Result) -> Iterable[_Figure]:
    """For each study with DP, the ε that every site had spent after each round."""
    studies = {
        study: records
        for study, records in _studies(result).items()
        if any(value is not None for record in records for value in record.epsilon.values())
    }
    alike: dict[frozenset[_Curve], list[str]] = {}
    for study, records in studies.items():
        alike.setdefault(frozenset(_epsilon_curves(records)), []).append(study)
    for first, *others in alike.values():
        label = _study_label(result, first)
        names = ", ".join(_study_label(result, study) for study in others)
        remark = "per site, against its limit"
        yield _Figure(
            title=f"ε spent · {label}" if len(studies) > 1 else "ε spent",
            remark=f"{remark}; the same in {names}" if others else remark,
            chart=_epsilon_chart(result, studies[first], label),
        )


def _epsilon_curves(records: Sequence[RoundRecord]) -> dict[_Curve, list[str]]:
    """ε over the rounds, with the sites that have spent exactly so."""
    curves: dict[_Curve, list[str]] = {}
    for site in sorted({name for record in records for name in record.epsilon}):
        points = tuple(
            (float(record.round), value)
            for record in records
            if (value := record.epsilon.get(site)) is not None
        )
        if points:
            curves.setdefault(points, []).append(site)
    return curves


def _epsilon_chart(result: Result, records: Sequence[RoundRecord], label: str) -> Markup:
    curves = _epsilon_curves(records)
    ranked = sorted(curves.items(), key=lambda item: -item[0][-1][1])
    named = range(len(ranked)) if len(ranked) <= LINES_NAMED else (0, len(ranked) - 1)
    series = [
        charts.Series(_names(sites), points, "dp", index, labelled=index in named)
        for index, (points, sites) in enumerate(ranked)
    ]
    limits: dict[float, list[str]] = {}
    for summary in result.sites:
        if summary.epsilon_limit is not None:
            limits.setdefault(summary.epsilon_limit, []).append(summary.name)
    for limit, sites in sorted(limits.items()):
        whose = "" if len(limits) == 1 else f", {_count(sites)}"
        name = f"limit {formats.epsilon(limit)}{whose}"
        series.append(charts.Series(name, ((0.0, limit),), "limit", level=True))
    spent = "; ".join(f"{_names(sites)}: {formats.epsilon(p[-1][1])}" for p, sites in ranked)
    return charts.lines(
        series,
        title=f"ε spent in {label} after each round. {spent}",
        write=formats.epsilon,
        tick=lambda value, _: formats.epsilon(value),
        from_zero=True,
    )


def _names(sites: Sequence[str]) -> str:
    return sites[0] if len(sites) == 1 else f"{len(sites)} sites alike"


def _count(sites: Sequence[str]) -> str:
    return sites[0] if len(sites) == 1 else f"{len(sites)} sites"


def _missing(result: Result) -> list[tuple[str, str, str, str]]:
    """Who was missing: (site, reason, rounds, studies), like cases drawn together."""
    found: dict[tuple[str, str], dict[str, list[int]]] = {}
    for study, records in _studies(result).items():
        for record in records:
            for site, reason in record.missing.items():
                studies = found.setdefault((site, reason), {})
                studies.setdefault(study, []).append(record.round)
    cases: dict[tuple[str, str, str], list[str]] = {}
    for (site, reason), studies in sorted(found.items()):
        for study, numbers in studies.items():
            case = (site, reason, formats.rounds(numbers))
            cases.setdefault(case, []).append(_study_label(result, study))
    return [(*case, "; ".join(studies)) for case, studies in cases.items()]


def _beside(result: Result) -> str:
    """The rows that the answer leaves out, each with its figure."""
    focus, spec = _focus(result), result.primary
    if focus is None or spec is None:
        return ""
    told = {focus.name, *(("alone", "federated") if focus.name in FEDERATED else ())}
    column = _Column.of(spec, result)
    rest = [
        f"{row.label} {column.write(value)}"
        for row in result.rows
        if row.name not in told and (value := column.value(row)) is not None
    ]
    return f"For comparison: {'; '.join(rest)}." if rest else ""


def _focus(result: Result) -> Row | None:
    """The row the answer speaks of: the federated one, or the best if there is none."""
    spec = result.primary
    if spec is None:
        return None
    measured = [row for row in result.rows if row.metrics.get(spec.name) is not None]
    for name in FEDERATED:
        for row in measured:
            if row.name == name:
                return row
    sign = 1 if spec.higher_is_better else -1
    return max(measured, key=lambda row: sign * (row.metrics[spec.name] or 0.0), default=None)


def _studies(result: Result) -> dict[str, list[RoundRecord]]:
    """The rounds of each study in ascending order; studies in the order of their rows."""
    order = [row.name for row in result.rows]
    found = sorted(
        {record.study for record in result.rounds},
        key=lambda study: (order.index(study) if study in order else len(order), study),
    )
    return {
        study: sorted((r for r in result.rounds if r.study == study), key=lambda r: r.round)
        for study in found
    }


def _study_label(result: Result, study: str) -> str:
    row = result.row(study)
    return row.label if row else study


def _study_private(result: Result, study: str) -> bool:
    row = result.row(study)
    if row:
        return row.private
    records = (record for record in result.rounds if record.study == study)
    return any(value is not None for record in records for value in record.epsilon.values())


def _any_epsilon(result: Result) -> bool:
    return any(site.epsilon is not None for site in result.sites)


def _at_epsilon(row: Row) -> str:
    return "" if row.epsilon is None else f" at ε = {formats.epsilon(row.epsilon)}"


def _one(values: Iterable[float | None]) -> float | None:
    """The value that all of them have, or none."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _unbroken(text: str) -> str:
    """`text` with `ε = 1` and `61.2 %` kept on one line."""
    return text.replace(" = ", "\u00a0=\u00a0").replace(" %", "\u00a0%")


def _within(label: str) -> str:
    """A label as it stands within a sentence: `Accuracy` becomes `accuracy`, `AUC` stays."""
    return label[:1].lower() + label[1:] if label[1:2].islower() else label


def _tone(private: bool) -> str:
    return "dp" if private else "open"


def _setting(value: str | int | float | bool | None) -> str:
    if value is None:
        return formats.NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return formats.signed(f"{value:.6g}") if isinstance(value, float) else str(value)

"""`statistics.html`: the figures of `statistics.json` for people, on one page without a script."""

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from fedward_shared import charts, formats, pages
from fedward_shared.statistics.figures import ColumnFigures, Drift, Figure, SiteFigures, Statistics

STATISTICS_FILE = "statistics.json"
PAGE_FILE = "statistics.html"
NAMED = 6
"""So many values of a category have a colour; the rest are drawn together."""
MEDIAN = "0.5"


@dataclass(frozen=True)
class _Line:
    """What the page says of one column at one site."""

    site: str
    focus: bool
    text: str
    chart: Markup
    drift: str
    drifted: bool
    aside: str


@dataclass(frozen=True)
class _Section:
    """One column over all sites."""

    name: str
    kind: str
    is_label: bool
    legend: list[tuple[str, str]]
    lines: list[_Line]


def render(statistics: Statistics) -> str:
    """The page as text, to be written as UTF-8."""
    return (
        pages.environment()
        .get_template("statistics.html.j2")
        .render(
            statistics=statistics,
            formats=formats,
            sites=[*_together(statistics), *statistics.sites],
            sections=_sections(statistics),
            answer=headline(statistics),
            amount=_amount,
        )
    )


def headline(statistics: Statistics) -> str:
    """What there is to see, in a sentence."""
    if statistics.together is None:
        return "No site has answered."
    drifting: dict[str, list[str]] = {}
    for site in statistics.sites:
        for column in site.columns:
            if column.drift and column.drift.seen:
                drifting.setdefault(column.name, []).append(site.name)
    told = len(statistics.sites)
    whose = f"{told} {'site' if told == 1 else 'sites'}"
    records = f"{_amount(statistics.together.records)} records at {whose}"
    if not drifting:
        return f"{records}, and nothing that noise and chance do not explain."
    said = [f"{column} at {_listed(where, told)}" for column, where in drifting.items()]
    more = f", and {len(said) - NAMED} more" if len(said) > NAMED else ""
    return (
        f"{records}, which differ by more than noise and chance: {'; '.join(said[:NAMED])}{more}."
    )


def _listed(where: list[str], told: int) -> str:
    if len(where) == told:
        return "every site"
    return ", ".join(where) if len(where) <= NAMED else f"{len(where)} of {told} sites"


def _together(statistics: Statistics) -> list[SiteFigures]:
    several = statistics.together is not None and len(statistics.sites) > 1
    return [statistics.together] if several and statistics.together else []


def _sections(statistics: Statistics) -> list[_Section]:
    if statistics.together is None:
        return []
    wanted = sorted(statistics.together.columns, key=lambda column: column.name != statistics.label)
    return [_section(statistics, column) for column in wanted]


def _section(statistics: Statistics, column: ColumnFigures) -> _Section:
    sites = [*_together(statistics), *statistics.sites]
    legend = _legend(column) if column.kind == "category" else []
    ends = _ends(site.column(column.name) for site in sites)
    lines = []
    for site in sites:
        own = site.column(column.name)
        chart = _stack(own, legend) if column.kind == "category" else _spread(own, ends)
        lines.append(
            _Line(
                site=site.name,
                focus=site is statistics.together,
                text=_text(own),
                chart=chart,
                drift=_drift(own.drift),
                drifted=own.drift is not None and own.drift.seen,
                aside=_aside(own),
            )
        )
    return _Section(column.name, column.kind, column.name == statistics.label, legend, lines)


def _legend(column: ColumnFigures) -> list[tuple[str, str]]:
    """The commonest values of all sites together, each with its colour, and the rest."""
    shares = column.shares
    common = sorted(shares, key=lambda cell: -shares[cell].value)[:NAMED]
    named = [(cell, f"c{n}") for n, cell in enumerate(common, start=1)]
    return named + ([("all else", "other")] if len(shares) > NAMED else [])


def _stack(column: ColumnFigures, legend: list[tuple[str, str]]) -> Markup:
    named = [
        (cell, round(10_000 * column.shares[cell].value), c) for cell, c in legend if c != "other"
    ]
    rest = max(0, 10_000 - sum(amount for _, amount, _ in named))
    parts = [*named, *[(cell, rest, c) for cell, c in legend if c == "other"]]
    told = ", ".join(f"{cell} {amount / 100:.1f} %" for cell, amount, _ in parts)
    return charts.stack(parts, title=f"{column.name}: {told}")


def _ends(columns: Iterable[ColumnFigures]) -> tuple[float, float]:
    """The scale on which the sites' quantiles are drawn."""
    found = [q for column in columns for q in column.quantiles.values()]
    return min((q.low for q in found), default=0.0), max((q.high for q in found), default=1.0)


def _spread(column: ColumnFigures, ends: tuple[float, float]) -> Markup:
    points = [(q.value, q.low, q.high) for q in column.quantiles.values()]
    told = ", ".join(f"{float(at):.0%} below {q.value:g}" for at, q in column.quantiles.items())
    return charts.spread(points, *ends, title=f"{column.name}: {told or 'hidden by noise'}")


def _text(column: ColumnFigures) -> str:
    if column.kind == "number":
        if column.mean is None:
            return "hidden by noise"
        median = column.quantiles.get(MEDIAN)
        middle = f", median {_between(median)}" if median else ""
        return f"mean {_between(column.mean)}{middle}"
    common = sorted(column.shares, key=lambda cell: -column.shares[cell].value)[:3]
    return ", ".join(f"{cell} {_percent(column.shares[cell])}" for cell in common)


def _aside(column: ColumnFigures) -> str:
    """How much does not fit: what a schema check is for."""
    wrong = "no number" if column.kind == "number" else "other"
    return f"{wrong} {_percent(column.shares[wrong])}; missing {_percent(column.shares['missing'])}"


def _drift(drift: Drift | None) -> str:
    if drift is None:
        return formats.NOTHING
    return f"{drift.distance:.3f} (by chance up to {drift.by_chance:.3f})"


def _amount(figure: Figure) -> str:
    return f"{figure.value:,.0f} ± {(figure.high - figure.low) / 2:,.0f}"


def _between(figure: Figure) -> str:
    return f"{figure.value:.4g} ({figure.low:.4g} to {figure.high:.4g})"


def _percent(figure: Figure) -> str:
    return f"{100 * figure.value:.1f} % ({100 * figure.low:.1f} to {100 * figure.high:.1f})"

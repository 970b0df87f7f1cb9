"""What a charter for statistics asks of a site, in sentences: what is counted, what leaves."""

from fedward_shared.statistics.charter import StatisticsCharter
from fedward_shared.statistics.terms import CategoryColumn, NumberColumn

SHOWN = 12
"""Of a long list of values the first so many are named."""


def paragraphs(charter: StatisticsCharter, site: str) -> list[tuple[str, str]]:
    """Title and text of each; the same for every `site`."""
    del site
    return [
        ("What runs", "The packages installed here, and no code of the coordinator: one count"),
        ("Columns", _columns(charter)),
        ("What leaves", _what_leaves(charter)),
        ("Not covered by ε", _declared()),
        (
            "Who sees it",
            f"{charter.coordinator.name} sees this site's numbers by themselves: that is what they are "
            "for. They can be shown to others, and computed with, at no further cost",
        ),
    ]


def _columns(charter: StatisticsCharter) -> str:
    return ". ".join(_column(column) for column in charter.statistics.columns)


def _column(column: NumberColumn | CategoryColumn) -> str:
    if isinstance(column, NumberColumn):
        return (
            f"{column.name}: numbers, counted in {column.bins} parts from {column.low:g} to "
            f"{column.high:g} and beyond, and added up, each cut off at these ends"
        )
    shown = ", ".join(column.values[:SHOWN])
    more = f" and {len(column.values) - SHOWN} more" if len(column.values) > SHOWN else ""
    return f"{column.name}: how often it is {shown}{more}, something else or nothing"


def _what_leaves(charter: StatisticsCharter) -> str:
    terms = charter.statistics
    units = "" if terms.unit == "record" else f" and of {terms.unit}s"
    most = (
        ""
        if terms.unit == "record"
        else f" Of one {terms.unit} {terms.most_records:,} records count at most, drawn at random."
    )
    return (
        f"Once, to {charter.coordinator.name}: the number of records{units}, and the counts and sums of "
        "these columns, each with Gaussian noise that this site draws: of about "
        f"{terms.count_noise:.1f} in a count of records.{most} Whoever asks again gets "
        "the same numbers. No record leaves"
    )


def _declared() -> str:
    return (
        "Of each column a word is told without noise: whether the file has it and as what it is "
        "declared (a number, a text, something else), by the first line of a CSV or by the "
        "schema of a Parquet file, which are there before any record. Files of JSON lines declare "
        "nothing"
    )

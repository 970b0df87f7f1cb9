"""How many records a task wants, before any privacy: the rule of thumb of the field's practitioners."""

from typing import NamedTuple


class Size(NamedTuple):
    """So many records for a kind of task."""

    records: int
    task: str


SIZES = (
    Size(300_000, "basic tasks, as telling texts apart"),
    Size(500_000, "complex tasks, as finding entities and relations"),
    Size(1_000_000, "tasks across modalities, as texts of images"),
)


def sentences(records: int) -> list[str]:
    """What `records` are enough for, and what is missing."""
    return [
        f"{size.task}: {size.records:,}, "
        + ("enough" if records >= size.records else f"{size.records - records:,} short here")
        for size in SIZES
    ]

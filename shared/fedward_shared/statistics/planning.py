"""The least noise that an ε allows for an answer."""

from collections.abc import Sequence

from fedward_shared.privacy import accountant
from fedward_shared.privacy.unit import Unit
from fedward_shared.statistics.terms import Column, StatisticsTerms


def planned(
    columns: Sequence[Column],
    label: str | None,
    epsilon: float,
    delta: float,
    unit: Unit = "record",
    most_records: int = 1,
) -> StatisticsTerms:
    """Terms that cost at most `epsilon`. Raises PrivacyError for an ε that no noise gives, and
    pydantic's ValidationError for columns that cannot be asked about."""
    noise = accountant.noise_for(1.0, 1, epsilon, delta)
    return StatisticsTerms(
        columns=tuple(columns),
        label=label,
        epsilon=epsilon,
        delta=delta,
        unit=unit,
        most_records=most_records,
        noise_multiplier=noise,
    )

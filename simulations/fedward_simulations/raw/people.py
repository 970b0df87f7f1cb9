"""The people of a ward, and whose the diagnoses are."""

import random
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from fedward_shared.errors import MissingExtra
from fedward_simulations.raw.items import Diagnosis, Item, Patient

FIRST, LAST = date(2024, 1, 1), date(2024, 12, 31)
MOST_DIAGNOSES = 5


def faker(draw: random.Random) -> Any:
    """Raises MissingExtra."""
    try:
        from faker import Faker
    except ImportError as error:
        raise MissingExtra(
            "Faker is not installed: pip install 'fedward-simulations[data]'"
        ) from error
    fake = Faker("en_US")
    fake.seed_instance(draw.getrandbits(32))
    return fake


def dealt(draw: random.Random, diagnoses: Sequence[Diagnosis]) -> list[list[Item]]:
    """The diagnoses of each patient, one to five, all of the year 2024."""
    fake, found, at = faker(draw), list[list[Item]](), 0
    numbers = draw.sample(range(1_000_000, 10_000_000), len(diagnoses))
    order = draw.sample(range(len(diagnoses)), len(diagnoses))
    while at < len(order):
        patient = Patient(
            str(numbers[at]),
            fake.last_name(),
            fake.first_name(),
            date(1930, 1, 1) + timedelta(days=draw.randrange(80 * 365)),
        )
        taken = order[at : at + draw.randint(1, MOST_DIAGNOSES)]
        found.append([_item(draw, patient, diagnoses[number], number) for number in taken])
        at += len(taken)
    return found


def _item(draw: random.Random, patient: Patient, said: Diagnosis, number: int) -> Item:
    name = f"diagnosis {number}"
    return Item(name, patient, day(draw), said.text, "Diagnosis", said.code)


def day(draw: random.Random) -> date:
    """Of the year 2024."""
    return FIRST + timedelta(days=draw.randrange((LAST - FIRST).days + 1))

"""Parties of which each by itself knows little of the label."""

import numpy as np
import pytest
import torch

from fedward_client.vertical.records import PartyRecords
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.vertical.columns import NumberColumn, TableTerms
from fedward_shared.vertical.encoding import encode
from fedward_shared.vertical.terms import (
    AlignmentTerms,
    FittingTerms,
    ModelTerms,
    PassiveTerms,
    VerticalTerms,
)

PEOPLE = 600


class Parties:
    """A bank with the label, which says between which `cuts` the mean of all parties' numbers lies."""

    def __init__(self, *passive, cuts=(0.5,)):
        table = TableTerms(columns=(NumberColumn(name="x", most=1),))
        self.terms = VerticalTerms(
            active="bank",
            table=table,
            label="y",
            classes=tuple(str(number) for number in range(len(cuts) + 1)),
            passive=tuple(PassiveTerms(name=name, table=table) for name in passive),
            alignment=AlignmentTerms(rules=("exact",), most=1000, least=10),
            model=ModelTerms(members=2, width=4, dropout=0.1),
            fitting=FittingTerms(epochs=8, batch=64, learning_rate=0.05),
        )
        number_PN = np.random.default_rng(0).random((1 + len(passive), PEOPLE))
        self.label = torch.from_numpy(np.digitize(number_PN.mean(axis=0), cuts))
        self.records = {
            name: self._records(number_PN[place], self.label if not place else None, 3 * place)
            for place, name in enumerate(["bank", *passive])
        }

    def _records(self, numbers, label, first):
        order = np.roll(np.arange(PEOPLE), first)
        texts = [repr(float(numbers[n])) for n in order]
        identifiers = [f"person {n}".encode() for n in order]
        own = None if label is None else label[torch.from_numpy(order)]
        return PartyRecords(identifiers, encode(self.terms.table, [texts]), own)

    def with_terms(self, **change):
        return self.terms.model_copy(update=change)

    def streams(self, who):
        return lambda purpose: Randomness.from_seed(7, who, purpose)


@pytest.fixture(scope="module")
def pair():
    return Parties("bureau")


@pytest.fixture(scope="module")
def graded():
    """Of three classes, the first of which has one in eight records."""
    return Parties("bureau", cuts=(0.25, 0.5))


@pytest.fixture(scope="module")
def three():
    return Parties("bureau", "office")

"""Two parties of which each by itself knows nothing of the label."""

import numpy as np
import pytest
import torch

from fedward_client.vertical.records import PartyRecords
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.vertical.columns import NumberColumn, TableTerms, encode
from fedward_shared.vertical.terms import (
    AlignmentTerms,
    FittingTerms,
    ModelTerms,
    PassiveTerms,
    VerticalTerms,
)

PEOPLE = 600


class Pair:
    """The label says whether the bank's number and the bureau's together are above 1."""

    def __init__(self):
        table = TableTerms(columns=(NumberColumn(name="x", most=1),))
        self.terms = VerticalTerms(
            active="bank",
            table=table,
            label="y",
            passive=(PassiveTerms(name="bureau", table=table),),
            alignment=AlignmentTerms(rules=("exact",), most=1000, least=10),
            model=ModelTerms(members=2, width=4, dropout=0.1),
            fitting=FittingTerms(epochs=8, batch=64, learning_rate=0.05),
        )
        generator = np.random.default_rng(0)
        bank, bureau = generator.random((2, PEOPLE))
        self.label = torch.from_numpy(bank + bureau > 1).float()
        self.records = {
            "bank": self._records(bank, self.label, 0),
            "bureau": self._records(bureau, None, 3),
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
    return Pair()

"""Whether a masked study and an unmasked one of the same survivors come to the same adapter."""

import math
from dataclasses import dataclass

from fedward_server.plain import schema_of_updates
from fedward_server.studies import Study
from fedward_shared.masked import MaskedTerms
from fedward_shared.tensors import Tensors
from fedward_simulations.consortium import Outcome


@dataclass(frozen=True)
class Agreement:
    """`steps`: the largest distance between two coordinates after the first round, in steps of the
    rounding that its masks took; below 1 for the mean of updates that were each rounded by less.
    `share`: how far the last adapters lie apart, as a share of how far they have come.
    """

    steps: float
    share: float

    @classmethod
    def of(cls, masked: Outcome, plain: Outcome) -> "Agreement":
        """Both start from the same tensors, and their sites from the same seed."""
        terms = MaskedTerms(masked.study.charter, 1, schema_of_updates(masked.study, 1))
        rate = masked.study.charter.aggregation.server_learning_rate
        first, second = _after_one(masked.study), _after_one(plain.study)
        steps = max(
            float((first[name] - second[name]).abs().max()) / (rate * terms.quantiser(name).step)
            for name in terms.schema
        )
        last, other = masked.study.adapter, plain.study.adapter
        way = _distance(other, plain.study.adapter_before(1))
        return cls(steps, _distance(last, other) / way)

    def note(self, sites: int) -> str:
        """In a sentence for the report."""
        return (
            f"After round 1 no coordinate of the masked study is further than {self.steps:.2f} steps of "
            f"its rounding from that of an unmasked study of the {sites} sites that stay; after the "
            f"last one the adapters lie {100 * self.share:.2g} % of their way apart."
        )


def _after_one(study: Study) -> Tensors:
    return study.adapter_before(2)


def _distance(one: Tensors, other: Tensors) -> float:
    return math.sqrt(sum(float((one[n] - other[n]).double().square().sum()) for n in one))

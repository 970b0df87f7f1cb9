"""FedSVD (Lee et al. 2025): sites train B above an A with orthonormal rows, as under FFA-LoRA, and the
coordinator turns both between rounds so that A's rows are the principal directions of B·A.

The product stays what it was. A step of plain SGD, a norm and isotropic noise do not see the turn
either: from an orthonormal start, only optimisers that treat coordinates apart tell it from FFA-LoRA.
"""

import torch

from fedward_shared.adapters.averaging import Averaging, Values, factors
from fedward_shared.tensors import Tensors

FIRST_MOMENT = "first."


class FedSVD(Averaging):
    """B·A = U·S·Vᵀ after each round: B becomes U·S and A becomes Vᵀ."""

    def close(
        self, start: Values, mean: Values, stepped: Tensors, optimizer: Tensors
    ) -> tuple[Tensors, Tensors]:
        """The same product from other factors; momentum is turned with them."""
        del start
        state, kept = dict(stepped), dict(optimizer)
        for a, b, _ in factors(stepped):
            if b not in mean:
                continue  # the head moved alone
            state[a], state[b], turn_RR = refactored(stepped[a], stepped[b])
            if FIRST_MOMENT + b in kept:
                moment_OR = kept[FIRST_MOMENT + b].double()
                kept[FIRST_MOMENT + b] = (moment_OR @ turn_RR).float()
        return state, kept


def refactored(
    a_RI: torch.Tensor, b_OR: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The factors Vᵀ and U·S of B·A, and the matrix T with which M·A = (M·T)·Vᵀ for every M.

    Made of factors of the small sides: B·A itself is never formed. A direction that B does not use
    keeps a row of A, so that A's rows are orthonormal even where B is zero.
    """
    rows_IR, triangle_RR = torch.linalg.qr(a_RI.double().T)
    along_RR = triangle_RR.T
    u_OR, s_R, vt_RR = torch.linalg.svd(b_OR.double() @ along_RR, full_matrices=False)
    new_a_RI = vt_RR @ rows_IR.T
    return new_a_RI.float(), (u_OR * s_R).float(), along_RR @ vt_RR.T

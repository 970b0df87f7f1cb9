"""How well a model of an active party does on its records that were held out."""

import torch


def auc(score_H: torch.Tensor, label_H: torch.Tensor) -> float:
    """How often a record of label 1 has the higher score of two, ties counted half (Hanley and McNeil
    1982, "The Meaning and Use of the Area under a Receiver Operating Characteristic Curve").

    NaN where one of the labels does not occur.
    """
    order_H = torch.argsort(score_H)
    _, group_H, counts_G = torch.unique_consecutive(
        score_H[order_H], return_inverse=True, return_counts=True
    )
    last_G = counts_G.cumsum(0).double()
    rank_H = (last_G - (counts_G - 1) / 2)[group_H]
    positive_H = label_H[order_H] == 1
    ones, zeros = int(positive_H.sum()), int((~positive_H).sum())
    if not ones or not zeros:
        return float("nan")
    return float((rank_H[positive_H].sum() - ones * (ones + 1) / 2) / (ones * zeros))

"""How well a model of an active party does on its records that were held out."""

import torch


def quality(probability_H: torch.Tensor, label_H: torch.Tensor) -> dict[str, float]:
    """Of probabilities of the second of two classes, [held out]: the area under the curve. Of one for
    each of more, [held out, K]: how often the likeliest is the true one, of all records and as the mean
    over the classes that occur (Brodersen et al. 2010, "The Balanced Accuracy and Its Posterior
    Distribution").
    """
    if probability_H.ndim == 1:
        return {"auc": auc(probability_H, label_H)}
    right_H = (probability_H.argmax(dim=1) == label_H).double()
    recalls = [right_H[label_H == label].mean() for label in set(label_H.tolist())]
    return {
        "accuracy": float(right_H.mean()),
        "balanced_accuracy": float(torch.stack(recalls).mean()),
    }


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

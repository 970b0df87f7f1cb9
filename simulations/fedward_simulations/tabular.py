"""What somebody could learn who had the columns in one place: the models that a vertical study is held
against, on the same records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from fedward_client.vertical.fitting import Steps, batches
from fedward_shared.vertical.columns import CategoryColumn, TableTerms
from fedward_shared.vertical.encoding import MISSING, Encoded, encode
from fedward_shared.vertical.models import Bottom, CrossEntropy, Top, begin, generator
from fedward_shared.vertical.terms import FittingTerms, ModelTerms

Scores = NDArray[np.float64]

TREES = {
    "n_estimators": 400,
    "learning_rate": 0.04,
    "max_depth": 4,
    "min_child_weight": 5,
    "subsample": 0.8,
    "colsample_bytree": 0.6,
}
"""Of XGBoost, chosen among a few on other records of the loans; a search would find little more."""
STRENGTH = 0.3
"""Inverse of the penalty of the logistic regression."""


@dataclass(frozen=True)
class Joined:
    """Records of which all columns are in one place: the first `training` of them train."""

    table: TableTerms
    columns: Mapping[str, Sequence[str | None]]
    label_N: NDArray[np.int64]
    training: int

    @classmethod
    def of(
        cls,
        parts: Sequence[tuple[TableTerms, pl.DataFrame]],
        label_N: NDArray[np.int64],
        training: int,
    ) -> "Joined":
        """Of the same records, in the same order."""
        table = TableTerms(columns=tuple(c for terms, _ in parts for c in terms.columns))
        columns = {name: own[name].to_list() for terms, own in parts for name in terms.names}
        return cls(table, columns, label_N, training)

    @property
    def encoded(self) -> Encoded:
        """As the bottom models read them."""
        return encode(self.table, [self.columns[name] for name in self.table.names])


def scores(truth_H: NDArray[np.int64], score_H: Scores) -> dict[str, float]:
    """Of probabilities of the second of two classes, [H]; or, each class against all others and every
    class alike, of each of more, [H, K]."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    return {
        "auc": float(roc_auc_score(truth_H, score_H, multi_class="ovr")),
        "average_precision": float(average_precision_score(truth_H, score_H)),
    }


def xgboost(records: Joined, seed: int, threads: int) -> Scores:
    """Of the records held out, by gradient-boosted trees over the columns as they are."""
    import xgboost as library

    encoded, numbers, kinds = records.encoded, [], []
    categories = iter(encoded.codes_NC.numpy().astype(np.float64).T)
    for column in records.table.columns:
        if isinstance(column, CategoryColumn):
            code_N = next(categories)
            numbers.append(np.where(code_N == MISSING, np.nan, code_N))
            kinds.append("c")
        else:
            numbers.append(_floats(records.columns[column.name]))
            kinds.append("q")
    x_NC, cut = np.stack(numbers, axis=1), records.training
    trees = library.XGBClassifier(
        **TREES, enable_categorical=True, feature_types=kinds, random_state=seed, n_jobs=threads
    )
    trees.fit(x_NC[:cut], records.label_N[:cut])
    return np.asarray(trees.predict_proba(x_NC[cut:])[:, 1], np.float64)


def _floats(values: Sequence[str | None]) -> Scores:
    return np.array([np.nan if value is None else float(value) for value in values])


def logistic(records: Joined) -> Scores:
    """Of the records held out, by logistic regression over what the networks read."""
    from sklearn.linear_model import LogisticRegression

    encoded, cut = records.encoded, records.training
    flags = [
        torch.nn.functional.one_hot(encoded.codes_NC[:, c], count).float()
        for c, count in enumerate(records.table.categories)
    ]
    x_NF = torch.cat([encoded.numbers_NF, *flags], dim=1).numpy()
    model = LogisticRegression(C=STRENGTH, max_iter=500).fit(x_NF[:cut], records.label_N[:cut])
    return np.asarray(model.predict_proba(x_NF[cut:])[:, 1], np.float64)


def network(records: Joined, model: ModelTerms, fitting: FittingTerms, name: str) -> Scores:
    """Of the records held out, by the network that is cut in a vertical study, in one piece."""
    encoded, label_N, loss = records.encoded, torch.from_numpy(records.label_N), CrossEntropy()
    bottom, top = Bottom(records.table, model.embedding), Top(model, 1)
    begin(bottom, name, "bottom")
    begin(top, name, "top")
    steps, dropping = Steps([bottom, top], fitting, records.training), generator(name, "dropout")
    for row_B in batches(fitting, records.training, name):
        torch.autograd.backward(loss(top(bottom.of(encoded.rows(row_B)), dropping), label_N[row_B]))
        steps.take()
    held = torch.arange(records.training, len(encoded))
    with torch.no_grad():
        return top.probabilities(bottom.of(encoded.rows(held))).double().numpy()

"""The site's own rules, held against an approved charter. The stricter of the two wins."""

import math
from dataclasses import dataclass
from pathlib import Path

from fedward_client.ledger import Limit
from fedward_client.settings import DatasetSettings, SiteSettings
from fedward_shared import base_models
from fedward_shared.charter import WITHOUT_DP, Charter
from fedward_shared.errors import CharterError, DataError, ModelError, PrivacyError
from fedward_shared.privacy.plan import TrainingPlan


@dataclass(frozen=True)
class Permission:
    """What the site may do for a charter, with which data and model, within which limits."""

    plan: TrainingPlan
    dataset: DatasetSettings
    base_model: Path
    account: Limit
    study: Limit


def permit(charter: Charter, settings: SiteSettings) -> Permission:
    """What `settings` allow for `charter`; touches no record.

    Raises CharterError, DataError, ModelError or PrivacyError with the line that forbids it.
    """
    dataset = settings.datasets.get(charter.dataset)
    if dataset is None:
        raise DataError(f"site.toml: datasets.{charter.dataset}: there is none of that name")
    if charter.aggregation.minimum_cohort < settings.minimum_cohort:
        raise CharterError(
            f"charter {charter.study}: aggregation.minimum_cohort is "
            f"{charter.aggregation.minimum_cohort}, site.toml asks for {settings.minimum_cohort}"
        )
    without_dp = charter.privacy.mechanism == "none"
    if without_dp and settings.without_dp != WITHOUT_DP:
        raise PrivacyError(
            f"charter {charter.study} trains without differential privacy; site.toml does not say "
            f'without_dp = "{WITHOUT_DP}"'
        )
    if charter.privacy.delta > dataset.delta:
        raise PrivacyError(
            f"charter {charter.study}: privacy.delta is {charter.privacy.delta:g}, site.toml allows "
            f"{dataset.delta:g}"
        )
    if not dataset.path.is_file():
        raise DataError(f"{dataset.path}: no such file (datasets.{charter.dataset}.path)")
    unbounded = math.inf if without_dp else None
    return Permission(
        plan=charter.plan(settings.name),
        dataset=dataset,
        base_model=_base_model(charter.base_model.digest, settings),
        account=Limit(dataset.account, "site.toml", unbounded or dataset.epsilon, dataset.delta),
        study=Limit(
            charter.digest,
            "the charter",
            unbounded or charter.privacy.epsilon or 0.0,
            charter.privacy.delta,
        ),
    )


def _base_model(digest: str, settings: SiteSettings) -> Path:
    found = {folder: base_models.digest(folder) for folder in settings.base_models}
    for folder, its_digest in found.items():
        if its_digest == digest:
            return folder
    listed = ", ".join(f"{folder} ({its_digest})" for folder, its_digest in found.items())
    raise ModelError(
        f"site.toml: base_models: none has the charter's digest {digest}; there are {listed}"
    )

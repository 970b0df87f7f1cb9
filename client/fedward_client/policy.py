"""The site's own rules, held against an approved charter. The stricter of the two wins."""

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fedward_client.ledger import Limit
from fedward_client.settings import DatasetSettings, SiteSettings
from fedward_shared import base_models
from fedward_shared.charter import WITHOUT_DP, Charter
from fedward_shared.errors import CharterError, DataError, ModelError, PrivacyError
from fedward_shared.identity import PublicKey
from fedward_shared.privacy.plan import TrainingPlan


@dataclass(frozen=True)
class Permission:
    """What the site may do for a charter, with which data and model, within which limits."""

    plan: TrainingPlan
    dataset: DatasetSettings
    base_model: Path
    account: Limit
    study: Limit


def permit(charter: Charter, settings: SiteSettings, own: PublicKey, now: datetime) -> Permission:
    """What `settings` allow the site with the key `own` for `charter`; touches no record.

    Raises CharterError, DataError, ModelError or PrivacyError with the line that forbids it.
    """
    _check_parties(charter, settings, own)
    charter.check_date(now)
    dataset = settings.datasets.get(charter.dataset)
    if dataset is None:
        raise DataError(f"site.toml: datasets.{charter.dataset}: there is none of that name")
    if charter.use not in dataset.uses:
        raise CharterError(
            f"charter {charter.study}: use is {charter.use}, site.toml allows datasets."
            f"{charter.dataset} for {', '.join(dataset.uses) or 'none'}"
        )
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


def _check_parties(charter: Charter, settings: SiteSettings, own: PublicKey) -> None:
    coordinator = charter.coordinator
    pinned = settings.coordinators.get(coordinator.name)
    if pinned is None:
        raise CharterError(
            f"charter {charter.study}: site.toml: coordinators: there is no {coordinator.name}"
        )
    if pinned != coordinator.key:
        raise CharterError(
            f"charter {charter.study}: coordinator.key is {coordinator.key}, site.toml knows "
            f"{coordinator.name} by {pinned}"
        )
    named = charter.participant(settings.name).key
    if named != own.text:
        raise CharterError(
            f"charter {charter.study}: participants: {settings.name} has the key {named}, this "
            f"site's is {own.text}"
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

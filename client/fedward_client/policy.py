"""The site's own rules, held against a charter. The stricter of the two wins.

Each rule is a line of `site.toml`. It says in a sentence how the charter meets it, or raises the error
that names the line which forbids it; `permit` wants all of them met, `verdicts` shows each.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from fedward_client.ledger import Limit
from fedward_client.settings import DatasetSettings, SiteSettings
from fedward_shared import base_models
from fedward_shared.agreement import Agreement
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import WITHOUT_DP
from fedward_shared.duplicates.charter import DuplicatesCharter
from fedward_shared.errors import (
    CharterError,
    DataError,
    FedwardError,
    ModelError,
    PrivacyError,
    StatementError,
)
from fedward_shared.exchange.charter import SessionCharter
from fedward_shared.identity import PublicKey
from fedward_shared.statistics.charter import StatisticsCharter
from fedward_shared.vertical.charter import VerticalCharter

HONEST = 2
"""At least so many of a cohort do not work together: of one alone, they would know the update."""


AnyCharter = TypeVar("AnyCharter", bound=Agreement, covariant=True)


@dataclass(frozen=True)
class Permission:
    """With which data the site may take part, within which limits."""

    dataset: DatasetSettings
    account: Limit
    study: Limit


@dataclass(frozen=True)
class Case(Generic[AnyCharter]):
    """A charter before the rules of the site that holds the key `own`."""

    charter: AnyCharter
    settings: SiteSettings
    own: PublicKey
    now: datetime

    def refuse(
        self, asked: str, line: str, kind: type[FedwardError] = CharterError
    ) -> FedwardError:
        """The error that says what the charter asks for, and which line of `site.toml` forbids it."""
        return kind(f"charter {self.charter.study}: {asked}, site.toml {line}")

    @property
    def dataset(self) -> DatasetSettings:
        """The dataset that the charter names. Raises DataError."""
        name = self.charter.dataset
        found = self.settings.datasets.get(name)
        if found is None:
            raise DataError(f"site.toml: datasets.{name}: there is none of that name")
        return found


@dataclass(frozen=True)
class Verdict:
    """What a rule made of a charter."""

    line: str
    allowed: bool
    text: str


def permit(charter: Agreement, settings: SiteSettings, own: PublicKey, now: datetime) -> Permission:
    """What `settings` allow the site with the key `own` for `charter`; touches no record.

    Raises CharterError, DataError, ModelError or PrivacyError with the line that forbids it.
    """
    case = Case(charter, settings, own, now)
    for _, rule in _rules(case):
        rule()
    dataset, epsilon = case.dataset, charter.epsilon
    unbounded = math.inf if epsilon is None else None
    return Permission(
        dataset=dataset,
        account=Limit(dataset.account, "site.toml", unbounded or dataset.epsilon, dataset.delta),
        study=Limit(charter.digest, "the charter", unbounded or epsilon or 0.0, charter.delta),
    )


def verdicts(
    charter: Agreement, settings: SiteSettings, own: PublicKey, now: datetime
) -> Iterator[Verdict]:
    """What each rule makes of `charter`, in the order in which `permit` asks them."""
    for line, rule in _rules(Case(charter, settings, own, now)):
        try:
            yield Verdict(line.format(charter.dataset), True, rule())
        except FedwardError as error:
            yield Verdict(line.format(charter.dataset), False, str(error))


def _rules(case: Case[Agreement]) -> Iterator[tuple[str, Callable[[], str]]]:
    """Those for every study, and those for studies of the charter's kind."""
    for line, rule in RULES:
        yield line, partial(rule, case)
    of_kind = OF_KIND.get(type(case.charter))
    if of_kind is None:
        raise CharterError(f"charter {case.charter.study}: of a kind that has no rules here")
    for line, rule in of_kind:
        yield line, partial(rule, case)


def check_revoked(charter: Agreement, settings: SiteSettings) -> None:
    """Raises StatementError if the coordinator signs with a key that the site has revoked."""
    if charter.coordinator.key in settings.revoked:
        raise StatementError(
            f"charter {charter.study}: {charter.coordinator.name} signs with {charter.coordinator.key}, "
            "site.toml: revoked: names that key"
        )


def _coordinator(case: Case[Agreement]) -> str:
    party = case.charter.coordinator
    pinned = case.settings.coordinators.get(party.name)
    if pinned is None:
        raise CharterError(
            f"charter {case.charter.study}: site.toml: coordinators: there is no {party.name}"
        )
    if pinned != party.key:
        raise case.refuse(f"coordinator.key is {party.key}", f"knows {party.name} by {pinned}")
    return f"{party.name} is known by that key"


def _revoked(case: Case[Agreement]) -> str:
    check_revoked(case.charter, case.settings)
    for peer in case.charter.participants:
        if peer.key in case.settings.revoked:
            raise case.refuse(f"participants: {peer.name} has the key {peer.key}", "has it revoked")
    return "no key in the charter is revoked"


def _own_key(case: Case[Agreement]) -> str:
    named = case.charter.participant(case.settings.name).key
    if named != case.own.text:
        raise CharterError(
            f"charter {case.charter.study}: participants: {case.settings.name} has the key {named}, "
            f"this site's is {case.own.text}"
        )
    return "the charter names this site by its key"


def _peers(case: Case[Agreement]) -> str:
    known = case.settings.peers
    if known is None:
        return "anybody may take part beside this site"
    for peer in case.charter.participants:
        if peer.name == case.settings.name:
            continue
        if peer.name not in known:
            raise case.refuse(
                f"participants: {peer.name} takes part", f"[peers] has no {peer.name}"
            )
        if known[peer.name] != peer.key:
            raise case.refuse(
                f"participants: {peer.name} has the key {peer.key}",
                f"peers.{peer.name} is {known[peer.name]}",
            )
    return "every other participant is known by its key"


def _expires(case: Case[Agreement]) -> str:
    case.charter.check_date(case.now)
    return f"the charter runs until {case.charter.expires}"


def _dataset(case: Case[Agreement]) -> str:
    return f"account {case.dataset.account}"


def _of_coordinator(case: Case[Agreement]) -> str:
    allowed, name = case.dataset.coordinators, case.charter.coordinator.name
    if allowed is not None and name not in allowed:
        raise case.refuse(
            f"the coordinator is {name}",
            f"allows datasets.{case.charter.dataset} to {', '.join(allowed) or 'none'}",
        )
    return f"{name} may ask for it"


def _use(case: Case[Agreement]) -> str:
    allowed, use = case.dataset.uses, case.charter.use
    if use not in allowed:
        raise case.refuse(
            f"use is {use}",
            f"allows datasets.{case.charter.dataset} for {', '.join(allowed) or 'none'}",
        )
    return f"{use} is allowed"


def _minimum_cohort(case: Case[Charter]) -> str:
    asked, wanted = case.charter.aggregation.minimum_cohort, case.settings.minimum_cohort
    if asked < wanted:
        raise case.refuse(f"aggregation.minimum_cohort is {asked}", f"asks for {wanted}")
    return f"{asked} sites or more in every sum, {wanted} are asked for"


def _collusion(case: Case[Charter]) -> str:
    masks = case.charter.secure_aggregation
    asked, colluding = case.charter.aggregation.minimum_cohort, case.settings.collusion
    if not colluding:
        return "nobody is supposed to work together with the coordinator"
    if asked < colluding + HONEST:
        raise case.refuse(
            f"aggregation.minimum_cohort is {asked}",
            f"says collusion = {colluding}, which asks for {colluding + HONEST}: those who know "
            f"{colluding} of the updates would know this site's",
        )
    if masks is not None and masks.colluding < colluding:
        raise case.refuse(
            f"secure_aggregation.colluding is {masks.colluding}",
            f"says collusion = {colluding}: the masks hold against no more than the charter says",
        )
    return f"{asked - colluding} sites or more remain beside {colluding} that work together"


def _secure_aggregation(case: Case[Charter]) -> str:
    if case.charter.secure_aggregation is not None:
        return (
            "masked: the coordinator sees sums of updates, of "
            f"{case.charter.aggregation.minimum_cohort} sites or more"
        )
    if case.settings.secure_aggregation == "required":
        raise case.refuse("updates are not masked", 'says secure_aggregation = "required"')
    return "not required: the coordinator sees this site's update by itself"


def _distributed_noise(case: Case[Charter]) -> str:
    charter, masks = case.charter, case.charter.secure_aggregation
    if masks is None or not charter.distributed_noise:
        return "the noise of this site is enough by itself"
    others = charter.aggregation.minimum_cohort - masks.colluding - 1
    if case.settings.distributed_noise != "accepted":
        raise case.refuse(
            'secure_aggregation.noise is "distributed"',
            f'says distributed_noise = "{case.settings.distributed_noise}": ε would hold only if '
            f"{others} of the other sites of a round add their share of the noise",
            PrivacyError,
        )
    return (
        f"ε holds only if {others} of the other sites of a round add their share of the noise and keep "
        "it to themselves"
    )


def _without_dp(case: Case[Agreement]) -> str:
    if isinstance(case.charter, DuplicatesCharter):
        return "nothing is trained"
    if case.charter.epsilon is not None:
        return "the charter trains with differential privacy"
    if case.settings.without_dp != WITHOUT_DP:
        raise PrivacyError(
            f"charter {case.charter.study} trains without differential privacy; site.toml does not say "
            f'without_dp = "{WITHOUT_DP}"'
        )
    return "WITHOUT differential privacy, as site.toml allows in so many words"


def _delta(case: Case[Agreement]) -> str:
    asked, allowed = case.charter.delta, case.dataset.delta
    if asked > allowed:
        raise case.refuse(f"privacy.delta is {asked:g}", f"allows {allowed:g}", PrivacyError)
    return f"δ = {asked:g}, {allowed:g} is allowed"


def _owner(case: Case[Agreement]) -> str:
    unit, column = case.charter.unit, case.dataset.owner
    if unit == "record":
        return "the charter protects records, not the people they are of"
    if column is None:
        raise case.refuse(
            f"privacy.unit is {unit}",
            f"names no datasets.{case.charter.dataset}.owner",
            PrivacyError,
        )
    return f"the charter protects each {unit}, by the column {column}"


def _path(case: Case[Agreement]) -> str:
    path = case.dataset.path
    if not path.is_file():
        raise DataError(f"{path}: no such file (datasets.{case.charter.dataset}.path)")
    return "the file is there"


def _objections(case: Case[Agreement]) -> str:
    listed = case.dataset.objections
    if listed is None:
        return "nobody's records are left out"
    if not listed.is_file():
        raise DataError(f"{listed}: no such file (datasets.{case.charter.dataset}.objections)")
    return f"who is on {listed.name} is left out"


def base_model(charter: Charter, settings: SiteSettings) -> Path:
    """The folder of the charter's base model. Raises ModelError if the site has none of that digest."""
    return _found(charter.base_model.digest, settings)


def compared(charter: SessionCharter, dataset: DatasetSettings) -> tuple[str, ...]:
    """The columns of `dataset`, which is permitted, by which records are compared with others'."""
    if isinstance(charter, DuplicatesCharter):
        return tuple(dataset.columns.get(role, role) for role in charter.duplicates.columns)
    return dataset.alignment.identifier if dataset.alignment else ()


def encoders(charter: SessionCharter, settings: SiteSettings) -> list[Path]:
    """The folders of the base models that read this site's texts, if any do. Raises ModelError as above,
    and CharterError for a site that does not take part."""
    site = charter.participant(settings.name).name
    if not isinstance(charter, VerticalCharter):
        return []
    digests = charter.vertical.table_of(site).encoders
    return [_found(digest, settings) for digest in digests]


def _found(digest: str, settings: SiteSettings) -> Path:
    try:
        return base_models.find(settings.base_models, digest)
    except ModelError as error:
        raise ModelError(f"site.toml: base_models: {error}") from error


def _base_model(case: Case[Charter]) -> str:
    return f"{base_model(case.charter, case.settings)} is there"


def _encoders(case: Case[VerticalCharter]) -> str:
    found = encoders(case.charter, case.settings)
    listed = ", ".join(str(folder) for folder in found)
    return f"{listed} is there for this site's texts" if found else "this site brings no texts"


def _alignment(case: Case[VerticalCharter]) -> str:
    charter, own = case.charter, case.dataset.alignment
    line = f"datasets.{charter.dataset}.alignment"
    if own is None:
        raise case.refuse("it aligns records with those of others", f"has no {line}")
    asked = charter.vertical.alignment
    if len(asked.rules) != len(own.identifier):
        raise case.refuse(
            f"vertical.alignment.rules has {len(asked.rules)} parts of an identifier",
            f"has {len(own.identifier)} columns for them: {line}.identifier",
        )
    if asked.most > own.most:
        raise case.refuse(
            f"vertical.alignment.most is {asked.most}",
            f"allows {own.most}: {line}.most; whoever shows more identifiers learns of more people "
            "whether they are here",
        )
    if asked.step < own.step:
        raise case.refuse(
            f"vertical.alignment.step is {asked.step}", f"asks for {own.step}: {line}.step"
        )
    peers = ", ".join(charter.peers(case.settings.name))
    return (
        f"NOT covered by ε: {peers} learns which of its records are here too, at most "
        f"{asked.most:,}, and how many are here, to the next {asked.step:,}"
    )


def _statistics(case: Case[StatisticsCharter]) -> str:
    charter, line = case.charter, f"datasets.{case.charter.dataset}.statistics"
    if case.dataset.statistics != "accepted":
        raise case.refuse("it asks for statistics", f'says {line} = "{case.dataset.statistics}"')
    return f"accepted: {charter.coordinator.name} sees this site's own counts, with their noise"


def _duplicates(case: Case[DuplicatesCharter]) -> str:
    charter, own = case.charter, case.dataset.duplicates
    line, asked = f"datasets.{charter.dataset}.duplicates", charter.duplicates
    if own is None:
        raise case.refuse("it looks for near-duplicates at other sites", f"has no {line}")
    for name, wanted, allowed in (
        ("most", asked.most, own.most),
        ("sessions", asked.sessions, own.sessions),
    ):
        if wanted > allowed:
            raise case.refuse(
                f"duplicates.{name} is {wanted}",
                f"allows {allowed}: {line}.{name}; whoever shows more documents learns of more texts "
                "whether they are here",
            )
    if asked.step < own.step:
        raise case.refuse(f"duplicates.step is {asked.step}", f"asks for {own.step}: {line}.step")
    peers = ", ".join(charter.peers(case.settings.name))
    return (
        f"NOT covered by ε: {peers} learn which of their documents are nearly one of this site's, of "
        f"{asked.most:,} at most in each of {asked.sessions:,} sessions, and how many are here, to the "
        f"next {asked.step:,}"
    )


Rules = tuple[tuple[str, Callable[[Case[AnyCharter]], str]], ...]

RULES: Rules[Agreement] = (
    ("coordinators", _coordinator),
    ("revoked", _revoked),
    ("key", _own_key),
    ("peers", _peers),
    ("expires (charter)", _expires),
    ("datasets.{}", _dataset),
    ("datasets.{}.coordinators", _of_coordinator),
    ("datasets.{}.uses", _use),
    ("without_dp", _without_dp),
    ("datasets.{}.delta", _delta),
    ("datasets.{}.path", _path),
    ("datasets.{}.objections", _objections),
)
"""The line of `site.toml`, with the dataset's name to fill in, and the rule behind it."""

HORIZONTAL: Rules[Charter] = (
    ("minimum_cohort", _minimum_cohort),
    ("collusion", _collusion),
    ("secure_aggregation", _secure_aggregation),
    ("distributed_noise", _distributed_noise),
    ("datasets.{}.owner", _owner),
    ("base_models", _base_model),
)
VERTICAL: Rules[VerticalCharter] = (
    ("datasets.{}.alignment", _alignment),
    ("base_models", _encoders),
)
STATISTICS: Rules[StatisticsCharter] = (
    ("datasets.{}.statistics", _statistics),
    ("datasets.{}.owner", _owner),
)
DUPLICATES: Rules[DuplicatesCharter] = (("datasets.{}.duplicates", _duplicates),)
OF_KIND: dict[type[Agreement], Rules[Any]] = {
    Charter: HORIZONTAL,
    VerticalCharter: VERTICAL,
    StatisticsCharter: STATISTICS,
    DuplicatesCharter: DUPLICATES,
}
"""Beside the rules for every study, those for the kind of its charter."""

"""What a charter asks for, in sentences for the people who decide, beside what the site's rules say."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from fedward_client import (
    policy,
    review_duplicates,
    review_rounds,
    review_sessions,
    review_statistics,
)
from fedward_client.ledger import held
from fedward_client.policy import Verdict
from fedward_client.site import Site
from fedward_shared.agreement import Agreement
from fedward_shared.charter import Charter
from fedward_shared.duplicates.charter import DuplicatesCharter
from fedward_shared.errors import FedwardError, PrivacyError
from fedward_shared.privacy import accountant
from fedward_shared.statistics.charter import StatisticsCharter
from fedward_shared.vertical.charter import VerticalCharter

ADVANTAGE = (
    "Whoever has the results can tell whether one given {unit} was in the data, and be right in at "
    "most {percent:.0f} % of cases where guessing has 50 %"
)

OF_KIND: Mapping[type[Agreement], Callable[[Any, str], list[tuple[str, str]]]] = {
    Charter: review_rounds.paragraphs,
    VerticalCharter: review_sessions.paragraphs,
    StatisticsCharter: review_statistics.paragraphs,
    DuplicatesCharter: review_duplicates.paragraphs,
}
"""What is said of a charter of each kind besides what is said of all."""


def show(charter: Agreement, site: Site, console: Console) -> None:
    """Prints `sentences` as a table, and under it what each of the site's rules makes of them."""
    table = Table(title=f"Charter {charter.study}", show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for title, text in sentences(charter, site):
        table.add_row(title, text)
    console.print(table)
    rules = Table(title="This site's rules", show_header=False, pad_edge=False)
    for style in ("bold", "", ""):
        rules.add_column(style=style, overflow="fold")
    for rule in verdicts(charter, site):
        rules.add_row(rule.line, "allowed" if rule.allowed else "NOT ALLOWED", rule.text)
    console.print(rules)
    console.print(verdict(charter, site), style="bold", soft_wrap=True)


def sentences(charter: Agreement, site: Site) -> list[tuple[str, str]]:
    """Title and text of each paragraph."""
    others = [party.name for party in charter.participants if party.name != site.name]
    return [
        ("Purpose", f"{charter.purpose} (use: {charter.use})"),
        ("Legal basis", charter.legal_basis),
        (
            "Coordinator",
            f"{charter.coordinator.name}, key {charter.coordinator.public_key.fingerprint}",
        ),
        ("With", ", ".join(others) or "nobody else"),
        ("Until", str(charter.expires)),
        ("Dataset", _dataset(charter, site)),
        *OF_KIND[type(charter)](charter, site.name),
        ("What it costs", _cost(charter, site)),
        ("Afterwards", _afterwards(charter)),
        ("Digest", charter.digest),
    ]


def verdicts(charter: Agreement, site: Site) -> list[Verdict]:
    """What each rule makes of the charter, and then what holds for each of its rounds."""
    found = list(policy.verdicts(charter, site.settings, site.key.public, site.clock()))
    window, limits = site.settings.window, site.settings.limits
    if window is not None:
        days = ", ".join(window.days)
        hours = f"a round begins from {window.begin} until {window.end} on {days}, or is refused"
        found.append(Verdict("window", True, hours))
    if limits.rounds_per_day is not None:
        most = f"at most {limits.rounds_per_day} rounds of all studies begin in 24 hours"
        found.append(Verdict("limits.rounds_per_day", True, most))
    if limits.memory_gib is not None:
        memory = (
            f"training has {limits.memory_gib:g} GiB; `fedward site rehearse` says what it takes"
        )
        found.append(Verdict("limits.memory_gib", True, memory))
    registered = site.ledger.registry.of(charter.dataset)
    if registered is not None:
        text = (
            f"{registered.records} records, account {registered.account}, on {registered.at[:10]}"
        )
        found.append(Verdict(f"datasets.{charter.dataset}, registered", True, text))
    return found


def verdict(charter: Agreement, site: Site) -> str:
    """Whether the site's rules allow the charter, and by which line they do not."""
    try:
        site.permit(charter)
    except FedwardError as error:
        return f"This site's rules do not allow it: {error}"
    decision = site.charters.decision(charter.digest)
    done = "" if decision is None else f" Decided before: {decision.choice}, {decision.at}."
    return f"This site's rules allow it.{done}"


def _dataset(charter: Agreement, site: Site) -> str:
    unit = charter.unit
    most = charter.privacy.records_per_unit if isinstance(charter, Charter) else None
    protected = f"one {unit} at a time is protected"
    if isinstance(charter, DuplicatesCharter):
        protected = "NOT protected: what is told is which of its records are there"
    text = f"{charter.dataset}, {protected}"
    if unit != "record":
        text += " with all their records; the dataset's owner column says whose each is"
    if most is not None:
        text += f". At most {most:,} records of one {unit} enter a round, drawn anew for each"
    for party in charter.participants:
        if party.name == site.name:
            text += f". Declared for this site: {party.records:,} {unit}s"
    return text


def _cost(charter: Agreement, site: Site) -> str:
    if charter.epsilon is None:
        return "No bound: this study trains WITHOUT differential privacy"
    events, delta = charter.events(site.name), charter.delta
    if isinstance(charter, DuplicatesCharter):
        return (
            f"No ε, as none covers it: {len(events)} sessions are set aside in the account of "
            f"{charter.dataset}, and each is booked there to be counted"
        )
    cost = accountant.epsilon(events, delta)
    text = f"ε = {cost:.3f} at δ = {delta:g} if all of it runs, at most ε = {charter.epsilon:g}"
    dataset = site.settings.datasets.get(charter.dataset)
    if dataset is None:
        return text
    done = site.ledger.studies(dataset.account)
    try:
        after = held({**done, charter.digest: events}, dataset.delta)
    except PrivacyError as error:
        return f"{text}. The account {dataset.account} cannot take it: {error}"
    return (
        f"{text}. The account {dataset.account} has spent ε = {held(done, dataset.delta):.3f} and "
        f"would then have spent {after:.3f} of {dataset.epsilon:g}. For a person known to two sites, "
        "theirs add up"
    )


def _afterwards(charter: Agreement) -> str:
    if charter.epsilon is None:
        return "Records may be recovered from what has left; nothing bounds that"
    if isinstance(charter, DuplicatesCharter):
        return (
            "What another site has learnt it keeps, whatever becomes of the record here; withdrawing "
            "stops what has not begun"
        )
    percent = 100 * (1 - (1 - charter.delta) / (1 + math.exp(min(charter.epsilon, 700.0))))
    return (
        ADVANTAGE.format(percent=percent, unit=charter.unit)
        + ". What has left cannot be called back; withdrawing stops what has not begun"
    )

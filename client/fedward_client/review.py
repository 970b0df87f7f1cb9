"""What a charter asks for, in sentences for the people who decide, beside what the site's rules say."""

import math

from rich.console import Console
from rich.table import Table

from fedward_client import policy
from fedward_client.ledger import held
from fedward_client.policy import Verdict
from fedward_client.site import Site
from fedward_shared.charter import Charter
from fedward_shared.errors import FedwardError, PrivacyError
from fedward_shared.privacy import accountant

ADVANTAGE = (
    "Whoever has the results can tell whether one given {unit} was in the data, and be right in at "
    "most {percent:.0f} % of cases where guessing has 50 %"
)


def show(charter: Charter, site: Site, console: Console) -> None:
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


def sentences(charter: Charter, site: Site) -> list[tuple[str, str]]:
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
        ("Until", f"{charter.expires}; {charter.training.rounds} rounds"),
        ("Dataset", _dataset(charter, site)),
        ("What runs", _what_runs(charter, site)),
        ("What leaves", _what_leaves(charter)),
        ("Who sees it", _who_sees_it(charter)),
        ("What it costs", _cost(charter, site)),
        ("Afterwards", _afterwards(charter)),
        ("Digest", charter.digest),
    ]


def verdicts(charter: Charter, site: Site) -> list[Verdict]:
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


def verdict(charter: Charter, site: Site) -> str:
    """Whether the site's rules allow the charter, and by which line they do not."""
    try:
        site.permit(charter)
    except FedwardError as error:
        return f"This site's rules do not allow it: {error}"
    decision = site.charters.decision(charter.digest)
    done = "" if decision is None else f" Decided before: {decision.choice}, {decision.at}."
    return f"This site's rules allow it.{done}"


def _dataset(charter: Charter, site: Site) -> str:
    unit, most = charter.privacy.unit, charter.privacy.records_per_unit
    text = f"{charter.dataset}, one {unit} at a time is protected"
    if unit != "record":
        text += " with all their records; the dataset's owner column says whose each is"
    if most is not None:
        text += f". At most {most:,} records of one {unit} enter a round, drawn anew for each"
    for party in charter.participants:
        if party.name == site.name:
            text += f". Declared for this site: {party.records:,} {unit}s"
    return text


def _what_runs(charter: Charter, site: Site) -> str:
    steps = charter.training.local_steps
    known = any(party.name == site.name for party in charter.participants)
    terms = charter.adapter_at(site.name) if known else charter.adapter
    place = f"layers {', '.join(map(str, terms.layers))}"
    match terms.method:
        case "head-only":
            what = "the classification head alone"
        case "prefix-tuning":
            what = f"{terms.rank} trained positions before the text, in {place}"
        case _:
            modules = ", ".join(terms.target_modules)
            what = f"adapters ({terms.method}, rank {terms.rank}) on {modules} of {place}"
    return (
        f"The packages installed here, and no code of the coordinator: {charter.task.kind} with {what}; "
        f"{steps} steps a round above the base model {charter.base_model.digest[:19]}…"
    )


def _noise(charter: Charter) -> str:
    privacy = charter.privacy
    if privacy.mechanism != "dp-sgd":
        return "WITHOUT NOISE"
    if charter.distributed_noise:
        return _shared_noise(charter)
    noise = (
        f"with Gaussian noise of {charter.plan(charter.participants[0].name).gradient_noise:g} × "
    )
    if privacy.adaptive is None:
        return f"{noise}the clipping norm {privacy.clipping_norm:g} in every step"
    return (
        f"{noise}the clipping norm in every step, which begins at {privacy.clipping_norm:g} and moves "
        f"by noisy counts of who is clipped; with these σ = {privacy.noise_multiplier:g} is booked"
    )


def _shared_noise(charter: Charter) -> str:
    masks, minimum = charter.secure_aggregation, charter.aggregation.minimum_cohort
    assert masks is not None
    others = minimum - masks.colluding - 1
    return (
        f"with this site's share of the noise: the sum of a round has Gaussian noise of "
        f"{charter.privacy.noise_multiplier:g} × the clipping norm {charter.privacy.clipping_norm:g} if "
        f"{others} of the other sites in it add their share and keep it to themselves; the ε below "
        "holds only then"
    )


def _what_leaves(charter: Charter) -> str:
    masked = ", under masks" if charter.secure_aggregation else ""
    return (
        f"Each round, to {charter.coordinator.name}: the change of the trained tensors "
        f"{_noise(charter)}{masked}, the ε spent, and this site's name. Or a fixed word, when the site "
        "refuses. No record, no count, no metric"
    )


def _who_sees_it(charter: Charter) -> str:
    masks, coordinator = charter.secure_aggregation, charter.coordinator.name
    if masks is None:
        return f"{coordinator} sees this site's change of the tensors by itself: it is not masked"
    minimum, others = charter.aggregation.minimum_cohort, len(charter.participants) - 1
    return (
        f"Masked: {coordinator} gets the sum over {minimum} sites or more and cannot see this site's "
        f"part, even if {masks.colluding} of the {others} others work together with it; of fewer sites "
        "it learns nothing. The keys of the masks are the sites' own, signed, and made for each round. "
        f"Numbers are rounded to {masks.precision} bits"
    )


def _cost(charter: Charter, site: Site) -> str:
    if charter.privacy.mechanism == "none":
        return "No bound: this study trains WITHOUT differential privacy"
    delta = charter.privacy.delta
    cost = accountant.epsilon(charter.schedule, delta)
    text = f"ε = {cost:.3f} at δ = {delta:g} if all rounds run, at most ε = {charter.privacy.epsilon:g}"
    dataset = site.settings.datasets.get(charter.dataset)
    if dataset is None:
        return text
    done = site.ledger.studies(dataset.account)
    try:
        after = held({**done, charter.digest: charter.schedule}, dataset.delta)
    except PrivacyError as error:
        return f"{text}. The account {dataset.account} cannot take it: {error}"
    return (
        f"{text}. The account {dataset.account} has spent ε = {held(done, dataset.delta):.3f} and "
        f"would then have spent {after:.3f} of {dataset.epsilon:g}. For a person known to two sites, "
        "theirs add up"
    )


def _afterwards(charter: Charter) -> str:
    if charter.privacy.mechanism == "none":
        return "Records may be recovered from what has left; nothing bounds that"
    epsilon = charter.privacy.epsilon or math.inf
    percent = 100 * (1 - (1 - charter.privacy.delta) / (1 + math.exp(min(epsilon, 700.0))))
    return (
        ADVANTAGE.format(percent=percent, unit=charter.privacy.unit)
        + ". What has left cannot be called back; withdrawing stops further rounds"
    )

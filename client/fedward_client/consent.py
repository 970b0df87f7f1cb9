"""What people at a site decide about a charter: approve, refuse, withdraw.

Where `site.toml` names people, an approval needs the assent of as many of them as it says, each with a
key of their own; the site signs when the last one has assented.
"""

from pathlib import Path

from fedward_client import charters
from fedward_client.site import Site
from fedward_shared.agreement import Agreement
from fedward_shared.assurances import Choice, Decision
from fedward_shared.errors import UsageError
from fedward_shared.identity import SigningKey


def approve(
    site: Site, source: Path, person: str | None = None, person_key: Path | None = None
) -> tuple[Agreement, Decision | None]:
    """Approves the charter in `source`, as `person` where several have to agree.

    The dataset is registered if it is not. The decision is None while others still have to. Raises
    FedwardError, with the line of the policy, for a charter that the site's rules do not allow.
    """
    charter = _permitted(site, source)
    site.register(charter.dataset)
    approval = site.settings.approval
    if not approval.people:
        if person is not None:
            raise UsageError("--person: site.toml: approval.people names nobody")
        return charter, decide(site, charter, "approve")
    keys = approval.keys
    if person is None or person not in keys or person_key is None:
        raise UsageError(
            f"--person and --person-key: {approval.required} of {', '.join(sorted(keys))} have to "
            "assent (site.toml: approval)"
        )
    own = SigningKey.load(person_key)
    if own.public != keys[person]:
        raise UsageError(
            f"--person-key: this is {own.public.text}, site.toml: approval.people.{person} is "
            f"{keys[person].text}"
        )
    site.charters.assent(charter.digest, person, own)
    given = site.charters.assents(charter.digest, keys)
    if len(given) < approval.required:
        return charter, None
    return charter, decide(site, charter, "approve", given)


def refuse(site: Site, source: Path) -> tuple[Agreement, Decision]:
    """Keeps and signs that the site will not take part."""
    charter = site.charters.keep(source)
    return charter, decide(site, charter, "refuse")


def withdraw(site: Site, digest: str) -> tuple[Agreement, Decision]:
    """From now on the site does not train for the charter any more. Raises CharterError."""
    charter, _ = site.charters.load(digest)
    return charter, decide(site, charter, "withdraw")


def decide(
    site: Site, charter: Agreement, choice: Choice, people: tuple[str, ...] = ()
) -> Decision:
    """Signs a decision, which the audit log has first. The same one twice is one."""
    decision = site.charters.next_decision(charter.digest, choice, people)
    if decision is None:
        last = site.charters.decision(charter.digest)
        assert last is not None
        return last
    if choice == "approve":
        _set_aside(site, charter)
    try:
        site.log(
            "decided",
            charter=charter.digest,
            study=charter.study,
            choice=choice,
            number=decision.number,
            people=list(people),
        )
        site.charters.decide(decision)
    finally:
        last = site.charters.decision(charter.digest)
        if last is None or last.choice != "approve":
            site.ledger.release(charter.digest)
    return decision


def _set_aside(site: Site, charter: Agreement) -> None:
    """Keeps the whole study's cost free. Raises BudgetExceeded if the account does not have it."""
    permission = site.permit(charter)
    site.ledger.set_aside(permission.account, charter.digest, charter.events(site.name))


def _permitted(site: Site, source: Path) -> Agreement:
    """Keeps the charter in `source`, if the policy has no objection to it."""
    charter, _ = charters.read(source)
    site.permit(charter)
    return site.charters.keep(source)

"""One page for a data-protection officer: what a study was, what left this site for it, and the proof.

Everything on it comes from the signed charter, the ledger and the audit log, which is verified first.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from fedward_client.ledger import shown
from fedward_client.masking import MASKED
from fedward_client.reconciliation import REGISTERED, RESERVED
from fedward_client.site import Site
from fedward_shared import audit, pages
from fedward_shared.agreement import Agreement
from fedward_shared.audit import Entry
from fedward_shared.errors import CharterError
from fedward_shared.privacy import accountant

PACKAGES = {"fedward-client": Path(__file__).parent, "fedward-shared": Path(audit.__file__).parent}


@dataclass(frozen=True)
class Departure:
    """An update that left: its round, when, its size and digest, and whether it was receipted."""

    round: int
    at: str
    bytes: int
    digest: str
    receipted: bool


@dataclass(frozen=True)
class Evidence:
    """What the page says. `decisions` are (when, what, by whom)."""

    site: str
    key: str
    charter: Agreement
    decisions: list[tuple[str, str, str]]
    departures: list[Departure]
    bookings: int
    epsilon: str
    searches: list[tuple[str, str, int]]
    """Of this site's own, for settings of the charter: digest, ε and bookings."""
    records: str
    account: str
    account_epsilon: str
    limit: str
    verification: str
    versions: list[tuple[str, str]]
    others: int
    """Entries of the log about other studies, which are not shown."""


def gather(site: Site, digest: str) -> Evidence:
    """The evidence for the charter with this digest. Raises CharterError or AuditError."""
    charter, _ = site.charters.read(digest)
    entries = list(audit.read(site.audit.path, site.key.public))
    own = [entry for entry in entries if _is_about(entry, charter)]
    dataset = site.settings.datasets.get(charter.dataset)
    if dataset is None:
        raise CharterError(f"site.toml: datasets.{charter.dataset}: there is none of that name")
    spent = site.ledger.studies(dataset.account).get(digest, [])
    total = site.ledger.spending(dataset.account)
    witness = "held against its witness" if site.witness else "no witness is set"
    return Evidence(
        site=site.name,
        key=site.key.public.text,
        charter=charter,
        decisions=[_decision(entry) for entry in own if entry.event == "decided"],
        departures=_departures(own),
        bookings=sum(_booked(entry) == digest for entry in own),
        epsilon=shown(accountant.epsilon(spent, dataset.delta)),
        searches=_searches(site, charter, own),
        records=_records(own),
        account=dataset.account,
        account_epsilon=shown(total.epsilon),
        limit=f"{dataset.epsilon:g} at δ = {dataset.delta:g}",
        verification=f"{len(entries)} entries, every signature and the chain are right; {witness}",
        versions=[(name, _version(name, folder)) for name, folder in PACKAGES.items()],
        others=len(entries) - len(own),
    )


def render(evidence: Evidence) -> str:
    """The page, one file that asks nothing of a network."""
    environment = pages.environment(Path(__file__).parent)
    return environment.get_template("evidence.html.j2").render(e=evidence, c=evidence.charter)


def _is_about(entry: Entry, charter: Agreement) -> bool:
    booking, registration = entry.details.get("booking"), entry.details.get("registration")
    if isinstance(registration, dict):
        return bool(registration.get("dataset") == charter.dataset)
    if isinstance(booking, dict) and booking.get("charter") == charter.digest:
        return True
    return bool(entry.details.get("charter") == charter.digest)


def _searches(site: Site, charter: Agreement, own: Sequence[Entry]) -> list[tuple[str, str, int]]:
    """Those whose bookings say that they were for the charter."""
    dataset = site.settings.datasets[charter.dataset]
    studies = site.ledger.studies(dataset.account)
    found = dict.fromkeys(_booked(entry) for entry in own if entry.event == RESERVED)
    return [
        (study, shown(accountant.epsilon(studies[study], dataset.delta)), len(studies[study]))
        for study in found
        if study != charter.digest and study in studies
    ]


def _booked(entry: Entry) -> str:
    """The digest of what an entry has announced a booking of; empty for any other entry."""
    return str(entry.details["booking"]["charter"]) if entry.event == RESERVED else ""


def _records(entries: Sequence[Entry]) -> str:
    """Each version of the dataset that was registered."""
    found = [e.details["registration"] for e in entries if e.event == REGISTERED]
    return "; ".join(f"{r['records']} on {str(r['at'])[:10]} ({r['file']})" for r in found) or "–"


def _decision(entry: Entry) -> tuple[str, str, str]:
    people = entry.details.get("people") or []
    return entry.at, str(entry.details["choice"]), ", ".join(map(str, people)) or "–"


def _departures(entries: Sequence[Entry]) -> list[Departure]:
    receipted = {e.details["update"] for e in entries if e.event == "received"}
    return [
        Departure(
            round=int(e.details["round"]),
            at=e.at,
            bytes=int(e.details["bytes"]),
            digest=digest,
            receipted=digest in receipted,
        )
        for e in entries
        if (digest := _departed(e))
    ]


def _departed(entry: Entry) -> str:
    """The digest of the update that left, as it was or masked; empty for any other entry."""
    name = {"cleared": "update", MASKED: "answer"}.get(entry.event)
    return str(entry.details[name]) if name else ""


def _version(name: str, folder: Path) -> str:
    """Version and a digest over the files: two sites that show the same one run the same code."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return f"{version(name)}, sha256:{digest.hexdigest()}"

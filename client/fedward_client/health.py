"""What the daemon shows of itself on loopback: `/healthz` for people and monitors, `/metrics`.

`/metrics` is in Prometheus's format: ε spent and left of each account, bookings, refusals, last contact,
bytes through the gate. Nothing of it depends on a record.
"""

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fedward_client import memberships
from fedward_client import settings as site_settings
from fedward_client.gate.proxy import Contact
from fedward_client.ledger import now
from fedward_client.serving import LOOPBACK
from fedward_client.settings import SiteSettings
from fedward_client.site import Site
from fedward_client.supervision import Supervised
from fedward_shared.errors import FedwardError
from fedward_shared.files import write_atomically

SILENCE_SECONDS = 180.0
"""A SuperNode asks every few seconds: after so long without an answer something is wrong."""

EXPIRES_SOON = timedelta(days=14)
"""A certificate is renewed when a month is left: with less than this, renewing keeps failing."""


class Health:
    """The state of a running daemon; it opens the site anew for each look."""

    def __init__(
        self,
        path: Path,
        contacts: Mapping[str, Contact],
        worker: Supervised | None,
        registry: CollectorRegistry,
    ) -> None:
        self._path = path
        self._settings = site_settings.load(path)
        self._contacts = contacts
        self._worker = worker
        self._registry = registry
        self._started = time.time()
        registry.register(_SiteCollector(path, contacts))
        self.address = ""

    def open(self) -> socket.socket:
        """The socket that the server is to serve; its address is written into the runtime folder."""
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((LOOPBACK, self._settings.metrics_port))
        self.address = f"{LOOPBACK}:{made.getsockname()[1]}"
        content = json.dumps({"health": self.address, "started": int(self._started)})
        write_atomically(self._settings.health_address, content.encode())
        return made

    def close(self) -> None:
        """Nobody is to be asked any more."""
        self._settings.health_address.unlink(missing_ok=True)

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[Route("/healthz", self._healthz), Route("/metrics", self._metrics)]
        )

    def _healthz(self, _request: Request) -> JSONResponse:
        state = self.state()
        return JSONResponse(state, 503 if state["problems"] else 200)

    def _metrics(self, _request: Request) -> Response:
        return Response(generate_latest(self._registry), media_type="text/plain; version=0.0.4")

    def state(self) -> dict[str, Any]:
        """What `fedward site status` shows: problems first, none of them being good."""
        problems = [*self._of_the_site(), *self._of_contacts(), *self._of_certificates()]
        if self._worker is not None and not self._worker.running:
            problems.append("the worker is not running; the daemon starts it again")
        return {
            "site": self._settings.name,
            "started": int(self._started),
            "problems": problems,
            "coordinators": {
                name: {"last_contact": int(contact.last)}
                for name, contact in self._contacts.items()
            },
        }

    def _of_the_site(self) -> Iterator[str]:
        try:
            with closing(Site.open(self._path)):
                return
        except FedwardError as error:
            yield str(error)

    def _of_contacts(self) -> Iterator[str]:
        for name, contact in self._contacts.items():
            silent = time.time() - max(contact.last, self._started)
            if contact.problem:
                yield f"{name}: {contact.problem}"
            elif silent > SILENCE_SECONDS:
                yield f"{name}: no answer for {silent:.0f} s"
            if contact.refused_bundle:
                yield f"{name}: {contact.refused_bundle}"

    def _of_certificates(self) -> Iterator[str]:
        try:
            for name, end in _expiries(self._settings):
                if end - now() < EXPIRES_SOON:
                    yield (
                        f"{name}: the certificate ends on {end:%Y-%m-%d} and could not be renewed; "
                        "`fedward site renew` says why"
                    )
        except FedwardError as error:
            yield str(error)


def _expiries(settings: SiteSettings) -> Iterator[tuple[str, datetime]]:
    """When the certificate for each coordinator ends. Raises StateError or StatementError."""
    for membership in memberships.all_of(settings):
        yield membership.coordinator, membership.current.not_valid_after_utc


class _SiteCollector(Collector):
    """Reads ledger and log when Prometheus asks."""

    def __init__(self, path: Path, contacts: Mapping[str, Contact]) -> None:
        self._path = path
        self._contacts = contacts

    def collect(self) -> Iterator[Metric]:
        """The metrics; of the site itself none while it cannot be opened."""
        last = GaugeMetricFamily(
            "fedward_last_contact_seconds",
            "When the coordinator last answered",
            labels=["coordinator"],
        )
        for name, contact in self._contacts.items():
            last.add_metric([name], contact.last)
        yield last
        ends = GaugeMetricFamily(
            "fedward_certificate_end_seconds",
            "When the certificate for the coordinator ends",
            labels=["coordinator"],
        )
        with suppress(FedwardError):  # `/healthz` has the reason
            for name, end in _expiries(site_settings.load(self._path)):
                ends.add_metric([name], end.timestamp())
        yield ends
        up = GaugeMetricFamily("fedward_site_up", "1 if ledger and audit log can be used")
        try:
            with closing(Site.open(self._path)) as site:
                yield from _of_ledger(site)
                up.add_metric([], 1.0)
        except FedwardError:
            up.add_metric([], 0.0)
        yield up


def _of_ledger(site: Site) -> Iterator[Metric]:
    spent = GaugeMetricFamily("fedward_epsilon_spent", "ε spent", labels=["account"])
    held = GaugeMetricFamily("fedward_epsilon_held", "ε against the limit", labels=["account"])
    allowed = GaugeMetricFamily("fedward_epsilon_allowed", "ε allowed", labels=["account"])
    bookings = GaugeMetricFamily("fedward_bookings", "Rounds booked", labels=["account"])
    unanswered = GaugeMetricFamily(
        "fedward_bookings_open", "Rounds booked that gave no update", labels=["account"]
    )
    for account, dataset in {d.account: d for d in site.settings.datasets.values()}.items():
        spending = site.ledger.spending(account)
        for family, value in (
            (spent, spending.epsilon),
            (held, spending.held),
            (allowed, dataset.epsilon),
            (bookings, spending.bookings),
            (unanswered, spending.open_bookings),
        ):
            family.add_metric([account], value)
    yield from (spent, held, allowed, bookings, unanswered)
    refusals = GaugeMetricFamily("fedward_refusals", "Refusals in the audit log", labels=["code"])
    counts = Counter(e.details["code"] for e in site.audit.entries if e.event == "refused")
    for code, count in counts.items():
        refusals.add_metric([code], count)
    yield refusals

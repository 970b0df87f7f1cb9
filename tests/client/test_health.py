"""What a daemon shows of itself, and that the reference names all of it."""

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from client.gate.outside import write_membership
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from fedward_client import health, memberships
from fedward_client import settings as site_settings
from fedward_client.gate.proxy import Contact, Counters
from fedward_client.health import Health
from fedward_client.site import LEDGER_FILE, Site
from fedward_server.observer import Observer
from fedward_simulations.consortium import Consortium, Recipe, World

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


@pytest.fixture
def settings(world: World, recipe: Recipe) -> Path:
    """A site that has approved a study, refused something and is enrolled."""
    _, [settings, *_] = Consortium(world, Observer()).prepare("study", recipe, 8.0)
    with closing(Site.open(settings)) as site:
        site.log("refused", code="data")
    folder = memberships.folder(site_settings.load(settings))
    folder.mkdir(parents=True)
    membership = write_membership(folder / "university")
    membership.node_key.write_text("")
    details = {"coordinator": "university", "address": "c.test:443", "key": "ed25519:" + "0" * 64}
    (folder / "university" / "membership.json").write_text(
        str({**details, "site": "north"}).replace("'", '"')
    )
    return settings


@pytest.fixture
def shown(settings: Path) -> tuple[Health, TestClient, Contact]:
    registry = CollectorRegistry()
    counters = Counters(registry)
    for counter in (counters.passed, counters.refused):
        counter.labels("university", "get-fab").inc()
    for counter in (counters.bytes_in, counters.bytes_out):
        counter.labels("university").inc(7)
    contact = Contact()
    made = Health(settings, {"university": contact}, None, registry)
    return made, TestClient(made.app()), contact


Shown = tuple[Health, TestClient, Contact]


def section() -> str:
    """What the reference says of a site."""
    [found] = re.findall(
        r"^## A site\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return str(found)


def test_the_reference_names_every_metric_with_kind_and_labels(shown: Shown) -> None:
    told = {}
    for family in text_string_to_metric_families(shown[1].get("/metrics").text):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                told[sample.name] = (family.type, ", ".join(sample.labels))
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*) ?\|", section(), re.MULTILINE)
    assert {name: (kind, labels.strip()) for name, kind, labels in rows} == told


def test_the_alarms_name_metrics(shown: Shown) -> None:
    text = section()
    [block] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    [group] = yaml.safe_load(block)["groups"]
    named = {name for rule in group["rules"] for name in re.findall(r"fedward_\w+", rule["expr"])}
    assert len(group["rules"]) == 4
    assert all(f"| `{name}` |" in text for name in named)


def test_nothing_is_told_of_a_ledger_that_is_gone(shown: Shown, settings: Path) -> None:
    (settings.parent / "state" / LEDGER_FILE).unlink()
    text = shown[1].get("/metrics").text
    assert "fedward_site_up 0.0" in text
    assert "fedward_epsilon" not in text
    answer = shown[1].get("/healthz")
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert "the ledger is gone" in answer.json()["problems"][0]


def test_each_problem_of_a_connection_is_told(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, settings: Path
) -> None:
    made, client, contact = shown
    contact.last = made._started
    monkeypatch.setattr(health, "EXPIRES_SOON", timedelta())
    assert client.get("/healthz").status_code == httpx.codes.OK
    assert client.get("/healthz").json()["problems"] == []
    contact.problem = "c.test:443: connection refused"
    contact.refused_bundle = "the bundle is refused"
    assert client.get("/healthz").json()["problems"] == [
        "university: c.test:443: connection refused",
        "university: the bundle is refused",
    ]
    contact.problem = contact.refused_bundle = ""
    made._started = contact.last = made._started - health.SILENCE_SECONDS - 5
    [problem] = client.get("/healthz").json()["problems"]
    assert re.fullmatch(r"university: no answer for 18\d s", problem)


def test_a_certificate_that_is_not_renewed_is_told_in_time(shown: Shown) -> None:
    """That of the fixture has a day left, and should have been renewed long since."""
    shown[2].last = shown[0]._started
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert shown[1].get("/healthz").json()["problems"] == [
        f"university: the certificate ends on {tomorrow:%Y-%m-%d} and could not be renewed; "
        "`fedward site renew` says why"
    ]

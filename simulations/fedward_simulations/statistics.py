"""Statistics of sites on one machine: their folders, their approval, the survey as it is deployed."""

import hashlib
from collections.abc import Mapping
from contextlib import closing
from datetime import date
from pathlib import Path

import tomli_w

from fedward_client import consent
from fedward_client.settings import SETTINGS_FILE
from fedward_client.site import Site
from fedward_server.observer import Observer
from fedward_server.statistics.studies import StatisticsStudy
from fedward_server.studies import STUDY_FILE
from fedward_shared import records
from fedward_shared.charter_terms import Participant, Party
from fedward_shared.files import write_atomically
from fedward_shared.identity import SigningKey
from fedward_shared.statistics import charter as charters
from fedward_shared.statistics.charter import StatisticsCharter
from fedward_shared.statistics.terms import StatisticsTerms
from fedward_shared.tasks.base import Columns
from fedward_simulations import federation
from fedward_simulations.consortium import (
    COORDINATOR,
    COORDINATOR_KEY_FILE,
    DATASET,
    KEY_FILE,
    OWNER,
    RECORDS_FILE,
    units,
)

STUDY = "statistics"


def prepare(
    folder: Path, holders: Mapping[str, Columns], terms: StatisticsTerms, purpose: str, seed: int
) -> tuple[Path, list[Path]]:
    """The coordinator's folder, and the settings of its sites, which have approved."""
    coordinator = folder / COORDINATOR
    charter = StatisticsCharter(
        study=STUDY,
        purpose=purpose,
        legal_basis="None is needed: a simulation on one machine",
        expires=date.max,
        coordinator=Party(name=COORDINATOR, key=_key(seed, COORDINATOR).public.text),
        dataset=DATASET,
        participants=tuple(
            Participant(
                name=site, records=units(columns, terms.unit), key=_key(seed, site).public.text
            )
            for site, columns in holders.items()
        ),
        statistics=terms,
    )
    charters.save(coordinator, charter, _key(seed, COORDINATOR))
    _key(seed, COORDINATOR).save(coordinator / COORDINATOR_KEY_FILE)
    settings = {"key": COORDINATOR_KEY_FILE, "poll_seconds": 0.01, "gather_seconds": 60.0}
    write_atomically(coordinator / STUDY_FILE, tomli_w.dumps(settings).encode())
    paths = [_site(folder / "sites" / n, n, columns, terms, seed) for n, columns in holders.items()]
    for path in paths:
        with closing(Site.open(path)) as site:
            consent.approve(site, coordinator)
    return coordinator, paths


def run(
    folder: Path, holders: Mapping[str, Columns], terms: StatisticsTerms, purpose: str, seed: int
) -> StatisticsStudy:
    """The study after all sites of `holders` have answered. Raises what its ServerApp raises."""
    coordinator, paths = prepare(folder, holders, terms, purpose, seed)
    federation.run(coordinator, paths, seed, Observer(), "in-process")
    study = StatisticsStudy(coordinator)
    study.read()
    return study


def _site(folder: Path, name: str, columns: Columns, terms: StatisticsTerms, seed: int) -> Path:
    records.write_jsonl(folder / RECORDS_FILE, columns)
    _key(seed, name).save(folder / KEY_FILE)
    dataset = {
        "path": RECORDS_FILE,
        "account": DATASET,
        "epsilon": terms.epsilon,
        "delta": terms.delta,
        "statistics": "accepted",
        **({} if terms.unit == "record" else {"owner": OWNER}),
    }
    settings = {
        "name": name,
        "key": KEY_FILE,
        "coordinators": {COORDINATOR: _key(seed, COORDINATOR).public.text},
        "base_models": [],
        "datasets": {DATASET: dataset},
    }
    write_atomically(folder / SETTINGS_FILE, tomli_w.dumps(settings).encode())
    return folder / SETTINGS_FILE


def _key(seed: int, name: str) -> SigningKey:
    return SigningKey.from_seed(
        hashlib.sha256(f"fedward simulation {seed} {name}".encode()).digest()
    )

"""The consortium that is struck: three small hospitals; made once, then copied for each run."""

import hashlib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import tomli_w

from fedward_client import consent
from fedward_client import settings as site_settings
from fedward_client.settings import SETTINGS_FILE
from fedward_client.site import Site
from fedward_server.drafting import initial_tensors
from fedward_server.studies import STUDY_FILE, StartSettings
from fedward_shared import base_models, records, tensors
from fedward_shared import charter as charters
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import (
    AdapterTerms,
    AggregationTerms,
    BaseModelTerms,
    Participant,
    Party,
    PrivacyTerms,
    SecureAggregationTerms,
    TaskTerms,
    TrainingTerms,
)
from fedward_shared.files import write_atomically
from fedward_shared.identity import SigningKey
from fedward_shared.privacy import accountant
from fedward_simulations.data.base_models import tiny_bert
from fedward_simulations.faults.operations import (
    BOUND,
    COORDINATOR,
    MINIMUM_COHORTS,
    ROUNDS,
    SITES,
)

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
EXPIRES = START + timedelta(days=30)
DEADLINE_SECONDS = 600.0
LOCAL_STEPS = 2
SAMPLING_RATE = 0.5
EPSILON = 8.0
DELTA = 1e-5
PAID_ROUNDS = ROUNDS + 2
"""How many rounds the ε pays for: a site may lose two that it has booked."""

ACCOUNT = "patients"
RECORDS = 12
KEY_FILE = "site.key"
RECORDS_FILE = "records.jsonl"
TEXTS = {"bone": "fracture of the left femur", "heart": "acute infarction of the heart"}
LABELS = tuple(TEXTS)


def study_folder(consortium: Path) -> Path:
    """Where the coordinator keeps its study."""
    return consortium / COORDINATOR


def site_folder(consortium: Path, site: str) -> Path:
    """Where a site's settings, key, records and state lie."""
    return consortium / "sites" / site


def site_file(consortium: Path, site: str) -> Path:
    """The `site.toml` of a site."""
    return site_folder(consortium, site) / SETTINGS_FILE


def witness_folder(consortium: Path, site: str) -> Path:
    """The second place, where the witness of a site's log lies."""
    return consortium / "elsewhere" / site


def key_of(party: str) -> SigningKey:
    """The key of a party, the same in every campaign."""
    return SigningKey.from_seed(hashlib.sha256(f"fedward faults {party}".encode()).digest())


Templates = dict[tuple[int, bool], Path]
"""By minimum cohort, and whether it is masked."""


def make_all(folder: Path) -> Templates:
    """One of each kind."""
    return {
        (minimum, masked): make(folder, minimum, masked)
        for minimum in MINIMUM_COHORTS
        for masked in (False, True)
    }


def make(folder: Path, minimum_cohort: int, masked: bool = False) -> Path:
    """A study that every site has approved, below `folder`, ready to be copied and run.

    A round needs `minimum_cohort` of the three sites; its updates are `masked` or not.
    """
    model = folder / "model"
    if not model.exists():
        tiny_bert(model, 0, TEXTS.values())
    consortium = folder / f"consortium-{minimum_cohort}{'-masked' if masked else ''}"
    task = TaskTerms(kind="text-classification", labels=LABELS, max_tokens=16)
    adapter = AdapterTerms(method="head-only")
    initial = initial_tensors(model, task, adapter, StartSettings(), None)
    charter = _charter(
        base_models.digest(model), task, adapter, tensors.digest(initial), minimum_cohort, masked
    )
    study = study_folder(consortium)
    charters.save(study, charter, initial, key_of(COORDINATOR))
    key_of(COORDINATOR).save(study / "coordinator.key")
    settings = {"base_model": str(model.resolve()), "poll_seconds": 1.0, "gather_seconds": 60.0}
    write_atomically(study / STUDY_FILE, tomli_w.dumps(settings).encode())
    for number, site in enumerate(SITES):
        _write_site(consortium, site, number, model)
        opened = Site(site_settings.load(site_file(consortium, site)), lambda: START)
        with closing(opened):
            consent.approve(opened, study)
    return consortium


def _charter(
    base_model: str,
    task: TaskTerms,
    adapter: AdapterTerms,
    initial: str,
    minimum_cohort: int,
    masked: bool,
) -> Charter:
    noise = accountant.noise_for(SAMPLING_RATE, PAID_ROUNDS * LOCAL_STEPS, EPSILON, DELTA)
    return Charter(
        study="faults",
        purpose="See what breaks",
        legal_basis="None is needed: a simulation on one machine",
        expires=EXPIRES.date(),
        coordinator=Party(name=COORDINATOR, key=key_of(COORDINATOR).public.text),
        dataset="records",
        base_model=BaseModelTerms(digest=base_model),
        initial=initial,
        task=task,
        adapter=adapter,
        privacy=PrivacyTerms(
            epsilon=EPSILON, delta=DELTA, noise_multiplier=noise, sampling_rate=SAMPLING_RATE
        ),
        training=TrainingTerms(rounds=ROUNDS, local_steps=LOCAL_STEPS, learning_rate=0.5),
        aggregation=AggregationTerms(
            minimum_cohort=minimum_cohort, round_deadline_seconds=DEADLINE_SECONDS
        ),
        secure_aggregation=SecureAggregationTerms(colluding=0, bound=BOUND) if masked else None,
        participants=tuple(
            Participant(name=site, records=RECORDS, key=key_of(site).public.text) for site in SITES
        ),
    )


def _write_site(consortium: Path, site: str, number: int, model: Path) -> None:
    folder = site_folder(consortium, site)
    labels = [LABELS[i % len(LABELS)] for i in range(RECORDS)]
    texts = [f"{TEXTS[label]} {number * RECORDS + i}" for i, label in enumerate(labels)]
    records.write_jsonl(folder / RECORDS_FILE, {"text": texts, "label": labels})
    key_of(site).save(folder / KEY_FILE)
    dataset = {"path": RECORDS_FILE, "account": ACCOUNT, "epsilon": EPSILON, "delta": DELTA}
    settings = {
        "name": site,
        "coordinators": {COORDINATOR: key_of(COORDINATOR).public.text},
        "base_models": [str(model.resolve())],
        "minimum_cohort": min(MINIMUM_COHORTS),
        "keep_prepared": False,
        "witness": f"../../elsewhere/{site}/witness.json",
        "datasets": {"records": dataset},
    }
    write_atomically(site_file(consortium, site), tomli_w.dumps(settings).encode())

"""What people decide: signed, logged first, by as many of them as the site wants."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from conftest import COORDINATOR, LABELS, adapter_terms, key_of, small_charter, texts
from rich.console import Console

from fedward_client import consent, review
from fedward_client.ledger import Limit
from fedward_client.reconciliation import RESERVED
from fedward_client.site import Site
from fedward_shared import audit, base_models, canonical, records, tensors
from fedward_shared import charter as charters
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import (
    WITHOUT_DP,
    AdaptiveClippingTerms,
    BaseModelTerms,
    PrivacyTerms,
    SecureAggregationTerms,
    TaskKind,
    TaskTerms,
    TrainingTerms,
)
from fedward_shared.errors import (
    BudgetExceeded,
    CharterError,
    DataError,
    NotNow,
    PrivacyError,
    StatementError,
    UsageError,
)
from fedward_shared.names import METHODS
from fedward_shared.privacy import accountant

INITIAL = {"head.weight": torch.zeros(2, 3)}


@pytest.fixture
def terms(tiny_bert_folder: Path) -> Charter:
    return small_charter(
        tensors.digest(INITIAL),
        study="diagnoses",
        base_model=BaseModelTerms(digest=base_models.digest(tiny_bert_folder)),
        privacy=PrivacyTerms(epsilon=2.0, noise_multiplier=4.0, sampling_rate=0.1),
        training=TrainingTerms(rounds=2, local_steps=2, learning_rate=0.5),
    )


@pytest.fixture
def source(tmp_path: Path, terms: Charter) -> Path:
    charters.save(tmp_path / "sent", terms, INITIAL, COORDINATOR)
    return tmp_path / "sent"


@pytest.fixture
def content(tiny_bert_folder: Path) -> dict[str, Any]:
    return {
        "name": "north",
        "coordinators": {"university": COORDINATOR.public.text},
        "base_models": [str(tiny_bert_folder)],
        "minimum_cohort": 1,
        "datasets": {"records": {"path": "records.jsonl", "account": "people", "epsilon": 3.0}},
    }


def opened(folder: Path, content: dict[str, Any]) -> Site:
    if not (folder / "site.key").exists():
        key_of("north").save(folder / "site.key")
        records.write_jsonl(folder / "records.jsonl", texts(10))
    (folder / "site.toml").write_text(tomli_w.dumps(content), "utf-8")
    return Site.open(folder / "site.toml")


@pytest.fixture
def site(tmp_path: Path, content: dict[str, Any]) -> Iterator[Site]:
    site = opened(tmp_path / "site", content)
    yield site
    site.close()


def logged(site: Site) -> list[tuple[str, Any]]:
    path = site.settings.state / "audit.jsonl"
    entries = audit.read(path, key_of("north").public)
    return [(e.event, e.details.get("choice")) for e in entries]


def test_an_approval_a_withdrawal_and_a_new_approval(site: Site, source: Path) -> None:
    charter, decision = consent.approve(site, source)
    assert decision is not None
    assert (decision.choice, decision.number) == ("approve", 1)
    assert consent.approve(site, source)[1] == decision
    consent.withdraw(site, charter.digest)
    with pytest.raises(CharterError, match="chose to withdraw"):
        consent.withdraw(site, charter.digest)
    consent.approve(site, source)
    decided = [("decided", c) for c in ("approve", "withdraw", "approve")]
    assert logged(site) == [("registered", None), *decided]
    assert site.charters.load(charter.digest)[0] == charter


def test_a_refusal_is_signed_and_what_the_rules_forbid_can_be_refused(
    tmp_path: Path, content: dict[str, Any], source: Path
) -> None:
    content["datasets"]["records"]["uses"] = ["quality"]
    site = opened(tmp_path / "strict", content)
    with pytest.raises(CharterError, match="use is research"):
        consent.approve(site, source)
    assert site.charters.known == []
    _, decision = consent.refuse(site, source)
    assert decision.choice == "refuse"
    assert logged(site) == [("decided", "refuse")]
    site.close()


def test_an_approval_sets_the_whole_study_aside_and_a_withdrawal_frees_it(
    site: Site, source: Path
) -> None:
    charter, _ = consent.approve(site, source)
    event = charter.plan("north").event
    plenty = Limit("people", "site.toml", 1000.0, 1e-5)
    for_all = accountant.epsilon(charter.schedule, 1e-5)
    just_short = Limit("people", "site.toml", for_all * 1.01, 1e-5)
    with pytest.raises(BudgetExceeded):
        site.ledger.set_aside(just_short, "another", [event] * 1)
    consent.withdraw(site, charter.digest)
    site.ledger.set_aside(just_short, "another", [event] * 1)
    site.ledger.release("another")
    site.ledger.set_aside(plenty, "another", [event] * 3000)
    with pytest.raises(BudgetExceeded, match="with all rounds of this study"):
        consent.approve(site, source)
    last = site.charters.decision(charter.digest)
    assert last is not None
    assert last.choice == "withdraw"


def test_a_decision_that_cannot_be_logged_is_not_made(
    site: Site, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(site.audit, "append", full)
    with pytest.raises(OSError, match="disk full"):
        consent.approve(site, source)
    digest = site.charters.known[0]
    assert site.charters.decision(digest) is None
    assert site.ledger.spending("people").set_aside == 0


@pytest.fixture
def people(tmp_path: Path, content: dict[str, Any]) -> Iterator[Site]:
    """A site where two of three have to assent."""
    names = ("anna", "ben", "cleo")
    for name in names:
        key_of(name).save(tmp_path / f"{name}.key")
    content["approval"] = {
        "people": {name: key_of(name).public.text for name in names},
        "required": 2,
    }
    site = opened(tmp_path / "several", content)
    yield site
    site.close()


def test_two_people_have_to_assent(people: Site, source: Path, tmp_path: Path) -> None:
    charter, decision = consent.approve(people, source, "anna", tmp_path / "anna.key")
    assert decision is None
    with pytest.raises(CharterError, match="no decision was made"):
        people.charters.load(charter.digest)
    assert consent.approve(people, source, "anna", tmp_path / "anna.key")[1] is None
    _, decision = consent.approve(people, source, "cleo", tmp_path / "cleo.key")
    assert decision is not None
    assert decision.people == ("anna", "cleo")
    assert logged(people) == [("registered", None), ("decided", "approve")]


@pytest.mark.parametrize(
    ("person", "key", "said"),
    [
        (None, None, "2 of anna, ben, cleo have to assent"),
        ("dora", "anna.key", "have to assent"),
        ("anna", None, "have to assent"),
        ("anna", "ben.key", r"approval\.people\.anna is ed25519:"),
    ],
)
def test_nobody_assents_for_another(
    people: Site, source: Path, tmp_path: Path, person: str, key: str | None, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        consent.approve(people, source, person, key and tmp_path / key)  # type: ignore[arg-type]


def test_an_assent_that_was_copied_does_not_count(
    people: Site, source: Path, tmp_path: Path
) -> None:
    charter, _ = consent.approve(people, source, "anna", tmp_path / "anna.key")
    folder = people.settings.state / "charters" / charter.digest.removeprefix("sha256:")
    (folder / "assent-ben.json").write_bytes((folder / "assent-anna.json").read_bytes())
    with pytest.raises(StatementError, match="not signed by ben"):
        consent.approve(people, source, "cleo", tmp_path / "cleo.key")
    with pytest.raises(CharterError):
        people.charters.load(charter.digest)


def test_a_person_where_nobody_is_named(site: Site, source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names nobody"):
        consent.approve(site, source, "anna", tmp_path / "anna.key")


def test_a_review_says_what_will_happen(site: Site, terms: Charter) -> None:
    text = dict(review.sentences(terms, site))
    assert "no code of the coordinator" in text["What runs"]
    assert "Gaussian noise of 4 × the clipping norm 1 in every step" in text["What leaves"]
    assert "No record, no count, no metric" in text["What leaves"]
    assert "has spent ε = 0.000" in text["What it costs"]
    assert "be right in at most 88 % of cases" in text["Afterwards"]
    assert text["Digest"] == terms.digest
    assert review.verdict(terms, site) == "This site's rules allow it."
    console = Console(width=80, record=True)
    review.show(terms, site, console)
    assert terms.digest in re.sub(r"[│\s]", "", console.export_text())


def test_a_review_says_who_sees_the_update(site: Site, terms: Charter) -> None:
    text = dict(review.sentences(terms, site))
    assert "sees this site's change of the tensors by itself" in text["Who sees it"]
    assert "under masks" not in text["What leaves"]
    masks = SecureAggregationTerms(precision=10)
    text = dict(review.sentences(terms.model_copy(update={"secure_aggregation": masks}), site))
    minimum = terms.aggregation.minimum_cohort
    assert f"gets the sum over {minimum} sites or more" in text["Who sees it"]
    assert "even if 1 of the" in text["Who sees it"]
    assert "rounded to 10 bits" in text["Who sees it"]
    assert ", under masks" in text["What leaves"]


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("head-only", "with the classification head alone"),
        ("lora", "adapters (lora, rank 4) on query, value of layers 1"),
        ("flora", "adapters (flora, rank 1) on query, value of layers 1"),
        ("prefix-tuning", "4 trained positions before the text, in layers 0, 1"),
    ],
)
def test_a_review_says_what_trains_here(site: Site, terms: Charter, method: str, said: str) -> None:
    """At the site's own rank, where it has one."""
    rank = 1 if METHODS[method].mixed_ranks else None
    own = tuple(p.model_copy(update={"rank": rank}) for p in terms.participants)
    adapted = {"adapter": adapter_terms(method, 4), "participants": own}
    text = dict(review.sentences(terms.model_copy(update=adapted), site))
    assert said in text["What runs"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("text-classification", "gives a text one of the labels bone, heart, with"),
        ("token-classification", "finds in a text the entities bone, heart, with"),
        ("causal-lm", "continues a prompt, with"),
    ],
)
def test_a_review_says_what_is_learnt(
    site: Site, terms: Charter, kind: TaskKind, said: str
) -> None:
    task = TaskTerms(kind=kind, labels=LABELS)
    text = dict(review.sentences(terms.model_copy(update={"task": task}), site))
    assert said in text["What runs"]


def test_a_review_says_that_the_clipping_norm_moves(site: Site, terms: Charter) -> None:
    privacy = terms.privacy.model_copy(update={"adaptive_clipping": AdaptiveClippingTerms()})
    moving = terms.model_copy(update={"privacy": privacy})
    text = dict(review.sentences(moving, site))["What leaves"]
    assert "noise of 4.02015 × the clipping norm in every step, which begins at 1" in text
    assert "with these σ = 4 is booked" in text


def test_a_review_says_on_whom_the_noise_rests(site: Site, terms: Charter) -> None:
    shared = terms.model_copy(
        update={
            "aggregation": terms.aggregation.model_copy(update={"minimum_cohort": 5}),
            "training": terms.training.model_copy(update={"local_steps": 1}),
            "secure_aggregation": SecureAggregationTerms(colluding=2, noise="distributed"),
        }
    )
    text = dict(review.sentences(shared, site))["What leaves"]
    assert "this site's share of the noise" in text
    assert "if 2 of the other sites in it add their share and keep it to themselves" in text


def test_a_review_shows_each_rule(
    tmp_path: Path, content: dict[str, Any], terms: Charter, source: Path
) -> None:
    content |= {
        "collusion": 1,
        "peers": {},
        "window": {"from": "20:00", "until": "06:00"},
        "limits": {"rounds_per_day": 4, "memory_gib": 2},
    }
    site = opened(tmp_path / "bound", content)
    site.register("records")
    shown = {rule.line: rule for rule in review.verdicts(terms, site)}
    assert not shown["collusion"].allowed
    assert "which asks for 3" in shown["collusion"].text
    assert "from 20:00 until 06:00 on mon, tue" in shown["window"].text
    assert "at most 4 rounds" in shown["limits.rounds_per_day"].text
    assert "2 GiB" in shown["limits.memory_gib"].text
    assert "10 records, account people" in shown["datasets.records, registered"].text
    console = Console(width=100, record=True)
    review.show(terms, site, console)
    text = console.export_text()
    assert "NOT ALLOWED" in text
    for rule in shown.values():
        assert rule.line in text
    site.close()


def test_an_approval_registers_the_dataset(
    tmp_path: Path, content: dict[str, Any], source: Path
) -> None:
    content["datasets"]["others"] = {"path": "o.jsonl", "account": "others", "epsilon": 3.0}
    site = opened(tmp_path / "two", content)
    records.write_jsonl(tmp_path / "two" / "o.jsonl", texts(4))
    site.register("others")
    with pytest.raises(DataError, match="of 10 records it shares 4 with the account others"):
        consent.approve(site, source)
    assert logged(site) == [("registered", None)]
    assert site.ledger.spending("people").set_aside == 0
    site.close()


def test_a_round_is_admitted_where_window_limit_and_file_allow_it(
    tmp_path: Path, content: dict[str, Any], source: Path
) -> None:
    content["limits"] = {"rounds_per_day": 1}
    site = opened(tmp_path / "site", content)
    charter, _ = consent.approve(site, source)
    data = tmp_path / "site" / "records.jsonl"
    assert site.admit(charter) == canonical.digest(data.read_bytes())
    event = charter.plan("north").event
    permission = site.permit(charter)
    site.ledger.reserve(
        permission.account,
        permission.study,
        1,
        "r",
        event,
        lambda made: site.log(RESERVED, booking=made.as_json()),
    )
    with pytest.raises(NotNow, match=r"limits\.rounds_per_day is 1"):
        site.admit(charter)
    site.close()
    del content["limits"]
    site = opened(tmp_path / "site", content)
    records.write_jsonl(data, texts(12))
    with pytest.raises(DataError, match="changed since it was registered"):
        site.admit(charter)
    site.close()


def test_a_review_names_what_the_rules_forbid(site: Site, terms: Charter) -> None:
    plain = PrivacyTerms(mechanism="none", without_dp=WITHOUT_DP, sampling_rate=0.1)
    charter = terms.model_copy(update={"privacy": plain})
    text = dict(review.sentences(charter, site))
    assert "WITHOUT NOISE" in text["What leaves"]
    assert "WITHOUT differential privacy" in text["What it costs"]
    assert "nothing bounds that" in text["Afterwards"]
    assert "rules do not allow it: charter diagnoses trains without" in review.verdict(
        charter, site
    )


def test_a_review_says_whom_a_charter_protects(site: Site, terms: Charter) -> None:
    text = dict(review.sentences(terms, site))
    assert text["Dataset"].endswith(
        "one record at a time is protected. Declared for this site: 100 records"
    )
    privacy = terms.privacy.model_copy(update={"unit": "patient"})
    of_patients = terms.model_copy(update={"privacy": privacy})
    text = dict(review.sentences(of_patients, site))
    assert "one patient at a time is protected with all their records" in text["Dataset"]
    assert text["Dataset"].endswith("Declared for this site: 100 patients")
    privacy = privacy.model_copy(update={"records_per_unit": 20})
    limited = terms.model_copy(update={"privacy": privacy})
    assert "At most 20 records of one" in dict(review.sentences(limited, site))["Dataset"]
    assert "one given patient was in the data" in text["Afterwards"]


def test_a_charter_of_another_unit_than_the_accounts_is_told_and_refused(
    content: dict[str, Any], terms: Charter, source: Path, tmp_path: Path
) -> None:
    content["datasets"]["records"]["owner"] = "label"
    site = opened(tmp_path / "site", content)
    account = Limit("people", "site.toml", 3.0, 1e-5)
    site.ledger.reserve(account, Limit("earlier", "", 3.0, 1e-5), 1, "r", terms.plan("north").event)
    privacy = terms.privacy.model_copy(update={"unit": "patient"})
    of_patients = terms.model_copy(update={"privacy": privacy})
    assert (
        "account people cannot take it"
        in dict(review.sentences(of_patients, site))["What it costs"]
    )
    charters.save(tmp_path / "other", of_patients, INITIAL, COORDINATOR)
    with pytest.raises(PrivacyError, match="keeps it"):
        consent.approve(site, tmp_path / "other")
    assert site.charters.decision(of_patients.digest) is None
    site.close()

"""The site's own rules against a charter: each line that forbids it, and what is allowed otherwise."""

import json
import math
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import COORDINATOR, key_of

from fedward_client import policy
from fedward_client.ledger import Ledger
from fedward_client.settings import DatasetSettings, SiteSettings
from fedward_shared import base_models
from fedward_shared.charter import Charter, parse
from fedward_shared.charter_terms import WITHOUT_DP, AdapterTerms, SecureAggregationTerms, TaskTerms
from fedward_shared.errors import (
    BudgetExceeded,
    CharterError,
    DataError,
    FedwardError,
    ModelError,
    PrivacyError,
    StatementError,
)
from fedward_shared.privacy.plan import Event

NOW = datetime(2026, 11, 24, tzinfo=UTC)
NO_DP = {"mechanism": "none", "without_dp": WITHOUT_DP, "sampling_rate": 0.5}


@pytest.fixture
def settings(tmp_path: Path, tiny_bert_folder: Path) -> SiteSettings:
    (tmp_path / "records.jsonl").write_text("never opened here\n")
    dataset = DatasetSettings(path=tmp_path / "records.jsonl", account="people", epsilon=3.0)
    return SiteSettings(
        name="north",
        coordinators={"university": COORDINATOR.public.text},
        base_models=(tiny_bert_folder,),
        datasets={"records": dataset},
    )


def changed(settings: SiteSettings, **dataset: object) -> SiteSettings:
    """The settings with another value in the dataset."""
    other = settings.datasets["records"].model_copy(update=dataset)
    return settings.model_copy(update={"datasets": {"records": other}})


@pytest.fixture
def terms(tiny_bert_folder: Path, task: TaskTerms, adapter: AdapterTerms) -> dict[str, Any]:
    """The charter as JSON, for tests to change."""
    return {
        "study": "diagnoses",
        "purpose": "test",
        "legal_basis": "test",
        "expires": "2100-01-01",
        "coordinator": {"name": "university", "key": COORDINATOR.public.text},
        "dataset": "records",
        "base_model": {"digest": base_models.digest(tiny_bert_folder)},
        "initial": "sha256:" + "0" * 64,
        "task": task.model_dump(mode="json"),
        "adapter": adapter.model_dump(mode="json"),
        "privacy": {"epsilon": 2.0, "noise_multiplier": 4.0, "sampling_rate": 0.5},
        "training": {"rounds": 2, "local_steps": 3, "learning_rate": 0.5},
        "aggregation": {"minimum_cohort": 2},
        "participants": [participant("north", 24), participant("south", 20)],
    }


def participant(name: str, records: int) -> dict[str, Any]:
    return {"name": name, "records": records, "key": key_of(name).public.text}


def permit(
    charter: Charter, settings: SiteSettings, key: str = "north", now: datetime = NOW
) -> policy.Permission:
    """What the site with the key of `key` is permitted."""
    return policy.permit(charter, settings, key_of(key).public, now)


def charter(terms: dict[str, Any], **changes: object) -> Charter:
    return parse({**terms, **changes}, "charter.toml")


def refused(charter: Charter, settings: SiteSettings, kind: type[FedwardError]) -> str:
    with pytest.raises(kind) as caught:
        permit(charter, settings)
    assert type(caught.value) is kind
    return str(caught.value)


def test_what_is_permitted_is_what_both_sides_say(
    terms: dict[str, Any], settings: SiteSettings, tiny_bert_folder: Path
) -> None:
    agreed = charter(terms)
    permission = permit(agreed, settings)
    assert agreed.events("north")[0] == Event("poisson-gaussian", 0.5, 4.0, 3)
    assert permission.dataset == settings.datasets["records"]
    assert policy.base_model(agreed, settings) == tiny_bert_folder
    account, study = permission.account, permission.study
    assert (account.name, account.epsilon, account.delta) == ("people", 3.0, 1e-5)
    assert (study.name, study.epsilon, study.delta) == (agreed.digest, 2.0, 1e-5)


def test_an_unknown_dataset(terms: dict[str, Any], settings: SiteSettings) -> None:
    message = refused(charter(terms, dataset="x-rays"), settings, DataError)
    assert message.startswith("site.toml: datasets.x-rays:")


def test_a_cohort_below_the_sites_minimum(terms: dict[str, Any], settings: SiteSettings) -> None:
    strict = settings.model_copy(update={"minimum_cohort": 3})
    message = refused(charter(terms), strict, CharterError)
    assert "aggregation.minimum_cohort is 2, site.toml asks for 3" in message
    third = [*terms["participants"], participant("west", 20)]
    larger = charter(terms, aggregation={"minimum_cohort": 3}, participants=third)
    assert permit(larger, strict)


def test_a_delta_above_the_sites_limit(terms: dict[str, Any], settings: SiteSettings) -> None:
    strict = changed(settings, delta=1e-6)
    message = refused(charter(terms), strict, PrivacyError)
    assert "privacy.delta is 1e-05, site.toml allows 1e-06" in message
    small = {**terms["privacy"], "delta": 1e-7}
    permission = permit(charter(terms, privacy=small), strict)
    assert (permission.account.delta, permission.study.delta) == (1e-6, 1e-7)


def test_an_epsilon_above_the_sites_limit_ends_at_the_sites_limit(
    terms: dict[str, Any], settings: SiteSettings, tmp_path: Path
) -> None:
    generous = charter(terms, privacy={**terms["privacy"], "epsilon": 50.0})
    permission = permit(generous, changed(settings, epsilon=0.1))
    assert (permission.account.epsilon, permission.study.epsilon) == (0.1, 50.0)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with pytest.raises(BudgetExceeded, match=r"site\.toml allows ε = 0\.1"):
        ledger.reserve(permission.account, permission.study, 1, "r", generous.events("north")[0])
    ledger.close()


def test_noise_that_others_make_too_is_refused_unless_the_site_accepts_it(
    terms: dict[str, Any], settings: SiteSettings
) -> None:
    third = [*terms["participants"], participant("west", 20), participant("east", 20)]
    agreed = charter(
        terms,
        participants=third,
        aggregation={"minimum_cohort": 3},
        training={"rounds": 2, "local_steps": 1, "learning_rate": 0.5},
        secure_aggregation={"precision": 16, "noise": "distributed"},
    )
    message = refused(agreed, settings, PrivacyError)
    assert 'site.toml says distributed_noise = "refused"' in message
    assert "1 of the other sites of a round add their share" in message
    accepting = settings.model_copy(update={"distributed_noise": "accepted"})
    assert permit(agreed, accepting)
    plan = agreed.plan("north")
    assert plan.event == Event("poisson-gaussian", 0.5, 4.0, 1)
    assert plan.gradient_noise == 0
    said = {v.line: v.text for v in policy.verdicts(agreed, accepting, key_of("north").public, NOW)}
    assert "ε holds only if 1 of the other sites" in said["distributed_noise"]


@pytest.mark.parametrize(
    "words", ["", "yes", WITHOUT_DP.capitalize(), WITHOUT_DP + ".", f" {WITHOUT_DP}"]
)
def test_without_dp_needs_the_very_words_at_the_site(
    terms: dict[str, Any], settings: SiteSettings, words: str
) -> None:
    said = settings.model_copy(update={"without_dp": words})
    assert WITHOUT_DP in refused(charter(terms, privacy=NO_DP), said, PrivacyError)


@pytest.mark.parametrize("words", ["", "yes", WITHOUT_DP.upper()])
def test_without_dp_needs_the_very_words_in_the_charter(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(CharterError, match=r"charter\.toml: privacy: .*without_dp"):
        charter(terms, privacy={**NO_DP, "without_dp": words})


def test_without_dp_is_unbounded_once_both_sides_said_so(
    terms: dict[str, Any], settings: SiteSettings
) -> None:
    said = settings.model_copy(update={"without_dp": WITHOUT_DP})
    unbounded = charter(terms, privacy=NO_DP)
    permission = permit(unbounded, said)
    assert unbounded.events("north")[0].mechanism == "none"
    assert (permission.account.epsilon, permission.study.epsilon) == (math.inf, math.inf)


def test_the_words_alone_unbind_no_private_study(
    terms: dict[str, Any], settings: SiteSettings
) -> None:
    said = settings.model_copy(update={"without_dp": WITHOUT_DP})
    permission = permit(charter(terms), said)
    assert (permission.account.epsilon, permission.study.epsilon) == (3.0, 2.0)


def test_a_data_file_that_is_not_there(terms: dict[str, Any], settings: SiteSettings) -> None:
    gone = settings.datasets["records"].path
    gone.unlink()
    message = refused(charter(terms), settings, DataError)
    assert message == f"{gone}: no such file (datasets.records.path)"
    gone.mkdir()
    assert "no such file" in refused(charter(terms), settings, DataError)


def test_a_list_of_objections_that_is_not_there(
    terms: dict[str, Any], settings: SiteSettings, tmp_path: Path
) -> None:
    listed = tmp_path / "objections.txt"
    bound = changed(settings, owner="patient", objections=listed)
    message = refused(charter(terms), bound, DataError)
    assert message == f"{listed}: no such file (datasets.records.objections)"
    listed.touch()
    assert permit(charter(terms), bound)


def test_a_base_model_that_is_not_on_the_list(
    terms: dict[str, Any], settings: SiteSettings, tiny_bert_folder: Path
) -> None:
    wanted = "sha256:" + "1" * 64
    message = refused(charter(terms, base_model={"digest": wanted}), settings, ModelError)
    assert "site.toml: base_models" in message
    assert wanted in message
    assert f"{tiny_bert_folder} ({terms['base_model']['digest']})" in message
    nothing = settings.model_copy(update={"base_models": ()})
    assert "base_models" in refused(charter(terms), nothing, ModelError)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_base_model_of_which_one_file_differs(
    terms: dict[str, Any],
    settings: SiteSettings,
    tiny_bert_folder: Path,
    tmp_path: Path,
    file: str,
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_bert_folder, other)
    content = (other / file).read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    (other / file).write_bytes(content + b" " if file.endswith(".json") else flipped)
    listed = settings.model_copy(update={"base_models": (other,)})
    assert str(other) in refused(charter(terms), listed, ModelError)
    both = settings.model_copy(update={"base_models": (other, tiny_bert_folder)})
    assert policy.base_model(charter(terms), both) == tiny_bert_folder


def test_a_base_model_that_wants_to_run_code(
    terms: dict[str, Any], settings: SiteSettings, tiny_bert_folder: Path, tmp_path: Path
) -> None:
    evil = tmp_path / "evil"
    shutil.copytree(tiny_bert_folder, evil)
    config = json.loads((evil / "config.json").read_text())
    (evil / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "m.M"}}))
    listed = settings.model_copy(update={"base_models": (evil,)})
    assert "auto_map" in refused(charter(terms), listed, ModelError)


def test_a_site_that_is_no_participant(terms: dict[str, Any], settings: SiteSettings) -> None:
    stranger = settings.model_copy(update={"name": "west"})
    assert "west is not among" in refused(charter(terms), stranger, CharterError)


@pytest.mark.parametrize("declared", [1, 24, 10_000])
def test_sums_are_divided_by_the_declared_records_not_by_those_there_are(
    terms: dict[str, Any], settings: SiteSettings, declared: int
) -> None:
    participants = [
        participant("north", declared),
        participant("south", 7),
    ]
    agreed = charter(terms, participants=participants)
    assert permit(agreed, settings)
    assert agreed.plan("north").expected_batch == 0.5 * declared


def test_a_coordinator_is_known_by_name_and_key(
    terms: dict[str, Any], settings: SiteSettings
) -> None:
    stranger = {"name": "institute", "key": COORDINATOR.public.text}
    said = refused(charter(terms, coordinator=stranger), settings, CharterError)
    assert said.endswith("site.toml: coordinators: there is no institute")
    other = {"name": "university", "key": key_of("institute").public.text}
    said = refused(charter(terms, coordinator=other), settings, CharterError)
    assert f"site.toml knows university by {COORDINATOR.public.text}" in said


def test_a_charter_names_this_sites_own_key(terms: dict[str, Any], settings: SiteSettings) -> None:
    with pytest.raises(CharterError, match=r"north has the key .*, this site's is "):
        permit(charter(terms), settings, key="south")


def test_a_charter_that_has_expired_is_refused(
    terms: dict[str, Any], settings: SiteSettings
) -> None:
    agreed = charter(terms, expires="2026-11-24")
    assert permit(agreed, settings)
    with pytest.raises(CharterError, match="expired on 2026-11-24"):
        permit(agreed, settings, now=datetime(2026, 11, 25, tzinfo=UTC))


def test_a_dataset_is_for_the_uses_that_the_site_names(
    terms: dict[str, Any], settings: SiteSettings
) -> None:
    said = refused(charter(terms, use="billing"), settings, CharterError)
    assert "use is billing, site.toml allows datasets.records for research" in said
    assert permit(charter(terms, use="billing"), changed(settings, uses=("billing",)))


def with_peers(settings: SiteSettings, **peers: str) -> SiteSettings:
    known = {name: key_of(key).public.text for name, key in peers.items()}
    return settings.model_copy(update={"peers": known})


def test_peers_are_known_by_name_and_key(terms: dict[str, Any], settings: SiteSettings) -> None:
    assert permit(charter(terms), with_peers(settings, south="south", west="west"))
    message = refused(charter(terms), with_peers(settings, west="west"), CharterError)
    assert "participants: south takes part, site.toml [peers] has no south" in message
    message = refused(charter(terms), with_peers(settings, south="east"), CharterError)
    assert f"south has the key {key_of('south').public}" in message
    assert f"site.toml peers.south is {key_of('east').public}" in message
    assert "[peers] has no south" in refused(charter(terms), with_peers(settings), CharterError)


@pytest.mark.parametrize("colluding", [1, 2, 5])
def test_two_remain_beside_those_who_work_together(
    colluding: int, terms: dict[str, Any], settings: SiteSettings
) -> None:
    """Beside one that remained alone the sum less their own updates would be its update."""
    names = [f"site{number}" for number in range(colluding + 2)]
    bound = settings.model_copy(
        update={"collusion": colluding, "peers": {n: key_of(n).public.text for n in names}}
    )
    several = [participant("north", 24), *(participant(name, 20) for name in names)]
    enough = {"aggregation": {"minimum_cohort": colluding + 2}, "participants": several}
    assert permit(charter(terms, **enough), bound)
    short = {**enough, "aggregation": {"minimum_cohort": colluding + 1}}
    message = refused(
        charter(terms, **short), bound.model_copy(update={"minimum_cohort": 1}), CharterError
    )
    assert f"aggregation.minimum_cohort is {colluding + 1}, site.toml says" in message
    assert f"collusion = {colluding}, which asks for {colluding + 2}" in message


def test_without_a_bound_the_minimum_cohort_alone_decides(
    terms: dict[str, Any], settings: SiteSettings
) -> None:
    alone = settings.model_copy(update={"minimum_cohort": 1})
    assert permit(charter(terms, aggregation={"minimum_cohort": 1}), alone)


@pytest.mark.parametrize("who", ["university", "south", "north"])
def test_what_a_revoked_key_has_signed_counts_no_more(
    who: str, terms: dict[str, Any], settings: SiteSettings
) -> None:
    key = COORDINATOR.public.text if who == "university" else key_of(who).public.text
    revoked = settings.model_copy(update={"revoked": (key, key_of("other").public.text)})
    kind = StatementError if who == "university" else CharterError
    message = refused(charter(terms), revoked, kind)
    assert key in message
    assert "revoked" in message
    policy.check_revoked(charter(terms), settings)
    if who == "university":
        with pytest.raises(StatementError, match=r"site\.toml: revoked: names that key"):
            policy.check_revoked(charter(terms), revoked)
    else:
        policy.check_revoked(charter(terms), revoked)


@pytest.mark.parametrize(
    ("allowed", "said"),
    [(None, None), (("university",), None), (("clinic",), "to clinic"), ((), "to none")],
)
def test_a_dataset_is_for_its_coordinators(
    allowed: tuple[str, ...] | None,
    said: str | None,
    terms: dict[str, Any],
    settings: SiteSettings,
) -> None:
    bound = changed(settings, coordinators=allowed)
    if said is None:
        assert permit(charter(terms), bound)
    else:
        message = refused(charter(terms), bound, CharterError)
        assert f"coordinator is university, site.toml allows datasets.records {said}" in message


def masked(terms: dict[str, Any], colluding: int = 1) -> Charter:
    """A charter with masks, a round of which needs two sites beside those that collude."""
    names = ["south", "west", *(f"site{n}" for n in range(colluding))]
    several = [participant("north", 24), *(participant(name, 20) for name in names)]
    enough = {"minimum_cohort": colluding + 2}
    masks = {"colluding": colluding}
    return charter(terms, aggregation=enough, participants=several, secure_aggregation=masks)


def test_where_masks_are_required_a_charter_needs_them(
    terms: dict[str, Any], settings: SiteSettings
) -> None:
    bound = settings.model_copy(update={"secure_aggregation": "required"})
    message = refused(charter(terms), bound, CharterError)
    assert 'updates are not masked, site.toml says secure_aggregation = "required"' in message
    assert permit(masked(terms), bound)
    verdicts = policy.verdicts(masked(terms), bound, key_of("north").public, NOW)
    said = {verdict.line: verdict.text for verdict in verdicts}
    assert "the coordinator sees sums of updates, of 3 sites or more" in said["secure_aggregation"]


def test_masks_hold_against_as_many_as_the_site_reckons_with(
    terms: dict[str, Any], settings: SiteSettings
) -> None:
    names = ["south", "west", "site0", "site1", "site2"]
    known = {name: key_of(name).public.text for name in names}
    two = settings.model_copy(update={"collusion": 2, "peers": known})
    assert permit(masked(terms, colluding=2), two)
    weak = masked(terms, colluding=2).model_copy(
        update={"secure_aggregation": SecureAggregationTerms(colluding=1)}
    )
    message = refused(weak, two, CharterError)
    assert "secure_aggregation.colluding is 1, site.toml says collusion = 2" in message


def test_each_rule_has_its_verdict(terms: dict[str, Any], settings: SiteSettings) -> None:
    """One that forbids a charter hides no other."""
    found = list(policy.verdicts(charter(terms), settings, key_of("north").public, NOW))
    assert all(verdict.allowed and verdict.text for verdict in found)
    assert len({verdict.line for verdict in found}) == len(found)
    assert len(found) == len(policy.RULES) + len(policy.HORIZONTAL)
    strict = changed(settings, delta=1e-6, uses=()).model_copy(
        update={"minimum_cohort": 3, "base_models": (), "coordinators": {}}
    )
    found = list(policy.verdicts(charter(terms), strict, key_of("south").public, NOW))
    assert {verdict.line for verdict in found if not verdict.allowed} == {
        "coordinators",
        "key",
        "datasets.records.uses",
        "minimum_cohort",
        "datasets.records.delta",
        "base_models",
    }


def test_a_dataset_that_is_not_there_fails_by_each_of_its_lines(
    terms: dict[str, Any], settings: SiteSettings
) -> None:
    asked = charter(terms, dataset="x-rays")
    found = list(policy.verdicts(asked, settings, key_of("north").public, NOW))
    not_allowed = [verdict.line for verdict in found if not verdict.allowed]
    assert not_allowed[0] == "datasets.x-rays"
    assert all(line.startswith("datasets.x-rays") for line in not_allowed)

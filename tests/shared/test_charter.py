"""A charter that is wrong in any field is refused by name; a right one has one digest everywhere."""

import copy
import math
import shutil
import tomllib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from conftest import COORDINATOR, key_of

from fedward_shared import canonical, statements, tensors
from fedward_shared import charter as charters
from fedward_shared.agreement import CHARTER_FILE, DRAFT_FILE
from fedward_shared.charter import INITIAL_FILE, Charter
from fedward_shared.charter_terms import WITHOUT_DP, Participant, Party
from fedward_shared.errors import AdapterError, CharterError, StatementError
from fedward_shared.privacy import accountant
from fedward_shared.privacy.clipping import AdaptiveClipping
from fedward_shared.privacy.plan import Event
from fedward_shared.terms import Terms

VECTORS = Path(__file__).parents[1] / "vectors"
STUDY = VECTORS / "study"
GOOD = tomllib.loads((STUDY / DRAFT_FILE).read_text("utf-8"))

NAN, INFINITY = math.nan, math.inf
WRONG: dict[str, list[Any]] = {
    "version": [0, 2, "one"],
    "study": ["", "Capital", "-a", "a b", "a" * 64, "../a", "a\n", 1],
    "purpose": ["", 1, "a" * 2001],
    "use": ["", "Any use"],
    "legal_basis": ["", 1],
    "expires": ["", "soon", "2026-02-30", 1.5],
    "coordinator": ["university", {}],
    "coordinator.name": ["", "Uni"],
    "coordinator.key": ["", "ed25519:" + "0" * 63, "ed25519:" + "G" * 64, "rsa:" + "0" * 64],
    "dataset": ["", "a/b", ".."],
    "initial": ["", "0" * 64, "sha256:" + "0" * 63, "sha256:" + "G" * 64, "md5:" + "0" * 64],
    "base_model": ["model", {}],
    "base_model.digest": ["sha256:" + "0" * 65, "sha256:" + "A" * 64],
    "base_model.name": ["a"],
    "task.kind": ["regression", ""],
    "task.labels": ["bone", 1, {}],
    "task.max_tokens": [1, 8193, 2.5, INFINITY],
    "adapter.method": ["dora", ""],
    "adapter.rank": [0, -1, 1025, 1.5],
    "adapter.alpha": [0, -1, NAN, INFINITY],
    "adapter.sketch": [0, -0.1, 1.1, NAN],
    "adapter.target_modules": ["query"],
    "adapter.layers.0": [-1, 10_001, 2**60, 0.5],
    "privacy.mechanism": ["", "laplace"],
    "privacy.unit": ["household", "Record", ""],
    "privacy.epsilon": [0, -1, NAN, INFINITY],
    "privacy.delta": [0, 1, -1e-5, NAN],
    "privacy.clipping_norm": [0, -1, NAN, INFINITY],
    "privacy.records_per_unit": [0, 1.5, 2**40],
    "privacy.adapter_share": [0, 1, -0.1, NAN],
    "privacy.noise_multiplier": [-1, NAN, INFINITY],
    "privacy.sampling_rate": [0, -0.1, 1.01, NAN],
    "privacy.adaptive_clipping": [
        True,
        *({"quantile": value} for value in (0, 1, NAN)),
        *({"learning_rate": value} for value in (0, -0.1, 1.01, NAN)),
        *({"count_share": value} for value in (0, 1, NAN)),
        {"count": 1},
    ],
    "privacy.bands": [0, -1, 257, 1.5],
    "training.rounds": [0, -1, 100_001, 1.5],
    "training.local_steps": [0, 100_001],
    "training.head_rounds": [-1, 100_001, 2**60],
    "training.optimizer": ["adamw"],
    "training.learning_rate": [0, -1, NAN, INFINITY],
    "training.head_learning_rate": [0, NAN, INFINITY],
    "training.momentum": [-0.1, 1, NAN],
    "training.proximal": [-0.1, NAN, float("inf")],
    "aggregation.rule": ["average", ""],
    "aggregation.hostile": [-1, 10_001, 0.5],
    "aggregation.weights": ["records"],
    "aggregation.server_optimizer": ["sgd"],
    "aggregation.server_learning_rate": [0, NAN, INFINITY],
    "aggregation.server_momentum": [-0.1, 1, NAN],
    "aggregation.minimum_cohort": [0, -1, 1.5],
    "aggregation.cohort": [0, -1, 1.5],
    "aggregation.enough": [0, -1, 1.5],
    "aggregation.late": ["", "keep"],
    "aggregation.buffer": [0, -1, 1.5],
    "aggregation.round_deadline_seconds": [0, -1, NAN, INFINITY],
    "aggregation.maximum_update_norm": [0, -1, 1e-7, 1.1e6, NAN, INFINITY],
    "participants": ["north", {}],
    "participants.0.name": ["", "North", "north/../south"],
    "participants.0.key": ["", "ed25519:"],
    "participants.0.rank": [0, 1025, 1.5],
    "participants.1.records": [0, -1, 10**9 + 1, 1.5],
}
WRONG_MASKS: dict[str, list[Any]] = {
    "precision": [1, 25, 1.5],
    "noise": ["global", ""],
    "colluding": [-1, 10**4 + 1, 1.5],
    "bound": [0, -1, NAN, INFINITY],
    "neighbours": [4],
}
REQUIRED = [
    "study",
    "purpose",
    "legal_basis",
    "expires",
    "coordinator",
    "dataset",
    "base_model",
    "initial",
    "task",
    "adapter",
    "privacy",
    "training",
    "aggregation",
    "participants",
    "task.kind",
    "adapter.method",
    "privacy.sampling_rate",
    "training.rounds",
    "training.local_steps",
    "training.learning_rate",
    "aggregation.minimum_cohort",
    "participants.0.records",
]


def changed(field: str, *value: Any, base: dict[str, Any] = GOOD) -> dict[str, Any]:
    """The good charter, or `base`, with another `value` at `field`, or without it."""
    content = copy.deepcopy(base)
    *way, last = [int(part) if part.isdigit() else part for part in field.split(".")]
    place: Any = content
    for part in way:
        place = place[part]
    if value:
        place[last] = value[0]
    else:
        del place[last]
    return content


def drafted(folder: Path, content: dict[str, Any]) -> Path:
    """The draft with this content."""
    path = folder / DRAFT_FILE
    path.write_text(tomli_w.dumps(content), "utf-8")
    return path


def signed(folder: Path, body: dict[str, Any], *signers: str) -> Path:
    """A folder with the good initial tensors and a charter of this body."""
    keys = [key_of(name) for name in signers or ["university"]]
    shutil.copy(STUDY / INITIAL_FILE, folder / INITIAL_FILE)
    (folder / CHARTER_FILE).write_bytes(statements.sign(Charter.KIND, body, *keys).encode())
    return folder


def test_the_golden_vector() -> None:
    charter, initial = charters.load(STUDY)
    assert charter.digest == (STUDY / "charter.sha256").read_text().strip()
    assert tensors.digest(initial) == charter.initial
    assert charters.parse(GOOD, "vector").digest == charter.digest


def test_the_same_charter_and_key_give_the_same_bytes(tmp_path: Path) -> None:
    charter, initial = charters.load(STUDY)
    charters.save(tmp_path, charter, initial, COORDINATOR)
    assert (tmp_path / CHARTER_FILE).read_bytes() == (STUDY / CHARTER_FILE).read_bytes()


@pytest.mark.parametrize("path", sorted((VECTORS / "refused").iterdir()), ids=lambda p: p.stem)
def test_the_vectors_that_are_refused(path: Path, tmp_path: Path) -> None:
    expected = path.read_text("utf-8").splitlines()[0].removeprefix("# ")
    with pytest.raises(CharterError) as caught:
        charters.read_draft(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG.items() for value in values]
)
def test_a_wrong_value_is_named_with_file_and_field(field: str, value: Any, tmp_path: Path) -> None:
    path = drafted(tmp_path, changed(field, value))
    with pytest.raises(CharterError) as caught:
        charters.read_draft(path)
    assert str(caught.value).startswith(f"{path}: {field}")


OPEN = {"mechanism": "none", "without_dp": WITHOUT_DP, "sampling_rate": 1.0}


def masked(minimum: int = 3, **terms: Any) -> dict[str, Any]:
    """The good charter, with masks and four participants."""
    parties = [{"name": n, "key": key_of(n).public.text, "records": 800} for n in ("east", "west")]
    return {
        **GOOD,
        "secure_aggregation": terms,
        "aggregation": {**GOOD["aggregation"], "minimum_cohort": minimum},
        "participants": [*GOOD["participants"], *parties],
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in WRONG_MASKS.items() for value in values],
)
def test_a_wrong_term_of_the_masks_is_named(field: str, value: Any) -> None:
    with pytest.raises(CharterError, match=f"^test: secure_aggregation.{field}: "):
        charters.parse(masked(**{field: value}), "test")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (masked(2), "a minimum of 2 survivors of 4 parties"),
        (masked(3, colluding=2), "a minimum of 3 survivors of 4 parties"),
        (masked(4, colluding=3), "the sum would show the update of the one honest site"),
        (masked(3, precision=24), "the sum does not fit in 32 bits"),
        (
            {
                **masked(3),
                "privacy": {"mechanism": "none", "without_dp": WITHOUT_DP, "sampling_rate": 1.0},
            },
            "secure_aggregation.bound: nothing is clipped without DP",
        ),
        (
            {**masked(3), "privacy": {**GOOD["privacy"], "adaptive_clipping": {}}},
            "secure_aggregation.bound: adaptive clipping moves the clipping norm",
        ),
        (
            {**masked(3), "training": {**GOOD["training"], "proximal": 0.5, "momentum": 0.5}},
            "secure_aggregation.bound: with momentum a proximal term may overshoot",
        ),
        (
            {**masked(3), "training": {**GOOD["training"], "optimizer": "adam"}},
            "secure_aggregation.bound: adam divides by what it has seen",
        ),
    ],
)
def test_masks_that_cannot_work_are_refused_with_the_reason(
    content: dict[str, Any], named: str
) -> None:
    with pytest.raises(CharterError) as caught:
        charters.parse(content, "test")
    assert named in str(caught.value)


def test_a_stated_bound_makes_masks_possible_where_none_can_be_derived() -> None:
    training = {**GOOD["training"], "optimizer": "adam"}
    charter = charters.parse({**masked(3, bound=0.5), "training": training}, "test")
    assert charter.coordinate_bounds(1) == (0.5, 0.5)


@pytest.mark.parametrize("field", REQUIRED)
def test_a_field_that_is_missing_is_named(field: str, tmp_path: Path) -> None:
    path = drafted(tmp_path, changed(field))
    with pytest.raises(CharterError) as caught:
        charters.read_draft(path)
    assert str(caught.value) == f"{path}: {field}: Field required"


def test_every_field_is_tried() -> None:
    sections: dict[str, type[Terms]] = {
        "": charters.Charter,
        "coordinator.": Party,
        "base_model.": charters.BaseModelTerms,
        "task.": charters.TaskTerms,
        "adapter.": charters.AdapterTerms,
        "privacy.": charters.PrivacyTerms,
        "training.": charters.TrainingTerms,
        "aggregation.": charters.AggregationTerms,
        "participants.": Participant,
    }
    fields = {section + name for section, terms in sections.items() for name in terms.model_fields}
    tried = {".".join(p for p in field.split(".") if not p.isdigit()) for field in WRONG}
    left = fields - tried - set(REQUIRED)
    assert left == {"privacy.without_dp", "secure_aggregation"}
    assert charters.SecureAggregationTerms.model_fields.keys() == WRONG_MASKS.keys() - {
        "neighbours"
    }


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        changed("training.head_learning_rate"),
        changed("privacy", OPEN),
        {**changed("training.head_rounds"), "task": {"kind": "causal-lm"}},
        changed("adapter", {"method": "head-only"}),
        changed("privacy.adaptive_clipping", {}),
        masked(3, precision=10),
    ],
)
def test_what_is_saved_is_what_is_loaded(content: dict[str, Any], tmp_path: Path) -> None:
    charter = charters.parse(content, "test")
    _, initial = charters.load(STUDY)
    charters.save(tmp_path / "a", charter, initial, COORDINATOR)
    again, loaded = charters.load(tmp_path / "a")
    assert again == charter
    assert again.digest == charter.digest
    assert tensors.digest(loaded) == tensors.digest(initial)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("purpose", "another"),
        ("privacy.delta", 2e-5),
        ("task.labels", ["heart", "bone"]),
        ("adapter.layers", [0, 1]),
        ("participants.1.records", 801),
        ("aggregation.server_optimizer", "fedavg"),
    ],
)
def test_any_other_term_is_another_charter(field: str, value: Any) -> None:
    other = charters.parse(changed(field, value), "test")
    assert other.digest != charters.parse(GOOD, "test").digest


def test_how_a_charter_is_written_does_not_change_its_digest() -> None:
    backwards = dict(reversed([(key, value) for key, value in GOOD.items()]))
    backwards["adapter"] = {**GOOD["adapter"], "alpha": 8.0}
    assert charters.parse(backwards, "t").digest == charters.parse(GOOD, "t").digest


def test_initial_tensors_that_are_not_the_ones_named(tmp_path: Path) -> None:
    folder = signed(tmp_path, charters.parse(GOOD, "test").body)
    path = folder / INITIAL_FILE
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CharterError, match=r"initial\.safetensors: its digest is .* names"):
        charters.load(folder)
    path.unlink()
    with pytest.raises(CharterError, match=r"initial\.safetensors: no such file"):
        charters.load(folder)
    charter = charters.parse(GOOD, "test")
    with pytest.raises(CharterError, match="initial"):
        charters.save(folder, charter, {"w": torch.ones(1)}, COORDINATOR)
    assert not path.exists()
    with pytest.raises(CharterError, match=r"coordinator\.key is ed25519:.*, this key is"):
        charters.save(folder, charter, charters.load(STUDY)[1], key_of("north"))
    assert not path.exists()


def test_a_named_file_that_holds_no_tensors(tmp_path: Path) -> None:
    garbage = b"no tensors"
    charter = charters.parse(changed("initial", canonical.digest(garbage)), "test")
    folder = signed(tmp_path, charter.body)
    (folder / INITIAL_FILE).write_bytes(garbage)
    with pytest.raises(AdapterError, match=r"initial\.safetensors"):
        charters.load(folder)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (None, "no such file"),
        (b"", "study: Field required"),
        (b"\xff\xfe", "not a TOML file"),
        (b'study = "\xe9"', "not a TOML file"),
        (b"{}", "not a TOML file"),
    ],
)
def test_a_file_that_is_no_charter_is_named(data: bytes | None, named: str, tmp_path: Path) -> None:
    path = tmp_path / DRAFT_FILE
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(CharterError, match=rf"charter\.toml: .*{named}"):
        charters.read_draft(path)


@pytest.mark.parametrize("content", [None, [], "text", 1])
def test_what_is_no_table_is_no_charter(content: object) -> None:
    with pytest.raises(CharterError, match="origin: file: "):
        charters.parse(content, "origin")


def test_a_charter_cannot_be_changed() -> None:
    charter = charters.parse(GOOD, "test")
    with pytest.raises(ValueError, match="frozen"):
        setattr(charter.privacy, "epsilon", 100.0)  # noqa: B010


def test_at_most_so_many_records_have_to_be_of_somebody() -> None:
    limit = {"records_per_unit": 5}
    content = changed("privacy", {**GOOD["privacy"], **limit, "unit": "patient"})
    assert charters.parse(content, "test").plan("south").records_per_unit == 5
    with pytest.raises(CharterError, match=r"privacy: .*records_per_unit"):
        charters.parse(changed("privacy", {**GOOD["privacy"], **limit}), "test")


def test_the_plan_is_what_the_charter_says() -> None:
    charter = charters.parse(GOOD, "test")
    plan = charter.plan("south")
    assert (plan.steps, plan.sampling_rate, plan.noise_multiplier) == (10, 0.1, 4.0)
    assert (plan.clipping_norm, plan.adapter_share, plan.expected_batch) == (0.5, 0.25, 80.0)
    assert charter.schedule == [plan.event] * 5
    with pytest.raises(CharterError, match="west is not among the participants"):
        charter.plan("west")


def test_adaptive_clipping_does_not_change_what_is_booked() -> None:
    """Its counts are paid for by the gradients' noise."""
    moving = charters.parse(changed("privacy.adaptive_clipping", {"count_share": 0.19}), "test")
    plan = moving.plan("south")
    assert plan.adaptive == AdaptiveClipping(0.5, 0.2, 0.19)
    assert plan.event == charters.parse(GOOD, "test").plan("south").event
    assert plan.gradient_noise == pytest.approx(4.0 / 0.9)


def test_with_bands_fewer_steps_are_booked_at_a_higher_rate() -> None:
    banded = charters.parse(changed("privacy.bands", 5), "test")
    assert banded.schedule == [Event("poisson-gaussian", 0.5, 4.0, 2)] * 5
    assert banded.plan("south").expected_batch == 80.0


@pytest.mark.parametrize("bands", [3, 20])
def test_bands_that_no_round_can_have_are_refused(bands: int) -> None:
    with pytest.raises(CharterError, match=rf"privacy\.bands is {bands}, expected a divisor"):
        charters.parse(changed("privacy.bands", bands), "test")


def test_without_dp_no_clipping_norm_moves() -> None:
    terms = {"mechanism": "none", "without_dp": WITHOUT_DP, "sampling_rate": 1.0}
    with pytest.raises(CharterError, match="clips nothing"):
        charters.parse(changed("privacy", {**terms, "adaptive_clipping": {}}), "test")


def test_a_study_that_costs_what_it_states_is_accepted() -> None:
    cost = accountant.epsilon(charters.parse(GOOD, "test").schedule, 1e-5)
    charters.parse(changed("privacy.epsilon", cost), "test").check_privacy()
    with pytest.raises(CharterError, match=r"privacy\.epsilon"):
        charters.parse(changed("privacy.epsilon", cost * 0.999), "test").check_privacy()


def test_terms_that_cost_more_than_they_state_are_refused_signed_or_not(tmp_path: Path) -> None:
    body = charters.parse(changed("privacy.epsilon", 0.1), "test").body
    with pytest.raises(CharterError, match=r"charter\.json: .*privacy\.epsilon is 0\.1"):
        charters.load(signed(tmp_path, body))


@pytest.mark.parametrize("signers", [["north"], ["north", "south"]])
def test_only_the_coordinator_signs_a_charter(signers: list[str], tmp_path: Path) -> None:
    folder = signed(tmp_path, charters.parse(GOOD, "test").body, *signers)
    with pytest.raises(StatementError, match="not signed by the coordinator university"):
        charters.load(folder)
    assert charters.load(
        signed(tmp_path, charters.parse(GOOD, "test").body, "university", *signers)
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [("epsilon", "2"), ("epsilon", "2.00"), ("delta", "0.00001"), ("clipping_norm", " 0.5")],
)
def test_a_decimal_has_one_spelling(field: str, value: str, tmp_path: Path) -> None:
    body = copy.deepcopy(charters.parse(GOOD, "test").body)
    body["privacy"][field] = value
    with pytest.raises(CharterError, match="a field is not in canonical form"):
        charters.load(signed(tmp_path, body))


def test_a_default_that_is_left_out_is_no_canonical_form(tmp_path: Path) -> None:
    body = charters.parse(GOOD, "test").body
    del body["privacy"]["without_dp"]
    with pytest.raises(CharterError, match="canonical form"):
        charters.load(signed(tmp_path, body))


def test_a_charter_expires_with_its_last_day() -> None:
    charter = charters.parse(changed("expires", "2026-11-24"), "test")
    charter.check_date(datetime(2026, 11, 24, 23, 59, 59, tzinfo=UTC))
    east = timezone(timedelta(hours=10))
    charter.check_date(datetime(2026, 11, 25, 9, 59, tzinfo=east))
    with pytest.raises(CharterError, match="fractures-2026: it expired on 2026-11-24"):
        charter.check_date(datetime(2026, 11, 25, tzinfo=UTC))


def test_two_parties_of_one_key_are_refused() -> None:
    with pytest.raises(CharterError, match="two parties have the same key"):
        charters.parse(changed("participants.1.key", GOOD["coordinator"]["key"]), "test")


LORA = {"rank": 4, "target_modules": ["query"], "layers": [0]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"adapter": {"method": "lora", **LORA}, "participants.0.rank": 2},
            r"participants\.rank: lora needs one rank for all sites; flora, hetlora can mix them",
        ),
        (
            {"adapter": {"method": "hetlora", **LORA}, "participants.0.rank": 5},
            r"participants\.rank: \S+ has 5, more than adapter\.rank 4",
        ),
        (
            {
                "adapter": {"method": "fedsvd", **LORA},
                "aggregation": {"minimum_cohort": 1, "server_optimizer": "fedyogi"},
            },
            r"aggregation\.server_optimizer: fedsvd turns its tensors",
        ),
        (
            {"training": {**GOOD["training"], "learning_rate": 4.0, "proximal": 0.3}},
            r"training: .*proximal: at a learning rate of \S+ a step is pulled past the round's start",
        ),
        (
            {"adapter": {"method": "prefix-tuning", **LORA}},
            r"target_modules and layers: prefix-tuning has layers alone",
        ),
        (
            {"adapter": {"method": "prefix-tuning", "rank": 4}},
            r"target_modules and layers: prefix-tuning has layers alone",
        ),
    ],
)
def test_what_an_adapter_method_cannot_do_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    content = GOOD
    for field, value in changes.items():
        content = changed(field, value, base=content)
    with pytest.raises(CharterError, match=message):
        charters.read_draft(drafted(tmp_path, content))


def test_a_site_of_a_lower_rank_has_its_adapter_scaled_as_everybodys() -> None:
    content = changed("adapter", {"method": "flora", "alpha": 8.0, **LORA})
    name = content["participants"][0]["name"]
    charter = charters.parse(changed("participants.0.rank", 1, base=content), "test")
    own = charter.adapter_at(name)
    assert (own.rank, own.alpha) == (1, 2.0)
    assert own.alpha / own.rank == charter.adapter.alpha / charter.adapter.rank
    whole = charters.parse(content, "test")
    assert whole.adapter_at(name) == whole.adapter

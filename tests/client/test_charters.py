"""Approved charters: a site runs the very terms its people approved, and no others."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from conftest import COORDINATOR, key_of, small_charter
from hypothesis import given
from hypothesis import strategies as st

from fedward_client.charters import ApprovedCharters
from fedward_shared import charter as charters
from fedward_shared import statements, tensors
from fedward_shared.agreement import CHARTER_FILE
from fedward_shared.assurances import Choice, Decision, check_approved
from fedward_shared.charter import INITIAL_FILE, Charter
from fedward_shared.charter_terms import PrivacyTerms, TrainingTerms
from fedward_shared.errors import CharterError, RefusalCode, StatementError

INITIAL = {"head.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3)}


def terms(study: str = "diagnoses") -> Charter:
    return small_charter(
        tensors.digest(INITIAL),
        study=study,
        privacy=PrivacyTerms(epsilon=2.0, noise_multiplier=6.0, sampling_rate=0.5),
        training=TrainingTerms(rounds=2, local_steps=2, learning_rate=0.5),
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The folder that the coordinator sends."""
    charters.save(tmp_path / "sent", terms(), INITIAL, COORDINATOR)
    return tmp_path / "sent"


NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def charters_of(folder: Path) -> ApprovedCharters:
    return ApprovedCharters(folder, "north", key_of("north"), lambda: NOON)


@pytest.fixture
def approved(tmp_path: Path) -> ApprovedCharters:
    return charters_of(tmp_path / "charters")


def decide(approved: ApprovedCharters, charter: Charter, choice: Choice) -> None:
    decision = approved.next_decision(charter.digest, choice)
    if decision is not None:
        approved.decide(decision)


def approve(approved: ApprovedCharters, source: Path) -> Charter:
    charter = approved.keep(source)
    decide(approved, charter, "approve")
    return charter


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def kept(tmp_path: Path, charter: Charter) -> Path:
    """Where the site keeps its copy."""
    return tmp_path / "charters" / charter.digest.removeprefix("sha256:")


def test_what_was_approved_is_what_is_loaded(approved: ApprovedCharters, source: Path) -> None:
    charter = approve(approved, source)
    assert charter == terms()
    loaded, initial = approved.load(charter.digest)
    assert loaded == charter
    assert (initial["head.weight"] == INITIAL["head.weight"].numpy()).all()


def test_the_copy_does_not_follow_its_source(approved: ApprovedCharters, source: Path) -> None:
    charter = approve(approved, source)
    charters.save(source, terms("another"), INITIAL, COORDINATOR)
    assert approved.load(charter.digest)[0].study == "diagnoses"
    with pytest.raises(CharterError, match="not approved here"):
        approved.load(terms("another").digest)


def test_what_was_not_approved_is_refused(approved: ApprovedCharters) -> None:
    with pytest.raises(CharterError, match="`fedward site approve`") as caught:
        approved.load(terms().digest)
    assert terms().digest in str(caught.value)
    assert caught.value.refusal is RefusalCode.CHARTER


def test_approving_twice_is_harmless(
    approved: ApprovedCharters, source: Path, tmp_path: Path
) -> None:
    first = approve(approved, source)
    before = files(tmp_path / "charters")
    assert approve(approved, source) == first
    assert files(tmp_path / "charters") == before
    assert sorted(Path(name).name for name in before) == [
        "charter.json",
        "decision-0001.json",
        "initial.safetensors",
    ]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"epsilon":"2.0"', '"epsilon":"3.0"', "the signature of ed25519:.* is not right"),
        ('"clipping_norm":"1.0"', '"clipping_norm":"100.0"', "is not right for what it says"),
        ('"local_steps":2', '"local_steps":1', "is not right for what it says"),
        ('"epsilon":', '"epsilon" :', "not canonical JSON"),
        ('"study":"', '"study:"', "not canonical JSON"),
    ],
)
def test_a_tampered_charter_is_refused(
    approved: ApprovedCharters, source: Path, tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    charter = approve(approved, source)
    path = kept(tmp_path, charter) / CHARTER_FILE
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(StatementError, match=complaint):
        approved.load(charter.digest)


def test_another_approved_charter_in_its_place_is_refused(
    approved: ApprovedCharters, source: Path, tmp_path: Path
) -> None:
    charter = approve(approved, source)
    charters.save(source, terms("another"), INITIAL, COORDINATOR)
    other = approve(approved, source)
    stolen = (kept(tmp_path, other) / CHARTER_FILE).read_bytes()
    (kept(tmp_path, charter) / CHARTER_FILE).write_bytes(stolen)
    with pytest.raises(CharterError, match="the copy of the charter has changed"):
        approved.load(charter.digest)


def test_tampered_or_missing_initial_tensors_are_refused(
    approved: ApprovedCharters, source: Path, tmp_path: Path
) -> None:
    charter = approve(approved, source)
    path = kept(tmp_path, charter) / INITIAL_FILE
    path.write_bytes(tensors.encode({"head.weight": INITIAL["head.weight"] + 1}))
    with pytest.raises(CharterError, match=r"initial\.safetensors: its digest is"):
        approved.load(charter.digest)
    path.unlink()
    with pytest.raises(CharterError, match=r"initial\.safetensors: no such file"):
        approved.load(charter.digest)


def test_a_charter_that_is_not_valid_is_not_kept(
    approved: ApprovedCharters, source: Path, tmp_path: Path
) -> None:
    dear = terms().model_copy(
        update={"training": TrainingTerms(rounds=200, local_steps=2, learning_rate=0.5)}
    )
    charters.save(source, dear, INITIAL, COORDINATOR)
    with pytest.raises(CharterError, match="cost"):
        approve(approved, source)
    assert not (tmp_path / "charters").exists()


@given(st.text(max_size=80) | st.text("./\\%0af", min_size=64, max_size=71))
def test_no_text_leads_out_of_the_folder(digest: str) -> None:
    approved = charters_of(Path("/nowhere/charters"))
    with pytest.raises(CharterError):
        approved.load(digest)


def test_a_digest_that_is_a_path_is_no_digest(
    approved: ApprovedCharters, source: Path, tmp_path: Path
) -> None:
    path = "sha256:" + str(source)
    with pytest.raises(CharterError, match="no charter's digest"):
        approved.load(path)
    with pytest.raises(CharterError, match="no charter's digest"):
        approved.load("sha256:" + "../" * 21 + "x")


def test_a_charter_that_is_only_kept_is_not_approved(
    approved: ApprovedCharters, source: Path
) -> None:
    charter = approved.keep(source)
    assert approved.decision(charter.digest) is None
    assert approved.read(charter.digest)[0] == charter
    with pytest.raises(CharterError, match="no decision was made"):
        approved.load(charter.digest)
    assert approved.known == [charter.digest]


@pytest.mark.parametrize(("choice", "said"), [("refuse", "refuse"), ("withdraw", "withdraw")])
def test_the_last_decision_counts(
    approved: ApprovedCharters, source: Path, choice: Choice, said: str
) -> None:
    charter = approve(approved, source)
    decide(approved, charter, choice)
    with pytest.raises(CharterError, match=f"the site chose to {said}"):
        approved.load(charter.digest)
    decide(approved, charter, "approve")
    assert approved.load(charter.digest)[0] == charter
    last = approved.decision(charter.digest)
    assert last is not None
    assert (last.number, last.at) == (3, "2026-11-24T12:00:00+00:00")


def forged(charter: Charter, changes: dict[str, object]) -> dict[str, object]:
    return {
        "charter": charter.digest,
        "site": "north",
        "choice": "approve",
        "number": 1,
        "at": "2026-11-24T12:00:00+00:00",
        "people": [],
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "signer", "said"),
    [
        ({}, "south", "not signed by north"),
        ({"site": "south"}, "north", "it is by south, not by north"),
        ({"charter": "sha256:" + "0" * 64}, "north", "it is about charter sha256:000"),
        ({"choice": "maybe"}, "north", "choice: Input should be"),
        ({"number": 0}, "north", "number: "),
        ({"at": 3}, "north", "at: "),
        ({"note": "please"}, "north", "note: Extra inputs"),
        ({"people": ["Anna B."]}, "north", r"people\.0: "),
    ],
)
def test_a_decision_that_is_not_this_sites_is_refused(
    approved: ApprovedCharters,
    source: Path,
    tmp_path: Path,
    changes: dict[str, object],
    signer: str,
    said: str,
) -> None:
    charter = approved.keep(source)
    statement = statements.sign(Decision.KIND, forged(charter, changes), key_of(signer))
    (kept(tmp_path, charter) / "decision-0001.json").write_bytes(statement.encode())
    with pytest.raises(StatementError, match=said):
        approved.load(charter.digest)


def test_an_approval_of_another_charter_cannot_be_replayed(
    approved: ApprovedCharters, source: Path, tmp_path: Path
) -> None:
    charter = approve(approved, source)
    charters.save(source, terms("another"), INITIAL, COORDINATOR)
    other = approved.keep(source)
    replayed = (kept(tmp_path, charter) / "decision-0001.json").read_bytes()
    (kept(tmp_path, other) / "decision-0001.json").write_bytes(replayed)
    with pytest.raises(StatementError, match=f"about charter {charter.digest}, not {other.digest}"):
        approved.load(other.digest)


def test_a_coordinator_takes_an_approval_of_a_participant_alone(
    approved: ApprovedCharters, source: Path
) -> None:
    charter = approve(approved, source)
    data = approved.decision_bytes(charter.digest)
    assert data is not None
    assert isinstance(check_approved(data, charter, "north", "reply"), Decision)
    with pytest.raises(CharterError, match="west is not among the participants"):
        check_approved(data, charter, "west", "reply")
    decide(approved, charter, "withdraw")
    withdrawn = approved.decision_bytes(charter.digest)
    assert withdrawn is not None
    with pytest.raises(StatementError, match="north decided to withdraw diagnoses"):
        check_approved(withdrawn, charter, "north", "reply")

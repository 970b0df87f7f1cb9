"""Approved charters: a site runs the very terms its people approved, and no others."""

from pathlib import Path

import pytest
import torch
from conftest import small_charter
from hypothesis import given
from hypothesis import strategies as st

from fedward_client.charters import ApprovedCharters
from fedward_shared import charter as charters
from fedward_shared import tensors
from fedward_shared.charter import CHARTER_FILE, INITIAL_FILE, Charter, PrivacyTerms, TrainingTerms
from fedward_shared.errors import CharterError, RefusalCode

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
    charters.save(tmp_path / "sent", terms(), INITIAL)
    return tmp_path / "sent"


@pytest.fixture
def approved(tmp_path: Path) -> ApprovedCharters:
    return ApprovedCharters(tmp_path / "charters")


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def kept(tmp_path: Path, charter: Charter) -> Path:
    """Where the site keeps its copy."""
    return tmp_path / "charters" / charter.digest.removeprefix("sha256:")


def test_what_was_approved_is_what_is_loaded(approved: ApprovedCharters, source: Path) -> None:
    charter = approved.approve(source)
    assert charter == terms()
    loaded, initial = approved.load(charter.digest)
    assert loaded == charter
    assert torch.equal(initial["head.weight"], INITIAL["head.weight"])


def test_the_copy_does_not_follow_its_source(approved: ApprovedCharters, source: Path) -> None:
    charter = approved.approve(source)
    charters.save(source, terms("another"), INITIAL)
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
    first = approved.approve(source)
    before = files(tmp_path / "charters")
    assert approved.approve(source) == first
    assert files(tmp_path / "charters") == before
    assert len(before) == 2


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("epsilon = 2.0", "epsilon = 3.0", "has changed"),
        ("clipping_norm = 1.0", "clipping_norm = 100.0", "has changed"),
        ("local_steps = 2", "local_steps = 1", "has changed"),
        ("noise_multiplier = 6.0", "noise_multiplier = 0.6", "cost"),
        ("noise_multiplier = 6.0", "noise_multiplier = -6.0", "noise_multiplier"),
        ("epsilon = 2.0", "epsilon = ", "not a TOML file"),
    ],
)
def test_a_tampered_charter_is_refused(
    approved: ApprovedCharters, source: Path, tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    charter = approved.approve(source)
    path = kept(tmp_path, charter) / CHARTER_FILE
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(CharterError, match=complaint):
        approved.load(charter.digest)


def test_another_approved_charter_in_its_place_is_refused(
    approved: ApprovedCharters, source: Path, tmp_path: Path
) -> None:
    charter = approved.approve(source)
    charters.save(source, terms("another"), INITIAL)
    other = approved.approve(source)
    stolen = (kept(tmp_path, other) / CHARTER_FILE).read_bytes()
    (kept(tmp_path, charter) / CHARTER_FILE).write_bytes(stolen)
    with pytest.raises(CharterError, match="the copy of the charter has changed"):
        approved.load(charter.digest)


def test_tampered_or_missing_initial_tensors_are_refused(
    approved: ApprovedCharters, source: Path, tmp_path: Path
) -> None:
    charter = approved.approve(source)
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
    path = source / CHARTER_FILE
    path.write_text(path.read_text("utf-8").replace("rounds = 2", "rounds = 200"), "utf-8")
    with pytest.raises(CharterError, match="cost"):
        approved.approve(source)
    assert not (tmp_path / "charters").exists()


@given(st.text(max_size=80) | st.text("./\\%0af", min_size=64, max_size=71))
def test_no_text_leads_out_of_the_folder(digest: str) -> None:
    approved = ApprovedCharters(Path("/nowhere/charters"))
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

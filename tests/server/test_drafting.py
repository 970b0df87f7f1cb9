"""From a draft to what sites get: typed as a coordinator would."""

import tomllib
from pathlib import Path

import pytest
import torch
from conftest import LABELS, key_of, small_charter, texts
from typer.testing import CliRunner

from fedward_server.cli import coordinator, study
from fedward_server.drafting import check_masks
from fedward_shared import base_models, records, tensors
from fedward_shared import charter as charters
from fedward_shared.charter_terms import AggregationTerms, Participant, SecureAggregationTerms
from fedward_shared.errors import CharterError, FedwardError, PrivacyError, UsageError

SITES = [f"{name}=100={key_of(name).public.text}" for name in ("north", "south")]


def run(app: object, *arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])  # type: ignore[arg-type]
    if isinstance(result.exception, FedwardError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def key(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    address = "fl.university.example:8443"
    said = run(coordinator, "init", "--name", "university", "--address", address, "--home", home)
    assert "fingerprint, to compare by telephone: " in said
    return home / "coordinator.key"


def draft(folder: Path, key: Path, model: Path, *options: object) -> str:
    sites = [part for site in SITES for part in ("--participant", site)]
    given = ["--study", "fractures", "--coordinator", "university", "--key", key, *sites]
    more = ["--base-model", model, "--labels", ",".join(LABELS), *options]
    return run(study, "draft", folder, *given, *more)


def filled(folder: Path) -> None:
    """What a person adds to the draft."""
    path = folder / "charter.toml"
    text = path.read_text("utf-8")
    text = text.replace('purpose = ""', 'purpose = "Tell fractures from infarctions"')
    path.write_text(text.replace('legal_basis = ""', 'legal_basis = "Vote 2026-117"'), "utf-8")


def test_a_draft_that_was_filled_in_is_signed(
    tmp_path: Path, key: Path, tiny_bert_folder: Path
) -> None:
    folder = tmp_path / "study"
    said = draft(folder, key, tiny_bert_folder, "--expires", "2030-06-30", "--rounds", "3")
    assert "noise multiplier" in said
    with pytest.raises(CharterError, match=r"charter\.toml: purpose: .*; legal_basis: "):
        run(study, "sign", folder)
    assert not (folder / "charter.json").exists()
    filled(folder)
    assert "signed fractures (sha256:" in run(study, "sign", folder)
    charter, initial = charters.load(folder)
    assert charter.base_model.digest == base_models.digest(tiny_bert_folder)
    assert str(charter.expires) == "2030-06-30"
    assert [p.name for p in charter.participants] == ["north", "south"]
    assert charter.adapter.layers == (1,)
    assert "head.weight" in initial
    charter.check_privacy()


def test_the_epsilon_pays_for_a_round_more_than_is_planned(
    tmp_path: Path, key: Path, tiny_bert_folder: Path
) -> None:
    folder = tmp_path / "study"
    draft(folder, key, tiny_bert_folder, "--rounds", "3", "--epsilon", "2")
    filled(folder)
    path = folder / "charter.toml"
    text = path.read_text("utf-8")
    path.write_text(text.replace("rounds = 3", "rounds = 4"), "utf-8")
    run(study, "sign", folder)
    path.write_text(text.replace("\nrounds = 3", "\nrounds = 5"), "utf-8")
    with pytest.raises(CharterError, match=r"privacy\.epsilon is 2\.0, but 5 rounds"):
        run(study, "sign", folder)


def test_noise_that_does_not_fit_under_the_masks_is_refused_before_it_is_signed() -> None:
    initial = {"head.weight": torch.zeros(2, 3), "head.bias": torch.zeros(2)}
    charter = small_charter(
        tensors.digest(initial),
        secure_aggregation=SecureAggregationTerms(precision=16, noise="distributed"),
        aggregation=AggregationTerms(minimum_cohort=3),
        participants=tuple(
            Participant(name=name, records=100, key=key_of(name).public.text)
            for name in ("east", "north", "south")
        ),
    )
    check_masks(charter, initial)
    few = SecureAggregationTerms(precision=6, noise="distributed")
    with pytest.raises(PrivacyError, match="take more bits"):
        check_masks(charter.model_copy(update={"secure_aggregation": few}), initial)


def test_public_text_gives_statistics_directions_and_names(
    tmp_path: Path, key: Path, tiny_bert_folder: Path
) -> None:
    plain, aimed = tmp_path / "plain", tmp_path / "aimed"
    for folder in (plain, aimed):
        draft(folder, key, tiny_bert_folder)
        filled(folder)
    records.write_jsonl(aimed / "public.jsonl", {"text": texts(30)["text"]})
    path = aimed / "study.toml"
    text = path.read_text("utf-8").replace('# public = "public.jsonl"', 'public = "public.jsonl"')
    text = text.replace("aimed = false", "aimed = true").replace(
        "name_length = 0.0", "name_length = 4.0"
    )
    path.write_text(text, "utf-8")
    found = []
    for folder in (plain, aimed):
        path = folder / "charter.toml"
        path.write_text(path.read_text("utf-8").replace("rank = 32", "rank = 4"), "utf-8")
        run(study, "sign", folder)
        found.append(tensors.from_arrays(charters.load(folder)[1]))
    assert float(found[0]["head.weight"].norm()) == 0
    assert float(found[1]["head.weight"][0].norm()) == pytest.approx(4.0, rel=1e-5)
    assert not any(
        found[0][name].equal(found[1][name]) for name in found[0] if name.endswith("mean")
    )


def test_a_draft_for_entities(tmp_path: Path, key: Path, tiny_bert_folder: Path) -> None:
    """Its public text gives statistics of tokens; there are no names of tags to start at."""
    folder = tmp_path / "study"
    draft(folder, key, tiny_bert_folder, "--task", "token-classification")
    filled(folder)
    records.write_jsonl(folder / "public.jsonl", {"text": texts(30)["text"]})
    path, terms = folder / "study.toml", folder / "charter.toml"
    text = path.read_text("utf-8").replace('# public = "public.jsonl"', 'public = "public.jsonl"')
    terms.write_text(terms.read_text("utf-8").replace("rank = 32", "rank = 4"), "utf-8")
    path.write_text(text.replace("name_length = 0.0", "name_length = 4.0"), "utf-8")
    with pytest.raises(
        UsageError, match=r"study\.toml: start\.name_length: tags of tokens have no"
    ):
        run(study, "sign", folder)
    path.write_text(text, "utf-8")
    run(study, "sign", folder)
    charter, initial = charters.load(folder)
    assert charter.task.kind == "token-classification"
    assert initial["head.weight"].shape == (1 + 2 * len(LABELS), 32)
    assert initial["head.mean"].any()


def test_nothing_is_written_over(tmp_path: Path, key: Path, tiny_bert_folder: Path) -> None:
    folder = tmp_path / "study"
    draft(folder, key, tiny_bert_folder)
    before = (folder / "charter.toml").read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        draft(folder, key, tiny_bert_folder)
    assert (folder / "charter.toml").read_bytes() == before
    assert tomllib.loads(before.decode())["participants"][1]["name"] == "south"


@pytest.mark.parametrize(
    "text", ["north", "north=100", "North=100=" + key_of("n").public.text, "north=0=ed25519:", "=="]
)
def test_a_participant_that_cannot_be_is_named(
    text: str, tmp_path: Path, key: Path, tiny_bert_folder: Path
) -> None:
    with pytest.raises(UsageError, match="--participant"):
        draft(tmp_path / "study", key, tiny_bert_folder, "--participant", text)
    assert not (tmp_path / "study").exists()


def test_what_follows_for_the_masks_is_said_when_they_are_signed(
    tmp_path: Path, key: Path, tiny_bert_folder: Path
) -> None:
    folder = tmp_path / "study"
    more = [f"{name}=100={key_of(name).public.text}" for name in ("east", "west")]
    given = [part for site in more for part in ("--participant", site)]
    draft(folder, key, tiny_bert_folder, *given)
    filled(folder)
    path = folder / "charter.toml"
    text = path.read_text("utf-8").replace("# [secure_aggregation]", "[secure_aggregation]")
    path.write_text(text, "utf-8")
    with pytest.raises(CharterError, match="a minimum of 2 survivors of 4 parties, 1 of them"):
        run(study, "sign", folder)
    path.write_text(text.replace("minimum_cohort = 2", "minimum_cohort = 3"), "utf-8")
    said = run(study, "sign", folder)
    assert "masked: sums over 3 of 4 sites or more, 1 of which may work with you" in said
    charter, _ = charters.load(folder)
    head, adapter = charter.coordinate_bounds(17)
    assert f"from round 17 on, coordinates are cut off at ±{head:.3g} (head)" in said
    assert f"±{adapter:.3g} (adapters)" in said

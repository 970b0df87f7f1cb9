"""From the parties' tables to what they approve: typed as a coordinator would."""

import tomllib
from pathlib import Path

import pytest
from conftest import COORDINATOR, key_of
from server.test_drafting import filled, run

from fedward_server.cli import study
from fedward_shared import sessions as charters
from fedward_shared.charter_terms import WITHOUT_DP
from fedward_shared.errors import CharterError, IdentityError, UsageError
from fedward_shared.privacy import accountant
from fedward_shared.vertical.columns import TableTerms
from fedward_shared.vertical.terms import EveryBatchTerms, OnceTerms

BANK = """
[[columns]]
kind = "number"
name = "income"
most = 500000
scale = "log"

[[columns]]
kind = "date"
name = "opened"
first = 1990-01-01
last = 2030-01-01
"""
BUREAU = """
pieces = 4
[[columns]]
kind = "category"
name = "housing"
values = ["rent", "own", "mort\\"gage Ω"]
"""
RECORDS = {"bank": 9050, "bureau": 8000}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The coordinator's, beside the tables that the parties have sent."""
    (tmp_path / "bank.toml").write_text(BANK)
    (tmp_path / "bureau.toml").write_text(BUREAU)
    COORDINATOR.save(tmp_path / "coordinator.key")
    return tmp_path / "coordinator.key"


def draft(key: Path, *options: object, tables: tuple[str, ...] = ("bank", "bureau")) -> Path:
    folder = key.parent / "study"
    given: list[object] = ["--study", "credit", "--coordinator", "university", "--key", key]
    for name, records in RECORDS.items():
        given += ["--participant", f"{name}={records}={key_of(name).public.text}"]
    for name in tables:
        given += ["--table", f"{name}={key.parent / name}.toml"]
    if "--label" not in options:
        given += ["--label", "default"]
    if "--rule" not in options:
        given += ["--rule", "number"]
    run(study, "draft-vertical", folder, "--active", "bank", *given, *options)
    return folder


TEXTS = """
[[columns]]
kind = "text"
name = "note"
base_model = { digest = "sha256:%s" }
adapter = { method = "lora", rank = 4, alpha = 1, target_modules = ["query"], layers = [5] }

[[columns]]
kind = "image"
name = "scan"
height = 64
width = 64
""" % ("a" * 64)


def test_classes_texts_and_images_are_as_the_parties_have_said(key: Path) -> None:
    (key.parent / "bureau.toml").write_text(TEXTS)
    given = [text for name in ("home", "ward", "intensive care") for text in ("--class", name)]
    folder = draft(key, "--epsilon", 8, "--predictions", 2, *given)
    filled(folder)
    run(study, "sign", folder)
    terms = charters.load(folder).vertical
    assert terms.classes == ("home", "ward", "intensive care")
    assert isinstance(terms.privacy, OnceTerms)
    assert terms.privacy.cells == 3
    assert terms.passive[0].table == TableTerms.model_validate(tomllib.loads(TEXTS))


def test_a_draft_that_was_filled_in_is_signed(key: Path) -> None:
    folder = draft(key, "--epsilon", 8, "--rule", "name", "--rule", "date")
    with pytest.raises(CharterError, match=r"charter\.toml: purpose: .*; legal_basis: "):
        run(study, "sign", folder)
    assert not (folder / "charter.json").exists()
    filled(folder)
    said = run(study, "sign", folder)
    assert "signed credit (sha256:" in said
    assert "cost each party ε = 8 at most, at δ = 1e-05" in said
    assert said.endswith(f"send {folder / 'charter.json'} to the parties\n")
    charter = charters.load(folder)
    terms = charter.vertical
    assert terms.table == TableTerms.model_validate(
        {
            "columns": [
                {"kind": "number", "name": "income", "most": 500_000, "scale": "log"},
                {"kind": "date", "name": "opened", "first": "1990-01-01", "last": "2030-01-01"},
            ]
        }
    )
    assert terms.table_of("bureau").pieces == 4
    assert terms.table_of("bureau").columns[0].model_dump()["values"] == (
        "rent",
        "own",
        'mort"gage Ω',
    )
    assert isinstance(terms.privacy, OnceTerms)
    assert (terms.alignment.rules, terms.alignment.most) == (("name", "date"), 9050)
    assert "0 of 2 parties are done" in run(study, "status", folder)


def test_for_every_batch_the_noise_is_that_of_all_epochs(key: Path) -> None:
    folder = draft(key, "--epsilon", 50, "--every-batch")
    filled(folder)
    assert "leaves it for every batch" in run(study, "sign", folder)
    assert isinstance(charters.load(folder).vertical.privacy, EveryBatchTerms)
    path = folder / "charter.toml"
    path.write_text(path.read_text("utf-8").replace("epochs = 20", "epochs = 21"), "utf-8")
    with pytest.raises(CharterError, match=r"privacy\.epsilon is 50, the exchange costs"):
        run(study, "sign", folder)


def test_without_dp_it_says_so_in_plain_words(key: Path) -> None:
    folder = draft(key, "--without-dp")
    filled(folder)
    assert WITHOUT_DP in run(study, "sign", folder)
    charter = charters.load(folder)
    assert (charter.epsilon, charter.without_dp) == (None, WITHOUT_DP)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "say --epsilon"),
        (("--epsilon", 8, "--without-dp"), "say --epsilon"),
        (("--without-dp", "--every-batch"), "say --epsilon"),
        (("--without-dp", "--rule", "numbr"), "'numbr' is none of exact, text"),
        (("--without-dp", "--label", "income"), "income is the label"),
        (("--without-dp", "--table", "shop=x"), r"x: cannot be read"),
        (("--without-dp", "--table", "bank"), "NAME=FILE is expected"),
        (("--without-dp", "--active", "shop"), "--active is one of them"),
    ],
)
def test_what_cannot_be_is_named_and_nothing_is_written(
    key: Path, options: tuple[object, ...], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        draft(key, *options)
    assert not (key.parent / "study").exists()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "columns: Field required"),
        ("columns =", "not a TOML file"),
        (BUREAU.replace("values", "list"), r"columns\.0\.category\.values: Field required"),
    ],
)
def test_a_table_that_is_none_is_named(key: Path, table: str, said: str) -> None:
    (key.parent / "bureau.toml").write_text(table)
    with pytest.raises(UsageError, match=rf"bureau\.toml: .*{said}"):
        draft(key, "--without-dp")


def test_every_party_needs_a_table(key: Path) -> None:
    with pytest.raises(UsageError, match="participants are bank, bureau: each has a --table"):
        draft(key, "--without-dp", tables=("bank",))


def test_nothing_is_written_over(key: Path) -> None:
    folder = draft(key, "--without-dp")
    before = (folder / "charter.toml").read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        draft(key, "--epsilon", 1)
    assert (folder / "charter.toml").read_bytes() == before


def test_another_key_than_the_charters_signs_nothing(key: Path) -> None:
    folder = draft(key, "--without-dp")
    filled(folder)
    key.unlink()
    with pytest.raises(IdentityError):
        run(study, "sign", folder)
    key_of("bank").save(key)
    with pytest.raises(CharterError, match=r"coordinator\.key"):
        run(study, "sign", folder)
    text = (folder / "charter.toml").read_text("utf-8")
    (folder / "charter.toml").write_text(text.replace('["number"]', '["numbr"]'), "utf-8")
    with pytest.raises(CharterError, match="'numbr' is none of"):
        run(study, "sign", folder)
    assert not (folder / "charter.json").exists()


@pytest.mark.parametrize("how", [(), ("--every-batch",)])
def test_predictions_are_in_the_epsilon_of_a_draft(key: Path, how: tuple[str, ...]) -> None:
    folder = draft(key, "--epsilon", 8, "--predictions", 20, *how)
    filled(folder)
    assert "the training and 20 predictions cost each party ε = 8" in run(study, "sign", folder)
    charter = charters.load(folder)
    assert charter.vertical.predictions == 20
    for site in ("bank", "bureau"):
        cost = accountant.epsilon(charter.events(site), charter.delta)
        assert 0.98 * 8 < cost <= 8 or (site == "bank" and how)
    assert len(charter.events("bureau")) == (1 if how else 3) + 20
    assert len(charter.events("bank")) == 1

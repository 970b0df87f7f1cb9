"""The scenario with a bank and a bureau, on a small table of the same kind."""

from dataclasses import replace

import polars as pl
import pytest
from typer.testing import CliRunner

from fedward_shared.result import load
from fedward_shared.vertical.terms import FittingTerms
from fedward_simulations.cli import simulate
from fedward_simulations.data import census, halves, loans
from fedward_simulations.scenarios import bank_bureau

EPSILONS = {
    "federated-dp-1": 1.0,
    "federated-dp-3": 3.0,
    "federated-dp": 8.0,
    "every-batch-dp-8": 8.0,
}
LEAKS = {"grade", "sub_grade", "interest_rate", "installment", "loan_status", "balance"}


@pytest.fixture
def small(monkeypatch):
    """The loans' first thousand people."""

    def few(whole, *rest):
        return halves.halves(whole.head(1000), *rest)

    monkeypatch.setattr(loans, "halves", few)
    source = replace(bank_bureau.SOURCES["loans"], fitting=FittingTerms(epochs=2))
    monkeypatch.setitem(bank_bureau.SOURCES, "loans", source)


def run(folder, *options):
    found = CliRunner().invoke(simulate, ["bank-bureau", "--out", str(folder), *options])
    assert found.exit_code == 0, found.output
    return load(folder / "result.json"), found.output


def test_every_row_is_measured_and_each_ledger_holds(small, tmp_path):
    result, output = run(tmp_path / "a")
    assert [row.name for row in result.rows] == [
        "federated",
        "federated-dp-1",
        "federated-dp-3",
        "federated-dp",
        "every-batch-dp-8",
        "alone",
        "bank-network",
        "bureau-xgboost",
        "joint-logistic",
        "joint-network",
        "joint-xgboost",
    ]
    for row in result.rows:
        assert 0.3 < row.metrics["auc"] < 1
        assert f"{row.label}: AUC" in output
        if row.name in EPSILONS:
            assert row.epsilon == pytest.approx(EPSILONS[row.name], rel=0.01)
            assert row.epsilon <= EPSILONS[row.name]
        else:
            assert row.epsilon is None
            assert not row.private
    assert "Vertical with DP reaches AUC" in output
    assert "a site alone; giving up privacy would" in output
    common = result.settings["people in common"]
    assert 700 < common < 900
    assert result.settings["people of the bank"] == 900
    assert (tmp_path / "a" / "report.html").is_file()
    sizes = {site.name: site.bytes_up for site in result.sites}
    # Of both parties' points three lists go over, of 32 bytes each, padded to the next thousand.
    assert sizes["bureau"] > 2 * 32_000
    assert sizes["bank"] > 32_000


def test_all_studies_of_a_seed_hold_the_same_people_out(small, tmp_path):
    options = bank_bureau.Options(tmp_path)
    scenario = bank_bureau.Scenario(options)
    for _, step in list(scenario.steps())[:5]:
        step()
    held = [outcome.active.held_out.tolist() for outcome in scenario.table.outcomes.values()]
    assert len(held) == 5
    assert all(rows == held[0] for rows in held)


def test_the_same_seed_gives_the_same_figures_and_another_one_others(small, tmp_path):
    def figures(folder, *options):
        result, _ = run(folder, *options)
        return {row.name: row.metrics["auc"] for row in result.rows}

    first = figures(tmp_path / "a")
    assert figures(tmp_path / "b") == first
    assert figures(tmp_path / "c", "--seed", "1") != first


def test_data_that_is_not_known_is_refused(tmp_path):
    found = CliRunner().invoke(simulate, ["bank-bureau", "--out", str(tmp_path), "--data", "x"])
    assert "none of loans, census" in str(found.exception)


@pytest.mark.parametrize("source", [loans, census])
def test_each_column_is_with_one_party_and_none_says_the_label(source):
    def name(column):
        return column if isinstance(column, str) else column.name

    bank, bureau = ({name(column) for column in part} for part in (source.BANK, source.BUREAU))
    assert not bank & bureau
    assert source.LABEL not in bank | bureau
    assert not (bank | bureau) & (LEAKS | {"income", "weight"})


def test_the_two_ways_of_writing_an_id_are_the_same_person():
    from fedward_shared.psi.identifiers import normalised

    whole = pl.DataFrame({"x": [str(n) for n in range(50)], "y": ["0", "1"] * 25})
    both = halves.halves(whole, ["x"], ["x"], "y", 0)
    active, passive = (
        dict(
            zip(
                normalised([half.records[halves.IDENTIFIER].to_list()], [halves.RULE]),
                half.records["x"].to_list(),
                strict=True,
            )
        )
        for half in (both.active, both.passive)
    )
    common = active.keys() & passive.keys()
    assert len(common) >= 40
    assert all(active[who] == passive[who] for who in common)
    assert both.active.records["x"].to_list() != both.passive.records["x"].to_list()

"""A search whose trials are trainings, from a configuration to the one that is best."""

import json
import os
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fedward_server.commands.pretrain import pretrain
from fedward_server.pretraining import configuration, running, tuning
from fedward_server.pretraining.configuration import Pretraining
from fedward_server.pretraining.monitoring import diary
from fedward_shared.errors import Interrupted, UsageError
from fedward_shared.searching import search

QUIET = Console(quiet=True)
RATE = {"low": 1e-5, "high": 1e-1, "log": True}
PARAMETERS = {"schedule.rate": RATE, "model.layers": {"values": [1, 2]}}
TEXT = """\
preset = "tiny-llama"
seed = 3
[model]
hidden = 32
heads = 2
kv_heads = 1
intermediate = 32
context = 16
[tokenizer]
merges = 30
[[sources]]
name = "notes"
paths = ["notes.txt"]
format = "lines"
language = "en"
[filters]
duplicates = 0.99
[schedule]
steps = 4
batch = 4
warm_up = 1
evaluate_every = 1
save_every = 1
[parallel]
precision = "fp32"
[search]
trials = 3
startup = 2
[search.parameters]
"schedule.rate" = { low = 1e-5, high = 1e-1, log = true }
"model.layers" = { values = [1, 2] }
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    parts, kinds = ("heart", "lung", "liver", "skin", "eye", "ear"), ("acute", "old", "mild", "new")
    notes = (
        f"{kind} pain of the {part}, seen {day} days"
        for part in parts
        for kind in kinds
        for day in range(9)
    )
    (tmp_path / "notes.txt").write_text("\n".join(notes), "utf-8")
    (tmp_path / "a.toml").write_text(TEXT, "utf-8")
    return tmp_path


def terms(root: Path, **searched: Any) -> Pretraining:
    read = configuration.read(root / "a.toml")
    asked = {"trials": 3, "startup": 2, "parameters": PARAMETERS} | searched
    return Pretraining.model_validate(read.model_dump() | {"search": asked})


def losses(folder: Path) -> dict[int, float]:
    """After each step that was evaluated."""
    found = diary.read(folder / diary.FILE).evaluations
    return {report.step: report.losses["notes"] for report in found}


def trials(folder: Path, terms: Pretraining) -> list[Any]:
    with closing(search.opened(folder, terms.search, terms.seed)) as found:
        return found.all()


def test_the_command_prints_the_configuration_that_trains_to_the_least_loss(root: Path) -> None:
    told = CliRunner().invoke(pretrain, ["search", str(root / "a.toml"), "--trials", "2"])
    assert told.exit_code == 0, told.output
    folder = root / "a-search"
    done = trials(folder, terms(root))
    assert len(done) == 2
    best = min((t for t in done if t.state.name == "COMPLETE"), key=lambda t: t.value)
    assert (
        f"# Trial {best.number} has the least loss, {best.value:.4f}: model.layers = "
        in told.stdout
    )
    (root / "best.toml").write_text(told.stdout, "utf-8")
    winner = configuration.read(root / "best.toml")
    assert winner == terms(root).having(best.params)
    assert (winner.schedule.rate, winner.search) == (best.params["schedule.rate"], None)
    # Trained by itself it comes to the same loss, to the last bit.
    running.run(winner, root, root / "best", QUIET)
    assert losses(root / "best")[4] == best.value
    assert "Loss over schedule.rate" in (folder / "search.html").read_text("utf-8")
    assert [p.name for p in sorted((folder / "trials").iterdir())] == ["0000", "0001"]
    assert list(folder.glob("trials/*/checkpoints")) == []
    assert list(folder.glob("trials/*/corpus")) == []


def test_a_trial_that_is_worse_than_others_is_stopped_on_the_way(root: Path) -> None:
    rates = {"schedule.rate": {"values": [0.03, 1e-7]}}
    asked = terms(root, parameters=rates, sampler="random", startup=1, trials=4)
    tuning.tune(asked, root, root / "run", QUIET)
    done = trials(root / "run", asked)
    slow = [t for t in done if t.params["schedule.rate"] == 1e-7 and t.number > 1]
    assert slow
    assert {t.state.name for t in slow} == {"PRUNED"}
    for trial in slow:
        assert max(losses(root / "run" / "trials" / f"{trial.number:04}")) < 4


def test_one_that_was_interrupted_goes_on_where_it_was(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = terms(root, trials=1)
    undisturbed = tuning.tune(asked, root, root / "whole", QUIET)
    mean, seen = tuning._Trial._mean, []

    def interrupting(self: Any, report: Any) -> float:
        seen.append(report.step)
        if len(seen) in (1, 2, 3):
            os.kill(os.getpid(), signal.SIGINT)
        return mean(self, report)

    monkeypatch.setattr(tuning._Trial, "_mean", interrupting)
    for _ in range(3):  # as often as a trial may die
        with pytest.raises(Interrupted):
            tuning.tune(asked, root, root / "parts", QUIET)
    again = tuning.tune(asked, root, root / "parts", QUIET)
    assert seen == [1, 2, 3, 4]  # no step was taken twice
    whole, parts = (losses(root / name / "trials" / "0000") for name in ("whole", "parts"))
    assert whole == parts
    assert undisturbed.splitlines()[3:] == again.splitlines()[3:]


def test_two_processes_share_the_trials(root: Path) -> None:
    asked = terms(root, trials=4, pruner="none")
    child = os.fork()
    if child == 0:
        try:
            tuning.tune(asked, root, root / "run", QUIET)
            os._exit(0)
        finally:
            os._exit(1)
    tuning.tune(asked, root, root / "run", QUIET)
    assert os.waitpid(child, 0)[1] == 0
    done = trials(root / "run", asked)
    assert [t.state.name for t in done] == ["COMPLETE"] * 4
    assert len({json.dumps(t.params) for t in done}) == 4


def test_sizes_that_cannot_be_together_end_their_trial_alone(root: Path) -> None:
    parameters = PARAMETERS | {"model.heads": {"values": [2, 3]}}
    asked = terms(root, parameters=parameters, sampler="random", pruner="none", trials=3)
    told = tuning.tune(asked, root, root / "run", QUIET)
    states = {t.params["model.heads"]: t.state.name for t in trials(root / "run", asked)}
    assert states == {2: "COMPLETE", 3: "PRUNED"}
    assert "heads = 2" in told


@pytest.mark.parametrize(
    ("name", "asked", "says"),
    [
        ("schedule.speed", RATE, "'schedule.speed' is no setting of this configuration"),
        ("rate", RATE, "'rate' is no setting"),
        ("model", RATE, "'model' is no setting"),
        ("model.experts.count", {"values": [2, 4]}, "'model.experts.count' is no setting"),
        ("tokenizer.merges", {"values": [20, 30]}, "'tokenizer.merges': only sizes of"),
        ("objective.share", {"values": [0.1, 0.2]}, "'objective.share': only sizes of"),
        ("model.context", {"values": [16, 32]}, "'model.context': only sizes of"),
        (
            "schedule.rate",
            {"low": 0.1, "high": 2},
            "'schedule.rate' cannot be 2.0: Input should be less",
        ),
        ("schedule.batch", {"low": 4, "high": 8}, "'schedule.batch' cannot be 5.2"),
        (
            "schedule.micro_batch",
            {"values": ["most", "all"]},
            "'schedule.micro_batch' cannot be 'all'",
        ),
    ],
)
def test_what_cannot_be_searched_is_named(root: Path, name: str, asked: Any, says: str) -> None:
    given = ", ".join(f"{key} = {json.dumps(value)}" for key, value in asked.items())
    (root / "a.toml").write_text(
        f'{TEXT}"{name}" = {{ {given} }}\n'.replace(
            '"schedule.rate" = { low = 1e-5, high = 1e-1, log = true }\n', ""
        ),
        "utf-8",
    )
    with pytest.raises(UsageError, match=r"a\.toml: .*search\.parameters: ") as error:
        configuration.read(root / "a.toml")
    assert says in str(error.value)


def test_without_a_section_or_with_several_workers_nothing_begins(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = terms(root).model_copy(update={"search": None})
    with pytest.raises(UsageError, match=r"\[search\] is not in the configuration"):
        tuning.tune(none, root, root / "run", QUIET)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="start the same command several times"):
        tuning.tune(terms(root), root, root / "run", QUIET)
    assert not (root / "run").exists()

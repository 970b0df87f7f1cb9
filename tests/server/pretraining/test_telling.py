"""What a person is told before anything is trained."""

from pathlib import Path

from rich.console import Console
from server.pretraining.trained import configuration
from typer.testing import CliRunner

from fedward_server.commands.pretrain import pretrain
from fedward_server.pretraining import configuration as configurations
from fedward_server.pretraining import telling
from fedward_server.pretraining.fitting import run_of


def said(path: Path, *clusters: str) -> str:
    console = Console(width=80)
    with console.capture() as told:
        telling.plans(configurations.read(path), clusters, console)
    return told.get()


def test_a_cluster_shares_what_one_device_holds_alone(tmp_path: Path) -> None:
    terms = configurations.read(configuration(tmp_path))
    assert run_of(terms, 8).strategy == "fsdp2"
    assert run_of(terms, 1).strategy == "ddp"
    zero = terms.parallel.model_copy(update={"strategy": "deepspeed", "zero_stage": 1})
    assert run_of(terms.model_copy(update={"parallel": zero}), 4).strategy == "zero1"


def test_what_does_not_fit_is_told_with_what_would(tmp_path: Path) -> None:
    path = configuration(
        tmp_path, model={"hidden": 16_384, "heads": 128, "kv_heads": 8, "intermediate": 65_536}
    )
    told = said(path, "1xA100-40", "64xH200")
    assert "768 tokens in 6 steps" in told
    assert "1xA100-40 needs" in told
    assert "what would fit" in told
    assert "64xH200 needs" not in told
    assert "…" not in told  # nothing is cut off


def test_presets_are_told_whole_on_a_narrow_terminal() -> None:
    console = Console(width=80)
    with console.capture() as told:
        telling.presets(["8xA100-80"], console)
    assert "experts-deepseek" in told.get()
    assert "…" not in told.get()


def test_a_file_that_init_wrote_lacks_nothing_but_its_texts(tmp_path: Path) -> None:
    command, path = CliRunner(), tmp_path / "own.toml"
    assert command.invoke(pretrain, ["init", "tiny-bert", str(path)]).exit_code == 0
    text = path.read_text("utf-8").replace("paths = []", 'paths = ["titles.jsonl"]')
    path.write_text(text, "utf-8")
    assert configurations.read(path).model.family == "bert"
    told = command.invoke(pretrain, [str(path), "--dry-run", "--cluster", "4xH100"])
    assert told.exit_code == 0, told.output
    assert "4xH100" in told.output

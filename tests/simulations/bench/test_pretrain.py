"""The pretraining benchmark in small: equal losses, faults that are treated, and what is counted."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fedward_server.pretraining.corpus.objectives import IGNORED, Batch
from fedward_server.pretraining.monitoring import diary
from fedward_server.pretraining.monitoring.diary import Diary, Record
from fedward_server.pretraining.monitoring.figures import Machine
from fedward_server.pretraining.reports import StepReport
from fedward_simulations.bench import (
    pretrain_faults,
    pretrain_runs,
    pretrain_scaling,
    pretrain_speed,
    pretrain_texts,
)
from fedward_simulations.bench.pretrain_speed import OURS, PLAIN, TRAINER, apart

pytest.importorskip("simple_icd_10_cm")
SMALL = {"hidden": 32, "layers": 2, "heads": 2, "intermediate": 64, "context": 64}
SCHEDULE = {"steps": 8, "batch": 4, "micro_batch": 4, "rate": 1e-2, "warm_up": 2}
MERGES = 100


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both sources."""
    folder = tmp_path_factory.mktemp("texts")
    pretrain_texts.write_texts(folder, 150)
    return folder


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_both_peers_have_our_losses(texts: Path, family: str) -> None:
    found = pretrain_speed.measure(texts, SMALL | {"family": family}, SCHEDULE, MERGES)
    for peer in (TRAINER, PLAIN):
        assert apart(found[OURS]["losses"], found[peer]["losses"]) < 1e-5
        assert found[peer]["the clock"] > 0
    assert found["tokens"] == 4 * 64
    assert len(set(found[OURS]["losses"])) == 8  # it is trained, and not the same step again


def test_a_loss_that_is_no_number_is_told_with_its_cost(
    texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain_faults, "AT", 6)
    model = SMALL | {"family": "llama"}
    terms = pretrain_texts.content(model, SCHEDULE | {"save_every": 4}, MERGES)
    begun = pretrain_texts.begin(texts, "faulty", terms)
    found = pretrain_faults._not_a_number(begun)
    assert found["said"] == [
        "step 5: loss nan, gradient norm nan: not finite; back, 0.5 times the rate, other rows"
    ]
    assert (found["again"], found["steps"]) == (2, 8)
    assert found["seconds"] > 0
    assert "| fault | `step 5: loss nan" in pretrain_faults.told({"fault": found})


def test_mixed_up_labels_are_the_same_ones_elsewhere() -> None:
    tokens_BT = torch.arange(20).reshape(2, 10)
    labels_BT = tokens_BT.clone()
    labels_BT[:, ::3] = IGNORED
    mixed = pretrain_faults.mixed_up(Batch(tokens_BT, tokens_BT, tokens_BT, labels_BT)).labels
    assert torch.equal(mixed == IGNORED, labels_BT == IGNORED)
    assert torch.equal(mixed.flatten().sort().values, labels_BT.flatten().sort().values)
    assert not torch.equal(mixed, labels_BT)


def report(step: int, loss: float) -> StepReport:
    return StepReport(step, 4, loss, 1.0, 1e-3, 8, 64, 60, 8, 0.1, 0.0, 1)


def test_steps_that_differ_are_counted_on_courses_that_were_left_too() -> None:
    record = Record()
    for step, loss in [(0, 3.0), (1, 2.0), (2, 1.5), (1, 2.0), (2, 1.0)]:
        record.add(report(step, loss))
    assert pretrain_runs.differing(record, [3.0, 2.0, 1.0]) == 1  # 1.5, which was left
    assert pretrain_runs.differing(record, [3.0, 2.5, 1.0]) == 3
    assert pretrain_runs.differing(record, [3.0, 2.0, 1.0, 0.5]) == 2  # and one is missing


def test_a_pause_counts_where_something_was_treated(tmp_path: Path) -> None:
    path = tmp_path / diary.FILE
    with Diary(path, Machine(1, "cpu", 1.0, None)) as book:
        book.step(report(0, 3.0))
        book.step(report(1, 2.0))
    lines = path.read_text("utf-8").splitlines()

    def at(line: str, seconds: float) -> str:
        head, _, rest = line.partition('"at": ')
        return f'{head}"at": {seconds}, {rest.partition(", ")[2]}'

    path.write_text("".join(f"{at(line, 10.0 * n)}\n" for n, line in enumerate(lines)), "utf-8")
    assert pretrain_faults.cost(tmp_path)["seconds"] == 0
    again = [at(lines[0], 25.0), at(lines[2], 30.0)]  # another process, and step 1 once more
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in again)
    found: dict[str, Any] = pretrain_faults.cost(tmp_path, extra=("begun",))
    assert found["again"] == 1
    assert found["seconds"] == pytest.approx(0.1 + 10 - 0.1)


def test_a_damaged_checkpoint_differs_by_one_bit(tmp_path: Path) -> None:
    for step in (5, 10):
        (tmp_path / f"step-{step:09d}").mkdir()
        (tmp_path / f"step-{step:09d}" / "a.safetensors").write_bytes(bytes(9))
    (tmp_path / "step-000000015.part").mkdir()
    pretrain_runs._damage(tmp_path)
    newer = (tmp_path / "step-000000010" / "a.safetensors").read_bytes()
    assert sum(byte.bit_count() for byte in newer) == 1
    assert (tmp_path / "step-000000005" / "a.safetensors").read_bytes() == bytes(9)


def test_sparse_and_dense_have_as_many_parameters_for_a_token() -> None:
    wide = pretrain_scaling.DENSE["intermediate"]
    assert isinstance(wide, int)
    assert wide % pretrain_scaling.ACTIVE == 0
    assert min(pretrain_scaling.LENGTHS) > pretrain_scaling.WINDOW

"""Checkpoints that are whole or not there."""

import errno
import json
from pathlib import Path

import pytest
import torch

from fedward_server.pretraining.training.checkpoints import STATE, Checkpoints, Tensors
from fedward_shared.errors import StateError


def tensors(value: float) -> Tensors:
    return {"model.w": torch.full((3, 2), value), "adamw.w.step": torch.tensor(value)}


def kept(folder: Path, said: list[str] | None = None, keep: int = 3) -> Checkpoints:
    told = [] if said is None else said
    return Checkpoints(folder, keep, told.append)


def written(folder: Path, *steps: int, keep: int = 3) -> Checkpoints:
    made = kept(folder, keep=keep)
    for step in steps:
        made.write(step, tensors(float(step)), {"stream": {"step": step}, "rate": 0.1 * step})
    return made


def test_the_newest_is_read_as_it_was_written(tmp_path: Path) -> None:
    written(tmp_path, 5, 10)
    into = tensors(0)
    assert kept(tmp_path).read(into) == (10, {"stream": {"step": 10}, "rate": 1.0})
    assert torch.equal(into["model.w"], torch.full((3, 2), 10.0))
    assert into["adamw.w.step"] == 10


def test_none_is_there_at_first(tmp_path: Path) -> None:
    assert kept(tmp_path).read(tensors(0)) is None


def test_as_many_stay_as_are_to_be_kept(tmp_path: Path) -> None:
    assert written(tmp_path, *range(0, 50, 10), keep=2).steps() == [30, 40]


def spoilt(place: Path) -> None:
    (shard,) = place.glob("*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)


def cut(place: Path) -> None:
    (shard,) = place.glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-8])


def gone(place: Path) -> None:
    (shard,) = place.glob("*.safetensors")
    shard.unlink()


def nonsense(place: Path) -> None:
    (place / STATE).write_text("[]")


def no_state(place: Path) -> None:
    (place / STATE).unlink()


def of_another_step(place: Path) -> None:
    content = json.loads((place / STATE).read_text())
    (place / STATE).write_text(json.dumps(content | {"step": 4}))


@pytest.mark.parametrize("damage", [spoilt, cut, gone, nonsense, no_state, of_another_step])
def test_a_damaged_one_falls_back_to_the_one_before_and_says_so(
    tmp_path: Path, damage: object
) -> None:
    written(tmp_path, 5, 10)
    assert callable(damage)
    damage(tmp_path / "step-000000010")
    said: list[str] = []
    into = tensors(0)
    found = kept(tmp_path, said).read(into)
    assert found is not None
    assert found[0] == 5
    assert torch.equal(into["model.w"], torch.full((3, 2), 5.0))
    assert "step-000000010" in said[0]
    assert "going back to the checkpoint before it" in said[0]


def test_those_after_the_one_that_is_gone_back_to_are_removed(tmp_path: Path) -> None:
    made = written(tmp_path, 5, 10, 15)
    found = made.read(tensors(0), before=12)
    assert found is not None
    assert found[0] == 10
    assert made.steps() == [5, 10]


def test_a_full_disk_leaves_those_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = written(tmp_path, 5)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch.distributed.checkpoint.filesystem.os.fsync", full)
    with pytest.raises(StateError, match=r"No space left on device.*those of steps \[5\] are kept"):
        made.write(10, tensors(10), {})
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000005"]
    made.write(10, tensors(10), {})
    assert made.steps() == [5, 10]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    made = written(tmp_path, 5)
    (tmp_path / "step-000000010.part").mkdir()
    made.remove_parts()
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000005"]


def test_that_of_another_model_is_refused(tmp_path: Path) -> None:
    made = written(tmp_path, 5)
    with pytest.raises(StateError, match=r"is not of this model: .*b"):
        made.read({"b": torch.zeros(1)})
    with pytest.raises(StateError, match="is not of this model: Size mismatch"):
        made.read({"model.w": torch.zeros(3, 4)})

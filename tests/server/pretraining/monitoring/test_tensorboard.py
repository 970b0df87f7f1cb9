"""TensorBoard's own reader reads what was written."""

import resource
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from server.pretraining.monitoring.reported import MACHINE, evaluation, spike, step, tell

from fedward_server.pretraining.monitoring.tensorboard import TensorBoard
from fedward_shared.errors import MissingExtra


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def test_a_curve_after_a_kill_and_a_way_back_has_each_step_once(tmp_path: Path) -> None:
    with TensorBoard(tmp_path, MACHINE) as written:
        tell(written, range(27))
    with TensorBoard(tmp_path, MACHINE) as written:
        tell(written, range(20, 33))
        spike(written, 33, 30)
        tell(written, range(30, 40))
    found = read(tmp_path)
    losses = found.Scalars("training/loss")
    assert [event.step for event in losses] == list(range(40))
    assert [event.value for event in losses] == pytest.approx([step(n).loss for n in range(40)])
    held_out = found.Scalars("held_out_loss/中文")
    assert [event.step for event in held_out] == [9, 19, 29, 39]
    assert held_out[-1].value == pytest.approx(evaluation(40).losses["中文"])
    assert found.Scalars("device/mfu")[0].value == pytest.approx(MACHINE.mfu(step(0)))


def test_a_disk_that_is_full_fails_the_watcher_and_not_what_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # the writer's thread ends by it
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with TensorBoard(tmp_path, MACHINE) as written:
        written.step(step(0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                tell(written, range(1, 10_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_nothing_is_written_before_the_first_step(tmp_path: Path) -> None:
    with TensorBoard(tmp_path / "board", MACHINE) as written:
        written.checkpoint(0, 1.0)
        written.notice("begun")
    assert not (tmp_path / "board").exists()


def test_without_tensorboard_it_is_said_how_to_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtra, match=r"pip install 'fedward-server\[tensorboard\]'"):
        TensorBoard(tmp_path, MACHINE)

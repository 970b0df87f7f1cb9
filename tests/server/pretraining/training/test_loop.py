"""A step is a function of the checkpoint before it, whatever the workers and the micro-batches."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from patience import PATIENCE
from server.pretraining.training import small
from server.pretraining.training.small import Diary, llama, losses, training
from torch.nn import functional as F

from fedward_server.pretraining.corpus.feeding import Fed, Stalled
from fedward_server.pretraining.doctor import DoctorTerms, GoBack, NewLoader, Reweight, SaveMemory
from fedward_server.pretraining.losses import Losses
from fedward_server.pretraining.training.schedule import planned
from fedward_shared.errors import StateError


def ran(folder: Path, **how: Any) -> Diary:
    diary = Diary()
    training(folder, diary, **how).run()
    return diary


def test_it_is_the_training_that_a_plain_loop_does(tmp_path: Path) -> None:
    diary = Diary()
    made = training(tmp_path, diary)
    made.run()
    model, feed = llama(), small.SmallData(made._workers, 8).feed(None)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), weight_decay=0.01)
    for step in range(small.SCHEDULE.steps):
        ids_BT = feed.next().rows.ids_BT  # type: ignore[attr-defined]
        logits_BTV = model(input_ids=ids_BT).logits[:, :-1]
        loss = F.cross_entropy(logits_BTV.flatten(0, 1), ids_BT[:, 1:].flatten())
        for group in optimizer.param_groups:
            group["lr"] = planned(small.SCHEDULE, step)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        assert diary.steps[step].loss == pytest.approx(loss.item(), abs=1e-5)
        assert diary.steps[step].gradient_norm == pytest.approx(norm.item(), rel=1e-4)
    assert diary.kept == [0, 4, 8, 12]
    assert [report.step for report in diary.evaluations] == [6, 12]


@pytest.mark.parametrize("micro_batch", [1, 3, "most"])
def test_micro_batches_do_not_change_it(tmp_path: Path, micro_batch: Any) -> None:
    whole = ran(tmp_path / "whole").curve()
    cut = ran(tmp_path / "cut", micro_batch=micro_batch)
    assert cut.curve() == pytest.approx(whole, abs=1e-5)
    assert cut.steps[0].micro_batch == (8 if micro_batch == "most" else micro_batch)


@pytest.mark.parametrize("stopped", [1, 4, 7])
def test_one_that_is_resumed_goes_on_as_if_it_had_not_stopped(tmp_path: Path, stopped: int) -> None:
    class Killed(BaseException):
        pass

    class Fatal(Diary):
        def step(self, report: Any) -> None:
            super().step(report)
            if report.step == stopped:
                raise Killed

    whole = ran(tmp_path / "whole", dropout=0.1).curve()
    first, second = Fatal(), Diary()
    with pytest.raises(Killed):
        training(tmp_path / "parts", first, dropout=0.1).run()
    training(tmp_path / "parts", second, dropout=0.1).run()
    assert first.curve() | second.curve() == whole
    assert min(second.curve()) == stopped // 4 * 4


def on_workers(folder: Path, count: int, terms: dict[str, Any], schedule: dict[str, Any]) -> Any:
    """The same training by processes of torchrun over gloo; its curve."""
    out = folder / "curve.json"
    ours = [
        str(Path(small.__file__)),
        str(folder / "kept"),
        json.dumps(terms),
        json.dumps(schedule),
    ]
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command, *ours, str(out)],
        capture_output=True,
        env=environment,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return {int(step): loss for step, loss in json.loads(out.read_text()).items()}


COMPILED = pytest.mark.skipif(
    shutil.which("g++") is None, reason="DeepSpeed compiles a part of itself"
)


@pytest.mark.parametrize("strategy", ["fsdp2", "ddp", pytest.param("deepspeed", marks=COMPILED)])
def test_two_workers_have_the_curve_of_one_and_either_goes_on_with_the_other_s(
    tmp_path: Path, strategy: str
) -> None:
    terms = {"strategy": strategy, "precision": "fp32"}
    level = {"final": 1.0, "save_every": 100, "evaluate_every": 100}  # its length changes no rate
    one = ran(tmp_path / "one", **level).curve()
    parts = ran(tmp_path / "kept", steps=4, **level).curve()
    parts |= on_workers(tmp_path, 2, terms, {"steps": 8, "micro_batch": 2, **level})
    parts |= ran(tmp_path / "kept", **level).curve()
    assert parts == pytest.approx(one, abs=1e-4)


def test_a_loss_that_is_not_a_number_goes_back_and_takes_other_rows(tmp_path: Path) -> None:
    def poisoned(model: Any, rows: Any) -> Losses:
        found = losses(model, rows)
        spoilt = model.training and bool((rows.ids_BT == small.row("ones", 51)[None]).all(1).any())
        return found._replace(summed=found.summed * float("nan")) if spoilt else found

    diary = ran(tmp_path, losses=poisoned)
    ((step, treatment),) = diary.treatments
    assert step == 7  # row 51 is of step 6
    assert isinstance(treatment, GoBack)
    taken = [report.step for report in diary.steps]
    assert taken == [0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8, 9, 10, 11]
    assert diary.steps[7].rate < diary.steps[4].rate


def test_each_time_it_goes_back_it_is_slower(tmp_path: Path) -> None:
    left = [3, 3]  # the third step is spoilt, twice

    def poisoned(model: Any, rows: Any) -> Losses:
        found = losses(model, rows)
        if not model.training or not left:
            return found
        left[0] -= 1
        if left[0]:
            return found
        left.pop(0)
        return found._replace(summed=found.summed * float("nan"))

    at_once = DoctorTerms(warm_up=0)
    diary = ran(tmp_path, losses=poisoned, doctor=at_once, warm_up=0, final=1.0)
    assert [step for step, _ in diary.treatments] == [3, 3]
    rates = {report.rate for report in diary.steps[-4:]}
    assert rates == {0.25 * diary.steps[0].rate}


def test_it_does_not_begin_anew_where_no_checkpoint_is_whole(tmp_path: Path) -> None:
    ran(tmp_path, steps=4)
    for place in tmp_path.glob("step-*"):
        (place / "state.json").unlink()
    with pytest.raises(StateError, match=r"none of the checkpoints of steps \[0, 4\] is whole"):
        ran(tmp_path)


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_out_of_memory_recomputes_then_halves_and_the_curve_stays(
    tmp_path: Path, device: str
) -> None:
    def small_device(model: Any, rows: Any) -> Losses:
        if model.training and len(rows) > 2:
            if device == "cpu":
                torch.empty(2**46)  # which no machine has; a CPU says it in its own way
            raise torch.OutOfMemoryError("injected")
        return losses(model, rows)

    diary = ran(tmp_path / "small", losses=small_device)
    said = [treatment for _, treatment in diary.treatments]
    assert [t.micro_batch for t in said if isinstance(t, SaveMemory)] == [8, 4, 2]
    assert [t.recompute for t in said if isinstance(t, SaveMemory)] == [True] * 3
    assert {step for step, _ in diary.treatments} == {0}
    assert diary.curve() == pytest.approx(ran(tmp_path / "whole").curve(), abs=1e-5)


def test_another_error_than_that_of_memory_is_nobodys_to_treat(tmp_path: Path) -> None:
    def wrong(model: Any, rows: Any) -> Losses:
        if model.training:
            raise RuntimeError("shapes do not fit")
        return losses(model, rows)

    diary = Diary()
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        training(tmp_path, diary, losses=wrong).run()
    assert diary.treatments == []


def test_a_loader_that_stalls_is_replaced_from_the_same_place(tmp_path: Path) -> None:
    class Stalling(small.SmallData):
        stalls = 1

        def feed(self, state: Any) -> Any:
            return StallingFeed(self, super().feed(state))

    class StallingFeed:
        def __init__(self, data: Stalling, inner: Any) -> None:
            self.data, self.inner = data, inner

        def next(self) -> Fed[Any]:
            if self.inner.state["taken"] == 40 and self.data.stalls:
                self.data.stalls -= 1
                raise Stalled(300)
            fed: Fed[Any] = self.inner.next()
            return fed

        def close(self) -> None:
            pass

    diary, plain = Diary(), ran(tmp_path / "plain")
    made = training(tmp_path / "stalled", diary)
    made._data = Stalling(made._workers, 8)
    made.run()
    assert [type(treatment) for _, treatment in diary.treatments] == [NewLoader]
    assert diary.curve() == plain.curve()


def test_rows_of_a_starved_source_are_drawn_more(tmp_path: Path) -> None:
    how = {"steps": 160, "evaluate_every": 20, "save_every": 80}
    patient = DoctorTerms(window=200)
    diary = ran(tmp_path, doctor=patient, **how)
    reweighted = [(step, t) for step, t in diary.treatments if isinstance(t, Reweight)]
    assert reweighted, [report.losses for report in diary.evaluations]
    step, treatment = reweighted[0]
    assert treatment.weights["threes"] > 0.3
    before = next(r for r in diary.evaluations if r.step == step)
    assert diary.evaluations[-1].losses["threes"] < before.losses["threes"]


def test_it_ends_with_the_reason_when_nothing_helps(tmp_path: Path) -> None:
    def broken(model: Any, rows: Any) -> Losses:
        found = losses(model, rows)
        return found._replace(summed=found.summed * float("nan"))

    with pytest.raises(
        StateError, match=r"not finite.*6 treatments have not helped.*\[0\] are kept"
    ):
        ran(tmp_path, losses=broken)

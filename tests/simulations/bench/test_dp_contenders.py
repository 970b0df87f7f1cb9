"""What is measured beside each other does the same work."""

from pathlib import Path

import pytest
import torch

from fedward_shared.pretrained import load_encoder
from fedward_simulations.bench import dp_contenders as contenders
from fedward_simulations.bench.dp_contenders import HOOKS, OURS, Subject


@pytest.fixture(autouse=True)
def tiny(tiny_bert_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = ("query", "key", "value", "dense")
    subject = Subject("tiny", lambda: load_encoder(tiny_bert_folder), modules, 2)
    monkeypatch.setattr(contenders, "SUBJECTS", {"tiny": subject})
    monkeypatch.setattr(contenders, "BATCH_TOKENS", 24)
    monkeypatch.setattr(contenders, "TOKENS", range(5, 20))


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("name", contenders.CONTENDERS)
def test_each_step_moves_all_that_trains(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = contenders.Model

    def model(subject: Subject) -> contenders.Model:
        made.append(real(subject))
        return made[-1]

    monkeypatch.setattr(contenders, "Model", model)
    batch = contenders.batch_of(8)
    step = contenders.contender(name, "tiny", len(batch[1]))
    before = {n: p.detach().clone() for n, p in made[0].trained.items()}
    step(batch)
    assert len(before) == 2 * 2 * 6 + 2
    assert not any(torch.equal(p, before[n]) for n, p in made[0].trained.items())


def test_norms_are_those_of_opacus() -> None:
    ours_B, theirs_B = (contenders.norms("tiny", 8, by) for by in (OURS, HOOKS))
    torch.testing.assert_close(ours_B, theirs_B, atol=0, rtol=1e-5)

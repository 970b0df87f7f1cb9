"""Nothing leaves that did not change, is not finite, or that inference does not read."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from client.steps import PLAN, TERMS, run

from fedward_client.training.trainer import train
from fedward_shared.errors import AdapterError
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.tasks.base import StudyModel
from fedward_shared.tasks.examples import Examples


def test_nothing_leaves_that_did_not_change(
    setup: tuple[StudyModel, Examples], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.optim.SGD, "step", lambda *_: None)
    with pytest.raises(AdapterError, match="is after training what it was"):
        run(*setup, PLAN)


def test_nothing_leaves_that_is_not_finite(setup: tuple[StudyModel, Examples]) -> None:
    with pytest.raises(AdapterError, match="not finite after training; lower the learning rate"):
        run(*setup, PLAN, terms=TERMS.model_copy(update={"learning_rate": float("inf")}))


def _other_tensor(model: StudyModel) -> None:
    """A move to another device, done at the wrong time, puts others in the place of all tensors."""
    for layer in model.modules():
        for name, tensor in list(layer.named_parameters(recurse=False)):
            if tensor.requires_grad:
                setattr(layer, name, torch.nn.Parameter(tensor.detach().clone()))


def _merge(model: StudyModel) -> None:
    model.body.merge_adapter()  # type: ignore[operator]


def _disable(model: StudyModel) -> None:
    model.body.base_model.disable_adapter_layers()  # type: ignore[union-attr,operator]


@pytest.mark.parametrize(
    ("corrupt", "named"),
    [
        (_other_tensor, "is not the tensor that was trained"),
        (_merge, "inference computes other values"),
        (_disable, "inference computes other values"),
    ],
)
def test_nothing_leaves_that_inference_does_not_read(
    setup: tuple[StudyModel, Examples], corrupt: Callable[[StudyModel], None], named: str
) -> None:
    """What opacus#820 saw: all went well, and whoever loaded the adapter had nothing."""
    model, examples = setup
    if model.method == "prefix-tuning" and corrupt is not _other_tensor:
        pytest.skip("peft neither merges nor switches off a prefix")
    streams = partial(Randomness.from_seed, 0)
    with pytest.raises(AdapterError, match=named):
        train(model, examples, PLAN, TERMS, streams, lambda _a, _b: corrupt(model))

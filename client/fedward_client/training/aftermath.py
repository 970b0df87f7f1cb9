"""What has to hold after a training, looked at once before anything of it leaves.

Private training of LoRA has been seen to end well by every measure and leave a model that nobody could
use: what had been trained was not what inference read (opacus#820). Losses do not show that.
"""

import torch
from torch import nn

from fedward_client.training import lora
from fedward_shared.errors import AdapterError
from fedward_shared.privacy.plan import TrainingPlan
from fedward_shared.tasks.base import PROBE_TOLERANCE, StudyModel
from fedward_shared.tensors import Tensors


def check(
    model: StudyModel, trained: dict[str, nn.Parameter], before: Tensors, plan: TrainingPlan
) -> None:
    """Raises AdapterError unless every trained tensor is finite and, by the noise of a private plan, has
    changed, and inference reads what was trained.
    """
    own = model.named_tensors()
    for name, tensor in trained.items():
        if own[name] is not tensor:
            raise AdapterError(f"{name} of the model is not the tensor that was trained")
        if not bool(torch.isfinite(tensor).all()):
            raise AdapterError(f"{name} is not finite after training; lower the learning rate")
        if plan.gradient_noise and torch.equal(tensor, before[name]):
            raise AdapterError(f"{name} is after training what it was; nothing of it may leave")
    if not model.head_only:
        _check_inference(model, trained)


def _check_inference(model: StudyModel, trained: dict[str, nn.Parameter]) -> None:
    """The layers of peft, as whoever gets the adapter runs them, against those that were trained."""
    inferred = model.probe()
    with lora.fused(model, trained, per_record=False):
        computed = model.probe()
    if not bool(torch.isfinite(inferred).all()):
        raise AdapterError("the trained model computes no finite values; lower the learning rate")
    if (inferred - computed).norm() > PROBE_TOLERANCE * computed.norm():
        raise AdapterError("inference computes other values than those that were trained")

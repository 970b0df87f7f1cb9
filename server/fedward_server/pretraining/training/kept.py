"""What of a model and its AdamW a checkpoint holds, as whole tensors or this worker's shards of them.

model.NAME                         parameters, and the buffers that training changes
adamw.NAME.exp_avg …exp_avg_sq     means of the gradient and of its square
adamw.NAME.step                    how many updates these are of
"""

from typing import Any

import torch

from fedward_server.pretraining.training.checkpoints import Tensors

MOMENTS = ("exp_avg", "exp_avg_sq")


class Live:
    """Of one process, DDP or FSDP2: the very tensors that are trained. What fills them is taken over."""

    def __init__(self, model: Any, optimizer: torch.optim.Optimizer) -> None:
        self._model, self._optimizer = model, optimizer

    @staticmethod
    def weights(model: Any) -> Tensors:
        """What a checkpoint has of the model alone."""
        named = {f"model.{name}": value.detach() for name, value in model.named_parameters()}
        return named | _buffers(model)

    def tensors(self) -> Tensors:
        """By name; moments that no step has made yet are 0."""
        found = self.weights(self._model)
        for name, parameter in self._model.named_parameters():
            moments = self._optimizer.state[parameter]
            if not moments:
                moments["step"] = torch.tensor(0.0, dtype=torch.float32)
                moments |= {key: torch.zeros_like(parameter) for key in MOMENTS}
            found |= {f"adamw.{name}.{key}": moments[key] for key in ("step", *MOMENTS)}
        return found

    def put_back(self, tensors: Tensors) -> None:
        """They are in their place already."""


class Gathered:
    """Of DeepSpeed, which keeps them in flat pieces of its own: gathered from all workers, and put back.

    Each worker holds all of them while it does: where that is too much, FSDP2 keeps shards.
    """

    def __init__(self, model: Any, optimizer: Any) -> None:
        self._model, self._inner = model, optimizer.optimizer
        for piece in (piece for group in self._inner.param_groups for piece in group["params"]):
            self._inner.state[piece] = {
                "step": torch.tensor(0.0, dtype=torch.float32),
                **{key: torch.zeros_like(piece) for key in MOMENTS},
            }
        # What the parameters know of the pieces' moments: DeepSpeed does it before its first step.
        optimizer._lazy_init_hp_params_optimizer_state()

    def tensors(self) -> Tensors:
        """By name, as `Live` has them; copies."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        found = _buffers(self._model)
        for name, parameter in self._model.named_parameters():
            whole = safe_get_full_fp32_param(parameter)
            found[f"model.{name}"] = whole.detach().clone()
            found[f"adamw.{name}.step"] = next(iter(self._inner.state.values()))["step"].clone()
            for key in MOMENTS:
                moment = safe_get_full_optimizer_state(parameter, key)
                found[f"adamw.{name}.{key}"] = moment.detach().clone()
        return found

    def put_back(self, tensors: Tensors) -> None:
        """Has the workers' pieces hold what `tensors` do."""
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        for name, parameter in self._model.named_parameters():
            parameter.data.copy_(tensors[f"model.{name}"])
            safe_set_full_fp32_param(parameter, tensors[f"model.{name}"])
            for key in MOMENTS:
                safe_set_full_optimizer_state(parameter, tensors[f"adamw.{name}.{key}"], key)
        step = next(value for name, value in tensors.items() if name.endswith(".step"))
        for state in self._inner.state.values():
            state["step"] = step.clone()


def _buffers(model: Any) -> Tensors:
    """Those that a model's file has too: not what is computed of its configuration."""
    kept = model.state_dict().keys()
    return {f"model.{name}": buffer for name, buffer in model.named_buffers() if name in kept}

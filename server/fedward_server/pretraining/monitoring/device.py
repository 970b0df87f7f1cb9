"""How busy the device of a training is."""

import math
from collections.abc import Callable

import psutil


def utilisation(device: str) -> Callable[[], float]:
    """What says how much of `device` (cpu or cuda:N) is busy, of 1: NaN where that cannot be had.

    Of a GPU it is NVIDIA's share of time in which a kernel ran, for which nvidia-ml-py has to be
    installed; of a CPU the mean over the machine's cores since it was asked last.
    """
    if not device.startswith("cuda"):
        psutil.cpu_percent()
        return lambda: psutil.cpu_percent() / 100
    return lambda: _of_gpu(device)


def _of_gpu(device: str) -> float:
    import torch

    try:
        return torch.cuda.utilization(device) / 100
    except Exception:  # of the driver, of its library, or without either: the other metrics go on
        return math.nan

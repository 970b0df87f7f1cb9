"""Clusters by name, and what this machine has."""

import re
from typing import Annotated

from pydantic import Field

from fedward_server.pretraining.architectures import Size
from fedward_shared.errors import UsageError
from fedward_shared.terms import Terms


class Cluster(Terms):
    """The section `[cluster]`: how many devices, and what each has.

    `memory`: GB (10⁹ bytes) of one; `peak`: TFLOP/s (10¹²) of dense products in bf16 of one.
    """

    devices: Size
    memory: Annotated[float, Field(gt=0)]
    peak: Annotated[float, Field(gt=0)]


# GB and dense bf16 TFLOP/s (without "sparsity") of the makers' data sheets: NVIDIA A100 (2021), H100
# SXM (2023), H200 (2024), HGX B200 (2025; an eighth of the board), L40S (2023); AMD Instinct MI300X.
DEVICES: dict[str, tuple[float, float]] = {
    "A100-40": (40, 312),
    "A100-80": (80, 312),
    "H100": (80, 989.4),
    "H200": (141, 989.4),
    "B200": (180, 2_250),
    "L40S": (48, 362.05),
    "MI300X": (192, 1_307.4),
}
CLUSTERS = ("8xA100-80", "4xH100")
"""Those that tables are made for unless others are named."""


def cluster(name: str) -> Cluster:
    """`8xA100-80`, `4xH100`, any number of a device of :data:`DEVICES`, or `cpu`: this machine.

    Raises UsageError for another name.
    """
    if name == "cpu":
        return this_machine()
    found = re.fullmatch(r"([1-9]\d{0,5})x(.+)", name)
    if found is None or found[2] not in DEVICES:
        raise UsageError(
            f"cluster: {name} is not known; write cpu, or a number of devices such as 8xA100-80 "
            f"({', '.join(DEVICES)}), or a section [cluster] with devices, memory and peak"
        )
    memory, peak = DEVICES[found[2]]
    return Cluster(devices=int(found[1]), memory=memory, peak=peak)


def this_machine() -> Cluster:
    """Memory that is free now, and the products in float32 that all cores do, measured for 0.3 s."""
    import psutil

    return Cluster(devices=1, memory=psutil.virtual_memory().available / 1e9, peak=_measured_peak())


def _measured_peak(size: int = 1_024, repetitions: int = 5) -> float:
    """TFLOP/s of the quickest of some products of two matrices."""
    import time

    import torch

    matrix = torch.ones(size, size)
    quickest = float("inf")
    for _ in range(repetitions):
        begun = time.perf_counter()
        torch.mm(matrix, matrix)
        quickest = min(quickest, time.perf_counter() - begun)
    return 2 * size**3 / quickest / 1e12

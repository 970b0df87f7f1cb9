"""What a site sends in a round: B alone under our masks, beside A and B under those of flwr, with int64;
and what narrow numbers cost in accuracy.

Bytes are those of the messages as Flower encodes them, all that the site says in the round's stages
together. Accuracy is that of the ICD task of `methods`: the same studies with and without masks, seed by
seed; the whole protocol runs, through the deployed apps.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.serde import message_to_proto
from flwr.supercore.task_identity import TaskIdentity

from fedward_shared import canonical
from fedward_shared.assurances import Delivery
from fedward_shared.messages import MaskAnswer, Update
from fedward_shared.secagg.ring import Ring, largest, ring_for
from fedward_shared.secagg.session import Session
from fedward_simulations.bench.masked_site import CHARTER, MaskedSite, signing_keys
from fedward_simulations.bench.masking import PEER, Terms, peers
from fedward_simulations.bench.method_tasks import TASKS
from fedward_simulations.bench.methods import SEEDS, Comparison, Run
from fedward_simulations.bench.rows import Row

SITES, MINIMUM, COLLUDING = 4, 4, 1
PRECISIONS = {16: 14, 12: 10}
"""Ring → bits of a coordinate: the most with which four sites' sum fits."""

GOAL = 1 / 8
POINTS = 0.2
"""How many points of accuracy the narrow numbers may cost."""

EPSILON, RATE = 8.0, 2.0
ADAPTER = {"precision": PRECISIONS[16], "colluding": COLLUDING}


@dataclass(frozen=True)
class Shape:
    """How many numbers a model's A and B have, and a head that both sides send."""

    about: str
    a: int
    b: int
    head: int = 0


def _shape(about: str, modules: Mapping[tuple[int, int], int], rank: int, head: int = 0) -> Shape:
    """`modules`: (outputs, inputs) of the adapted weights, and how many there are of each."""
    a = sum(rank * inputs * count for (_, inputs), count in modules.items())
    b = sum(rank * outputs * count for (outputs, _), count in modules.items())
    return Shape(about, a, b, head)


SHAPES = (
    _shape("SmolLM2-135M, q and v of 4 layers, rank 8", {(576, 576): 4, (192, 576): 4}, 8),
    _shape("Llama-3-8B, q and v of 32 layers, rank 8", {(4096, 4096): 32, (1024, 4096): 32}, 8),
    _shape("MiniLM, q and k of 6 layers, rank 16", {(384, 384): 12}, 16),
    _shape("MiniLM, the same and a head of 22 labels", {(384, 384): 12}, 16, 22 * 385),
)


def run(folder: Path) -> list[Row]:
    """Bytes first; then the studies, on from where they were stopped."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 0, 1
    return [*(row for shape in SHAPES for row in compared(shape)), *accuracy(folder)]


def compared(shape: Shape) -> list[Row]:
    """Bytes of a site's round, in each ring."""
    theirs = _theirs(shape.a + shape.b + shape.head)
    return [
        Row(
            f"{shape.about}: B in a ring of {bits} bits, A and B of the peer",
            _ours(shape.b + shape.head, bits),
            theirs,
            PEER,
            "bytes",
            GOAL,
        )
        for bits in PRECISIONS
    ]


def _ours(count: int, bits: int) -> int:
    sites = signing_keys(SITES)
    ring = ring_for(SITES, PRECISIONS[bits])
    assert ring == Ring(bits)
    drawn = np.random.default_rng(0).integers(-1, 2, count) * largest(PRECISIONS[bits])
    keys = {site: key.public for site, key in sites.items()}
    known = Session(CHARTER, 1, 1, keys, MINIMUM, COLLUDING, ring, count)
    site = MaskedSite(known, sites, lambda: ring.from_signed(drawn))
    name, vector = site.name, site.masked[1]
    delivery = Delivery(
        charter=CHARTER,
        site=name,
        round=1,
        adapter=CHARTER,
        update=canonical.digest(vector),
        epsilon=repr(0.123456789),
        delta=repr(1e-5),
        head="0" * 64,
    ).signed(sites[name])
    return sum(
        _encoded(record)
        for record in (
            MaskAnswer(name, "keys", site.advertisements[name]).to_record(),
            MaskAnswer(name, "shares", site.shared[1]).to_record(),
            Update(name, delivery, vector, masked=True).to_record(),
            MaskAnswer(name, "survivors", site.agreed[1]).to_record(),
            MaskAnswer(name, "reveal", site.revealed).to_record(),
        )
    )


def _theirs(count: int) -> int:
    values = np.random.default_rng(0).normal(0, 1, count).astype(np.float32)
    said: list[Any] = [
        call() for call in peers(Terms(SITES, MINIMUM, COLLUDING, 0), values).values()
    ]
    records = [RecordDict({"configs": ConfigRecord(one)}) for one in said]
    return sum(_encoded(record) for record in records)


def _encoded(record: RecordDict) -> int:
    """Bytes of the message that carries it."""
    message = Message(content=record, dst_node_id=1, message_type="train", group_id="1")
    return len(message_to_proto(message).SerializeToString())


def accuracy(folder: Path) -> list[Row]:
    """Points of accuracy lost, in the mean over seeds: to the ring, and to whoever trains A and B."""
    comparison, (icd, *_) = Comparison(folder), TASKS
    found: dict[str, list[float]] = {"masked": [], "ffa-lora": [], "lora": []}
    for seed in SEEDS:
        for arm, of_it in found.items():
            method = "lora" if arm == "lora" else "ffa-lora"
            run = Run("icd", method, EPSILON, seed, RATE, ADAPTER if arm == "masked" else None)
            of_it.append(100 * comparison.measure(icd, run).scores["accuracy"])
    means = {arm: statistics.fmean(values) for arm, values in found.items()}
    return [
        Row(
            f"ICD, ε = {EPSILON:g}, {len(SEEDS)} seeds: accuracy that FFA-LoRA in a ring of 16 bits "
            f"lacks of {against}",
            max(0.0, means[arm] - means["masked"]),
            POINTS,
            "the goal",
            "points",
            1.0,
        )
        for arm, against in (("ffa-lora", "FFA-LoRA in floats"), ("lora", "LoRA in floats"))
    ]

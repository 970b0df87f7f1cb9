"""What a device has to hold while it trains: states, gathered parameters, activations, logits."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from fedward_server.pretraining.architectures import Architecture, Size
from fedward_server.pretraining.counting import SOURCE_SHARE, TARGET_SHARE, Counts
from fedward_shared.terms import Terms

Strategy = Literal["fsdp2", "ddp", "zero1", "zero2", "zero3"]
Precision = Literal["bf16", "fp16", "fp32"]

# Bytes per parameter that each device has, and that the devices share. FSDP2 and DDP keep parameters,
# gradients and AdamW's two moments in float32 (4 + 4 + 8); DDP's autocast keeps a copy in 16 bits.
# ZeRO: Rajbhandari et al. 2020, section 3.1 and figure 1 (2 + 2 in 16 bits, K = 12).
_STATES: dict[Strategy, tuple[int, int]] = {
    "fsdp2": (0, 16),
    "ddp": (18, 0),
    "zero1": (4, 12),
    "zero2": (2, 14),
    "zero3": (0, 16),
}
_GATHERED = ("fsdp2", "zero3")
"""Strategies under which no device holds all parameters, and each block is gathered when it is due."""

_SCORES = 2**24
"""Logits that are in float32 at once, which `losses` makes their gradient of."""

MASKED_SHARE = 0.15
"""Of a masked model's tokens those that are predicted; the others get no logits."""


_SCORED = {"masked": MASKED_SHARE, "causal": 1.0, "spans": TARGET_SHARE}


class Run(Terms):
    """How a model is trained, as far as memory and time depend on it; `micro_batch` in rows."""

    strategy: Strategy = "fsdp2"
    precision: Precision = "bf16"
    checkpointing: bool = True
    micro_batch: Size = 1
    utilisation: Annotated[float, Field(gt=0, le=1)] = 0.4


@dataclass(frozen=True)
class Memory:
    """Bytes on one device."""

    states: float
    gathered: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        return self.states + self.gathered + self.activations + self.logits


def memory(
    architecture: Architecture, vocabulary: int, number: Counts, run: Run, devices: int
) -> Memory:
    """Of one of so many devices, at the moment of a step at which it holds most."""
    width = 4 if run.precision == "fp32" else 2
    tokens = run.micro_batch * architecture.context
    scored = tokens * _SCORED[architecture.objective]
    return Memory(
        states=_states(number, run, devices),
        gathered=_gathered(number, run, devices, width),
        activations=activations(architecture, run),
        logits=2 * width * vocabulary * scored + 4 * min(_SCORES, vocabulary * scored),
    )


def _states(number: Counts, run: Run, devices: int) -> float:
    each, shared = _STATES[run.strategy]
    if run.strategy == "ddp" and run.precision == "fp32":
        each = 16
    return number.total * (each + shared / devices)


def _gathered(number: Counts, run: Run, devices: int, width: int) -> float:
    """Two blocks (the next is fetched while one computes), what is in none, gradients of the larger."""
    if run.strategy not in _GATHERED or (devices == 1 and run.precision == "fp32"):
        return 0.0
    held = number.outside + 2 * number.block
    return float(width * held + 4 * max(number.outside, number.block))


@dataclass(frozen=True)
class _Saved:
    """Entries that backward needs of one layer, per token: multiples of hidden, of the inner width of
    the feed-forward network; and those multiples of hidden that are float32 whatever the precision.
    """

    hidden: float
    inner: float
    wide: float


# The accounting of Korthikanti et al. 2022 (section 4.1: 34 sbh + 5 as²b bytes), for layers as
# transformers has them: no dropout, attention whose scores are not kept, gated networks, norms in
# float32 under autocast. `tests/server/pretraining/test_memory.py` holds it against what is really kept.
_PLAIN, _GATED = _Saved(8, 2, 4), _Saved(10, 4, 7)
_SAVED = {
    "bert": _PLAIN,
    "modernbert": _Saved(10, 4, 2),
    "longformer": _Saved(19, 2, 2),  # copies of overlapping pieces
    "t5": _Saved(10, 7, 12),  # GELU by tanh, step by step
}


def activations(architecture: Architecture, run: Run) -> float:
    """Bytes that backward needs of all layers; with checkpointing their inputs, and one layer's."""
    layer = run.micro_batch * layer_activations(architecture, run.precision)
    if not run.checkpointing:
        return architecture.layers * layer
    tokens = run.micro_batch * architecture.context
    if architecture.family == "t5":
        tokens = round(tokens * (SOURCE_SHARE + TARGET_SHARE))
    return architecture.layers * 4 * architecture.hidden * tokens + layer


def layer_activations(architecture: Architecture, precision: Precision) -> float:
    """Bytes that backward needs of one layer (of encoder and decoder one each) and one row."""
    width = 4 if precision == "fp32" else 2
    if architecture.family == "t5":
        source, target = SOURCE_SHARE * architecture.context, TARGET_SHARE * architecture.context
        return t5_layers(architecture, width, source, target)
    saved = _SAVED.get(architecture.family, _GATED)
    hidden, context = architecture.hidden, architecture.context
    entries, wide = saved.hidden * hidden, saved.wide * hidden
    if architecture.family == "longformer":
        probabilities = architecture.heads * (architecture.window or 0)
        entries, wide = entries + 2.3 * probabilities, wide + probabilities
    else:
        entries += _seen(architecture)
    if architecture.latent is not None:
        entries += _latent(architecture)
    inner, routed = _networks(architecture, saved)
    # The product over experts is none that autocast knows: it stays in float32.
    return context * (width * (entries + inner) + (4 - width) * wide + 4 * routed)


def _seen(architecture: Architecture) -> float:
    """What a layer of average kind keeps of whom a token sees: the mask, as what is added to its
    scores, and of attention by blocks the keys and values that are copied to other blocks.
    """
    context, layers, every = architecture.context, architecture.layers, architecture.global_every
    cut = architecture.blocks(context)
    if cut is None:
        return context
    block, seen = cut
    whole = -(-layers // every) / layers if every else 0.0
    blocked = 2 * architecture.hidden + seen * block
    return whole * context + (1 - whole) * blocked


def _networks(architecture: Architecture, saved: _Saved) -> tuple[float, float]:
    """Entries of feed-forward networks that all tokens pass, and of the experts that some do."""
    experts = architecture.experts
    each = saved.inner * architecture.intermediate
    if experts is None:
        return each, 0.0
    return experts.shared * each, experts.active * (each + 2 * architecture.hidden)


def _latent(architecture: Architecture) -> float:
    """What latent attention keeps beyond queries, keys, values and outputs as wide as hidden."""
    latent, heads = architecture.latent, architecture.heads
    assert latent is not None
    # q and k, values with the positionless keys beside them, outputs; latents before and after a norm.
    kept = heads * (2 * (latent.plain + latent.rotated) + latent.plain + 2 * latent.values)
    return kept + 3 * (latent.keys + (latent.queries or 0)) - 4 * architecture.hidden


def t5_layers(architecture: Architecture, width: int, source: float, target: float) -> float:
    """Bytes of a layer of the encoder and one of the decoder; positions are added to scores of each
    head, and backward needs them.
    """
    hidden, heads, saved = architecture.hidden, architecture.heads, _SAVED["t5"]
    inner = saved.inner * architecture.intermediate
    encoder = saved.hidden * hidden + inner + heads * source
    decoder = 15 * hidden + inner + heads * (source + target)
    crossed = 2 * hidden * source  # keys and values of the cross attention
    wide = saved.wide * hidden * (source + target) + heads * (source**2 + target**2)
    return width * (source * encoder + target * decoder + crossed) + (4 - width) * wide

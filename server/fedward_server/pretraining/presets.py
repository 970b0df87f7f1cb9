"""Architectures by name: a tiny one of each family for a laptop, and the sizes in use.

A name says kind and parameters; `docs/explanation/pretraining-sizes.md` has the exact figures. The
vocabulary is part of what a size means: at 1.2 B of an encoder it is a sixth.
"""

from dataclasses import dataclass
from typing import Any

from fedward_server.pretraining.architectures import Architecture, Experts, Latent
from fedward_shared.errors import UsageError

TINY_VOCABULARY = 4_096
VOCABULARY = 102_400
"""256 bytes, at least 100,000 merges, and room for special tokens and language tags."""


@dataclass(frozen=True)
class Preset:
    """A model and how many tokens its vocabulary has."""

    model: Architecture
    vocabulary: int


def preset(name: str) -> Preset:
    """Raises UsageError that lists the names, if there is none of this one."""
    if name not in PRESETS:
        raise UsageError(f"preset: there is no {name}; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def _tiny(**own: Any) -> Preset:
    sizes = {"hidden": 64, "layers": 2, "heads": 4, "intermediate": 128, "context": 128}
    return Preset(Architecture.model_validate(sizes | own), TINY_VOCABULARY)


def _real(**sizes: Any) -> Preset:
    return Preset(Architecture.model_validate(sizes), VOCABULARY)


_TINY = {
    "tiny-bert": _tiny(family="bert"),
    "tiny-modernbert": _tiny(family="modernbert", window=32, global_every=2),
    "tiny-longformer": _tiny(family="longformer", window=32),
    "tiny-llama": _tiny(family="llama", kv_heads=2),
    "tiny-mistral": _tiny(family="mistral", kv_heads=2, window=32),
    "tiny-t5": _tiny(family="t5"),
    "tiny-mixtral": _tiny(family="mixtral", kv_heads=2, experts=Experts(count=4, active=2)),
    "tiny-deepseek": _tiny(
        family="deepseek",
        intermediate=64,
        experts=Experts(count=4, active=2, shared=1, dense_layers=1, dense_intermediate=128),
        latent=Latent(keys=32, plain=16, rotated=8, values=24),
    ),
}

_ENCODER = {"family": "modernbert", "window": 128, "global_every": 3, "context": 8_192}
_DECODER = {"family": "llama", "kv_heads": 8, "context": 4_096, "untied_embeddings": True}
_BOTH = {"family": "t5", "context": 1_024}

_IN_USE = {
    "encoder-1.2b": _real(**_ENCODER, hidden=2_048, layers=28, heads=32, intermediate=3_072),
    "encoder-3b": _real(**_ENCODER, hidden=2_560, layers=34, heads=40, intermediate=6_912),
    "decoder-6b": _real(**_DECODER, hidden=4_096, layers=30, heads=32, intermediate=11_008),
    "decoder-13b": _real(**_DECODER, hidden=5_120, layers=44, heads=40, intermediate=13_824),
    "decoder-8b-window": _real(
        family="mistral",
        hidden=4_096,
        layers=32,
        heads=32,
        kv_heads=8,
        intermediate=14_336,
        context=8_192,
        window=2_048,
        untied_embeddings=True,
    ),
    "encoder-decoder-3b": _real(**_BOTH, hidden=2_048, layers=24, heads=32, intermediate=5_120),
    "encoder-decoder-7b": _real(**_BOTH, hidden=3_072, layers=26, heads=48, intermediate=8_192),
    # An expert is one network of each layer: 24 × 3 × 2,048 × 4,352 = 642 M.
    "experts-mixtral-8x640m": _real(
        family="mixtral",
        hidden=2_048,
        layers=24,
        heads=32,
        kv_heads=8,
        intermediate=4_352,
        context=4_096,
        untied_embeddings=True,
        experts=Experts(count=8, active=2),
    ),
    # 27 of 28 layers × 3 × 2,560 × 3,072 = 637 M; one expert more sees all tokens.
    "experts-deepseek-16x640m": _real(
        family="deepseek",
        hidden=2_560,
        layers=28,
        heads=20,
        intermediate=3_072,
        context=4_096,
        untied_embeddings=True,
        experts=Experts(count=16, active=4, shared=1, dense_layers=1, dense_intermediate=10_240),
        latent=Latent(keys=512, queries=1_024, plain=128, rotated=64, values=128),
    ),
}

PRESETS: dict[str, Preset] = _TINY | _IN_USE

"""One small architecture of each family, whose window is shorter than its rows."""

from typing import Any

from fedward_server.pretraining.architectures import Architecture, Experts, Latent
from fedward_server.pretraining.families import FamilyName, Specials

VOCABULARY = 60
SPECIALS = Specials(pad=0, begin=1, end=2, mask=3)
_EXPERTS = Experts(count=4, active=2)
_OWN: dict[FamilyName, dict[str, Any]] = {
    "bert": {},
    "modernbert": {"window": 4, "global_every": 2},
    "longformer": {"window": 4},
    "llama": {"kv_heads": 2},
    "mistral": {"kv_heads": 2, "window": 4},
    "t5": {},
    "mixtral": {"kv_heads": 2, "experts": _EXPERTS},
    "deepseek": {
        "experts": Experts(count=4, active=2, shared=1, dense_layers=1, dense_intermediate=40),
        "latent": Latent(keys=12, queries=10, plain=4, rotated=4, values=8),
    },
}
FAMILY_NAMES = tuple(_OWN)


def small(family: FamilyName, **changes: Any) -> Architecture:
    sizes = {"hidden": 32, "layers": 2, "heads": 4, "intermediate": 24, "context": 16}
    return Architecture.model_validate({"family": family, **sizes, **_OWN[family], **changes})

"""What a base model is built like: the section `[model]`, and transformers' own classes for it.

torch and transformers are loaded where a model is built, not where a configuration is read.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fedward_server.pretraining.families import FAMILIES, Family, FamilyName, Objective, Specials
from fedward_shared.terms import Terms

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

Size = Annotated[int, Field(gt=0)]

EXPERTS_IMPLEMENTATION = "grouped_mm"
"""How transformers runs the experts: all tokens of an expert in one product, all experts in one call.

On one core, forward and backward: 336 ms where a loop over 32 experts (`eager`) takes 1,476 ms, the
same for 4 small ones; `batched_mm`, which copies weights to each token, takes 15 to 70 times as long.
"""


class Experts(Terms):
    """The section `[model.experts]`; `intermediate` of `[model]` is the width of one expert.

    `balance`: the weight of the auxiliary loss that spreads tokens over experts (Mixtral; Fedus et
    al. 2022, eq. 4), or how far a step moves an expert's bias (DeepSeek-V3, arXiv:2412.19437, 2.1.2).
    """

    count: Size
    active: Size
    balance: Annotated[float, Field(ge=0)] = 0.001
    shared: Annotated[int, Field(ge=0)] = 0
    dense_layers: Annotated[int, Field(ge=0)] = 0
    dense_intermediate: Size | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.active > self.count:
            raise ValueError(f"active: {self.active} of {self.count} experts cannot be")
        if bool(self.dense_layers) != (self.dense_intermediate is not None):
            raise ValueError("dense_layers and dense_intermediate: both or neither")
        return self


class Latent(Terms):
    """The section `[model.latent]`: multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, 2.1).

    Ranks that keys and values, and queries, are compressed to; widths of a head: of what has no
    position, of what is rotated by it, of the values.
    """

    keys: Size
    queries: Size | None = None
    plain: Size
    rotated: Annotated[int, Field(gt=0, multiple_of=2)]
    values: Size


class Architecture(Terms):
    """The section `[model]`: the family and its sizes.

    `layers`: of the encoder and of the decoder each, where there are both. `window`: how many tokens
    one sees: in a decoder itself and those before it, in an encoder half of them to each side;
    `global_every`: of so many layers the first sees all. Longformer's first token of a row sees all and
    is seen by all. Embeddings in and out are the same matrix unless `untied_embeddings`.
    """

    family: FamilyName
    hidden: Size
    layers: Size
    heads: Size
    intermediate: Size
    context: Annotated[int, Field(ge=2)]
    kv_heads: Size | None = None
    window: Annotated[int, Field(gt=0, multiple_of=2)] | None = None
    global_every: Size | None = None
    experts: Experts | None = None
    latent: Latent | None = None
    untied_embeddings: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @property
    def row(self) -> Family:
        """The family's row of the table."""
        return FAMILIES[self.family]

    @property
    def objective(self) -> Objective:
        return self.row.objective

    def blocks(self, length: int) -> tuple[int, int] | None:
        """How attention with a window cuts a row of so many tokens: the length of a block, and how
        many blocks one sees. None: not at all, as it does not divide or nothing is gained.
        """
        if self.window is None:
            return None
        block, seen = (self.window, 2) if self.objective == "causal" else (self.window // 2, 3)
        return None if length % block or length <= seen * block else (block, seen)

    @model_validator(mode="after")
    def _of_its_family(self) -> Self:
        row = self.row
        for key in ("kv_heads", "window", "global_every", "experts", "latent", "untied_embeddings"):
            given = getattr(self, key) not in (None, False)
            if given and key not in row.needs | row.may:
                has = [name for name, other in FAMILIES.items() if key in other.needs | other.may]
                raise ValueError(f"{key}: {self.family} has none; {', '.join(has)} have")
            if not given and key in row.needs:
                raise ValueError(f"{key}: {self.family} needs it")
        return self

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.latent is None and self.hidden % self.heads:
            raise ValueError(f"heads: {self.hidden} does not divide by {self.heads}")
        if self.kv_heads is not None and self.heads % self.kv_heads:
            raise ValueError(f"kv_heads: {self.heads} heads do not divide by {self.kv_heads}")
        rotated = self.family in ("modernbert", "llama", "mistral", "mixtral")
        if rotated and (self.hidden // self.heads) % 2:
            raise ValueError(f"heads: a head of {self.hidden // self.heads} cannot be rotated")
        if self.window is not None and self.window > self.context:
            raise ValueError(f"window: {self.window} is more than the context, {self.context}")
        if self.family == "longformer" and self.context % (self.window or 1):
            raise ValueError(f"context: {self.context} is no multiple of the window, {self.window}")
        return self

    @model_validator(mode="after")
    def _experts_of_its_family(self) -> Self:
        if self.experts is None:
            return self
        if self.family == "mixtral" and (self.experts.shared or self.experts.dense_layers):
            raise ValueError("experts.shared, experts.dense_layers: mixtral has none; deepseek has")
        if self.family == "deepseek" and not self.experts.shared:
            raise ValueError("experts.shared: deepseek needs at least one")
        if self.family == "deepseek" and self.experts.count < 2:
            raise ValueError("experts.count: deepseek needs at least two")
        if self.experts.dense_layers > self.layers:
            raise ValueError(
                f"experts.dense_layers: {self.experts.dense_layers} of {self.layers} cannot be"
            )
        return self


def transformers_config(
    architecture: Architecture, vocabulary: int, specials: Specials
) -> "PretrainedConfig":
    """The configuration of transformers for a vocabulary of that many tokens."""
    import transformers

    row = architecture.row
    values: dict[str, Any] = {
        name: getattr(architecture, key) for key, name in row.names.items() if key != "kv_heads"
    }
    values |= dict.fromkeys(row.dropout, architecture.dropout)
    values |= _special_names(architecture.family, specials) | _own(architecture, specials)
    if "kv_heads" in row.names:
        values["num_key_value_heads"] = architecture.kv_heads or architecture.heads
    if "untied_embeddings" in row.may:
        values["tie_word_embeddings"] = not architecture.untied_embeddings
    return getattr(transformers, row.configuration)(vocab_size=vocabulary, **values)


def _special_names(family: FamilyName, specials: Specials) -> dict[str, int]:
    names = {"pad_token_id": specials.pad, "eos_token_id": specials.end}
    if family == "t5":
        return names | {"decoder_start_token_id": specials.pad}
    if family == "modernbert":
        names |= {"cls_token_id": specials.begin, "sep_token_id": specials.end}
    if family == "longformer":
        names |= {"sep_token_id": specials.end}
    return names | {"bos_token_id": specials.begin}


def _own(architecture: Architecture, specials: Specials) -> dict[str, Any]:
    """What one family alone calls its own."""
    experts, latent = architecture.experts, architecture.latent
    match architecture.family:
        case "modernbert":
            every = architecture.global_every or 1
            kinds = ("sliding_attention", "full_attention")
            return {"layer_types": [kinds[i % every == 0] for i in range(architecture.layers)]}
        case "longformer":
            # Positions begin after the number of the padding token.
            return {"max_position_embeddings": architecture.context + specials.pad + 1}
        case "t5":
            return {
                "d_kv": architecture.hidden // architecture.heads,
                "feed_forward_proj": "gated-gelu",
            }
        case "mixtral" if experts:
            return {
                "num_local_experts": experts.count,
                "num_experts_per_tok": experts.active,
                "router_aux_loss_coef": experts.balance,
            }
        case "deepseek" if experts and latent:
            return {
                "num_key_value_heads": architecture.heads,
                "intermediate_size": experts.dense_intermediate or architecture.intermediate,
                "moe_intermediate_size": architecture.intermediate,
                "n_routed_experts": experts.count,
                "num_experts_per_tok": experts.active,
                "n_shared_experts": experts.shared,
                "first_k_dense_replace": experts.dense_layers,
                "n_group": 1,
                "topk_group": 1,
                "kv_lora_rank": latent.keys,
                "q_lora_rank": latent.queries,
                "qk_nope_head_dim": latent.plain,
                "qk_rope_head_dim": latent.rotated,
                "v_head_dim": latent.values,
                "num_mtp_layers": 0,
            }
    return {}


def build(
    architecture: Architecture,
    vocabulary: int,
    specials: Specials,
    *,
    seed: int,
    device: Literal["cpu", "meta"] = "cpu",
) -> "PreTrainedModel":
    """A model in float32 that nothing has trained; the same seed gives the same tensors.

    On `meta` it has shapes and no memory. The caller's random state is left as it was.
    """
    import torch
    import transformers

    from fedward_server.pretraining import packed, windowed

    config = transformers_config(architecture, vocabulary, specials)
    cls: type[PreTrainedModel] = packed.CLASSES.get(
        architecture.family, getattr(transformers, architecture.row.model)
    )
    settings = {"attn_implementation": "sdpa"}
    if architecture.experts is not None:
        settings["experts_implementation"] = EXPERTS_IMPLEMENTATION
    if architecture.family == "longformer":
        settings["attn_implementation"] = "eager"  # its own chunks, whatever it is called
    elif architecture.window is not None:
        settings["attn_implementation"] = windowed.NAME
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(seed)
        model: PreTrainedModel = cls._from_config(config, dtype=torch.float32, **settings)
    return model.train()

"""The families of models: for each, transformers' own classes, its names for sizes, what it has.

A family is one row of :data:`FAMILIES`; what has to be known of a family by name alone is in it.
"""

from dataclasses import dataclass
from typing import Literal

FamilyName = Literal[
    "bert", "modernbert", "longformer", "llama", "mistral", "t5", "mixtral", "deepseek"
]
Kind = Literal["encoder", "decoder", "encoder-decoder", "experts"]
Objective = Literal["masked", "causal", "spans"]

OBJECTIVES: dict[Kind, Objective] = {
    "encoder": "masked",
    "decoder": "causal",
    "encoder-decoder": "spans",
    "experts": "causal",
}


@dataclass(frozen=True)
class Specials:
    """Numbers of the special tokens in the vocabulary."""

    pad: int
    begin: int
    end: int
    mask: int


@dataclass(frozen=True)
class Family:
    """A row of the table: what transformers has, and what of `[model]` it takes."""

    kind: Kind
    configuration: str
    model: str
    names: dict[str, str]
    """From a key of `[model]` to the configuration's."""

    dropout: tuple[str, ...]
    needs: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    specials: tuple[str, ...] = ("pad", "begin", "end")
    """Which special tokens its configuration or its objective needs."""

    packed: bool = True
    """Whether a row may hold several documents that do not see each other."""

    @property
    def objective(self) -> Objective:
        return OBJECTIVES[self.kind]

    @property
    def framed(self) -> bool:
        """Whether a document of a row has a token before it and one after, or one after it alone."""
        return self.kind == "encoder"


_USUAL = {
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
    "context": "max_position_embeddings",
}
_GROUPED = _USUAL | {"kv_heads": "num_key_value_heads"}
_ENCODER = ("pad", "begin", "end", "mask")
_BERT_DROPOUT = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_UNTIED = frozenset({"untied_embeddings"})

FAMILIES: dict[FamilyName, Family] = {
    "bert": Family(
        "encoder", "BertConfig", "BertForMaskedLM", _USUAL, _BERT_DROPOUT, specials=_ENCODER
    ),
    "modernbert": Family(
        "encoder",
        "ModernBertConfig",
        "ModernBertForMaskedLM",
        _USUAL | {"window": "local_attention"},
        ("attention_dropout", "embedding_dropout", "mlp_dropout"),
        needs=frozenset({"window", "global_every"}),
        specials=_ENCODER,
    ),
    "longformer": Family(
        "encoder",
        "LongformerConfig",
        "LongformerForMaskedLM",
        # Its mask has one dimension: who sees whom within a row cannot be said.
        {key: name for key, name in _USUAL.items() if key != "context"}
        | {"window": "attention_window"},
        _BERT_DROPOUT,
        needs=frozenset({"window"}),
        specials=_ENCODER,
        packed=False,
    ),
    "llama": Family(
        "decoder",
        "LlamaConfig",
        "LlamaForCausalLM",
        _GROUPED,
        ("attention_dropout",),
        may=_UNTIED | {"kv_heads"},
    ),
    "mistral": Family(
        "decoder",
        "MistralConfig",
        "MistralForCausalLM",
        _GROUPED | {"window": "sliding_window"},
        ("attention_dropout",),
        needs=frozenset({"window"}),
        may=_UNTIED | {"kv_heads"},
    ),
    "t5": Family(
        "encoder-decoder",
        "T5Config",
        "T5ForConditionalGeneration",
        # Positions are relative: the context is that of the rows alone.
        {"hidden": "d_model", "layers": "num_layers", "heads": "num_heads", "intermediate": "d_ff"},
        ("dropout_rate",),
        specials=("pad", "end"),
    ),
    "mixtral": Family(
        "experts",
        "MixtralConfig",
        "MixtralForCausalLM",
        _GROUPED,
        ("attention_dropout",),
        needs=frozenset({"experts"}),
        may=_UNTIED | {"kv_heads"},
    ),
    "deepseek": Family(
        "experts",
        "DeepseekV3Config",
        "DeepseekV3ForCausalLM",
        _USUAL,
        ("attention_dropout",),
        needs=frozenset({"experts", "latent"}),
        may=_UNTIED,
    ),
}

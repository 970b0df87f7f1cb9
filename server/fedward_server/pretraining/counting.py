"""How many parameters a model has, exactly, and how many operations a token costs it."""

from dataclasses import dataclass
from functools import cache

from fedward_server.pretraining.architectures import Architecture, build
from fedward_server.pretraining.families import Specials

ANY_SPECIALS = Specials(pad=0, begin=1, end=2, mask=3)
"""Which number a special token has changes no count, but of Longformer's table of positions."""

NOISE = 0.15
SPAN = 3
"""Span corruption as of T5: 15 % of a row in spans of 3 (Raffel et al. 2020, section 3.3.4)."""

SOURCE_SHARE = 1 - NOISE + NOISE / SPAN
TARGET_SHARE = NOISE + NOISE / SPAN
"""Tokens that its encoder and its decoder see, per token of a row; a sentinel stands for a span."""


@dataclass(frozen=True)
class Counts:
    """Parameters: all; those that one token meets; those looked up by number and never multiplied;
    the largest block (what is gathered at once where parameters are sharded); what is in no block.
    Of an encoder-decoder, `encoder` are those of the encoder's blocks.
    """

    total: int
    active: int
    embeddings: int
    block: int
    outside: int
    encoder: int
    head: int
    """Parameters of the product that gives logits, be they those of the embeddings too."""


@cache
def counts(architecture: Architecture, vocabulary: int) -> Counts:
    """Counted on the meta device: the model is built by transformers, and takes no memory."""
    from torch import nn

    model = build(architecture, vocabulary, ANY_SPECIALS, seed=0, device="meta")
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    tables = {m.weight for m in model.modules() if isinstance(m, nn.Embedding)}
    layers = [m for m in model.modules() if isinstance(m, nn.ModuleList)]
    within = {inner for outer in layers for inner in outer.modules() if inner is not outer}
    blocks = [block for outer in layers if outer not in within for block in outer]
    in_blocks = [sum(p.numel() for p in block.parameters()) for block in blocks]
    total, experts = sum(sizes.values()), architecture.experts
    routed = sum(n for name, n in sizes.items() if ".mlp.experts." in name)
    idle = routed * (experts.count - experts.active) // experts.count if experts else 0
    return Counts(
        total=total,
        active=total - idle,
        embeddings=sum(weight.numel() for weight in tables),
        block=max(in_blocks),
        outside=total - sum(in_blocks),
        encoder=sum(n for name, n in sizes.items() if name.startswith("encoder.block.")),
        head=vocabulary * architecture.hidden,
    )


def flops_per_token(architecture: Architecture, vocabulary: int) -> float:
    """Of forward and backward, per token of a row: six for each parameter that it is multiplied by
    (Kaplan et al. 2020, section 2.1), and twelve for each key that a head sees and each of its
    entries (Chowdhery et al. 2022, PaLM, appendix B; a causal mask is not counted as half there
    either). Tables that are looked up cost nothing; the product that gives logits does. What
    activation checkpointing computes twice is not counted, as in PaLM's utilisation.
    """
    number = counts(architecture, vocabulary)
    multiplied = number.active - number.embeddings
    if not architecture.untied_embeddings:
        multiplied += number.head
    if architecture.family == "t5":
        # The keys and values of the cross attention are the decoder's, of the encoder's tokens.
        source = number.encoder + 2 * architecture.layers * architecture.hidden**2
        parameters = SOURCE_SHARE * source + TARGET_SHARE * (multiplied - source)
    else:
        parameters = float(multiplied)
    return 6 * parameters + 6 * _attention_width(architecture) * _keys(architecture)


def _attention_width(architecture: Architecture) -> int:
    """Entries of all heads of a query, and those of a value."""
    latent = architecture.latent
    if latent is None:
        return 2 * architecture.hidden
    return architecture.heads * (latent.plain + latent.rotated + latent.values)


def _keys(architecture: Architecture) -> float:
    """How many keys a token of a row sees in all layers together."""
    context, window, layers = architecture.context, architecture.window, architecture.layers
    match architecture.family:
        case "t5":
            source, target = SOURCE_SHARE * context, TARGET_SHARE * context
            each = SOURCE_SHARE * source + TARGET_SHARE * (target + source)
            return layers * each
        case "modernbert" if architecture.global_every and window:
            whole = -(-layers // architecture.global_every)
            return whole * context + (layers - whole) * min(window + 1, context)
        case "longformer" if window:
            return layers * min(window + 2, context)  # and the first token
    return layers * min(window or context, context)

"""Embeddings of a model for a tokenizer that has more tokens than before."""

from typing import Any

from fedward_server.pretraining.tokenizers import rows
from fedward_shared.errors import ModelError


def resize_embeddings(model: Any, old: Any, new: Any, multiple: int = 128) -> None:
    """Gives `model` a row for each token of `new`, padded to a multiple, in place.

    The old rows stay as they are. A new token's row is the mean of the rows of the pieces into which
    the old tokenizer cuts it (Gee et al. 2022, "Fast Vocabulary Transfer for Language Model
    Compression"), of padding the mean of all (Hewitt 2021), so that neither is likelier than what it
    is made of. The output matrix and its bias get the same, or stay tied where they are. Raises
    ModelError unless the tokens of `old` are in `new` with the same numbers, and `model` is `old`'s.
    """
    import torch

    pieces = _pieces(old, new)
    known, wanted = len(old), rows(new, multiple)
    if model.config.vocab_size < known:
        raise ModelError(
            f"the model has {model.config.vocab_size} rows of embeddings and its tokenizer {known} "
            "tokens: it is another model's"
        )
    model.resize_token_embeddings(wanted, mean_resizing=False)
    with torch.no_grad():
        for weight_VX in _weights(model):
            if len(weight_VX) != wanted:
                raise ModelError(f"{type(model).__name__}: {len(weight_VX)} rows after {wanted}")
            mean_X = weight_VX[:known].mean(dim=0)
            fresh_NX = [weight_VX[numbers].mean(dim=0) for numbers in pieces]
            weight_VX[known:] = mean_X
            if fresh_NX:
                weight_VX[known : known + len(fresh_NX)] = torch.stack(fresh_NX)


def _pieces(old: Any, new: Any) -> list[list[int]]:
    """For each new token, in the order of its number, what it was before."""
    before, after = old.get_vocab(), new.get_vocab()
    moved = [token for token, number in before.items() if after.get(token) != number]
    if moved:
        raise ModelError(
            f"{len(moved)} tokens of the old tokenizer have another number in the new one, such as "
            f"{moved[0]!r}: it is no extension of it"
        )
    added = {token.content for token in new.added_tokens_decoder.values()}
    core = old.backend_tokenizer
    fresh = sorted(after.keys() - before.keys(), key=after.__getitem__)
    if [after[token] for token in fresh] != list(range(len(old), len(new))):
        raise ModelError("the numbers of the new tokens do not follow on the old ones")
    return [
        core.encode(token, add_special_tokens=False).ids
        if token in added
        else [piece.id for piece in core.model.tokenize(token)]
        for token in fresh
    ]


def _weights(model: Any) -> list[Any]:
    """Input and output matrices [V, H] and output biases [V], each once where they are tied."""
    found = [model.get_input_embeddings().weight]
    output = model.get_output_embeddings()
    if output is not None:
        found += [output.weight] + ([output.bias] if output.bias is not None else [])
    return list({id(weight): weight for weight in found}.values())

import pytest
import torch
from server.pretraining.bilingual import reviews, titles
from transformers import (
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from fedward_server.pretraining.embeddings import resize_embeddings
from fedward_server.pretraining.extension import extend
from fedward_server.pretraining.tokenizers import check_fits, rows, train
from fedward_shared.errors import ModelError

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.fixture(scope="module")
def tokenizers():
    old = train(titles()[::4], merges=100, objective="masked")
    new = extend(old, reviews()[:100], merges=100, languages=("zh",)).tokenizer
    return old, new


def model(kind: str, vocabulary: int, tied: bool):
    torch.manual_seed(0)
    if kind == "bert":
        bert = BertForMaskedLM(BertConfig(vocab_size=vocabulary, tie_word_embeddings=tied, **SIZES))
        torch.nn.init.normal_(bert.cls.predictions.bias)
        return bert.eval()
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=vocabulary, tie_word_embeddings=tied, **SIZES)
    ).eval()


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("tied", [True, False])
def test_old_rows_stay_and_new_ones_are_the_mean_of_their_pieces(
    kind: str, tied: bool, tokenizers
) -> None:
    old, new = tokenizers
    taught = model(kind, rows(old, 64), tied)
    weights = [taught.get_input_embeddings().weight, taught.get_output_embeddings().weight]
    if taught.get_output_embeddings().bias is not None:
        weights.append(taught.get_output_embeddings().bias)
    before = [weight.detach().clone() for weight in weights]
    text = old(titles()[0][0], return_tensors="pt")["input_ids"]
    said = taught(text).logits.detach()[..., : len(old)]

    resize_embeddings(taught, old, new, multiple=128)

    check_fits(new, taught.config)
    assert taught.config.vocab_size % 128 == 0
    output = taught.get_output_embeddings()
    assert (output.weight is taught.get_input_embeddings().weight) == tied
    after = [taught.get_input_embeddings().weight, output.weight]
    after += [output.bias] if output.bias is not None else []
    assert len(after) == (3 if kind == "bert" else 2)
    known = len(old)
    for weight, was in zip(after, before, strict=True):
        assert len(weight) == taught.config.vocab_size
        assert torch.equal(weight[:known], was[:known])
        for token, number in new.get_vocab().items():
            if number >= known:
                pieces = old.backend_tokenizer.model.tokenize(token)
                if token == "[ZH]":
                    pieces = old.backend_tokenizer.encode(token, add_special_tokens=False).ids
                else:
                    pieces = [piece.id for piece in pieces]
                assert len(pieces) > 1
                torch.testing.assert_close(weight[number], was[pieces].mean(dim=0))
        torch.testing.assert_close(weight[len(new)], was[:known].mean(dim=0))
    assert torch.equal(taught(text).logits[..., :known], said)
    assert taught(text).logits.shape[-1] == taught.config.vocab_size


def test_encoder_and_decoder_get_the_same_rows(tokenizers) -> None:
    old, new = tokenizers
    torch.manual_seed(0)
    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    config = T5Config(vocab_size=rows(old, 64), decoder_start_token_id=0, **sizes)
    taught = T5ForConditionalGeneration(config).eval()
    ids = old(titles()[0][0], return_tensors="pt")["input_ids"]
    said = taught(input_ids=ids, labels=ids).logits.detach()[..., : len(old)]
    resize_embeddings(taught, old, new)
    after = taught(input_ids=ids, labels=ids).logits
    assert after.shape[-1] == taught.config.vocab_size == rows(new, 128)
    assert torch.equal(after[..., : len(old)], said)
    assert taught.encoder.embed_tokens.weight is taught.decoder.embed_tokens.weight
    assert taught.lm_head.weight is taught.shared.weight


def test_a_tokenizer_that_is_no_extension_or_a_model_of_another_is_refused(tokenizers) -> None:
    old, new = tokenizers
    other = train(reviews()[:100], merges=100, objective="masked")
    taught = model("llama", rows(old, 64), True)
    with pytest.raises(ModelError, match="no extension"):
        resize_embeddings(taught, old, other)
    with pytest.raises(ModelError, match="another model's"):
        resize_embeddings(model("llama", 64, True), old, new)
    assert taught.config.vocab_size == rows(old, 64)

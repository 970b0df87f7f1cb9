"""What reads images and texts: of each record by itself, and from numbers that follow from labels."""

import pytest
import torch

from fedward_shared import base_models, pretrained
from fedward_shared.charter_terms import AdapterTerms, BaseModelTerms
from fedward_shared.errors import CharterError, ModelError
from fedward_shared.vertical.columns import ImageColumn, TableTerms, TextColumn
from fedward_shared.vertical.encoding import encode
from fedward_shared.vertical.models import Bottom, begin
from fedward_shared.vertical.readers import Words
from fedward_simulations.data.base_models import tiny_bert, tiny_llama

LORA = AdapterTerms(method="lora", rank=2, alpha=2, target_modules=("query", "value"), layers=(1,))
TEXTS = ["a bank in a town", "a nurse", "a nurse at a bank in a town in a bank"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("models") / "bert", 0, TEXTS)


def column(folder, **change):
    terms = BaseModelTerms(digest=base_models.digest(folder))
    return TextColumn(
        **{"name": "job", "max_tokens": 12, "base_model": terms, "adapter": LORA, **change}
    )


def tokens(folder, texts, **change):
    [token_NT] = encode(
        TableTerms(columns=(column(folder, **change),)), [texts], (folder,)
    ).contents
    return token_NT


def test_a_text_has_the_direction_of_the_mean_of_its_hidden_states(bert):
    words = Words(column(bert), (bert,))
    words.begin(torch.Generator().manual_seed(0))
    found = words(tokens(bert, TEXTS))
    plain, tokenizer = pretrained.load_encoder(bert), pretrained.load_tokenizer(bert)
    for row, text in enumerate(TEXTS):
        hidden = plain(**tokenizer(text, return_tensors="pt", truncation=True, max_length=12))
        mean = hidden.last_hidden_state[0].mean(dim=0)
        assert torch.allclose(found[row], mean / mean.norm(), atol=1e-5)


def test_how_many_tokens_others_could_have_changes_nothing(bert):
    short, long = (
        Words(column(bert, max_tokens=n), (bert,))(tokens(bert, TEXTS[:2], max_tokens=n))
        for n in (12, 40)
    )
    assert torch.allclose(short, long, atol=1e-5)


def test_no_text_has_no_features_and_a_flag(bert):
    encoded = encode(TableTerms(columns=(column(bert),)), [["a bank", None, " "]], (bert,))
    assert encoded.numbers_NF[:, 0].tolist() == [0, 1, 1]
    features = Words(column(bert), (bert,))(encoded.contents[0])
    assert torch.allclose(features[0].norm(), torch.tensor(1.0))
    assert bool((features[1:] == 0).all())


def image_table():
    return TableTerms(columns=(ImageColumn(name="scan", height=16, width=16, channels=1),))


def test_an_image_is_read_by_itself_and_grey_is_nothing():
    [pictures] = Bottom(image_table(), 4).readers
    begin(pictures, "test")
    pixel_BKHW = torch.randint(0, 256, (5, 1, 16, 16), generator=torch.Generator().manual_seed(0))
    pixel_BKHW[0] = 128
    found = pictures(pixel_BKHW.to(torch.uint8))
    assert bool((found[0] == 0).all())
    assert torch.allclose(found[1:].norm(dim=1), torch.ones(4), atol=1e-5)
    alone = torch.cat([pictures(one[None].to(torch.uint8)) for one in pixel_BKHW])
    assert torch.allclose(found, alone, atol=1e-6)


def of_both(bert):
    return TableTerms(columns=(*image_table().columns, column(bert)))


def test_all_that_trains_follows_from_labels_and_the_base_model_stays(bert):
    torch.manual_seed(1)
    first = Bottom(of_both(bert), 4, (bert,))
    torch.manual_seed(2)
    second = Bottom(of_both(bert), 4, (bert,))
    plain = {n: p.clone() for n, p in pretrained.load_encoder(bert).named_parameters()}
    begin(first, "a")
    begin(second, "a")
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    begin(second, "b")
    changed = {
        name
        for (name, one), other in zip(first.named_parameters(), second.parameters(), strict=True)
        if not torch.equal(one, other)
    }
    assert any(".lora_A." in name for name in changed)
    assert any("0.weight" in name for name in changed)
    assert all(dict(first.named_parameters())[name].requires_grad for name in changed)
    for name, parameter in pretrained.load_encoder(bert).named_parameters():
        assert torch.equal(parameter, plain[name])
    trained = sum(p.numel() for p in first.readers[1].parameters() if p.requires_grad)
    assert trained == 2 * 2 * (32 + 32)


def test_what_does_not_train_is_read_once_and_embeds_the_same(bert):
    bottom = Bottom(of_both(bert), 4, (bert,))
    begin(bottom, "a")
    encoded = encode(of_both(bert), [[None] * 300, TEXTS * 100], (bert,))
    assert bottom.read(encoded).inputs == encoded.inputs
    bottom.readers.requires_grad_(False)
    read = bottom.read(encoded)
    assert [tuple(features.shape) for features in read.contents] == [(300, 256), (300, 32)]
    for records in (read, bottom.read(read)):
        assert torch.allclose(bottom.of(records), bottom.of(encoded), atol=1e-6)


def test_an_encoder_that_stays_as_it_is_does_not_train(bert):
    table = TableTerms(columns=(column(bert, adapter=AdapterTerms(method="head-only")),))
    bottom = Bottom(table, 4, (bert,))
    begin(bottom, "a")
    encoded = encode(table, [TEXTS], (bert,))
    assert [tuple(features.shape) for features in bottom.read(encoded).contents] == [(3, 32)]
    names = [name for name, one in bottom.named_parameters() if one.requires_grad]
    assert names == ["layer.numbers.weight", "layer.numbers.bias", "layer.features.0.weight"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"max_tokens": 200}, ModelError, "reads 128 tokens, job has 200"),
        ({"base_model": BaseModelTerms(digest="sha256:" + "0" * 64)}, ModelError, "those that are"),
        (
            {"adapter": LORA.model_copy(update={"target_modules": ("gate",)})},
            CharterError,
            "target_modules",
        ),
    ],
)
def test_a_text_that_cannot_be_read_so_is_refused(bert, change, error, message):
    with pytest.raises(error, match=message):
        Words(column(bert, **change), (bert,))


def test_a_model_that_reads_in_one_direction_is_refused(tmp_path):
    llama = tiny_llama(tmp_path / "llama", 0)
    adapter = AdapterTerms(method="head-only")
    with pytest.raises(ModelError, match="no encoder of which each position reads all others"):
        Words(column(llama, adapter=adapter), (llama,))

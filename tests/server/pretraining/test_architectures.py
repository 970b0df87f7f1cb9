"""Every family is built from `[model]`; what a family has not is refused by the key's name."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from pydantic import ValidationError
from server.pretraining.small import FAMILY_NAMES, SPECIALS, VOCABULARY, small

from fedward_server.pretraining.architectures import Experts, Latent, build, transformers_config
from fedward_server.pretraining.families import FAMILIES, FamilyName
from fedward_shared.terms import describe


def test_the_small_ones_are_of_all_families() -> None:
    assert set(FAMILY_NAMES) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_same_seed_gives_the_same_tensors_and_leaves_the_caller_s_state(
    family: FamilyName,
) -> None:
    before = torch.get_rng_state()
    one, same, other = (build(small(family), VOCABULARY, SPECIALS, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(t, same.state_dict()[n]) for n, t in one.state_dict().items())
    assert any(not torch.equal(t, other.state_dict()[n]) for n, t in one.state_dict().items())


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_on_the_meta_device_it_has_the_same_shapes(family: FamilyName) -> None:
    real = build(small(family), VOCABULARY, SPECIALS, seed=1)
    meta = build(small(family), VOCABULARY, SPECIALS, seed=1, device="meta")
    assert all(p.is_meta for p in meta.parameters())
    assert {n: p.shape for n, p in meta.named_parameters()} == {
        n: p.shape for n, p in real.named_parameters()
    }


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_what_is_saved_is_read_by_transformers_own_class(
    family: FamilyName, tmp_path: Path
) -> None:
    model = build(small(family), VOCABULARY, SPECIALS, seed=1).eval()
    model.save_pretrained(tmp_path)
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    assert config.architectures == [FAMILIES[family].model]
    plain = getattr(transformers, FAMILIES[family].model).from_pretrained(tmp_path)
    assert type(plain).__module__.startswith("transformers.")
    ids_BT = torch.arange(4, 20)[None]
    inputs = {"input_ids": ids_BT} | ({"decoder_input_ids": ids_BT} if family == "t5" else {})
    with torch.no_grad():
        torch.testing.assert_close(plain(**inputs).logits, model(**inputs).logits)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_no_dropout_unless_asked_for(family: FamilyName) -> None:
    none = transformers_config(small(family), VOCABULARY, SPECIALS).to_dict()
    some = transformers_config(small(family, dropout=0.25), VOCABULARY, SPECIALS).to_dict()
    names = [name for name in none if "drop" in name and not name.startswith("classifier")]
    assert names
    assert {none[name] for name in names} == {0.0}
    assert {some[name] for name in names} == {0.25}


@pytest.mark.parametrize(
    ("family", "changes", "said"),
    [
        (
            "llama",
            {"window": 8},
            "window: llama has none; modernbert, longformer, mistral have",
        ),
        (
            "bert",
            {"experts": Experts(count=2, active=1)},
            "experts: bert has none; mixtral, deepseek",
        ),
        ("bert", {"kv_heads": 2}, "kv_heads: bert has none; llama, mistral, mixtral"),
        ("t5", {"untied_embeddings": True}, "untied_embeddings: t5 has none"),
        ("mixtral", {"latent": Latent(keys=4, plain=4, rotated=4, values=4)}, "latent: mixtral"),
        ("mistral", {"window": None}, "window: mistral needs it"),
        ("modernbert", {"global_every": None}, "global_every: modernbert needs it"),
        ("deepseek", {"latent": None}, "latent: deepseek needs it"),
        ("bert", {"heads": 5}, "heads: 32 does not divide by 5"),
        ("llama", {"heads": 32, "kv_heads": None}, "heads: a head of 1 cannot be rotated"),
        ("llama", {"kv_heads": 3}, "kv_heads: 4 heads do not divide by 3"),
        ("mistral", {"window": 32}, "window: 32 is more than the context, 16"),
        ("longformer", {"window": 6}, "context: 16 is no multiple of the window, 6"),
        ("mixtral", {"experts": Experts(count=4, active=2, shared=1)}, "experts.shared"),
        ("deepseek", {"experts": Experts(count=4, active=2)}, "deepseek needs at least one"),
        ("deepseek", {"experts": Experts(count=1, active=1, shared=1)}, "needs at least two"),
        ("mixtral", {"experts": {"count": 2, "active": 3}}, "active: 3 of 2 experts cannot be"),
        ("deepseek", {"experts": {"count": 2, "active": 1, "dense_layers": 1}}, "both or neither"),
        ("llama", {"depth": 3}, "depth: Extra inputs are not permitted"),
        ("llama", {"layers": 0}, "layers: Input should be greater than 0"),
    ],
)
def test_what_a_family_has_not_is_refused_by_its_key(
    family: FamilyName, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as refusal:
        small(family, **changes)
    assert said in describe(refusal.value)


def test_more_dense_layers_than_layers_are_refused() -> None:
    experts = Experts(count=4, active=2, shared=1, dense_layers=3, dense_intermediate=8)
    with pytest.raises(ValidationError, match="3 of 2 cannot be"):
        small("deepseek", experts=experts)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_special_tokens_have_their_numbers(family: FamilyName) -> None:
    config = transformers_config(small(family), VOCABULARY, SPECIALS)
    assert (config.pad_token_id, config.eos_token_id) == (SPECIALS.pad, SPECIALS.end)
    assert config.vocab_size == VOCABULARY
    if "begin" in FAMILIES[family].specials:
        assert config.bos_token_id == SPECIALS.begin


def test_the_table_says_what_rows_and_objectives_are() -> None:
    framed = {name for name, family in FAMILIES.items() if family.framed}
    assert framed == {"bert", "modernbert", "longformer"}
    assert {FAMILIES[name].objective for name in framed} == {"masked"}
    assert [name for name, family in FAMILIES.items() if not family.packed] == ["longformer"]
    assert FAMILIES["t5"].objective == "spans"
    for name, family in FAMILIES.items():
        assert ("mask" in family.specials) == (family.objective == "masked")
        assert small(name).objective == family.objective

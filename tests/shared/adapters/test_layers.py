"""Adapters: which tensors train, where they start, and that they change nothing before they do."""

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, MixtralConfig, MixtralForCausalLM, PreTrainedModel

from fedward_shared import adapters, pretrained, tensors
from fedward_shared.charter_terms import AdapterTerms
from fedward_shared.errors import CharterError


def terms(
    method: str = "ffa-lora",
    modules: tuple[str, ...] = ("query", "value"),
    layers: tuple[int, ...] = (0, 1),
    rank: int = 4,
) -> AdapterTerms:
    fields = {"method": method, "rank": rank, "target_modules": modules, "layers": layers}
    return AdapterTerms.model_validate(fields)


def trained(model: torch.nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def attached(folder: Path, wanted: AdapterTerms) -> torch.nn.Module:
    return adapters.attach(pretrained.load_encoder(folder), wanted)


def test_ffa_lora_trains_b_alone(tiny_bert_folder: Path) -> None:
    names = trained(attached(tiny_bert_folder, terms("ffa-lora")))
    assert len(names) == 4
    assert all(".lora_B." in name for name in names)


def test_lora_trains_both(tiny_bert_folder: Path) -> None:
    names = trained(attached(tiny_bert_folder, terms("lora")))
    assert sum(".lora_A." in name for name in names) == 4
    assert sum(".lora_B." in name for name in names) == 4
    assert len(names) == 8


def test_lora_xs_trains_the_core_alone(tiny_bert_folder: Path) -> None:
    model = attached(tiny_bert_folder, terms("lora-xs"))
    names = trained(model)
    assert len(names) == 4
    assert all(name.endswith("lora_B.default.core.weight") for name in names)
    sizes = {tuple(p.shape) for name, p in model.named_parameters() if name in names}
    assert sizes == {(4, 4)}


def test_head_only_attaches_nothing(tiny_bert_folder: Path) -> None:
    model = attached(tiny_bert_folder, AdapterTerms(method="head-only"))
    assert not trained(model)
    assert not adapters.adapter_tensors(model)
    assert adapters.initial(model, 0) == {}


def test_only_the_layers_and_modules_named_get_an_adapter(tiny_bert_folder: Path) -> None:
    model = attached(tiny_bert_folder, terms(modules=("query",), layers=(1,)))
    names = set(adapters.adapter_tensors(model))
    place = "base_model.model.encoder.layer.1.attention.self.query"
    assert names == {f"{place}.lora_A.weight", f"{place}.lora_B.weight"}


def test_the_directions_of_lora_xs_start_orthonormal_and_its_core_at_zero(
    tiny_bert_folder: Path,
) -> None:
    start = adapters.initial(attached(tiny_bert_folder, terms("lora-xs")), 0)
    assert len(start) == 12
    for name, tensor in start.items():
        if name.endswith("outputs.weight"):
            torch.testing.assert_close(tensor.T @ tensor, torch.eye(4), atol=1e-6, rtol=0)
        elif name.endswith("core.weight"):
            assert not tensor.count_nonzero()


def test_a_starts_with_orthonormal_rows_and_b_at_zero(tiny_bert_folder: Path) -> None:
    start = adapters.initial(attached(tiny_bert_folder, terms()), 0)
    assert len(start) == 8
    for name, tensor in start.items():
        if ".lora_A." in name:
            torch.testing.assert_close(tensor @ tensor.T, torch.eye(4), atol=1e-6, rtol=0)
        else:
            assert not tensor.count_nonzero()
    drawn = [tensor for name, tensor in start.items() if ".lora_A." in name]
    assert len({tensors.digest({"a": tensor}) for tensor in drawn}) == len(drawn)


@pytest.mark.parametrize("method", ["lora-xs", "ffa-lora", "lora"])
def test_the_seed_decides_every_byte_of_the_start(method: str, tiny_bert_folder: Path) -> None:
    digests = []
    for seed, noise in ((3, 1), (3, 2), (4, 1)):
        torch.manual_seed(noise)
        model = attached(tiny_bert_folder, terms(method))
        digests.append(tensors.digest(adapters.initial(model, seed)))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("method", ["lora-xs", "ffa-lora", "lora"])
def test_an_adapter_at_its_start_changes_no_output(method: str, tiny_bert_folder: Path) -> None:
    ids = torch.tensor([[2, 5, 6, 7, 3]])
    with torch.no_grad():
        plain = pretrained.load_encoder(tiny_bert_folder)(ids).last_hidden_state
        adapted = attached(tiny_bert_folder, terms(method))(ids).last_hidden_state
    torch.testing.assert_close(plain, adapted, atol=0, rtol=0)


def test_alpha_over_rank_scales_what_the_adapter_adds(tiny_bert_folder: Path) -> None:
    outputs = {}
    for alpha in (0.0001, 4.0, 8.0):
        wanted = terms(modules=("query",), layers=(0,)).model_copy(update={"alpha": alpha})
        model = attached(tiny_bert_folder, wanted)
        own = adapters.adapter_tensors(model)
        start = adapters.initial(model, 0)
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(start[name] if ".lora_A." in name else torch.ones_like(parameter))
            layer = dict(model.named_modules())[
                "base_model.model.encoder.layer.0.attention.self.query"
            ]
            outputs[alpha] = layer(torch.ones(1, 32))
    torch.testing.assert_close(
        outputs[8.0] - outputs[0.0001], 2 * (outputs[4.0] - outputs[0.0001]), atol=1e-3, rtol=1e-3
    )
    assert float((outputs[8.0] - outputs[4.0]).abs().max()) > 0.01


@pytest.mark.parametrize(
    "wrong",
    [
        terms(modules=("q_proj",)),
        terms(modules=("query", "q_proj")),
        terms(modules=("LayerNorm",)),
        terms(layers=(2,)),
        terms(layers=(0, 7)),
        terms(modules=("query", "query")),
        terms(layers=(1, 1)),
    ],
)
def test_a_module_or_layer_that_is_not_there_is_refused(
    wrong: AdapterTerms, tiny_bert_folder: Path
) -> None:
    with pytest.raises(CharterError, match=r"adapter\.target_modules, adapter\.layers"):
        attached(tiny_bert_folder, wrong)


@pytest.mark.parametrize("method", ["lora-xs", "ffa-lora", "lora"])
def test_a_rank_beyond_the_width_is_refused(method: str, tiny_bert_folder: Path) -> None:
    attached(tiny_bert_folder, terms(method, rank=32))
    with pytest.raises(CharterError, match=r"adapter\.rank is 33, .*query has 32 inputs"):
        attached(tiny_bert_folder, terms(method, rank=33))


def mixtral() -> PreTrainedModel:
    config = MixtralConfig(
        vocab_size=30,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_local_experts=4,
    )
    return MixtralForCausalLM(config)


def bert() -> PreTrainedModel:
    config = BertConfig(
        vocab_size=30,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    return BertModel(config)


@pytest.mark.parametrize(
    ("base", "module"),
    [(mixtral(), "w2"), (mixtral(), "gate"), (mixtral(), "experts"), (bert(), "LayerNorm")],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_linear_layer_is_refused(base: PreTrainedModel, module: str) -> None:
    """The experts of a mixture and its router among them."""
    terms = AdapterTerms(method="ffa-lora", rank=2, target_modules=(module,), layers=(0,))
    with pytest.raises(CharterError, match=r"adapter\.target_modules"):
        adapters.attach(base, terms)


def test_the_attention_of_a_mixture_is_adapted() -> None:
    terms = AdapterTerms(
        method="lora", rank=2, target_modules=("q_proj", "k_proj", "v_proj", "o_proj"), layers=(0,)
    )
    assert len(adapters.adapter_tensors(adapters.attach(mixtral(), terms))) == 8


@pytest.mark.parametrize("layers", [(0,), (1,), (1, 0), (0, 1, 2)])
def test_a_prefix_that_does_not_reach_every_layer_is_refused(
    layers: tuple[int, ...], tiny_bert_folder: Path
) -> None:
    wanted = AdapterTerms(method="prefix-tuning", rank=3, layers=layers)
    with pytest.raises(CharterError, match=r"adapter\.layers: prefix-tuning .* all of 0 to 1"):
        attached(tiny_bert_folder, wanted)


def test_a_prefix_is_one_tensor_that_the_seed_decides(
    tiny_bert_folder: Path, tiny_llama_folder: Path
) -> None:
    wanted = AdapterTerms(method="prefix-tuning", rank=3, layers=(0, 1))
    llama = adapters.attach(pretrained.load_causal_lm(tiny_llama_folder), wanted)
    for model in (attached(tiny_bert_folder, wanted), llama):
        ((name, tensor),) = adapters.adapter_tensors(model).items()
        assert name == "prompt_encoder.embedding.weight"
        assert len(tensor) == 3
        assert tensor.requires_grad
        start = adapters.initial(model, 5)
        assert tensors.digest(start) == tensors.digest(adapters.initial(model, 5))
        assert tensors.digest(start) != tensors.digest(adapters.initial(model, 6))
        assert len(trained(model)) == 1


QUERY = "base_model.model.encoder.layer.0.attention.self.query"


def weight_of(model: torch.nn.Module) -> torch.Tensor:
    return dict(model.named_parameters())[f"{QUERY}.base_layer.weight"]


def test_copies_of_a_base_share_its_weights_and_none_moves_those_of_another(
    tiny_bert_folder: Path,
) -> None:
    one, other = (attached(tiny_bert_folder, terms("flora")) for _ in range(2))
    assert weight_of(one).data_ptr() == weight_of(other).data_ptr()
    before = weight_of(other).clone()
    one.get_submodule(QUERY).get_buffer("moved").fill_(1.0)
    adapters.settle(one)
    assert not torch.equal(weight_of(one), before)
    assert torch.equal(weight_of(other), before)
    assert torch.equal(weight_of(attached(tiny_bert_folder, terms("flora"))), before)


@pytest.mark.parametrize("method", ["fedex-lora", "flora"])
def test_a_weight_moves_from_where_it_rests(method: str, tiny_bert_folder: Path) -> None:
    """However often it is settled, and back to the very bits."""
    model = attached(tiny_bert_folder, terms(method, modules=("query",), layers=(0,)))
    own = adapters.adapter_tensors(model)
    (moved,) = [tensor for name, tensor in own.items() if name.endswith(".moved")]
    resting = weight_of(model).clone()
    change = torch.randn(moved.shape, generator=torch.Generator().manual_seed(0))
    for amount in (1.0, -3.0, 0.0):
        moved.copy_(amount * change)
        adapters.settle(model)
        adapters.settle(model)
        torch.testing.assert_close(weight_of(model), resting + 8.0 / 4 * amount * change)
    assert torch.equal(weight_of(model), resting)

"""Parameters are what a formula on paper gives, operations what PyTorch counts when it runs."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from server.pretraining.small import FAMILY_NAMES, SPECIALS, VOCABULARY, small
from torch.utils.flop_counter import FlopCounterMode

from fedward_server.pretraining.architectures import Architecture, build
from fedward_server.pretraining.counting import counts, flops_per_token
from fedward_server.pretraining.families import FamilyName


def bert(a: Architecture, v: int) -> int:
    h, i = a.hidden, a.intermediate
    layer = 4 * (h * h + h) + (h * i + i) + (i * h + h) + 4 * h
    return (v + a.context + 2 + 2) * h + a.layers * layer + (h * h + h + 2 * h) + v


def modernbert(a: Architecture, v: int) -> int:
    h, i = a.hidden, a.intermediate
    layer = 4 * h * h + 3 * h * i + 2 * h
    # The first layer has no norm before its attention; the embeddings, the end and the head have one.
    return v * h + a.layers * layer - h + 3 * h + h * h + v


def llama(a: Architecture, v: int) -> int:
    h, kv = a.hidden, a.kv_heads or a.heads
    attention = 2 * h * h + 2 * h * kv * (h // a.heads)
    matrices = 2 if a.untied_embeddings else 1
    return matrices * v * h + a.layers * (attention + 3 * h * a.intermediate + 2 * h) + h


def t5(a: Architecture, v: int) -> int:
    h, i = a.hidden, a.intermediate
    encoder = 4 * h * h + 3 * h * i + 2 * h
    decoder = 8 * h * h + 3 * h * i + 3 * h
    return v * h + a.layers * (encoder + decoder) + 2 * (32 * a.heads + h)


def mixtral(a: Architecture, v: int) -> int:
    assert a.experts is not None
    h, count = a.hidden, a.experts.count
    others = count - 1
    return llama(a, v) + a.layers * (others * 3 * h * a.intermediate + count * h)


def deepseek(a: Architecture, v: int) -> int:
    e, m, h = a.experts, a.latent, a.hidden
    assert e is not None
    assert m is not None
    query = m.plain + m.rotated
    q = (
        h * m.queries + m.queries + m.queries * a.heads * query
        if m.queries
        else h * a.heads * query
    )
    kv = h * (m.keys + m.rotated) + m.keys + m.keys * a.heads * (m.plain + m.values)
    attention = q + kv + a.heads * m.values * h + 2 * h
    sparse = (e.count + e.shared) * 3 * h * a.intermediate + e.count * h
    dense = 3 * h * (e.dense_intermediate or 0)
    matrices = 2 if a.untied_embeddings else 1
    inner = (a.layers - e.dense_layers) * sparse + e.dense_layers * dense
    return matrices * v * h + a.layers * attention + inner + h


FORMULAS: dict[FamilyName, Any] = {
    "bert": bert,
    "modernbert": modernbert,
    "llama": llama,
    "mistral": llama,
    "t5": t5,
    "mixtral": mixtral,
    "deepseek": deepseek,
}


@pytest.mark.parametrize("family", FORMULAS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_parameters_are_those_of_the_formula(family: FamilyName, data: st.DataObject) -> None:
    sizes: dict[str, Any] = {
        "hidden": 8 * data.draw(st.integers(1, 64)),
        "layers": data.draw(st.integers(1, 5)),
        "intermediate": data.draw(st.integers(1, 700)),
        "context": data.draw(st.integers(8, 4_000)),
    }
    if "untied_embeddings" in small(family).row.may:
        sizes["untied_embeddings"] = data.draw(st.booleans())
    vocabulary = data.draw(st.integers(5, 200_000))
    architecture = small(family, **sizes)
    number = counts(architecture, vocabulary)
    assert number.total == FORMULAS[family](architecture, vocabulary)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_real_model_has_as_many(family: FamilyName) -> None:
    model = build(small(family), VOCABULARY, SPECIALS, seed=1)
    real = sum(parameter.numel() for parameter in model.parameters())
    assert counts(small(family), VOCABULARY).total == real


@pytest.mark.parametrize(("family", "sparse"), [("mixtral", 2), ("deepseek", 1)])
def test_a_token_meets_its_experts_and_what_is_everybody_s(family: FamilyName, sparse: int) -> None:
    number = counts(small(family), VOCABULARY)
    assert number.total - number.active == sparse * 2 * 3 * 32 * 24
    assert counts(small("llama"), VOCABULARY).active == counts(small("llama"), VOCABULARY).total


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_blocks_and_the_rest_make_the_whole(family: FamilyName) -> None:
    architecture = small(family)
    number, deeper = (
        counts(shape, VOCABULARY)
        for shape in (architecture, architecture.model_copy(update={"layers": 3}))
    )
    assert number.outside == deeper.outside
    each = deeper.total - number.total
    if family == "t5":  # the larger of two kinds, with the positions of its stack
        each = 8 * 32**2 + 3 * 32 * 24 + 3 * 32 + 32 * 4
    assert number.block == each


COUNTED = ("bert", "llama", "t5", "mixtral", "deepseek")


@pytest.mark.parametrize("family", COUNTED)
def test_operations_are_those_that_are_counted_when_it_runs(family: FamilyName) -> None:
    architecture = small(family, context=40, hidden=64)
    model = build(architecture, VOCABULARY, SPECIALS, seed=1)
    model.set_attn_implementation("eager")  # products that the counter sees
    inputs = {"input_ids": torch.arange(40)[None] + 4}
    if family == "t5":  # 0.9 and 0.2 tokens for each of the row
        inputs = {
            "input_ids": torch.arange(36)[None] + 4,
            "decoder_input_ids": torch.ones(1, 8).long(),
        }
    if architecture.experts is not None:
        model.set_experts_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        model(**inputs, use_cache=False).logits.sum().backward()
    counted = counter.get_total_flops() / 40
    assert flops_per_token(architecture, VOCABULARY) == pytest.approx(counted, rel=0.03)


def test_a_window_costs_its_keys_and_not_the_context() -> None:
    narrow, whole = small("mistral", context=4_096), small("llama", context=4_096)
    saved = flops_per_token(whole, VOCABULARY) - flops_per_token(narrow, VOCABULARY)
    assert saved == 12 * 2 * 32 * (4_096 - 4)


def test_a_layer_in_so_many_sees_all() -> None:
    every, some = (
        flops_per_token(small("modernbert", context=1_000, layers=4, global_every=n), VOCABULARY)
        for n in (1, 3)
    )
    assert every - some == 12 * 2 * 32 * (1_000 - 5)

"""From the updates of a round to the next start: what is claimed exact is, in whatever order."""

from collections.abc import Mapping

import pytest
import torch
from conftest import adapter_terms, key_of, small_charter
from hypothesis import given
from hypothesis import strategies as st

from fedward_server import optimizers
from fedward_shared import adapters, names, tensors
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import AggregationTerms, Participant
from fedward_shared.names import METHODS
from fedward_shared.tensors import Schema, Tensors

PLACE = "base_model.model.layer.1.query"
A, B, MOVED = f"{PLACE}.lora_A.weight", f"{PLACE}.lora_B.weight", f"{PLACE}.moved"
RANK, INPUTS, OUTPUTS = 3, 6, 5
FACTORS: Schema = {A: (RANK, INPUTS), B: (OUTPUTS, RANK), "head.weight": (2, OUTPUTS)}
LOW_RANK = sorted(m for m, t in METHODS.items() if "A" in t.kept or t.moves_base or m == "ffa-lora")
MIXED = sorted(method for method, traffic in METHODS.items() if traffic.mixed_ranks)


def charter_of(method: str, ranks: list[int | None]) -> Charter:
    participants = tuple(
        Participant(name=f"s{i}", records=100 + i, key=key_of(f"s{i}").public.text, rank=rank)
        for i, rank in enumerate(ranks)
    )
    adapter = adapter_terms(method, RANK)
    return small_charter("sha256:" + "0" * 64, adapter=adapter, participants=participants)


def drawn(schema: Schema, seed: int) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in schema.items()}


def started(method: str, seed: int) -> tuple[Tensors, Tensors]:
    """All of a study's tensors in the midst of it, and those of them that are handed out."""
    initial = drawn(FACTORS, seed)
    initial[A] = torch.linalg.qr(initial[A].T).Q.T.contiguous()
    if method == "flora":
        initial[B] = torch.zeros_like(initial[B])  # its factors are fresh in every round
    handed = names.handed_out(tensors.schema_of(initial), method)
    state = {name: initial.get(name, torch.zeros(shape)) for name, shape in handed.items()}
    if MOVED in state:
        state[MOVED] = drawn({MOVED: handed[MOVED]}, seed + 1)[MOVED]
    return initial | state, state


def weight(start: Mapping[str, torch.Tensor], changes: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """What the adapter adds to the frozen weight after `changes`, in double precision."""
    now = {}
    for name in (A, B):
        change = changes.get(name, torch.zeros_like(start[name])).double()
        now[name] = start[name][tuple(map(slice, change.shape))].double() + change
    moved = start.get(MOVED, torch.zeros(OUTPUTS, INPUTS)).double()
    return moved + now[B] @ now[A]


def closed(
    method: str, start: Tensors, state: Tensors, updates: list[Tensors], **terms: object
) -> tuple[Tensors, Tensors]:
    averaging = adapters.averaging(method)
    parts = [averaging.part(start, update) for update in updates]
    mean = {
        name: torch.stack([part[name].double() for part in parts]).mean(dim=0).float()
        for name in parts[0]
    }
    aggregation = AggregationTerms.model_validate({"minimum_cohort": 1, **terms})
    return optimizers.advance(method, start, state, mean, {}, aggregation)


def updates_of(charter: Charter, turn: int, seed: int) -> list[Tensors]:
    return [
        drawn(charter.sent(FACTORS, site.name, turn), seed + 10 + i)
        for i, site in enumerate(charter.participants)
    ]


@pytest.mark.parametrize("method", LOW_RANK)
@given(seed=st.integers(0, 2**32), turn=st.integers(1, 3), data=st.data())
def test_exact_methods_end_a_round_with_the_mean_of_the_models(
    method: str, seed: int, turn: int, data: st.DataObject
) -> None:
    ranks = [
        data.draw(st.none() | st.integers(1, RANK)) if method in MIXED else None for _ in range(3)
    ]
    charter = charter_of(method, ranks)
    start, state = started(method, seed)
    updates = updates_of(charter, turn, seed)
    following, _ = closed(method, start, state, updates)
    mean = torch.stack([weight(start, update) for update in updates]).mean(0)
    ended = weight(start | following, {})
    assert following.keys() == state.keys()
    assert torch.allclose(ended, mean, atol=1e-5, rtol=1e-5) == METHODS[method].exact
    heads = torch.stack([update["head.weight"] for update in updates]).mean(0)
    torch.testing.assert_close(following["head.weight"], start["head.weight"] + heads)


@pytest.mark.parametrize("method", sorted(METHODS))
@given(seed=st.integers(0, 2**32))
def test_the_order_of_arrival_changes_no_bit(method: str, seed: int) -> None:
    charter = charter_of(method, [None] * 3)
    start, state = started(method, seed)
    updates = updates_of(charter, 1, seed)
    found = [
        tensors.digest(closed(method, start, state, order)[0])
        for order in (updates, updates[::-1], updates[1:] + updates[:1])
    ]
    assert len(set(found)) == 1


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_round_of_the_head_alone_moves_the_head_alone(method: str) -> None:
    charter = charter_of(method, [None] * 3)
    start, state = started(method, 0)
    updates = updates_of(charter, 0, 0)
    assert all(update.keys() == {"head.weight"} for update in updates)
    following, _ = closed(method, start, state, updates)
    assert {n for n in state if not torch.equal(following[n], state[n])} == {"head.weight"}


@given(seed=st.integers(0, 2**32), spread=st.floats(0, 30), dead=st.booleans())
def test_fedsvd_turns_the_factors_and_not_the_product(seed: int, spread: float, dead: bool) -> None:
    """From whatever A; with momentum, and where B has columns of zeros."""
    start, state = started("fedsvd", seed)
    state[A] = start[A] = (torch.eye(RANK) + spread * drawn({A: (RANK, RANK)}, seed)[A]) @ start[A]
    update = drawn({B: FACTORS[B]}, seed + 1)
    if dead:
        update[B][:, 1:] = -start[B][:, 1:]
    mean_terms = {"server_optimizer": "fedavgm", "server_momentum": 0.5}
    following, momentum = closed("fedsvd", start, state, [update], **mean_terms)
    scale = float(weight(start, update).abs().max())
    torch.testing.assert_close(
        weight(following, {}), weight(start, update), atol=1e-5 * scale, rtol=1e-5
    )
    torch.testing.assert_close(following[A] @ following[A].T, torch.eye(RANK), atol=1e-5, rtol=0)
    gram = following[B].double().T @ following[B].double()
    assert float((gram - gram.diag().diag()).abs().max()) <= 1e-5 * float(gram.abs().max())
    assert list(gram.diag()) == sorted(gram.diag(), reverse=True)
    before, after = update[B] @ start[A], momentum[f"first.{B}"] @ following[A]
    torch.testing.assert_close(after, before, atol=1e-4 * (1 + spread), rtol=1e-4)


def test_hetlora_pads_with_zeros_and_weighs_by_what_was_learnt() -> None:
    charter = charter_of("hetlora", [1, None, 2])
    start, state = started("hetlora", 3)
    updates = updates_of(charter, 1, 3)
    following, _ = closed("hetlora", start, state, updates)
    padded: dict[str, list[torch.Tensor]] = {A: [], B: []}
    weights = []
    for update in updates:
        rank = len(update[A])
        weights.append(float((weight(start, update)).norm()))
        for name, wide in ((A, (rank, INPUTS)), (B, (OUTPUTS, rank))):
            full = torch.zeros(FACTORS[name])
            full[: wide[0], : wide[1]] = start[name][: wide[0], : wide[1]] + update[name]
            padded[name].append(full)
    for name, parts in padded.items():
        expected = sum(w * p for w, p in zip(weights, parts, strict=True)) / sum(weights)
        torch.testing.assert_close(following[name], expected, atol=1e-5, rtol=1e-4)


def test_hetlora_takes_the_plain_mean_where_nobody_has_learnt_anything() -> None:
    start, state = started("hetlora", 3)
    start[B].zero_()
    updates = updates_of(charter_of("hetlora", [None] * 2), 1, 3)
    for update in updates:
        update[B].zero_()
    following, _ = closed("hetlora", start, state, updates)
    mean = (updates[0][A] + updates[1][A]) / 2
    torch.testing.assert_close(following[A], start[A] + mean, atol=1e-3, rtol=0)


def test_fedex_under_momentum_keeps_the_residual_of_the_plain_mean() -> None:
    start, state = started("fedex-lora", 5)
    updates = updates_of(charter_of("fedex-lora", [None] * 3), 1, 5)
    plain, _ = closed("fedex-lora", start, state, updates)
    pushed, _ = closed(
        "fedex-lora", start, state, updates, server_optimizer="fedavgm", server_learning_rate=0.5
    )
    assert torch.equal(plain[MOVED], pushed[MOVED])
    assert not torch.equal(plain[A], pushed[A])


@pytest.mark.parametrize("rank", [1, 2, RANK])
def test_a_lower_rank_has_the_first_directions(rank: int) -> None:
    start, _ = started("hetlora", 0)
    cut = adapters.at_rank(start, rank)
    assert torch.equal(cut[A], start[A][:rank])
    assert torch.equal(cut[B], start[B][:, :rank])
    assert torch.equal(cut["head.weight"], start["head.weight"])


@given(seed=st.integers(0, 2**32), rank=st.integers(1, 4), count=st.integers(1, 2))
def test_hetloras_penalty_is_on_the_last_directions(seed: int, rank: int, count: int) -> None:
    """Held against autograd: λ·‖A‖·‖B‖ of what may be dropped, which is the last direction."""
    values = {
        f"{place}.lora_{part}.weight": torch.nn.Parameter(tensor)
        for place in ("q", "k")[:count]
        for part, tensor in drawn({"A": (rank, INPUTS), "B": (OUTPUTS, rank)}, seed).items()
    }
    loss = sum(
        5e-3
        * values[f"{p}.lora_A.weight"][-1:].norm()
        * values[f"{p}.lora_B.weight"][:, -1:].norm()
        for p in ("q", "k")[:count]
    )
    assert isinstance(loss, torch.Tensor)
    expected = dict(zip(values, torch.autograd.grad(loss, list(values.values())), strict=True))
    drift = adapters.averaging("hetlora").drift(values)
    assert drift.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(drift[name], gradient, atol=1e-8, rtol=1e-5)


@pytest.mark.parametrize(("shrunk", "dropped"), [(0.9, True), (1.1, False)])
def test_hetlora_drops_a_last_direction_that_has_shrunk(shrunk: float, dropped: bool) -> None:
    before = drawn({A: FACTORS[A], B: FACTORS[B], "head.weight": (1,)}, 7)
    after = {name: tensor.clone() for name, tensor in before.items()}
    after[B][:, -1] *= shrunk
    after[B][:, 0] *= 0.1
    update = adapters.averaging("hetlora").finished(before, after)
    ended = {name: before[name] + change for name, change in update.items()}
    assert (not ended[A][-1].any() and not ended[B][:, -1].any()) == dropped
    for name, kept in ((A, slice(0, -1)), (B, (slice(None), slice(0, -1)))):
        torch.testing.assert_close(ended[name][kept], after[name][kept])
    assert set(adapters.averaging("lora").finished(before, after)) == set(after)


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"hetlora"}))
def test_no_other_method_has_a_penalty(method: str) -> None:
    assert adapters.averaging(method).drift(drawn(FACTORS, 0)) == {}

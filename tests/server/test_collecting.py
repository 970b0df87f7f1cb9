"""Parts of updates of several ranks: each site has its own and no other, and no sum overflows."""

from pathlib import Path

import pytest
import torch
from conftest import adapter_terms, key_of, small_charter

from fedward_server.collecting import Parts, collector
from fedward_server.fold import Fold
from fedward_server.layout import Layout
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import AggregationTerms, Participant
from fedward_shared.errors import AdapterError
from fedward_shared.tensors import Schema, Tensors, encode

A, B = "l.query.lora_A.weight", "l.query.lora_B.weight"
RANKS = {"east": 1, "north": None, "south": 2}
INITIAL: Schema = {A: (3, 5), B: (4, 3), "head.weight": (2, 4)}


def charter(method: str, bound: float = 1e6) -> Charter:
    return small_charter(
        "sha256:" + "0" * 64,
        adapter=adapter_terms(method, 3),
        aggregation=AggregationTerms(minimum_cohort=1, maximum_update_norm=bound),
        participants=tuple(
            Participant(name=name, records=100, key=key_of(name).public.text, rank=rank)
            for name, rank in RANKS.items()
        ),
    )


def update(terms: Charter, site: str, scale: float = 1.0) -> Tensors:
    generator = torch.Generator().manual_seed(len(site))
    return {
        name: scale * torch.randn(shape, generator=generator)
        for name, shape in terms.sent(INITIAL, site, 1).items()
    }


def opened(terms: Charter, folder: Path) -> tuple[Layout, Parts]:
    layout = Layout(INITIAL)
    start = {name: torch.zeros(shape) for name, shape in INITIAL.items()}
    found = collector(terms, layout, start, folder)
    assert isinstance(found, Parts)
    return layout, found


@pytest.mark.parametrize("method", ["flora", "hetlora"])
@pytest.mark.parametrize("site", RANKS)
@pytest.mark.parametrize("sender", RANKS)
def test_a_site_has_its_own_rank_and_no_other(
    method: str, site: str, sender: str, tmp_path: Path
) -> None:
    terms = charter(method)
    layout, parts = opened(terms, tmp_path)
    sent = encode(update(terms, sender))
    expected = layout.at_rank(terms.adapter_at(site).rank)
    if site == sender:
        parts.add(site, expected.row(sent, "test"), 1)
        assert parts.mean()["head.weight"].shape == (2, 4)
    else:
        with pytest.raises(AdapterError, match=r"test: .*lora_[AB]\.weight has shape"):
            expected.row(sent, "test")


def test_the_mean_of_products_of_several_ranks_is_of_the_weights_shape(tmp_path: Path) -> None:
    terms = charter("flora")
    layout, parts = opened(terms, tmp_path)
    products = []
    for site in RANKS:
        own = update(terms, site)
        parts.add(site, layout.at_rank(terms.adapter_at(site).rank).of(own), 1)
        products.append(own[B] @ own[A])
    mean = parts.mean()["l.query.moved"]
    assert mean.shape == (4, 5)
    torch.testing.assert_close(mean, torch.stack(products).mean(0), atol=1e-6, rtol=1e-5)


def test_factors_whose_product_could_overflow_the_sum_are_refused(tmp_path: Path) -> None:
    terms = charter("flora")
    layout, parts = opened(terms, tmp_path)
    with pytest.raises(AdapterError, match="update of north: the products of its factors"):
        parts.add("north", layout.of(update(terms, "north", 1e5)), 1)
    with pytest.raises(ZeroDivisionError):
        parts.mean()


def test_a_method_that_needs_a_sum_alone_is_folded(tmp_path: Path) -> None:
    fields = charter("flora").model_dump() | {"adapter": adapter_terms("lora", 3)}
    plain = Charter.model_validate(
        fields | {"participants": [{**p, "rank": None} for p in fields["participants"]]}
    )
    assert isinstance(collector(plain, Layout(INITIAL), {}, tmp_path), Fold)

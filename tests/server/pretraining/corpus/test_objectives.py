"""What is to be predicted: it lies where the logits do, crosses no document, and is drawn by row."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_server.pretraining.corpus.objectives import (
    IGNORED,
    Batch,
    Objective,
    ObjectiveTerms,
    Symbols,
)
from fedward_server.pretraining.corpus.packing import Packed, positions
from fedward_server.pretraining.corpus.spans import budget, raw_length
from fedward_server.pretraining.corpus.stream import Row
from fedward_shared.errors import UsageError

PAD, BEGIN, END, MASK = 0, 1, 2, 3
SENTINELS = tuple(range(299, 239, -1))
SYMBOLS = Symbols(
    vocabulary=300,
    padding=PAD,
    special=frozenset({PAD, BEGIN, END, MASK, *SENTINELS}),
    mask=MASK,
    end=END,
    sentinels=SENTINELS,
)
CONTEXT = 48


def objective(
    kind: str, context: int = CONTEXT, seed: int = 1, **others: float | bool
) -> Objective:
    packed = bool(others.pop("packed", True))
    terms = ObjectiveTerms.model_validate({"kind": kind} | others)
    return Objective(terms, SYMBOLS, context, seed, packed)


def rows(sizes: list[list[int]], length: int) -> tuple[list[Row], Packed]:
    """Rows of documents of these sizes, each begun and ended; the last is cut, or padding follows."""
    rng = np.random.default_rng(1)
    tokens_BT = np.full((len(sizes), length), PAD)
    documents_BT = np.zeros((len(sizes), length), np.int64)
    for row, parts in enumerate(sizes):
        at = 0
        for number, size in enumerate(parts, 1):
            document = [BEGIN, *rng.integers(4, 240, max(0, size - 2)), END][: length - at]
            tokens_BT[row, at : at + len(document)] = document
            documents_BT[row, at : at + len(document)] = number
            at += len(document)
    names = [Row("icd", 0, number) for number in range(len(sizes))]
    return names, Packed(tokens_BT, documents_BT, positions(documents_BT))


SIZES = st.lists(st.lists(st.integers(2, 90), min_size=1, max_size=30), min_size=1, max_size=5)


def same(first: Batch, second: Batch) -> bool:
    pairs = [(getattr(first, name), getattr(second, name)) for name in Batch.__annotations__]
    return all(a is b is None or torch.equal(a, b) for a, b in pairs)


@settings(max_examples=30)
@given(SIZES)
def test_a_causal_label_is_the_next_token_of_the_same_document(sizes: list[list[int]]) -> None:
    names, packed = rows(sizes, CONTEXT)
    batch = objective("causal").batch(names, packed)
    assert torch.equal(batch.tokens_BT, torch.from_numpy(packed.tokens_BT))
    for row in range(len(sizes)):
        for place in range(CONTEXT):
            here = packed.documents_BT[row, place]
            goes_on = place + 1 < CONTEXT and here and packed.documents_BT[row, place + 1] == here
            expected = packed.tokens_BT[row, place + 1] if goes_on else IGNORED
            assert batch.labels[row, place] == expected
    assert batch.tokens == (packed.documents_BT > 0).sum()


@settings(max_examples=30)
@given(SIZES, st.sampled_from([0.15, 0.3]))
def test_masked_tokens_are_the_share_of_the_text_and_no_special_one(
    sizes: list[list[int]], share: float
) -> None:
    names, packed = rows(sizes, CONTEXT)
    batch = objective("masked", share=share).batch(names, packed)
    labels_BT, tokens_BT = batch.labels.numpy(), batch.tokens_BT.numpy()
    chosen_BT = labels_BT != IGNORED
    text_BT = packed.tokens_BT >= 4
    expected = [max(1, round(count * share)) if count else 0 for count in text_BT.sum(1).tolist()]
    assert chosen_BT.sum(1).tolist() == expected
    assert not (chosen_BT & ~text_BT).any()
    assert (labels_BT[chosen_BT] == packed.tokens_BT[chosen_BT]).all()
    assert (tokens_BT[~chosen_BT] == packed.tokens_BT[~chosen_BT]).all()
    changed = tokens_BT[chosen_BT]
    assert ((changed == MASK) | ((changed >= 4) & (changed < 240))).all()
    assert batch.predicted == sum(expected)


def test_of_the_masked_eighty_are_masks_ten_others_ten_stay_and_each_place_as_often() -> None:
    names, packed = rows([[500]] * 400, 500)
    batch = objective("masked", 500).batch(names, packed)
    chosen_BT = batch.labels != IGNORED
    was, now = batch.labels[chosen_BT], batch.tokens_BT[chosen_BT]
    assert len(was) == 400 * round(498 * 0.15)
    assert (now == MASK).float().mean() == pytest.approx(0.8, abs=0.005)
    assert (now == was).float().mean() == pytest.approx(0.1, abs=0.005)
    counts = chosen_BT.sum(0)[1:-1].float()
    assert abs(counts.mean() - 60.4) < 1
    assert counts.std() < 10  # of a binomial distribution: 7.2


def restored(batch: Batch, row: int) -> dict[int, list[int]]:
    """The documents of a row, put together from what the encoder reads and the decoder says."""
    said: dict[int, dict[int, list[int]]] = {}
    assert batch.decoder_documents_BU is not None
    for token, document in zip(
        batch.labels[row].tolist(), batch.decoder_documents_BU[row].tolist(), strict=True
    ):
        if document == 0:
            assert token == IGNORED
        elif token in SENTINELS:
            said.setdefault(document, {})[token] = []
        else:
            spans = said[document]
            spans[next(reversed(spans))].append(token)
    for spans in said.values():
        assert list(spans) == list(SENTINELS[: len(spans)])
        last = spans[next(reversed(spans))]
        assert last.pop() == END
        assert all(spans.values())
    found: dict[int, list[int]] = {}
    for token, document in zip(
        batch.tokens_BT[row].tolist(), batch.documents_BT[row].tolist(), strict=True
    ):
        part = said.get(document, {}).pop(token) if token in SENTINELS else [token]
        if document:
            found.setdefault(document, []).extend(part)
    assert not any(said.values())
    return found


@settings(max_examples=30)
@given(SIZES, st.sampled_from([0.15, 0.3, 0.5]), st.sampled_from([1.0, 3.0]), st.booleans())
def test_encoder_and_decoder_together_are_the_documents(
    sizes: list[list[int]], share: float, span: float, packed: bool
) -> None:
    sizes = sizes if packed else [parts[:1] for parts in sizes]
    made = objective("spans", share=share, span=span, packed=packed)
    names, tokens = rows(sizes, made.length)
    batch = made.batch(names, tokens)
    assert batch.tokens_BT.shape == (len(sizes), CONTEXT)
    assert batch.labels.shape == (len(sizes), made.decoder_length)
    for row in range(len(sizes)):
        found = restored(batch, row)
        documents = tokens.documents_BT[row]
        everything = [
            token for number in range(1, documents.max() + 1) for token in found.get(number, [])
        ]
        whole = tokens.tokens_BT[row][documents > 0].tolist()
        assert everything == whole[: len(everything)]
        if min(sizes[row]) > 6:  # shorter ones may not have as much to take out
            assert everything == whole


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(7, 90), min_size=8), min_size=1, max_size=4))
def test_rows_of_documents_fill_the_encoder_and_lose_what_their_budget_says(
    sizes: list[list[int]],
) -> None:
    made = objective("spans")
    names, packed = rows(sizes, made.length)
    batch = made.batch(names, packed)
    noise, count = budget(made.length, 0.15, 3.0)
    full = (packed.documents_BT > 0).all(1)
    read = (batch.documents_BT > 0).sum(1).numpy()
    assert (read[full] == made.length - noise + count).all()
    sentinels_B = np.isin(batch.labels.numpy(), SENTINELS).sum(1)
    ends_B = (batch.labels == END).sum(1).numpy()
    predicted_B = (batch.labels != IGNORED).sum(1).numpy()
    assert (sentinels_B[full] == count).all()
    assert ((predicted_B - sentinels_B - ends_B)[full] == noise).all()


def test_the_decoder_reads_what_it_said_before_in_the_same_document() -> None:
    made = objective("spans")
    batch = made.batch(*rows([[30, 25]], made.length))
    tokens, documents = batch.decoder_tokens_BU, batch.decoder_documents_BU
    assert tokens is not None
    assert documents is not None
    begins = 0
    for place in range(made.decoder_length):
        if documents[0, place] == 0:
            assert tokens[0, place] == PAD
        elif place == 0 or documents[0, place] != documents[0, place - 1]:
            assert tokens[0, place] == PAD
            begins += 1
        else:
            assert tokens[0, place] == batch.labels[0, place - 1]
    assert begins == 2


def test_spans_are_as_long_as_asked_and_lie_everywhere() -> None:
    made = objective("spans", 400)
    names, packed = rows([[made.length]] * 300, made.length)
    batch = made.batch(names, packed)
    labels_BU = batch.labels.numpy()
    sentinels_BU = np.isin(labels_BU, SENTINELS)
    text = (labels_BU != IGNORED) & ~sentinels_BU & (labels_BU != END)
    assert text.sum() / sentinels_BU.sum() == pytest.approx(3.0, abs=0.2)
    first = np.argmax(np.isin(batch.tokens_BT.numpy(), SENTINELS[:1]), axis=1)
    assert first.min() == 1
    assert 5 < np.median(first) < 20  # a span begins about every 20 tokens


@pytest.mark.parametrize("kind", ["masked", "spans"])
@settings(max_examples=30)
@given(seed=st.integers(0, 2**40), cut=st.integers(1, 3))
def test_a_row_is_drawn_by_itself(kind: str, seed: int, cut: int) -> None:
    made = objective(kind, seed=seed)
    names, packed = rows([[90], [30, 40], [9] * 9, [20, 90]], made.length)
    batch = made.batch(names, packed)
    part = made.batch(names[cut:], Packed(*(array[cut:] for array in packed)))
    assert same(batch.cut(cut, 4), part)
    assert len(part) == 4 - cut
    again = made.batch([Row("icd", 1, row.number) for row in names], packed)
    assert not same(again, batch)
    assert not same(objective(kind, seed=seed + 1).batch(names, packed), batch)


@given(st.integers(8, 3000), st.floats(0.05, 0.5), st.floats(1, 6))
def test_the_encoder_has_room_for_the_most_tokens(context: int, share: float, span: float) -> None:
    length = raw_length(context, share, span)
    noise, count = budget(length, share, span)
    assert length - noise + count <= context
    noise, count = budget(length + 1, share, span)
    assert length + 1 - noise + count > context


def test_lengths_are_those_of_t5() -> None:
    assert raw_length(511, 0.15, 3.0) == 568  # and an end: T5's 512, and 85 + 28 + 1 = 114
    assert budget(568, 0.15, 3.0) == (85, 28)


@pytest.mark.parametrize(
    ("kind", "without", "says"),
    [
        ("masked", {"mask": None}, "no mask token"),
        ("spans", {"end": None}, "no token that ends a text"),
        ("spans", {"sentinels": (299,)}, "a row has up to 3 spans and the tokenizer 1 sentinels"),
        ("causal", {"vocabulary": 64, "special": frozenset(range(64))}, "special tokens only"),
    ],
)
def test_a_tokenizer_that_lacks_something_is_refused(
    kind: str, without: dict[str, object], says: str
) -> None:
    terms = ObjectiveTerms.model_validate({"kind": kind})
    with pytest.raises(UsageError, match=says):
        Objective(terms, SYMBOLS.model_copy(update=without), CONTEXT, 1)

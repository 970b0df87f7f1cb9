"""Images and texts at either party, in both ways of training."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from fedward_client.vertical import party, predicting
from fedward_client.vertical.every_batch import Whole
from fedward_client.vertical.fitting import gradients, kept, trained
from fedward_client.vertical.records import PartyRecords
from fedward_shared import base_models, pretrained
from fedward_shared.charter_terms import AdapterTerms, BaseModelTerms
from fedward_shared.exchange.program import together
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.vertical import planning
from fedward_shared.vertical.columns import ImageColumn, NumberColumn, TableTerms, TextColumn
from fedward_shared.vertical.encoding import encode
from fedward_shared.vertical.models import CrossEntropy, begin
from fedward_shared.vertical.terms import (
    AlignmentTerms,
    FittingTerms,
    ModelTerms,
    PassiveTerms,
    VerticalTerms,
)
from fedward_simulations.data.base_models import tiny_bert

PEOPLE = 400
WORDS = (("calm", "steady", "regular"), ("acute", "severe", "sudden"))
LORA = AdapterTerms(
    method="lora", rank=2, alpha=4, target_modules=("query", "value"), layers=(0, 1)
)
IMAGE = ImageColumn(name="scan", height=8, width=8, channels=1)
NUMBER = NumberColumn(name="x", most=1)


def striped(standing, drawn):
    """8 × 8 pixels in base64, with stripes that stand or lie, somewhere."""
    bright_H8 = np.zeros((8, 8))
    bright_H8[drawn.integers(2) :: 2] = 1
    turned = bright_H8.T if standing else bright_H8
    noised = np.clip(128 + 60 * (turned - 0.5) + 20 * drawn.standard_normal((8, 8)), 0, 255)
    file = io.BytesIO()
    Image.fromarray(noised.astype(np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


class Ward:
    """A hospital has the label and a number, a laboratory an image and a text; the label says whether
    two of three agree. One in ten images and texts are not there."""

    def __init__(self, folder):
        drawn = np.random.default_rng(0)
        self.folder = tiny_bert(folder / "bert", 0, [" ".join(words) for words in WORDS])
        self.text = TextColumn(
            name="note",
            max_tokens=6,
            base_model=BaseModelTerms(digest=base_models.digest(self.folder)),
            adapter=LORA,
        )
        said_PN = drawn.integers(2, size=(3, PEOPLE))
        self.label = torch.from_numpy((said_PN.sum(axis=0) > 1).astype(np.int64))
        numbers = [str(0.3 + 0.4 * one + 0.1 * drawn.standard_normal()) for one in said_PN[0]]
        scans = [striped(one, drawn) for one in said_PN[1]]
        notes = [" ".join(drawn.permutation(WORDS[one])[:2]) for one in said_PN[2]]
        for column in (scans, notes):
            for row in drawn.choice(PEOPLE, PEOPLE // 10, replace=False):
                column[row] = None
        self.columns = {"x": numbers, "scan": scans, "note": notes}

    def records(self, table, label=None):
        encoded = encode(table, [self.columns[name] for name in table.names], (self.folder,))
        identifiers = [f"person {n}".encode() for n in range(PEOPLE)]
        return PartyRecords(identifiers, encoded, label, (self.folder,))

    def study(self, active, passive, privacy=None, epochs=10):
        """The study's terms and each party's records, for the columns of either."""
        tables = {"ward": TableTerms(columns=active), "lab": TableTerms(columns=passive)}
        terms = VerticalTerms(
            active="ward",
            table=tables["ward"],
            label="y",
            passive=(PassiveTerms(name="lab", table=tables["lab"]),),
            alignment=AlignmentTerms(rules=("exact",), most=1000, least=10),
            model=ModelTerms(members=2, width=8, hidden=8, dropout=0.0),
            fitting=FittingTerms(epochs=epochs, batch=32, learning_rate=0.02),
            privacy=privacy,
        )
        labels = {"ward": self.label, "lab": None}
        return terms, {name: self.records(tables[name], labels[name]) for name in tables}


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    return Ward(tmp_path_factory.mktemp("ward"))


def run(terms, records):
    def streams(who):
        return lambda purpose: Randomness.from_seed(7, who, purpose)

    seen = []
    found = together(
        {
            "ward": party.active(terms, records["ward"], "session", streams("ward")),
            "lab": party.passive(terms, "lab", records["lab"], "session", streams("lab")),
        },
        lambda who, event: seen.append((who, "booked", event)),
        lambda who, action: seen.append((who, action.kind, action.body)),
    )
    truth = records["ward"].label_N.numpy()[found["ward"].held_out]
    return found, seen, roc_auc_score(truth, found["ward"].probability_H.numpy())


@pytest.mark.parametrize("privacy", [None, planning.once(30.0, 1e-5)])
def test_an_image_and_a_text_of_a_passive_party_are_learnt_from(ward, privacy):
    if privacy is not None:
        privacy = privacy.model_copy(update={"count_noise": 1.0, "epsilon": 60.0})
    *_, alone = run(*ward.study((NUMBER,), (NUMBER,)))
    *_, both = run(*ward.study((NUMBER,), (IMAGE, ward.text), privacy))
    assert both > alone + 0.08
    assert both > 0.88


def test_an_image_and_a_text_of_the_active_party_are_learnt_from(ward):
    privacy = planning.once(3.0, 1e-5)
    *_, alone = run(*ward.study((NUMBER,), (NUMBER,), privacy))
    *_, both = run(*ward.study((NUMBER, IMAGE, ward.text), (NUMBER,), privacy))
    assert both > alone + 0.08


@pytest.mark.parametrize(
    "privacy", [None, planning.once(3.0, 1e-5), planning.every_batch(8, 1e-5, 2)]
)
def test_the_same_seed_gives_the_same_messages(ward, privacy):
    study = ward.study((NUMBER, ward.text), (IMAGE, ward.text), privacy, epochs=2)
    torch.manual_seed(1)
    first, seen, _ = run(*study)
    torch.manual_seed(2)
    second, again, _ = run(*study)
    assert seen == again
    assert torch.equal(first["ward"].probability_H, second["ward"].probability_H)


def test_only_the_factors_and_what_is_above_them_move(ward):
    before = {n: t.clone() for n, t in pretrained.load_encoder(ward.folder).named_parameters()}
    found, *_ = run(*ward.study((NUMBER,), (IMAGE, ward.text), epochs=2))
    bottom = found["lab"].bottom
    own = trained(bottom)
    assert all(tensor.any() for name, tensor in own.items() if ".lora_B." in name)
    assert sum(".lora_" in name for name in own) == 8
    assert not [name for name in own if "encoder" in name and ".lora_" not in name]
    for name, tensor in pretrained.load_encoder(ward.folder).named_parameters():
        assert torch.equal(tensor, before[name])


def test_a_scorer_reads_by_what_stays_as_it_begins(ward):
    """What is booked for it covers steps of the layer above the readers and no other."""
    privacy = planning.once(3.0, 1e-5)
    terms, records = ward.study((NUMBER,), (IMAGE, ward.text), privacy)
    found, seen, _ = run(terms, records)
    scorer = found["lab"].bottom.bottom
    fresh = type(scorer)(terms.table_of("lab"), 1, records["lab"].folders)
    begin(fresh, "lab")
    for one, other in zip(scorer.readers.parameters(), fresh.readers.parameters(), strict=True):
        assert torch.equal(one, other)
    assert all(layer.weight.any() for layer in scorer.layer.features)
    booked = [event for who, what, event in seen if who == "lab" and what == "booked"]
    assert booked == list(privacy.passive_events(320))


HEAD_ONLY = AdapterTerms(method="head-only")


@pytest.mark.parametrize("adapter", [LORA, HEAD_ONLY])
def test_a_kept_model_says_again_what_it_said_of_those_held_out(ward, adapter):
    text = ward.text.model_copy(update={"adapter": adapter})
    terms, records = ward.study((NUMBER, text), (IMAGE, text), epochs=2)
    found, *_ = run(terms, records)
    models = {"ward": kept(found["ward"].model), "lab": kept(found["lab"].bottom)}
    base = {name for name, _ in pretrained.load_encoder(ward.folder).named_parameters()}
    assert not [n for n in models["lab"] if any(n.endswith(own) for own in base)]
    held = found["ward"].held_out
    own = records["ward"]
    query = PartyRecords(
        [own.identifiers[row] for row in held],
        own.encoded.rows(torch.from_numpy(held)),
        None,
        own.folders,
    )

    def streams(who):
        return lambda purpose: Randomness.from_seed(8, who, purpose)

    again = together(
        {
            "ward": predicting.active(terms, query, models["ward"], "asking", streams("ward")),
            "lab": predicting.passive(
                terms, "lab", records["lab"], models["lab"], "asking", streams("lab")
            ),
        },
        lambda *_: None,
    )["ward"]
    expected = found["ward"].probability_H[torch.from_numpy(again.rows)]
    torch.testing.assert_close(again.probability_N, expected)


def test_gradients_of_single_records_are_those_of_batches_of_one(ward):
    terms, records = ward.study((NUMBER, IMAGE, ward.text), (NUMBER,))
    whole = Whole(terms, (ward.folder,))
    begin(whole, "test")
    drawn = torch.Generator().manual_seed(0)
    with torch.no_grad():
        # At B = 0 the gradients of A are all 0.
        for name, tensor in trained(whole).items():
            if ".lora_B." in name:
                tensor.normal_(std=0.1, generator=drawn)
    own, label_B = records["ward"].encoded.rows(torch.arange(24)), ward.label[:24]
    assert own.numbers_NF[:, -2:].any(dim=0).all()
    others_BE = torch.randn(24, terms.model.embedding, generator=drawn)
    inputs, loss = (others_BE, *own.inputs), CrossEntropy((1.0, 3.0))
    found = dict(zip(trained(whole), gradients(whole, inputs, label_B, loss), strict=True))
    assert all(sample.abs().max() > 0 for sample in found.values())
    for row in range(24):
        whole.zero_grad()
        one = slice(row, row + 1)
        loss(whole(*(part[one] for part in inputs)), label_B[one]).backward()
        for name, tensor in trained(whole).items():
            assert torch.allclose(found[name][row], tensor.grad, atol=2e-5), name

"""A party's file."""

import base64
import io

import polars as pl
import pytest
from PIL import Image

from fedward_client.vertical.records import PartyRecords
from fedward_shared import base_models
from fedward_shared.charter_terms import AdapterTerms, BaseModelTerms
from fedward_shared.errors import AlignmentError, DataError, ModelError
from fedward_shared.vertical.columns import ImageColumn, TableTerms, TextColumn
from fedward_simulations.data.base_models import tiny_bert

HEAD = "id,born,x,y\n"


def read(tmp_path, pair, text, party="bank", identifier=("id",), rules=("number",)):
    path = tmp_path / "records.csv"
    path.write_text(HEAD + text)
    alignment = pair.terms.alignment.model_copy(update={"rules": rules})
    terms = pair.with_terms(alignment=alignment)
    return PartyRecords.read(path, terms, party, list(identifier))


def test_identifiers_columns_and_labels_are_read(tmp_path, pair):
    text = "ab-1,1970-01-02,0.5,1\nAB 2,1970-01-02,,0\n"
    own = read(tmp_path, pair, text, identifier=("id", "born"), rules=("number", "date"))
    assert own.identifiers == [b"AB1\x1f1970-01-02", b"AB2\x1f1970-01-02"]
    assert own.label_N.tolist() == [1, 0]
    assert own.encoded.numbers_NF[1, -1] == 1
    assert read(tmp_path, pair, text, "bureau").label_N is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,,0.5,1\nb,,0.5,yes\n", r"column 'y': 1 labels are none of the classes 0, 1 \(rows 2\)"),
        ("a,,0.5,1\nb,,0.5,1\n", "column 'y': all labels are the same"),
        ("a,,much,1\nb,,0.5,0\n", "column x: 1 of its values"),
        ("a,,0.5,1\nb,,0.5,\n", "column 'y'"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(tmp_path, pair, text, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, pair, text)


def test_two_rows_of_one_person_are_refused(tmp_path, pair):
    with pytest.raises(AlignmentError, match="2 rows have an identifier that another one has"):
        read(tmp_path, pair, "ab1,,0.5,1\nAB-1,,0.5,0\n")


def test_a_column_that_is_not_there_is_named(tmp_path, pair):
    path = tmp_path / "records.csv"
    path.write_text("id,y\na,1\nb,0\n")
    with pytest.raises(DataError, match="no column 'x'"):
        PartyRecords.read(path, pair.terms, "bank", ["id"])


def test_classes_are_numbered_as_the_charter_has_them(tmp_path, pair):
    path = tmp_path / "records.csv"
    path.write_text(HEAD + "a,,0.5,yes\nb,,0.5,no\nc,,0.5,yes\n")
    terms = pair.with_terms(classes=("yes", "no", "perhaps"))
    assert PartyRecords.read(path, terms, "bank", ["id"]).label_N.tolist() == [0, 1, 0]


def test_labels_that_are_no_class_are_named_by_row_and_not_by_value(tmp_path, pair):
    text = "".join(f"{who},,0.5,secret\n" for who in "abcdefg") + "h,,0.5,1\n"
    with pytest.raises(DataError) as caught:
        read(tmp_path, pair, text)
    assert "'y': 7 labels are none of the classes 0, 1 (rows 1, 2, 3, 4, 5 …)" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_images_and_texts_are_columns_of_the_file(tmp_path, pair, kind):
    folder = tiny_bert(tmp_path / "bert", 0, ["a note"])
    text = TextColumn(
        name="note",
        max_tokens=8,
        base_model=BaseModelTerms(digest=base_models.digest(folder)),
        adapter=AdapterTerms(method="head-only"),
    )
    table = TableTerms(columns=(ImageColumn(name="scan", height=8, width=8, channels=1), text))
    terms = pair.with_terms(table=table)
    file = io.BytesIO()
    Image.new("L", (8, 8), 200).save(file, "PNG")
    rows = pl.DataFrame(
        {
            "id": ["a", "b"],
            "scan": [base64.b64encode(file.getvalue()).decode(), None],
            "note": [None, "a note"],
            "y": ["0", "1"],
        }
    )
    path = tmp_path / f"records.{kind}"
    getattr(rows, {"csv": "write_csv", "jsonl": "write_ndjson", "parquet": "write_parquet"}[kind])(
        path
    )
    own = PartyRecords.read(path, terms, "bank", ["id"], folders=[folder])
    assert own.encoded.numbers_NF.tolist() == [[0, 1], [1, 0]]
    scans, notes = own.encoded.contents
    assert int(scans[0].min()) == int(scans[0].max()) == 200
    assert (notes >= 0).sum(dim=1).tolist() == [0, 4]
    assert own.folders == (folder,)
    with pytest.raises(ModelError, match=r"no base model with the digest .*: none"):
        PartyRecords.read(path, terms, "bank", ["id"])

"""A party's file."""

import pytest

from fedward_client.vertical.records import PartyRecords
from fedward_shared.errors import AlignmentError, DataError

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

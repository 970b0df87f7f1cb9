"""The same person is written the same way by everybody, and what cannot be read is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.errors import AlignmentError
from fedward_shared.psi.identifiers import RULES, SEPARATOR, normalised


@pytest.mark.parametrize(
    ("rule", "written", "read"),
    [
        ("exact", " a ", " a "),
        ("text", "  Ａ  b ", "A b"),
        ("name", "O’Brien-Müller", "o brien muller"),
        ("name", "Strauß", "strauss"),
        ("name", "JOSÉ  María", "jose maria"),
        ("number", "de 12-34.56/7", "DE1234567"),
        ("email", " Ann@Example.ORG", "ann@example.org"),
        ("date", "3.4.1985", "1985-04-03"),
        ("date", "19850403", "1985-04-03"),
        ("date", "1985/4/3", "1985-04-03"),
    ],
)
def test_a_rule_reads(rule: str, written: str, read: str) -> None:
    assert RULES[rule](written) == read


@given(rule=st.sampled_from(sorted(set(RULES) - {"date"})), value=st.text())
def test_a_rule_applied_twice_changes_nothing(rule: str, value: str) -> None:
    once = RULES[rule](value)
    assert RULES[rule](once) == once


def test_parts_are_joined_so_that_none_runs_into_another() -> None:
    columns = [["ab", "a"], ["c", "bc"]]
    made = normalised(columns, ["text", "text"])
    assert made == [f"ab{SEPARATOR}c".encode(), f"a{SEPARATOR}bc".encode()]


def test_rows_that_cannot_be_read_are_counted_and_not_shown() -> None:
    with pytest.raises(AlignmentError) as caught:
        normalised([["1985-04-03", "04/03/85", "secret"]], ["date"])
    assert "column 1 of the identifier: the rule 'date' cannot read 2 rows (rows 2, 3)" in str(
        caught.value
    )
    assert "secret" not in str(caught.value)
    with pytest.raises(AlignmentError, match=r"cannot read 1 rows \(rows 1\)"):
        normalised([["--"]], ["number"])
    with pytest.raises(AlignmentError, match="cannot read"):
        normalised([[f"a{SEPARATOR}b"]], ["exact"])


def test_duplicates_are_refused_whatever_they_looked_like() -> None:
    names = ["Ann Lee", "ann lee", "Bo", "c", "C", "ANN  LEE", "é", "e"]
    with pytest.raises(AlignmentError, match=r"7 rows have an identifier .*rows 1, 2, 4, 5, 6 …"):
        normalised([names], ["name"])

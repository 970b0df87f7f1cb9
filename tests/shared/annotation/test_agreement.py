"""Agreement against what was computed by hand, and against scikit-learn's κ."""

import pytest
from sklearn.metrics import cohen_kappa_score

from fedward_shared.annotation.agreement import agreement, matches
from fedward_shared.annotation.documents import Document, Entity
from fedward_shared.errors import DataError

TEXT = "severe chest pain since Monday , took aspirin"


def document(*entities: tuple[int, int, str]) -> Document:
    marked = tuple(Entity(start=a, end=b, label=label) for a, b, label in entities)
    return Document(text=TEXT, entities=marked)


def test_by_hand() -> None:
    """Eight words. One: chest pain S, Monday T, aspirin D. Other: severe chest pain S, aspirin S.

    Words agreed on: chest, pain, since, ",", took: 5 of 8. By chance: O 4·4, S 2·4, T 1·0, D 1·0 of 64,
    so κ = (5/8 - 24/64) / (1 - 24/64) = 0.4. Exact: none of 3 and 2. Overlapping with the same label:
    chest pain alone, 1 of 3 and 1 of 2, F1 = 2·(1/3)(1/2)/(1/3 + 1/2) = 0.4.
    """
    one = document((7, 17, "S"), (24, 30, "T"), (38, 45, "D"))
    other = document((0, 17, "S"), (38, 45, "S"))
    found = agreement([one], [other])
    assert (found.texts, found.tokens) == (1, 8)
    assert found.kappa == pytest.approx(0.4)
    assert found.exact == 0
    assert found.overlapping == pytest.approx(0.4)
    ours, theirs = list("OSSOTOOD"), list("SSSOOOOS")
    assert found.kappa == pytest.approx(cohen_kappa_score(ours, theirs))


def test_exact_by_hand() -> None:
    """Two of three and two of four: F1 = 4/7."""
    one = document((0, 6, "S"), (7, 17, "S"), (24, 30, "T"))
    other = document((0, 6, "S"), (7, 12, "S"), (24, 30, "T"), (38, 45, "D"))
    assert agreement([one], [other]).exact == pytest.approx(4 / 7)


def test_the_same_and_nothing() -> None:
    one, none = document((7, 17, "S")), document()
    assert agreement([one], [one]).kappa == 1
    assert agreement([one], [one]).exact == 1
    nothing = agreement([none], [none])
    assert (nothing.kappa, nothing.exact, nothing.overlapping) == (None, None, None)
    assert agreement([one], [none]).exact == 0


def test_an_entity_matches_once() -> None:
    assert matches([(0, 1, "x"), (0, 1, "x")], [(0, 1, "x")]).found_right == 1


def test_other_texts_are_refused() -> None:
    with pytest.raises(DataError, match="one annotator has 1 texts, the other 0"):
        agreement([document()], [])
    with pytest.raises(DataError, match="text 1 is not the same"):
        agreement([document()], [Document(text="other")])

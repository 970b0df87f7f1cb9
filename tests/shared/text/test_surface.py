"""What is read off a text: known shares, and numbers for whatever characters come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.text import surface


def named(text: str, pieces: int = 1) -> dict[str, float]:
    return dict(zip(surface.FEATURES, surface.features(text, pieces).tolist(), strict=True))


def test_shares_are_those_of_the_text() -> None:
    values = named("AB 12.", 6)
    assert values["letters"] == pytest.approx(2 / 6)
    assert values["digits"] == pytest.approx(2 / 6)
    assert values["capitals"] == 1
    assert values["pieces_per_word"] == pytest.approx(6 / 2 / 4)
    assert values["closed"] == 1
    assert named("Pain in the")["closed"] == 0


def test_a_misreading_and_mark_up_are_seen() -> None:
    assert named("fièvre".encode().decode("latin-1"))["latin_1"] > 0
    assert named("<b>pain</b>&nbsp;today")["tags"] > 0
    assert named("fever l0w")["digit_in_word"] == pytest.approx(0.5)


@given(st.text(), st.integers(0, 200))
def test_any_text_has_finite_features(text: str, pieces: int) -> None:
    values = surface.features(text, pieces)
    assert values.shape == (len(surface.FEATURES),)
    assert np.isfinite(values).all()
    assert values.min() >= 0
    assert values.max() <= 2

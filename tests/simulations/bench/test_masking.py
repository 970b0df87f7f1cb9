"""The benchmarks of masking, small: both sides do their work, and the bytes are what they are."""

import numpy as np
import pytest

from fedward_simulations.bench import masking, masking_scale

FEW = 1000


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "PARAMETERS", FEW)


def test_both_sides_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.linspace(-1, 1, FEW, dtype=np.float32)
    terms = masking.Terms(5, 4, 1, 13)
    ours, theirs = masking._ours(terms, values), masking._theirs(terms, values)
    assert masking._bytes_of(ours["mask"]()) == 2 * FEW + 40
    assert masking._bytes_of(theirs["mask"]()) > 8 * FEW
    rows = {row.name.rsplit(": ")[-1]: row for row in masking._compared(terms, values)}
    assert list(rows)[:4] == ["keys", "share", "mask", "reveal"]
    assert all(row.ours > 0 and row.peer > 0 for row in rows.values())
    assert [row.bound for row in rows.values()][4:] == [0.2, 0.2, 0.25]


def test_the_growth_is_told_and_measured() -> None:
    rows = masking_scale._rows(masking_scale.Size(10, FEW))
    named = {row.name.partition(": ")[2]: row.ours for row in rows}
    assert named["a site sends"] * 1e6 > FEW * 12 / 8
    assert named["the server's CPU, 2 lost, from its parts"] > 0
    assert named["the server's CPU, 2 lost, measured whole"] > 0


def test_large_cohorts_are_not_run_whole() -> None:
    size = masking_scale.Size(1000, 50_000_000)
    assert size.sites * size.parameters > masking_scale.WHOLE
    parts = masking_scale._Parts(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    assert masking_scale._server(parts, size, 0) == 5 * 1000 + 1
    law = masking_scale._server(parts, size, 200)
    assert law == 2 * 1000 + 3 * 800 + 200 * size.neighbours * 0.8 + 1

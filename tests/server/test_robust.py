"""Robust rules against plain NumPy on the whole, and what they promise."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedward_server import robust
from fedward_server.layout import Layout
from fedward_server.robust import CHOOSING, COORDINATEWISE, Spool
from fedward_shared import tensors
from fedward_shared.errors import AdapterError, StateError
from fedward_shared.rules import RULES

SIZE = 1000
HONEST, HOSTILE = 7, 2
NAMES = [f"site-{i}" for i in range(HONEST + HOSTILE)]
CENTRE = np.linspace(-1, 1, SIZE).astype(np.float32)


def spool(rule: str, folder: Path, size: int = SIZE, hostile: int = HOSTILE) -> Spool:
    return Spool(Layout({"w": (size,)}), 1e4, rule, hostile, folder / "updates")


def updates(seed: int = 0) -> dict[str, np.ndarray]:
    """Seven around the centre, and two that pull far away, together."""
    drawn = np.random.default_rng(seed)
    rows = [CENTRE + 0.1 * drawn.normal(size=SIZE) for _ in range(HONEST)]
    rows += [-20 * CENTRE + 0.1 * drawn.normal(size=SIZE) for _ in range(HOSTILE)]
    return {name: row.astype(np.float32) for name, row in zip(NAMES, rows, strict=True)}


def made(rule: str, given_: dict[str, np.ndarray], folder: Path, order: list[str]) -> np.ndarray:
    collected = spool(rule, folder)
    for name in order:
        collected.add(name, given_[name], 1)
    return collected.mean()["w"].numpy()


def test_every_rule_but_the_mean_is_here() -> None:
    assert COORDINATEWISE.keys() | CHOOSING.keys() == set(RULES) - {"mean"}


@pytest.mark.parametrize("rule", RULES[1:])
def test_hostile_sites_move_it_no_further_than_honest_ones_differ(
    rule: str, tmp_path: Path
) -> None:
    found = made(rule, updates(), tmp_path, NAMES)
    assert np.linalg.norm(found - CENTRE) < 0.15 * np.sqrt(SIZE)
    mean = np.mean(list(updates().values()), axis=0)
    assert np.linalg.norm(mean - CENTRE) > 4 * np.sqrt(SIZE / 3)


@pytest.mark.parametrize("rule", RULES[1:])
def test_the_order_of_arrival_and_the_pieces_change_nothing(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made(rule, updates(), tmp_path, NAMES)
    assert made(rule, updates(), tmp_path, NAMES[::-1]).tobytes() == whole.tobytes()
    monkeypatch.setattr(robust, "PIECE_NUMBERS", 9 * 37)
    np.testing.assert_allclose(made(rule, updates(), tmp_path, NAMES), whole, atol=1e-6)


def test_coordinatewise_rules_are_numpys() -> None:
    content = np.random.default_rng(1).normal(size=(9, 40))
    np.testing.assert_array_equal(robust.median(content, 2), np.median(content, axis=0))
    expected = [np.mean(sorted(column)[2:-2]) for column in content.T]
    np.testing.assert_allclose(robust.trimmed_mean(content, 2), expected)


def test_krum_is_blanchards() -> None:
    rows = list(updates(3).values())
    scores = []
    for row in rows:
        others = sorted(float(np.square(row - other).sum()) for other in rows if other is not row)
        scores.append(sum(others[: len(rows) - HOSTILE - 2]))
    squares = np.array([[np.square(a - b).sum() for b in rows] for a in rows], np.float64)
    assert robust.krum(squares, np.zeros(9), HOSTILE).argmax() == np.argmin(scores)
    chosen = robust.multi_krum(squares, np.zeros(9), HOSTILE)
    assert set(np.flatnonzero(chosen)) == set(np.argsort(scores)[: len(rows) - HOSTILE - 2])
    assert chosen.sum() == pytest.approx(1)


@given(st.integers(0, 10**6), st.integers(3, 8), st.integers(1, 3))
@example(8783, 4, 2)  # the median is at an update, where each iteration does less than the last one
@settings(max_examples=30)
def test_the_geometric_median_has_the_least_sum_of_distances(
    seed: int, count: int, size: int
) -> None:
    drawn = np.random.default_rng(seed)
    rows = drawn.normal(size=(count, size))
    squares = np.square(rows[:, None] - rows[None]).sum(axis=2)

    def cost(point: np.ndarray) -> float:
        return float(np.linalg.norm(rows - point, axis=1).sum())

    shares = robust.geometric_median(squares, np.zeros(count), 1)
    found = shares @ rows
    assert shares.sum() == pytest.approx(1)
    others = [*rows, rows.mean(axis=0), *(found + 0.01 * drawn.normal(size=(20, size)))]
    assert cost(found) <= min(cost(other) for other in others) * (1 + 1e-4)


def test_equal_updates_have_themselves_as_median() -> None:
    assert robust.geometric_median(np.zeros((4, 4)), np.zeros(4), 1).tolist() == [0.25] * 4


def test_the_longest_are_filtered() -> None:
    norms = np.array([3.0, 1.0, 9.0, 2.0, 8.0])
    shares = robust.norm_filter(np.zeros((5, 5)), norms, 2)
    assert shares.tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3, 0])


def test_what_does_not_fit_is_not_kept(tmp_path: Path) -> None:
    collected = spool("median", tmp_path, 3)
    for bad in ([np.nan, 0, 0], [1e5, 0, 0]):
        with pytest.raises(AdapterError, match="update of north"):
            collected.add("north", np.array(bad, np.float32), 1)
    for name, value in (("a", 1.0), ("b", 2.0), ("c", 7.0)):
        collected.add(name, np.full(3, value, np.float32), 1)
    assert collected.mean()["w"].tolist() == [2.0] * 3


def test_updates_lie_in_a_private_folder_while_the_round_lasts(tmp_path: Path) -> None:
    folder = tmp_path / "updates"
    folder.mkdir()
    (folder / "left-over").write_bytes(b"of a round that was cut off")
    collected = spool("median", tmp_path, 3, 1)
    for name in ("a", "b", "c"):
        collected.add(name, np.ones(3, np.float32), 1)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b", "c"]
    found = tensors.norm(collected.mean())
    assert found == pytest.approx(3**0.5)
    assert not folder.exists()


def test_a_disk_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    collected = spool("median", tmp_path, 3)
    (tmp_path / "updates").rmdir()
    with pytest.raises(StateError, match="cannot be written"):
        collected.add("a", np.ones(3, np.float32), 1)


def test_memory_is_a_piece_whatever_the_number_of_sites() -> None:
    for sites in (3, 100, 5000):
        rows = [np.zeros(2**15, np.float32)] * sites
        sizes = [piece.stop - piece.start for piece in itertools.islice(robust._pieces(rows), 3)]
        assert all(size * sites <= robust.PIECE_NUMBERS for size in sizes)

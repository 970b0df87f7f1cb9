"""A measurement is made once, and again only if it was interrupted."""

from pathlib import Path

import pytest

from fedward_simulations.bench import kept


def test_it_is_made_once_and_leaves_its_figures_alone(tmp_path: Path) -> None:
    made: list[Path] = []

    def measure(folder: Path) -> dict[str, float]:
        folder.mkdir(parents=True)
        (folder / "study").touch()
        made.append(folder)
        return {"error": 0.25}

    for _ in range(2):
        assert kept.once(tmp_path / "a-0.5.json", measure) == {"error": 0.25}
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a-0.5.json"]


def test_what_an_interrupted_one_has_left_is_not_gone_on_with(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "half").touch()
        raise KeyboardInterrupt

    path = tmp_path / "a.json"
    with pytest.raises(KeyboardInterrupt):
        kept.once(path, interrupted)
    assert not path.exists()
    assert kept.once(path, lambda folder: folder.exists()) is False

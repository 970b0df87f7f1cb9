"""A dataset of Ray Data has the result that its texts have on one machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedward_shared.text import on_ray
from fedward_shared.text.duplicates import Index

pytest.importorskip("datasketch")
pytest.importorskip("pyarrow")
ray = pytest.importorskip("ray")

ROWS = [
    {"text": f"seen on day {n % 60} for a cough and sent home again", "unit": f"p{n % 5}"}
    for n in range(300)
]


@pytest.fixture
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("cluster")
def test_the_result_is_that_of_one_machine(tmp_path: Path) -> None:
    import ray.data

    dataset = ray.data.from_items(ROWS, override_num_blocks=5)
    with Index(tmp_path / "ray") as index:
        on_ray.add(index, dataset, "text", "unit")
    with Index(tmp_path / "one") as index:
        index.add([row["text"] for row in ROWS], [row["unit"] for row in ROWS])
        assert index.report().within > 0
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "ray" / file.name).read_bytes()

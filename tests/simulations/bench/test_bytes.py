"""The bytes of a round: numbers times their width, and little besides."""

import pytest
from flwr.supercore.task_identity import TaskIdentity

from fedward_simulations.bench.bytes import GOAL, Shape, _shape, compared


def test_a_shape_counts_the_numbers_of_both_factors() -> None:
    modules = {(576, 576): 2, (192, 576): 1}
    assert _shape("x", modules, 8, 5) == Shape("x", a=8 * 3 * 576, b=8 * (2 * 576 + 192), head=5)


@pytest.mark.parametrize("head", [0, 4000])
def test_a_round_is_its_numbers_and_little_besides(head: int) -> None:
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 0, 1
    shape = Shape("x", a=60_000, b=20_000, head=head)
    sixteen, twelve = compared(shape)
    for row, width in ((sixteen, 2.0), (twelve, 1.5)):
        assert width * (20_000 + head) < row.ours < width * (20_000 + head) + 6000
        assert row.peer is not None
        assert 8 * (80_000 + head) < row.peer < 8 * (80_000 + head) + 6000
        assert row.holds == (row.ours / row.peer <= GOAL)

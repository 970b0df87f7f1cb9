"""What the benchmark of sketches says of what it has measured."""

from fedward_simulations.bench import sketch
from fedward_simulations.bench.sketch import BUDGETS, ROUNDS, SHARES, Measured


def test_each_share_stands_beside_all_numbers() -> None:
    done = [
        Measured(share, epsilon, 20.0 + seed, int(share * 4 * ROUNDS * 1000))
        for seed in range(2)
        for epsilon in BUDGETS
        for share in SHARES
    ]
    rows = {row.name: row for row in sketch.rows(done)}
    assert len(rows) == 3 * 3 * 2
    assert rows["ε = 8, share 0.25: sent"].ratio == 0.25
    assert rows["without DP, share 0.5: wrong"].ratio == 1.0
    assert sketch.table(done)[-1] == "| bytes | 1,000 | 500 | 250 | 125 |"
    assert sketch.table(done)[2].startswith("| 1 | 79.5 ± 0.7 |")

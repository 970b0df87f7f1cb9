"""Studies of digits in halves, from files to figures."""

from dataclasses import replace

import pytest

from fedward_simulations.bench import contents

DIGITS = contents.TASKS["digits, both halves"]


@pytest.mark.parametrize("epsilon", [None, 8.0])
def test_ten_classes_are_told_apart_after_a_few_epochs(tmp_path, epsilon):
    fitting = DIGITS.fitting.model_copy(update={"epochs": 3})
    found = contents._measure(replace(DIGITS, fitting=fitting), epsilon, 0, tmp_path)
    assert found["accuracy"] > 0.5
    assert found["auc"] > 0.8


def test_what_a_party_holds_says_no_more_than_its_half(tmp_path):
    for name, task in contents.TASKS.items():
        if name.startswith("digits"):
            held = task.held(0)
            assert held.active.table.names == ["upper"]
            assert held.passive.table.names in (["lower"], ["nothing"])
            assert "digit" not in held.passive.records.columns

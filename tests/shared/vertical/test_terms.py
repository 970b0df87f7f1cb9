"""What a vertical study's terms refuse, and that terms of before are still terms."""

import pytest
from pydantic import ValidationError

from fedward_shared.vertical import planning
from fedward_shared.vertical.columns import NumberColumn, TableTerms
from fedward_shared.vertical.terms import AlignmentTerms, PassiveTerms, VerticalTerms

TABLE = TableTerms(columns=(NumberColumn(name="x", most=1),))
BEFORE = """{"active": "bank", "label": "y",
 "table": {"columns": [{"kind": "number", "name": "x", "most": 1}]},
 "passive": [{"name": "bureau", "table": {"columns": [{"kind": "number", "name": "x", "most": 1}]}}],
 "alignment": {"rules": ["exact"], "most": 1000}}"""


def terms(**change):
    return VerticalTerms(
        **{
            "active": "bank",
            "table": TABLE,
            "label": "y",
            "passive": (PassiveTerms(name="bureau", table=TABLE),),
            "alignment": AlignmentTerms(rules=("exact",), most=1000),
            **change,
        }
    )


def test_terms_without_classes_have_the_two_that_there_were():
    found = VerticalTerms.model_validate_json(BEFORE)
    assert found == terms()
    assert found.classes == ("0", "1")
    assert found.class_weights == ()
    assert found.outputs == 1


def test_two_classes_have_one_output_whatever_they_are_called():
    assert terms(classes=("no", "yes")).outputs == 1
    assert terms(classes=("low", "middle", "high")).outputs == 3


def test_terms_come_back_from_json():
    whole = terms(
        classes=("a", "b", "c"),
        class_weights=(0.5, 1.5, 7.0),
        privacy=planning.once(3.0, 1e-5, classes=3),
    )
    assert VerticalTerms.model_validate_json(whole.model_dump_json()) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("yes",)}, "classes"),
        ({"classes": ("yes", "yes")}, "classes: one occurs twice"),
        ({"classes": tuple(str(n) for n in range(257))}, "classes"),
        ({"class_weights": (1.0, 2.0, 3.0)}, "class_weights: there are 3 for 2 classes"),
        ({"class_weights": (1.0, 0.0)}, "class_weights"),
        ({"class_weights": (1.0, float("inf"))}, "class_weights"),
        (
            {"classes": ("a", "b", "c"), "privacy": planning.once(8.0, 1e-5)},
            "privacy.cells is 16.*has to be 3",
        ),
    ],
)
def test_a_label_that_nobody_could_learn_is_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        terms(**change)

"""The report counts, and says nothing of what was found."""

import json

from fedward_client.preparation.identifiers.report import Report
from fedward_client.preparation.identifiers.scrub import scrub


def test_counts_by_kind_and_rule_without_a_value() -> None:
    report = Report()
    for text in ("Mail jo@ward.example.org", "nothing here", "jo@x.org or 2021-03-09"):
        report.add(scrub(text).found)
    written = json.dumps(report.as_json())
    assert report.as_json() == {
        "texts": 3,
        "touched": 2,
        "found": {"date": {"year first": 1}, "email": {"e-mail": 2}},
    }
    assert "jo@" not in written
    assert "2021" not in written

"""Whose records are on which side."""

from dataclasses import replace

import pytest
from client.home import Home
from conftest import texts

from fedward_client.searching import scoring
from fedward_client.searching.trial import unit_names
from fedward_shared import canonical, records
from fedward_shared.errors import DataError
from fedward_shared.records import LeftOut


def test_all_records_of_a_patient_are_on_one_side(home: Home) -> None:
    owners = [f" Patient {n % 8}" if n % 3 else f"patient {n % 8}" for n in range(24)]
    records.write_jsonl(home.data, {**texts(24), "patient": owners})
    digest = canonical.digest(home.data.read_bytes())
    offer = home.core.offer(home.charter.digest, b"")
    of_records = unit_names(offer, home.data, "text", digest)
    assert len(set(of_records)) == 24
    patients = replace(offer, owner="patient")
    names = unit_names(patients, home.data, "text", digest)
    assert names == [f"patient {n % 8}" for n in range(24)]
    sides = set(zip(names, scoring.held_out(b"k" * 32, names), strict=True))
    assert len(sides) == 8
    without = replace(patients, left_out=LeftOut.of("patient", ["Patient 3"]))
    assert unit_names(without, home.data, "text", digest) == [n for n in names if n != "patient 3"]
    with pytest.raises(DataError, match="changed since it was registered"):
        unit_names(offer, home.data, "text", "sha256:" + "0" * 64)

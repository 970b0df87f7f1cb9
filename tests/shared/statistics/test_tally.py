"""A tally is of one charter, one site and one size, and nothing else is believed."""

import json

import pytest
from conftest import COORDINATOR, key_of
from hypothesis import given
from hypothesis import strategies as st
from shared.statistics.made import SITES, charter, tally

from fedward_shared import canonical, statements
from fedward_shared.errors import CharterError, StatementError
from fedward_shared.messages import (
    Counted,
    MessageError,
    StatisticsCall,
    answer_from_record,
    question,
)
from fedward_shared.statistics import tally as tallies
from fedward_shared.statistics.answer import LARGEST, Layout
from fedward_shared.statistics.tally import StatisticsRequest
from fedward_shared.statistics.terms import MOST_CELLS

CHARTER = charter()
SIZE = Layout(CHARTER.statistics).size


@given(st.lists(st.integers(1 - LARGEST, LARGEST - 1), min_size=SIZE, max_size=SIZE))
def test_what_was_signed_is_read(numbers: list[int]) -> None:
    said = tally(CHARTER, "north", numbers)
    assert tallies.read(said.signed(key_of("north")), CHARTER, "north", "tally") == said


@pytest.mark.parametrize(
    "changes",
    [
        {"numbers": (0,) * (SIZE - 1)},
        {"numbers": (0,) * (SIZE + 1)},
        {"numbers": (LARGEST,) * SIZE},
        {"numbers": ("0",) * SIZE},
        {"numbers": (True,) * SIZE},
        {"found": ("text",)},
        {"found": ("text", "date")},
        {"site": "south"},
        {"epsilon": "-1.0"},
        {"charter": "sha256:" + "0" * 64},
        {"more": 1},
    ],
)
def test_anything_else_is_refused(changes: dict[str, object]) -> None:
    fields = {**tally(CHARTER, "north").model_dump(mode="json"), **changes}
    body = json.loads(json.dumps(fields))
    data = statements.sign("fedward/tally/1", body, key_of("north")).encode()
    with pytest.raises(StatementError):
        tallies.read(data, CHARTER, "north", "tally")


def test_nobody_answers_for_another() -> None:
    with pytest.raises(StatementError, match="not signed by north"):
        tallies.read(tally(CHARTER, "north").signed(key_of("south")), CHARTER, "north", "tally")
    with pytest.raises(CharterError, match="east is not among"):
        tallies.read(tally(CHARTER, "east").signed(key_of("east")), CHARTER, "east", "tally")


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(StatementError):
        tallies.read(data, CHARTER, "north", "tally")


def test_the_largest_answer_fits_into_a_statement() -> None:
    numbers = canonical.encode([1 - LARGEST] * MOST_CELLS)
    assert len(numbers) < statements.MAX_BYTES / 2


def test_the_call_and_the_answer_cross_the_wire() -> None:
    request = StatisticsRequest(charter=CHARTER.digest).signed(COORDINATOR)
    call = StatisticsCall(CHARTER.digest, request)
    assert StatisticsCall.from_record(call.to_record()) == call
    assert question(call.to_record())[0] == CHARTER.digest
    answer = Counted(SITES[0], b"tally")
    assert answer_from_record(answer.to_record()) == answer
    with pytest.raises(MessageError):
        StatisticsCall.from_record(answer.to_record())

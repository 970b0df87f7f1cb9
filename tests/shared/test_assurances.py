"""What is assured about sessions of vertical studies."""

import pytest
from conftest import COORDINATOR
from pydantic import ValidationError
from shared.vertical.test_charter import parsed

from fedward_shared import statements
from fedward_shared.assurances import SessionRequest
from fedward_shared.errors import StatementError

CHARTER = parsed()
SESSION, MODEL = "5e" * 32, "a5" * 32


def read(data: bytes) -> SessionRequest:
    return SessionRequest.read(data, CHARTER.digest, COORDINATOR.public, "university", "it")


def test_a_prediction_names_the_model_that_is_asked() -> None:
    fields = {"charter": CHARTER.digest, "session": SESSION}
    asked = SessionRequest.model_validate({**fields, "purpose": "predict", "model": MODEL})
    assert read(asked.signed(COORDINATOR)) == asked
    fitted = read(SessionRequest.model_validate(fields).signed(COORDINATOR))
    assert (fitted.purpose, fitted.model) == ("fit", None)
    for wrong in ({"purpose": "predict"}, {"model": MODEL}):
        with pytest.raises(ValidationError, match="a prediction asks one, and nothing else does"):
            SessionRequest.model_validate({**fields, **wrong})


def test_what_a_session_is_for_is_always_written_down() -> None:
    body = {"charter": CHARTER.digest, "session": SESSION}
    short = statements.sign(SessionRequest.KIND, body, COORDINATOR).encode()
    with pytest.raises(StatementError, match="not in canonical form"):
        read(short)

"""What may be said in a prediction: less than in a training, and once for each record."""

import numpy as np
import pytest
from client.attendance.consortium import EVERY_BATCH, ONCE, drafted

from fedward_client.attendance.egress import Egress
from fedward_shared.errors import ExchangeError, PrivacyError
from fedward_shared.exchange.program import Kind, encode
from fedward_shared.psi import POINT_BYTES
from fedward_shared.vertical import planning

MOST = 1000


def egress(site: str, booked: int = 1, privacy: object = ONCE) -> Egress:
    made = Egress(drafted(privacy=privacy), site, "predict")
    made.booked = booked
    return made


@pytest.mark.parametrize("kind", ["points", "doubled", "cells"])
def test_nobody_learns_who_is_here_before_that_is_booked(kind: Kind) -> None:
    message = encode(kind, b"\1" * POINT_BYTES)
    with pytest.raises(PrivacyError, match="may leave after booking 1, 0 are made"):
        egress("bureau", 0).check("bank", message)
    egress("bureau").check("bank", message)
    egress("bureau", 0).check("bank", encode("sizes", b"\0\0\0\1"))


@pytest.mark.parametrize(
    ("site", "kind"), [("bureau", "embeddings"), ("bureau", "places"), ("bank", "labels")]
)
def test_of_what_a_training_says_nothing_else_leaves(site: str, kind: Kind) -> None:
    peer = "bank" if site == "bureau" else "bureau"
    with pytest.raises(ExchangeError, match=f"no {kind}"):
        egress(site).check(peer, encode(kind, b"\0" * 4))


def test_an_answer_is_one_of_the_charters_and_there_is_one_for_each_record() -> None:
    cells = planning.once(8.0, 1e-5).cells
    with pytest.raises(ExchangeError, match="an answer among the cells that there is not"):
        egress("bureau").check("bank", encode("cells", bytes([cells])))
    one = egress("bureau")
    one.check("bank", encode("cells", bytes(MOST - 1)))
    one.check("bank", encode("cells", b"\0"))
    assert one.answered == MOST
    with pytest.raises(ExchangeError, match=f"at most {MOST} in pieces of 1"):
        one.check("bank", encode("cells", b"\0"))


@pytest.mark.parametrize("privacy", [None, EVERY_BATCH])
def test_an_embedding_is_finite_and_there_is_one_for_each_record(privacy: object) -> None:
    width = drafted().vertical.model.embedding
    one = egress("bureau", privacy=privacy)
    with pytest.raises(ExchangeError, match="NaN or infinity"):
        one.check("bank", encode("embeddings", np.full(width, np.nan, "<f4").tobytes()))
    one.check("bank", encode("embeddings", np.zeros(MOST * width, "<f4").tobytes()))
    assert one.answered == MOST
    with pytest.raises(ExchangeError, match="embeddings for bank"):
        one.check("bank", encode("embeddings", np.zeros(width, "<f4").tobytes()))

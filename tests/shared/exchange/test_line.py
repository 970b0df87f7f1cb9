"""Lines within one process keep the promises of a real one."""

import threading

import pytest

from fedward_shared.errors import ExchangeError
from fedward_shared.exchange.channel import WINDOW
from fedward_shared.exchange.envelopes import MAX_MESSAGE
from fedward_shared.exchange.line import Line, local


def test_messages_go_both_ways_in_order() -> None:
    lines: dict[str, Line] = dict(local("bank", "bureau").items())
    said = []

    def bureau() -> None:
        for _ in range(3 * WINDOW):
            message = lines["bureau"].receive("bank", 5)
            lines["bureau"].send("bank", message + b"!")

    thread = threading.Thread(target=bureau)
    thread.start()
    for number in range(3 * WINDOW):
        assert lines["bank"].send("bureau", b"%d" % number) == b"%d" % number
        said.append(lines["bank"].receive("bureau", 5))
    thread.join()
    assert said == [b"%d!" % number for number in range(3 * WINDOW)]


def test_a_peer_that_does_not_answer_or_take_is_named() -> None:
    bank = local("bank", "bureau", patience=0.01)["bank"]
    with pytest.raises(ExchangeError, match=r"bureau has not answered for 0\.01 s"):
        bank.receive("bureau", 0.01)
    for _ in range(WINDOW):
        bank.send("bureau", b"x")
    with pytest.raises(ExchangeError, match="bureau has not answered"):
        bank.send("bureau", b"x")


def test_strangers_and_oneself_and_long_messages_are_refused() -> None:
    bank = local("bank", "bureau")["bank"]
    for peer in ("bank", "shop"):
        with pytest.raises(ExchangeError, match=f"{peer} is no peer of bank"):
            bank.send(peer, b"x")
    with pytest.raises(ExchangeError, match="the most is"):
        bank.send("bureau", bytes(MAX_MESSAGE + 1))


def test_a_checkpoint_is_kept() -> None:
    bank = local("bank", "bureau")["bank"]
    assert bank.restored() is None
    bank.checkpoint(b"epoch 3")
    assert bank.restored() == b"epoch 3"

"""A site that is asked again, interrupted, or told what was received."""

import signal
from collections.abc import Callable
from dataclasses import replace

import pytest
from client.home import (
    BUDGET,
    CHALLENGE,
    ROUND,
    Home,
    answer,
    as_bytes,
    ask,
    broken_tensors,
    delivery,
    refused,
    requested,
    update,
)
from conftest import COORDINATOR, key_of, texts

from fedward_client.app import answer_hello, answer_train
from fedward_shared import (
    audit,
    canonical,
    records,
)
from fedward_shared.assurances import Delivery, Receipt, RoundRequest
from fedward_shared.errors import (
    BudgetExceeded,
    CharterError,
    RefusalCode,
)
from fedward_shared.messages import (
    HELLO,
    RECEIPT,
    Hello,
    Noted,
    ReceiptNote,
    Refusal,
    answer_from_record,
)
from fedward_shared.privacy.randomness import Randomness

# Asked again


def test_identical_bytes_again_cost_nothing_and_give_the_same_answer(home: Home) -> None:
    first = ask(home)
    update(answer_from_record(first))
    for _ in range(2):
        assert as_bytes(ask(home)) == as_bytes(first)
    assert home.spending().bookings == 1


def test_the_kept_answer_needs_the_records_no_more(home: Home) -> None:
    first = ask(home)
    records.write_jsonl(home.data, texts(50, 700))
    assert as_bytes(ask(home)) == as_bytes(first)


def test_another_request_for_the_same_round_costs_again_until_nothing_is_left(home: Home) -> None:
    first = update(answer(home))
    other = requested(home.charter, 1, broken_tensors(home, 0.25))
    second = update(answer(home, other))
    assert second.update != first.update
    assert delivery(home, second).spent == BUDGET > delivery(home, first).spent
    assert home.spending().bookings == 2
    third = requested(home.charter, 1, broken_tensors(home, 0.5))
    assert refused(answer(home, third)) is RefusalCode.BUDGET
    assert home.spending().bookings == 2
    assert update(answer(home, other)) == second


def test_the_same_bytes_for_another_round_cost_again(home: Home) -> None:
    first = update(answer(home))
    second = update(answer(home, requested(home.charter, 2, home.request.adapter)))
    assert second.update != first.update
    assert home.spending().bookings == 2
    # The first answer made room for the second, and its round is over.
    assert refused(answer(home)) is RefusalCode.STATE


def pressed(times: int) -> Callable[[str], Randomness]:
    """Ctrl-C is pressed some times after the booking, while the site trains."""

    def randomness(label: str) -> Randomness:
        for _ in range(times if label.endswith("sample") else 0):
            signal.raise_signal(signal.SIGINT)
        return Randomness.from_os()

    return randomness


def test_ctrl_c_lets_a_booked_round_finish_and_its_answer_is_kept(
    home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        answer_train(home.core, home.request.to_record(), pressed(1))
    assert "finishes its round" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is handler
    assert (home.spending().bookings, home.spending().open_bookings) == (1, 0)
    update(answer(home))
    assert home.spending().bookings == 1


def test_ctrl_c_again_stops_at_once_and_the_booking_stays(home: Home) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        answer_train(home.core, home.request.to_record(), pressed(2))
    assert signal.getsignal(signal.SIGINT) is handler
    assert (home.spending().bookings, home.spending().open_bookings) == (1, 1)


def test_the_functions_raise_what_the_app_turns_into_a_word(home: Home) -> None:
    home.edit("epsilon = 8.0", "epsilon = 0.01")
    with pytest.raises(BudgetExceeded, match=r"site\.toml allows ε = 0\.01"):
        answer_train(home.core, home.request.to_record())
    with pytest.raises(CharterError, match="not approved here"):
        answer_hello(home.core, Hello("sha256:" + "0" * 64, CHALLENGE).to_record())


# What both sides sign


def test_only_the_coordinator_asks_for_a_round(home: Home) -> None:
    forged = RoundRequest(
        charter=home.charter.digest, round=1, adapter=canonical.digest(home.request.adapter)
    ).signed(key_of("south"))
    assert refused(answer(home, replace(home.request, request=forged))) is RefusalCode.CHARTER
    assert refused(answer(home, replace(home.request, request=b"{}"))) is RefusalCode.CHARTER
    other = replace(home.request, adapter=broken_tensors(home, 0.5))
    assert refused(answer(home, other)) is RefusalCode.INTERNAL
    assert home.spending().bookings == 0


@pytest.mark.parametrize("challenge", ["", "ab", "AB" * 32, "zz" * 32, "ab" * 33])
def test_a_challenge_is_32_bytes(home: Home, challenge: str) -> None:
    hello = ask(home, Hello(home.charter.digest, challenge).to_record(), HELLO)
    assert answer_from_record(hello) == Refusal("north", RefusalCode.INTERNAL)


def receipt(home: Home, said: Delivery, **changes: object) -> bytes:
    terms = {
        "charter": home.charter.digest,
        "site": "north",
        "round": said.round,
        "update": said.update,
        "head": said.head,
    }
    return Receipt.model_validate(terms | changes).signed(COORDINATOR)


def test_a_receipt_is_noted_and_the_log_tells_all(home: Home) -> None:
    said = delivery(home, update(answer(home)))
    note = ReceiptNote(home.charter.digest, receipt(home, said)).to_record()
    assert answer_from_record(ask(home, note, RECEIPT)) == Noted("north")
    entries = list(audit.read(home.folder / "state/audit.jsonl", key_of("north").public))
    assert [e.event for e in entries] == [
        "registered",
        "decided",
        "reserved",
        "cleared",
        "received",
    ]
    reserved, cleared, received = (entry.details for entry in entries[2:])
    assert reserved["booking"]["event"] == ROUND.as_text()
    assert cleared["update"] == said.update
    assert cleared["to"] == "university"
    assert received["receipt"].encode() == receipt(home, said)


def test_a_receipt_comes_with_the_next_request(home: Home) -> None:
    said = delivery(home, update(answer(home)))
    second = requested(home.charter, 2, home.request.adapter, receipt(home, said))
    assert update(answer(home, second))
    entries = audit.read(home.folder / "state/audit.jsonl", key_of("north").public)
    assert [e.event for e in entries][4:] == ["received", "reserved", "cleared"]


def test_a_head_that_is_not_in_the_log_stops_the_site(home: Home) -> None:
    """The coordinator has seen a later log than this one: somebody has put an older copy here."""
    said = delivery(home, update(answer(home)))
    unknown = receipt(home, said, head="0" * 64)
    second = requested(home.charter, 2, home.request.adapter, unknown)
    assert refused(answer(home, second)) is RefusalCode.STATE
    assert home.spending().bookings == 1


def test_a_receipt_of_somebody_else_is_refused(home: Home) -> None:
    said = delivery(home, update(answer(home)))
    for false in (
        receipt(home, said, site="south"),
        receipt(home, said, charter="sha256:" + "0" * 64),
        Receipt(
            charter=home.charter.digest, site="north", round=1, update=said.update, head=said.head
        ).signed(key_of("south")),
    ):
        note = ReceiptNote(home.charter.digest, false).to_record()
        assert answer_from_record(ask(home, note, RECEIPT)) == Refusal("north", RefusalCode.CHARTER)

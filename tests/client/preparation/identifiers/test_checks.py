"""Check digits, against numbers that their issuers publish as examples."""

from collections.abc import Callable

import pytest

from fedward_client.preparation.identifiers import checks

VALID = [
    (checks.luhn, "4111 1111 1111 1111"),
    (checks.iban, "DE89 3704 0044 0532 0130 00"),
    (checks.iban, "GB29 NWBK 6016 1331 9268 19"),
    (checks.nhs, "943 476 5919"),
    (checks.kvnr, "A000500015"),
    (checks.rvnr, "15070649C103"),
    (checks.tax_id, "86095742719"),
    (checks.resident, "11010519491231002X"),
    (checks.ahv, "756.9217.0769.85"),
    (checks.svnr, "1237010180"),
    (checks.vin, "1M8GDM9AXKP042788"),
    (checks.ssn, "219-09-9999"),
]


@pytest.mark.parametrize(("check", "number"), VALID)
def test_an_example_of_its_issuer_passes(check: Callable[[str], bool], number: str) -> None:
    assert check(number)


@pytest.mark.parametrize(("check", "number"), VALID[:-1])
def test_no_other_last_digit_does(check: Callable[[str], bool], number: str) -> None:
    """All of them detect every error in a single digit; a VIN's check digit is not its last."""
    others = [d for d in "0123456789" if d != number[-1]]
    assert not any(check(number[:-1] + digit) for digit in others)


@pytest.mark.parametrize(
    "number", ["000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000"]
)
def test_no_social_security_number_is_issued_like_this(number: str) -> None:
    assert not checks.ssn(number)

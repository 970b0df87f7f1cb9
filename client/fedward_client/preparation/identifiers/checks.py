"""Check digits, by which a number without a label is told from other numbers.

Each takes a number as it is written, with spaces and hyphens.
"""

DIGITS = frozenset("0123456789")
RESIDENT_CHECK = "10X98765432"
RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
SVNR_WEIGHTS = (3, 7, 9, 0, 5, 8, 4, 2, 1, 6)
RVNR_WEIGHTS = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)
VIN_VALUES = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", "12345678123457923456789", strict=True))
VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def bare(number: str) -> str:
    """Letters and digits alone, in capitals."""
    return "".join(c for c in number.upper() if c.isalnum())


def luhn(number: str) -> bool:
    """ISO/IEC 7812-1: payment cards, IMEI."""
    digits = bare(number)
    total = sum(_cross(int(d) * (1 + i % 2)) for i, d in enumerate(reversed(digits)))
    return len(set(digits)) > 1 and total % 10 == 0


def iban(number: str) -> bool:
    """ISO 13616, by ISO 7064 MOD 97-10."""
    text = bare(number)
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def nhs(number: str) -> bool:
    """NHS number of England, Wales and the Isle of Man: modulus 11 of NHS Data Dictionary."""
    digits = [int(d) for d in bare(number)]
    check = 11 - sum(d * w for d, w in zip(digits, range(10, 1, -1), strict=False)) % 11
    return len(set(digits)) > 1 and check % 11 == digits[9] and check != 10


def ssn(number: str) -> bool:
    """US social security numbers have no check digit, but areas, groups and serials that are none."""
    area, group, serial = (bare(number)[a:b] for a, b in ((0, 3), (3, 5), (5, 9)))
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def kvnr(number: str) -> bool:
    """German health insurance number, § 290 SGB V: a letter as two digits, then Luhn from the left."""
    text = bare(number)
    digits = f"{ord(text[0]) - 64:02}{text[1:9]}"
    return sum(_cross(int(d) * (1 + i % 2)) for i, d in enumerate(digits)) % 10 == int(text[9])


def rvnr(number: str) -> bool:
    """German pension insurance number, § 147 SGB VI and VKVV: weighted cross sums."""
    text = bare(number)
    digits = f"{text[:8]}{ord(text[8]) - 64:02}{text[9:11]}"
    total = sum(_cross(int(d) * w) for d, w in zip(digits, RVNR_WEIGHTS, strict=True))
    return total % 10 == int(text[11])


def tax_id(number: str) -> bool:
    """German tax id, § 139b AO: ISO 7064 MOD 11,10."""
    digits = [int(d) for d in bare(number)]
    product = 10
    for digit in digits[:10]:
        product = ((digit + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == digits[10] and digits[0] > 0


def resident(number: str) -> bool:
    """Chinese resident id, GB 11643-1999: ISO 7064 MOD 11-2."""
    text = bare(number)
    total = sum(int(d) * w for d, w in zip(text, RESIDENT_WEIGHTS, strict=False))
    return RESIDENT_CHECK[total % 11] == text[17]


def ahv(number: str) -> bool:
    """Swiss AHV number: EAN-13."""
    digits = [int(d) for d in bare(number)]
    return sum(d * (1 + 2 * (i % 2)) for i, d in enumerate(digits)) % 10 == 0


def svnr(number: str) -> bool:
    """Austrian insurance number: the fourth digit is the weighted sum of the others modulo 11."""
    digits = [int(d) for d in bare(number)]
    return sum(d * w for d, w in zip(digits, SVNR_WEIGHTS, strict=True)) % 11 == digits[3]


def vin(number: str) -> bool:
    """Vehicle identification number with the check digit of 49 CFR 565.15."""
    text = bare(number)
    total = sum(int(VIN_VALUES.get(c, c)) * w for c, w in zip(text, VIN_WEIGHTS, strict=True))
    return "0123456789X"[total % 11] == text[8] and not DIGITS.isdisjoint(text)


def _cross(number: int) -> int:
    return number // 10 + number % 10

"""How figures are written for people: in the report, the terminal and the logs alike.

A privacy figure is rounded up and never down, so that no page claims less ε than was spent.
"""

import math
from collections.abc import Iterable
from typing import Literal

Style = Literal["percent", "number"]

NOTHING = "–"
LONG = 1e7
"""From here on a metric is written with a power of ten: it has diverged."""
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_ROUNDING_NOISE = 1e-9


def epsilon(value: float | None) -> str:
    """ε (no unit) with at most three significant digits, rounded up; a dash for none."""
    if value is None:
        return NOTHING
    if value <= 0:
        return "0"
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    steps = math.ceil(value / step * (1 - _ROUNDING_NOISE))
    return _plain(steps * step, max(0, -round(math.log10(step))))


def delta(value: float | None) -> str:
    """δ (a probability) as a power of ten, `10⁻⁵`; a dash for none."""
    if value is None:
        return NOTHING
    if value <= 0:
        return "0"
    exponent = math.floor(math.log10(value) + _ROUNDING_NOISE)
    mantissa = f"{value / 10.0**exponent:.3g}"
    power = f"10{str(exponent).translate(_SUPERSCRIPT)}"
    return power if mantissa == "1" else f"{mantissa} × {power}"


def size(count: int) -> str:
    """A number of bytes as B, KB, MB, GB or TB (powers of 1,000), three significant digits."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("KB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            break
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{decimals}f} {unit}"


def duration(seconds: float) -> str:
    """A time span given in seconds: `4.2 s`, `3 min 12 s`, `2 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def count(value: int | None) -> str:
    """A whole number with commas between the thousands; a dash for none."""
    return NOTHING if value is None else signed(f"{value:,}")


def decimals_for(values: Iterable[float], style: Style) -> int:
    """The digits after the point with which all figures of one column are written."""
    if style == "percent":
        return 1
    largest = max((abs(value) for value in values), default=0.0)
    return 3 if largest <= 1 else 2 if largest < 100 else 1 if largest < 1000 else 0


def metric(value: float | None, style: Style, decimals: int) -> str:
    """A metric; style `percent` writes the share 0.878 as `87.8 %`. A dash for none."""
    if value is None:
        return NOTHING
    if abs(value) >= LONG:
        return signed(f"{value:.3g}")
    if style == "percent":
        return signed(f"{100 * value:.{decimals}f} %")
    return signed(f"{value:,.{decimals}f}")


def difference(value: float, style: Style, decimals: int) -> str:
    """The size of a difference between two metrics, without its sign (`percent`: in points)."""
    if abs(value) >= LONG:
        return f"{abs(value):.3g}"
    if style == "percent":
        return f"{100 * abs(value):.{decimals}f} points"
    return f"{abs(value):,.{decimals}f}"


def signed(text: str) -> str:
    """`text` with a minus sign in place of a leading hyphen, and no minus before a zero."""
    if not text.startswith("-"):
        return text
    return text[1:] if not any(digit in text for digit in "123456789") else f"−{text[1:]}"


def rounds(numbers: Iterable[int]) -> str:
    """Round numbers with runs drawn together: `3–5, 9`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}–{high}" for low, high in runs)


def _plain(value: float, decimals: int) -> str:
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

"""Several sites' messages in one: the one way in which a stage's messages are sent together."""

from collections.abc import Mapping

from fedward_shared.errors import AggregationError

MAX_SITES = 10_000
MAX_PART = 2**20
_NAME, _SIZE = 1, 4


def encode(parts: Mapping[str, bytes]) -> bytes:
    """By name in order: length of the name (1 byte), name, length (4 bytes, little-endian), bytes."""
    return b"".join(
        len(name.encode()).to_bytes(_NAME)
        + name.encode()
        + len(data).to_bytes(_SIZE, "little")
        + data
        for name, data in sorted(parts.items())
    )


def decode(data: bytes, origin: str) -> dict[str, bytes]:
    """The parts by name. Raises AggregationError for anything that `encode` does not make."""
    parts: dict[str, bytes] = {}
    at, last = 0, ""
    while at < len(data):
        name, at = _take(data, at, _NAME, origin)
        part, at = _take(data, at, _SIZE, origin)
        if len(parts) >= MAX_SITES or len(part) > MAX_PART:
            raise AggregationError(f"{origin}: too many parts, or one that is too long")
        try:
            text = name.decode("ascii")
        except UnicodeDecodeError as error:
            raise AggregationError(f"{origin}: a name that is none") from error
        if text <= last:
            raise AggregationError(f"{origin}: names out of order, or one twice")
        parts[text], last = part, text
    return parts


def _take(data: bytes, at: int, width: int, origin: str) -> tuple[bytes, int]:
    start = at + width
    stop = start + int.from_bytes(data[at:start], "little")
    if start > len(data) or stop > len(data):
        raise AggregationError(f"{origin}: cut off")
    return data[start:stop], stop

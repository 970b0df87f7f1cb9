"""How much of the pictures in one file is used: a few of many, at equal distances."""

MOST_FRAMES = 16
"""Of one file."""

MOST_PIXELS = 2**24
"""Of one frame, before anything of it is decoded: 4,096 × 4,096."""


def spread(count: int, most: int) -> list[int]:
    """Of the numbers below `count` at most `most`, each in the middle of its part; ascending."""
    parts = min(count, most)
    return [(2 * part + 1) * count // (2 * parts) for part in range(parts)]

"""A few of many, at equal distances."""


def spread(count: int, most: int) -> list[int]:
    """Of the numbers below `count` at most `most`, each in the middle of its part; ascending."""
    parts = min(count, most)
    return [(2 * part + 1) * count // (2 * parts) for part in range(parts)]

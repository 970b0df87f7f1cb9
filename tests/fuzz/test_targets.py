"""The short form of the fuzzing: every decoder against damaged good inputs, and against noise."""

import random
import tracemalloc

import pytest
from fuzz.targets import TARGETS, run, seeds

RUNS = 400
MEMORY = 64 * 2**20
"""What one input of a few KiB may take at most, in bytes."""


def damaged(good: bytes, chance: random.Random) -> bytes:
    """`good` with some bytes changed, left out, doubled, or cut off."""
    data = bytearray(good)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0 if data:
                data[at % len(data)] = chance.randrange(256)
            case 1:
                data[at:at] = chance.randbytes(chance.randint(1, 8))
            case 2:
                del data[at : at + chance.randint(1, 30)]
            case 3:
                data[at:at] = data[at : at + 40]
            case _:
                data = data[:at] or data
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_a_decoder_or_takes_much_memory(name: str) -> None:
    chance = random.Random(f"fedward {name}")
    good = seeds()
    tracemalloc.start()
    try:
        for number in range(RUNS):
            data = chance.randbytes(number % 200) if number % 8 == 0 else chance.choice(good)
            run(name, damaged(data, chance) if number % 8 else data)
            _, peak = tracemalloc.get_traced_memory()
            assert peak < MEMORY, (name, data)
            tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()

"""Masks: both sides of a pair come to the same, and every change of a label gives another."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedward_shared.errors import AggregationError
from fedward_shared.secagg import masks
from fedward_shared.secagg.labels import Label
from fedward_shared.secagg.ring import CHUNK, Ring

LABEL = Label("sha256:" + "1" * 64, 3, 1, "sha256:" + "2" * 64)
OTHERS = {
    "charter": "sha256:" + "3" * 64,
    "round": 4,
    "attempt": 2,
    "cohort": "sha256:" + "4" * 64,
}
SEED, SOUTH_SEED = (hashlib.sha256(name).digest() for name in (b"north", b"south"))
NORTH, SOUTH = (masks.private_key(seed) for seed in (SEED, SOUTH_SEED))


def key_between(label: Label = LABEL, first: str = "north", second: str = "south") -> bytes:
    own, theirs = (first, masks.public_of(NORTH)), (second, masks.public_of(SOUTH))
    key = masks.pair_key(label, NORTH, own, theirs)
    assert masks.pair_key(label, SOUTH, theirs, own) == key
    return key


def test_every_part_of_the_label_and_either_name_changes_the_keys() -> None:
    labels = [LABEL, *(replace(LABEL, **{part: value}) for part, value in OTHERS.items())]
    keys = [key_between(label) for label in labels]
    keys += [masks.self_key(label, SEED, "north") for label in labels]
    keys += [key_between(second="west"), masks.self_key(LABEL, SEED, "south")]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_a_mask_is_the_key_stream_of_aes_256_ctr(bits: int) -> None:
    ring, count = Ring(bits), 2 * CHUNK + 7
    numbers = ring.zeros(count)
    masks.apply(ring, numbers, SEED, 1)
    encryptor = Cipher(algorithms.AES(SEED), modes.CTR(bytes(16))).encryptor()
    stream = np.frombuffer(encryptor.update(bytes(numbers.nbytes)), dtype=ring.dtype)
    assert (numbers == stream).all()


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_what_one_of_a_pair_adds_the_other_takes_away(bits: int) -> None:
    ring = Ring(bits)
    first, second = (ring.from_signed(np.arange(s, s + 1000)) for s in (0, -500))
    plain = first + second
    for numbers, site, other in ((first, "north", "south"), (second, "south", "north")):
        masks.apply(ring, numbers, key_between(), masks.pair_sign(site, other))
    assert (ring.to_signed(first) != np.arange(1000)).any()
    assert (ring.to_signed(first + second) == ring.to_signed(plain)).all()


def test_a_key_of_small_order_is_refused() -> None:
    with pytest.raises(AggregationError, match="key of mallory is no X25519 key"):
        masks.exchange(NORTH, bytes(32), "mallory")

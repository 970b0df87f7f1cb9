"""Shares and the envelopes that they travel in."""

import hashlib
from dataclasses import replace
from itertools import combinations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from shared.secagg.test_masks import LABEL, NORTH, OTHERS, SOUTH

from fedward_shared.errors import AggregationError
from fedward_shared.secagg import masks, sharing

SECRET = hashlib.sha256(b"secret").digest()
SEED = SECRET[:16]
TEXT = bytes(range(32))


def test_every_threshold_of_shares_gives_the_secret_and_fewer_do_not() -> None:
    shares = dict(enumerate(sharing.split(SEED, 3, 5), start=1))
    for points in combinations(shares, 3):
        assert sharing.combine({point: shares[point] for point in points}) == SEED
    for points in combinations(shares, 2):
        assert sharing.combine({point: shares[point] for point in points}) != SEED


def test_shares_are_drawn_anew() -> None:
    assert sharing.split(SEED, 2, 3) != sharing.split(SEED, 2, 3)


def sealed() -> bytes:
    return sharing.seal(LABEL, NORTH, "north", "south", masks.public_of(SOUTH), TEXT)


def test_the_receiver_opens_an_envelope() -> None:
    data = sealed()
    assert len(data) == sharing.ENVELOPE_BYTES
    opened = sharing.unseal(LABEL, SOUTH, "north", "south", masks.public_of(NORTH), data)
    assert opened == TEXT
    assert sealed() != data


@pytest.mark.parametrize("part", OTHERS)
def test_an_envelope_of_another_label_does_not_open(part: str) -> None:
    label = replace(LABEL, **{part: OTHERS[part]})
    with pytest.raises(AggregationError, match="envelope of north does not open for south"):
        sharing.unseal(label, SOUTH, "north", "south", masks.public_of(NORTH), sealed())


@pytest.mark.parametrize(
    ("sender", "receiver", "secret"),
    [
        ("west", "south", SOUTH),
        ("north", "west", SOUTH),
        ("north", "south", masks.private_key(SECRET)),
    ],
)
def test_nor_for_or_from_another(sender: str, receiver: str, secret: X25519PrivateKey) -> None:
    with pytest.raises(AggregationError, match="does not open"):
        sharing.unseal(LABEL, secret, sender, receiver, masks.public_of(NORTH), sealed())


@pytest.mark.parametrize("at", [0, 12, 30, 59])
def test_nor_where_a_byte_was_changed(at: int) -> None:
    data = bytearray(sealed())
    data[at] ^= 1
    with pytest.raises(AggregationError, match="does not open"):
        sharing.unseal(LABEL, SOUTH, "north", "south", masks.public_of(NORTH), bytes(data))


@pytest.mark.parametrize("size", [0, 59, 61])
def test_an_envelope_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(AggregationError, match=f"{size} bytes, not 60"):
        sharing.unseal(LABEL, SOUTH, "north", "south", masks.public_of(NORTH), bytes(size))

"""Sampling and noise, drawn from one AES-256-CTR key stream.

A deployed site's key comes from the operating system (`from_os`); a simulation injects a generator
whose key is derived from its seed (`from_seed`). The draws are the same code, so what a simulation
shows is what a deployment does, and one seed gives one sequence on every machine and thread count.
"""

import hashlib
import os
from collections.abc import Sequence

import numpy as np
import torch
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
GAUSSIANS_PER_DRAW = 4


class Randomness:
    """A stream of uniform and normal numbers from a secret 32-byte key.

    The key is used for this one stream (counter from zero); never make two streams of one key.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    @classmethod
    def from_os(cls) -> "Randomness":
        """A stream keyed by the operating system: the only kind that a deployed site uses."""
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def from_seed(cls, seed: int, *labels: str) -> "Randomness":
        """A reproducible stream for simulations; every tuple of labels has a stream of its own."""
        info = b"".join(hashlib.sha256(label.encode()).digest() for label in labels)
        key = HKDF(hashes.SHA256(), KEY_BYTES, b"fedward simulation", info)
        return cls(key.derive(seed.to_bytes(16, "big", signed=True)))

    def words32(self, count: int) -> np.ndarray:
        """`count` unsigned integers of 32 random bits each."""
        return np.frombuffer(self._stream.update(bytes(4 * count)), dtype="<u4")

    def words64(self, count: int) -> np.ndarray:
        """`count` uint64 of 64 random bits each, the same on every machine."""
        return np.frombuffer(self._stream.update(bytes(8 * count)), dtype="<u8")

    def uniform(self, count: int) -> np.ndarray:
        """`count` float64 in [0, 1) with 53 random bits each."""
        return (self.words64(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        """Standard normal float32 tensor of `shape`.

        Each number is the scaled sum of four Box-Muller draws in double precision, so that the gaps
        of floating point do not show which values could not have been drawn (Holohan and Braghin
        2021, "Secure Random Sampling in Differential Privacy", the same count as Opacus's).
        """
        count = int(np.prod(shape, dtype=np.int64))
        radius = np.sqrt(-2.0 * np.log1p(-self.uniform(count * GAUSSIANS_PER_DRAW)))
        angle = 2.0 * np.pi * self.uniform(count * GAUSSIANS_PER_DRAW)
        draws = (radius * np.cos(angle)).reshape(GAUSSIANS_PER_DRAW, count)
        normal = draws.sum(axis=0) / np.sqrt(GAUSSIANS_PER_DRAW)
        return torch.from_numpy(normal.astype(np.float32)).reshape(tuple(shape))

"""Sampling and noise, drawn from one AES-256-CTR key stream.

A deployed site's key comes from the operating system (`from_os`); a simulation injects a generator
whose key is derived from its seed (`from_seed`). The draws are the same code, so what a simulation
shows is what a deployment does, and one seed gives one sequence on every machine and thread count.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    import torch

KEY_BYTES = 32
BLOCK_BYTES = 16
GAUSSIANS_PER_DRAW = 4
AT_ONCE = 4096
"""Normal numbers computed in one piece, which stays in a processor's cache."""


class Randomness:
    """A stream of uniform and normal numbers from a secret 32-byte key.

    The key is used for this one stream (counter from zero); never make two streams of one key.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._go_to(0)

    def _go_to(self, drawn: int) -> None:
        counter = modes.CTR((drawn // BLOCK_BYTES).to_bytes(BLOCK_BYTES))
        self._stream = Cipher(algorithms.AES(self._key), counter).encryptor()
        self._stream.update(bytes(drawn % BLOCK_BYTES))
        self._drawn = drawn

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

    @classmethod
    def derived(cls, secret: bytes, *labels: str) -> "Randomness":
        """A stream that follows from a secret of 32 bytes, for a program that has to draw the same
        again when it is interrupted; every tuple of labels has a stream of its own."""
        info = b"".join(hashlib.sha256(label.encode()).digest() for label in labels)
        return cls(HKDF(hashes.SHA256(), KEY_BYTES, b"fedward session", info).derive(secret))

    def get_state(self) -> "torch.Tensor":
        """How far the stream is, as a `torch.Generator` says it; the key is not in it."""
        import torch

        return torch.tensor(self._drawn)

    def set_state(self, state: "torch.Tensor") -> None:
        """Goes on where a stream of the same key was."""
        self._go_to(int(state))

    def words32(self, count: int) -> np.ndarray:
        """`count` unsigned integers of 32 random bits each."""
        return np.frombuffer(self._bytes(4 * count), dtype="<u4")

    def words64(self, count: int) -> np.ndarray:
        """`count` uint64 of 64 random bits each, the same on every machine."""
        return np.frombuffer(self._bytes(8 * count), dtype="<u8")

    def _bytes(self, count: int) -> bytes:
        self._drawn += count
        return self._stream.update(bytes(count))

    def uniform(self, count: int) -> np.ndarray:
        """`count` float64 in [0, 1) with 53 random bits each."""
        return (self.words64(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, shape: Sequence[int]) -> "torch.Tensor":
        """Standard normal float32 tensor of `shape`.

        Each number is the scaled sum of four Box-Muller draws in double precision, so that the gaps
        of floating point do not show which values could not have been drawn (Holohan and Braghin
        2021, "Secure Random Sampling in Differential Privacy", the same count as Opacus's).
        """
        import torch  # a second, which terms that name a mechanism need not wait for

        count = int(np.prod(shape, dtype=np.int64))
        normal_N = np.empty(count, dtype=np.float32)
        for start in range(0, count, AT_ONCE):
            piece_N = normal_N[start : start + AT_ONCE]
            piece_N[:] = self._sums(len(piece_N))
        return torch.from_numpy(normal_N).reshape(tuple(shape))

    def _sums(self, count: int) -> np.ndarray:
        """`count` sums of four draws, over two: cosines for one half of them, sines for the other.

        A point with two normal coordinates has a radius and an angle, and so gives two draws. They never
        enter the same sum, where they would be one draw more and not two. Cosine and sine are those of
        twice an angle of which the tangent t is known, (1 - t²) / (1 + t²) and 2t / (1 + t²), which
        costs a quarter of both.
        """
        half = -(-count // 2)
        uniform_2KH = self.uniform(2 * GAUSSIANS_PER_DRAW * half).reshape(
            2, GAUSSIANS_PER_DRAW, half
        )
        radius_KH = np.sqrt(-2.0 * np.log1p(-uniform_2KH[0]))
        tangent_KH = np.tan(np.pi * uniform_2KH[1])
        square_KH = tangent_KH * tangent_KH
        radius_KH /= 1.0 + square_KH
        cosines_H = (radius_KH * (1.0 - square_KH)).sum(axis=0)
        sines_H = (radius_KH * tangent_KH).sum(axis=0) * 2.0
        sums: np.ndarray = np.concatenate([cosines_H, sines_H])[:count]
        sums /= GAUSSIANS_PER_DRAW**0.5
        return sums

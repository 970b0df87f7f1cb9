"""An intersection in which each of two parties learns its own part, and neither tells the other.

    one                                            other
    a·H(x), shuffled and padded            →       b·(a·H(x)), back in the order in which they came
    a·(b·H(y)), back in that order         ←       b·H(y), shuffled and padded

Both do the same, with their own number each. What a party has back is a·b·H(x) for each of its own, and
what it has sent back is a·b·H(y) for each of the other's: where they are equal, so are x and y. Of all
else it has seen points that, without the other's number, are as good as random (decisional
Diffie-Hellman), and how many the other shows.

A party that does not follow the protocol can send back anything, and so make the other find what is not
there, or miss what is; and it can put in what it likes, as `alignment.py` says.
"""

from collections.abc import Sequence

import numpy as np

from fedward_shared.privacy.randomness import Randomness
from fedward_shared.psi.alignment import Half, Rows, Terms, Work, check_batch, keys_of


class Mutual(Half):
    """One of the two; all raise AlignmentError for what does not fit."""

    def __init__(
        self, terms: Terms, elements: Sequence[bytes], randomness: Randomness, work: Work
    ) -> None:
        super().__init__(terms, elements, randomness, work)
        self._theirs = bytearray()

    def theirs(self, batch: bytes) -> bytes:
        """The peer's next points; gives what they are sent back as."""
        check_batch(batch, self._theirs, self._terms.theirs)
        made = self._multiplied(batch)
        self._theirs += made
        return made

    def returned(self, batch: bytes) -> None:
        """The next of its own points, as the peer sends them back."""
        check_batch(batch, self._came, self._terms.own)
        self._came += batch

    def rows(self) -> Rows:
        """Its elements that the peer has, too, in their order. To be asked for when all has come."""
        own = keys_of(self._came, self._terms.own, "own")
        theirs = keys_of(self._theirs, self._terms.theirs, "the peer's")
        rows = self._shuffled[np.isin(own, theirs, assume_unique=True)]
        return np.sort(rows[rows < len(self._identifiers)])

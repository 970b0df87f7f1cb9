"""The edges of pictures that are made black, since text may be burnt into them."""

import math
from typing import Any, NamedTuple, Self

from fedward_shared.errors import UsageError


class Mask(NamedTuple):
    """How much of the height (`top`, `bottom`) and of the width (`right`, `left`) is made black."""

    top: float
    right: float
    bottom: float
    left: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """`TOP,RIGHT,BOTTOM,LEFT`. Raises UsageError for anything else, and where nothing is left."""
        try:
            found = cls(*map(float, text.split(",")))
        except (TypeError, ValueError):
            raise UsageError(f"--mask: {text!r} is not TOP,RIGHT,BOTTOM,LEFT") from None
        if not found.leaves_something():
            raise UsageError(f"--mask: {text!r} are not parts of a picture that leave some of it")
        return found

    def leaves_something(self) -> bool:
        """Whether these are parts that leave a part."""
        return (
            all(0 <= part < 1 for part in self)
            and self.top + self.bottom < 1
            and self.left + self.right < 1
        )

    def __str__(self) -> str:
        return ",".join(f"{part:g}" for part in self)

    def blacken(self, pixel_HW: Any) -> None:
        """Sets the edges of [H, W] or [H, W, 3] to 0, rounded inwards."""
        height, width = pixel_HW.shape[:2]
        top, right, bottom, left = (
            math.ceil(part * side)
            for part, side in zip(self, (height, width, height, width), strict=True)
        )
        pixel_HW[:top] = 0
        pixel_HW[height - bottom :] = 0
        pixel_HW[:, :left] = 0
        pixel_HW[:, width - right :] = 0

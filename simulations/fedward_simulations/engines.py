"""The names of the two engines that run a simulated federation."""

from typing import Literal

Engine = Literal["in-process", "flower"]
ENGINES: dict[str, Engine] = {"in-process": "in-process", "flower": "flower"}

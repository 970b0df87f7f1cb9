"""Small heads over a frozen base model, as they are kept: safetensors that name the base model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fedward_shared import canonical, noted, tensors
from fedward_shared.errors import AdapterError, DataError
from fedward_shared.files import write_atomically
from fedward_shared.tensors import Schema, Tensors


@dataclass(frozen=True)
class KeptHead:
    """The tensors of a head, for the base model of one digest."""

    base_model: str
    tensors: Tensors

    @classmethod
    def read(cls, place: Path, schema_of: Callable[[Tensors], Schema]) -> Self:
        """The head in `place`, whose tensors have to be as `schema_of` says of their sizes.

        Raises DataError for a file that is not there and AdapterError for one that is no such head.
        """
        try:
            content, base_model = noted.decode(place.read_bytes(), str(place))
        except OSError as error:
            raise DataError(f"{place}: cannot be read: {error.strerror}") from error
        tensors.check(content, schema_of(content), str(place))
        if not base_model:
            raise AdapterError(f"{place}: names no base model; train the head again")
        return cls(base_model, content)

    def save(self, path: Path) -> None:
        """Writes safetensors to `path`: the same head gives the same bytes."""
        write_atomically(path, self._encoded)

    @property
    def digest(self) -> str:
        """The same for the same head."""
        return canonical.digest(self._encoded)

    @property
    def _encoded(self) -> bytes:
        return tensors.encode(self.tensors, note=self.base_model)

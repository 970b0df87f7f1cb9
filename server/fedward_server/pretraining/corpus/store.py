"""A corpus on disk: tokens in shards that are written once, mapped into memory where they are read.

    corpus/inputs.json             all that decides the bytes below; written first
           icd-00000.tokens        a shard of a source: tokens, zeros up to 8 bytes, and of each document
                                   where its tokens end, counted from the shard's first (uint64)
           icd-00000.json          what the shard holds, and its SHA-256; it counts once this is there
           manifest.json           the whole; written last, and nothing after it

Tokens are uint16 where the vocabulary allows it, else uint32, little-endian. A document lies in one
shard. What a source's documents say one after the other is its *stream*: rows are cut from that.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from pydantic import ValidationError

from fedward_shared import canonical
from fedward_shared.errors import DataError, StateError
from fedward_shared.files import write_atomically, written_atomically
from fedward_shared.terms import Digest, Terms, describe

FORMAT: Literal["fedward/pretraining-corpus/1"] = "fedward/pretraining-corpus/1"
INPUTS, MANIFEST = "inputs.json", "manifest.json"

_END = np.dtype("<u8")


class Shard(Terms):
    """What a file of tokens holds."""

    documents: int
    tokens: int
    digest: Digest


class SourceEntry(Terms):
    """A source in the manifest: `read` documents are `kept` and those `left_out`, by their reason.

    `refused` are records that could not be read, by their reason, and `places` the first of them.
    """

    language: str
    evaluation: bool
    read: int
    kept: int
    left_out: dict[str, int]
    refused: dict[str, int]
    places: tuple[str, ...]
    shards: tuple[Shard, ...]


class Manifest(Terms):
    """What a corpus is. Its digest stands for all of its bytes."""

    format: Literal["fedward/pretraining-corpus/1"] = FORMAT
    inputs: Digest
    tokenizer: Digest
    vocabulary: int
    sources: dict[str, SourceEntry]

    @property
    def digest(self) -> str:
        """SHA-256 of its canonical JSON."""
        return canonical.digest(canonical.encode(self.model_dump(mode="json")))


class Piece(NamedTuple):
    """Consecutive tokens of a stream [N], and where in them another document begins, in order.

    `begins` does not have 0, whether or not a document begins there.
    """

    tokens_N: np.ndarray
    begins: np.ndarray


class Source:
    """One source's stream, mapped from disk: nothing of it is in memory but what is asked for."""

    def __init__(self, folder: Path, name: str, entry: SourceEntry, dtype: np.dtype[Any]) -> None:
        self.name, self.language, self.evaluation = name, entry.language, entry.evaluation
        self._folder, self._shards, self._dtype = folder, entry.shards, dtype
        self._first_tokens = np.cumsum([0, *(shard.tokens for shard in entry.shards)])
        self._first_documents = np.cumsum([0, *(shard.documents for shard in entry.shards)])
        self.tokens = int(self._first_tokens[-1])
        self.documents = int(self._first_documents[-1])

    def read(self, start: int, stop: int) -> Piece:
        """Tokens `start` … `stop` - 1 of the stream. Raises IndexError if it has fewer."""
        if not 0 <= start <= stop <= self.tokens:
            raise IndexError(f"{self.name}: tokens {start} to {stop} of {self.tokens}")
        tokens, begins = [np.empty(0, self._dtype)], [np.empty(0, np.int64)]
        number = int(np.searchsorted(self._first_tokens, start, "right")) - 1
        while number < len(self._shards) and self._first_tokens[number] < stop:
            first = int(self._first_tokens[number])
            tokens_N, ends_D = self._mapped[number]
            tokens.append(tokens_N[max(0, start - first) : stop - first])
            # Of their own type: for another, numpy would convert all ends of the shard.
            edges = np.array([max(0, start - first), stop - first], _END)
            low, high = np.searchsorted(ends_D, edges)
            begins.append(ends_D[low:high].astype(np.int64) + first - start)
            number += 1
        found = np.concatenate(begins)
        return Piece(np.concatenate(tokens), found[(found > 0) & (found < stop - start)])

    def sizes(self) -> np.ndarray:
        """How many tokens each document has, uint64, [D]."""
        sizes = [np.diff(ends_D, prepend=_END.type(0)) for _, ends_D in self._mapped]
        return np.concatenate([np.empty(0, _END), *sizes])

    def check(self) -> None:
        """Reads every byte. Raises StateError for a shard that is not as it was written."""
        for number, shard in enumerate(self._shards):
            path = self._folder / shard_name(self.name, number)
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if canonical.DIGEST_PREFIX + found != shard.digest:
                raise StateError(f"{path}: damaged; delete the folder and make the corpus again")

    @cached_property
    def _mapped(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each shard its tokens and the ends of its documents."""
        return [
            _map(self._folder / shard_name(self.name, number), shard, self._dtype)
            for number, shard in enumerate(self._shards)
        ]


class Store:
    """The corpus in a folder.

    Raises DataError if there is none, StateError if it is unfinished, damaged, or a shard is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = _manifest(folder)
        dtype = token_dtype(self.manifest.vocabulary)
        self.sources = {
            name: Source(folder, name, entry, dtype)
            for name, entry in sorted(self.manifest.sources.items())
        }
        for name, entry in self.manifest.sources.items():
            for number, shard in enumerate(entry.shards):
                _check_size(folder / shard_name(name, number), shard, dtype)

    @property
    def digest(self) -> str:
        """Stands for every byte of the corpus."""
        return self.manifest.digest

    def check(self) -> None:
        """Reads the whole corpus. Raises StateError that names what is damaged."""
        for source in self.sources.values():
            source.check()


class ShardWriter:
    """A shard that is being written; memory is that of what is added, and 8 bytes for each document."""

    def __init__(self, file: IO[bytes], dtype: np.dtype[Any]) -> None:
        self.tokens = 0
        self._file, self._dtype = file, dtype
        self._ends: list[int] = []
        self._hash = hashlib.sha256()

    def add(self, document: Sequence[int] | np.ndarray) -> None:
        """Appends a document's tokens, of which there is at least one."""
        self._write(np.asarray(document, self._dtype).tobytes())
        self.tokens += len(document)
        self._ends.append(self.tokens)

    def finish(self) -> Shard:
        """Writes where the documents end."""
        self._write(bytes(-self.tokens * self._dtype.itemsize % _END.itemsize))
        self._write(np.array(self._ends, _END).tobytes())
        digest = canonical.DIGEST_PREFIX + self._hash.hexdigest()
        return Shard(documents=len(self._ends), tokens=self.tokens, digest=digest)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)


@contextmanager
def shard_written(
    folder: Path, source: str, number: int, dtype: np.dtype[Any]
) -> Iterator[ShardWriter]:
    """A shard to write, that is there as a whole at the end, or not at all."""
    with written_atomically(folder / shard_name(source, number)) as file:
        yield ShardWriter(file, dtype)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Makes what lies in `folder` a corpus."""
    write_atomically(folder / MANIFEST, canonical.encode(manifest.model_dump(mode="json")))


def begin(folder: Path, inputs: Mapping[str, Any]) -> str:
    """Says in `folder` what its corpus is made from, and gives its digest.

    Raises StateError that names what differs if it was begun from something else.
    """
    path = folder / INPUTS
    wanted = canonical.encode(inputs)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, wanted)
    elif (found := path.read_bytes()) != wanted:
        raise StateError(
            f"{folder}: this corpus was begun with other {', '.join(_differing(found, inputs))}; "
            "take another folder, or delete this one"
        )
    return canonical.digest(wanted)


def token_dtype(vocabulary: int) -> np.dtype[Any]:
    """What a token of a vocabulary of that size is kept as."""
    return np.dtype("<u2" if vocabulary <= 2**16 else "<u4")


def shard_name(source: str, number: int) -> str:
    """The file of a source's shard."""
    return f"{source}-{number:05}.tokens"


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        return Manifest.model_validate(canonical.decode(path.read_bytes()))
    except FileNotFoundError as error:
        if (folder / INPUTS).exists():
            raise StateError(
                f"{folder}: the corpus is not finished; begin its making again, it goes on from there"
            ) from error
        raise DataError(f"{folder}: no corpus; make one") from error
    except ValidationError as error:
        raise StateError(f"{path}: damaged: {describe(error)}") from error
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: damaged: {error}") from error


def _ends_at(shard: Shard, dtype: np.dtype[Any]) -> int:
    """Where in the file the ends of documents begin."""
    return -(-shard.tokens * dtype.itemsize // _END.itemsize) * _END.itemsize


def _check_size(path: Path, shard: Shard, dtype: np.dtype[Any]) -> None:
    wanted = _ends_at(shard, dtype) + shard.documents * _END.itemsize
    found = path.stat().st_size if path.is_file() else None
    if found != wanted:
        has = "is missing" if found is None else f"has {found} bytes, not {wanted}"
        raise StateError(f"{path}: {has}; delete the folder and make the corpus again")


def _map(path: Path, shard: Shard, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
    ends_at = _ends_at(shard, dtype)
    tokens_N = np.memmap(path, dtype, "r", 0, (shard.tokens,))
    ends_D = np.memmap(path, _END, "r", ends_at, (shard.documents,))
    return tokens_N.view(np.ndarray), ends_D.view(np.ndarray)


def _differing(found: bytes, inputs: Mapping[str, Any]) -> list[str]:
    """The keys, down to the first that differ, in what a corpus was begun with."""
    try:
        before = canonical.decode(found)
    except ValueError:
        return ["inputs: its record of them is damaged"]
    return list(_keys(before, canonical.decode(canonical.encode(inputs)), ""))


def _keys(before: Any, now: Any, at: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from _keys(before.get(key), now.get(key), f"{at}.{key}" if at else key)
    elif before != now:
        yield at

"""Checkpoints: folders of safetensors that are whole or not there, for any number of workers.

    checkpoints/step-000000500/shard-00001-….safetensors    what worker 0 holds of every tensor
                               shard-00002-….safetensors    what worker 1 holds, and so on
                               state.json                   the rest, with the SHA-256 of each shard

torch.distributed.checkpoint cuts the tensors and puts them together again, so that those of eight
workers are read by one or by twelve. Its own format would be pickled; this one holds numbers alone.

A checkpoint is written beside its place and renamed there once all of it is on the disk. One that is
damaged is not read: the one before it is, and whoever asked is told why.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from fedward_shared.errors import StateError
from fedward_shared.files import write_atomically

STATE = "state.json"
FORMAT = "fedward/pretraining-checkpoint/1"

Tensors = dict[str, torch.Tensor]


class Checkpoints:
    """Those of one run, in `folder`; the newest `keep` stay. All workers call its methods together."""

    def __init__(self, folder: Path, keep: int, say: Callable[[str], None]) -> None:
        self._folder, self._keep, self._say = folder, keep, say

    def steps(self) -> list[int]:
        """After how many steps those that are there were written, in order."""
        found = (re.fullmatch(r"step-(\d{9})", path.name) for path in self._folder.glob("step-*"))
        return sorted(int(match[1]) for match in found if match)

    def write(self, step: int, tensors: Tensors, state: Mapping[str, Any]) -> None:
        """Keeps `tensors` (whole ones or a worker's shards) and `state`, which is JSON, after `step`.

        Raises StateError if the disk is full or does not write; those before it stay.
        """
        place = self._place(step)
        part = place.with_suffix(".part")
        if _first():
            shutil.rmtree(part, ignore_errors=True)
            _told(part, lambda: part.mkdir(parents=True))
        _together()
        try:
            writer = HuggingFaceStorageWriter(str(part), save_distributed=True)
            with _alone():
                save(tensors, storage_writer=writer, no_dist=not dist.is_initialized())
            digests = _digests(part)
            if _first():
                content = {"format": FORMAT, "step": step, "shards": digests, "state": state}
                write_atomically(part / STATE, json.dumps(content, sort_keys=True).encode())
        except (CheckpointException, OSError) as error:
            if _first():
                shutil.rmtree(part, ignore_errors=True)
            raise StateError(
                f"{place}: the checkpoint cannot be written: {_reason(error)}; make room and go on with "
                f"`fedward pretrain resume`, those of steps {self.steps()} are kept"
            ) from error
        if _first():
            shutil.rmtree(place, ignore_errors=True)
            part.replace(place)
            _sync(self._folder)
            for old in self.steps()[: -self._keep]:
                shutil.rmtree(self._place(old))
        _together()

    def read(
        self, tensors: Tensors, before: int | None = None
    ) -> tuple[int, dict[str, Any]] | None:
        """Fills `tensors` from the newest whole checkpoint, in place, and returns its step and state.

        Of those at step `before` or earlier, if that is given; later ones are then removed, since they
        are of a course that is not gone on with. None if there is none.
        """
        for step in reversed(self.steps()):
            place = self._place(step)
            if before is not None and step > before:
                if _first():
                    shutil.rmtree(place)
                continue
            try:
                state = _checked(place, step)
            except StateError as error:
                if _first():
                    self._say(f"{error}; going back to the checkpoint before it")
                continue
            reader = HuggingFaceStorageReader(str(place))
            try:
                with _alone():
                    load(tensors, storage_reader=reader, no_dist=not dist.is_initialized())
            except CheckpointException as error:
                raise StateError(
                    f"{place}: is not of this model: {_reason(error)}; "
                    "go on with the configuration that it was begun with"
                ) from error
            _together()
            return step, state
        _together()
        return None

    def check_none(self) -> None:
        """Raises StateError if there are any, for those who could read none of them."""
        if steps := self.steps():
            raise StateError(
                f"{self._folder}: none of the checkpoints of steps {steps} is whole; put one of them "
                "back from a copy, or delete the folder to begin anew"
            )

    def remove_parts(self) -> None:
        """What a process that was killed while it wrote has left."""
        if _first():
            for part in self._folder.glob("step-*.part"):
                shutil.rmtree(part)
        _together()

    def _place(self, step: int) -> Path:
        return self._folder / f"step-{step:09d}"


@contextmanager
def _alone() -> Iterator[None]:
    """One process is no mistake here, of which people would have to be warned."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _checked(place: Path, step: int) -> dict[str, Any]:
    """The state of a checkpoint whose shards are whole; each worker checks its part of them."""
    damage, state = "", {}
    try:
        state = _checked_part(place, step)
    except StateError as error:
        damage = str(error)
    if _any(bool(damage)):
        raise StateError(damage or f"{place}: damaged: another worker says why")
    return state


def _checked_part(place: Path, step: int) -> dict[str, Any]:
    workers, own = _crew()
    try:
        content = json.loads((place / STATE).read_bytes())
        shards, state = content["shards"], content["state"]
        if content["format"] != FORMAT or content["step"] != step or not isinstance(state, dict):
            raise StateError(f"{place / STATE}: not a checkpoint of step {step}")
        if {path.name for path in place.glob("*.safetensors")} != set(shards):
            raise StateError(f"{place}: a shard is missing, or one too many")
        for number, (name, expected) in enumerate(sorted(shards.items())):
            if number % workers == own and _digest(place / name) != expected:
                raise StateError(f"{place / name}: damaged: its SHA-256 is not that of {STATE}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError(f"{place}: cannot be read: {error}") from error
    return state


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digests(folder: Path) -> dict[str, str]:
    """Each worker flushes and reads the shard that it wrote itself, and all learn all digests."""
    workers, own = _crew()
    found = torch.zeros((workers, 32), dtype=torch.uint8)
    name = f"shard-{own + 1:05d}-model-00001-of-00001.safetensors"
    if (folder / name).is_file():
        _sync(folder / name)
        found[own] = torch.tensor(list(bytes.fromhex(_digest(folder / name))), dtype=torch.uint8)
    found = _summed(found)
    rows = {
        f"shard-{i + 1:05d}-model-00001-of-00001.safetensors": row for i, row in enumerate(found)
    }
    return {n: bytes(row.tolist()).hex() for n, row in rows.items() if row.any()}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _told(place: Path, act: Callable[[], None]) -> None:
    try:
        act()
    except OSError as error:
        raise StateError(f"{place}: cannot be made: {error.strerror}") from error


def _reason(error: BaseException) -> str:
    if isinstance(error, CheckpointException):
        return "; ".join(sorted({str(cause) for cause, _ in error.failures.values()}))
    return str(error)


def _crew() -> tuple[int, int]:
    """How many workers there are, and which of them this is."""
    return (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)


def _summed(counts: torch.Tensor) -> torch.Tensor:
    if not dist.is_initialized():
        return counts
    device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
    total = counts.to(device, torch.int32)
    dist.all_reduce(total)
    return total.cpu().to(counts.dtype)


def _any(flag: bool) -> bool:
    return bool(_summed(torch.tensor([int(flag)]))[0])


def _first() -> bool:
    return _crew()[1] == 0


def _together() -> None:
    if dist.is_initialized():
        dist.barrier()

"""A file of records as a study's model takes them, kept so that each record is encoded once.

In memory for as long as the process lives and, where a folder is given, on disk, because in
deployment every message starts a process. Such a file holds activations of the records: at a site it
lies where the ledger lies, readable by the site's user alone.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from fedward_shared import canonical, noted, records, tensors
from fedward_shared.errors import AdapterError, DataError
from fedward_shared.files import write_atomically
from fedward_shared.records import LeftOut
from fedward_shared.tasks.base import Columns, StudyModel
from fedward_shared.tasks.examples import Examples

KEPT_IN_MEMORY = 16

_memory: OrderedDict[str, Examples] = OrderedDict()


def prepared(
    model: StudyModel,
    base_model: str,
    path: Path,
    columns: Mapping[str, str],
    folder: Path | None,
    owner: str | None = None,
    left_out: LeftOut | None = None,
    file: str | None = None,
) -> Examples:
    """The records in `path`, encoded by the frozen part of `model` over the base model of that digest.

    `owner` is the column that says whose each record is; what is kept of it are numbers. `file` is the
    digest that the file has to have. Raises DataError, naming the file, for records that cannot be read,
    are not those of that digest, have no owner, or that the task cannot take.
    """
    content = records.read_bytes(path)
    digest = canonical.digest(content)
    if file not in (None, digest):
        raise DataError(f"{path}: changed since it was registered")
    key = canonical.digest(
        canonical.encode(
            {
                "records": digest,
                "columns": dict(columns),
                "owner": owner,
                "left_out": None if left_out is None else left_out.digest,
                "base_model": base_model,
                "task": model.task.model_dump(mode="json"),
                "first_layer": None if model.head_only else model.first_layer,
                "adapter": model.frozen_digest(),
            }
        )
    )
    if key in _memory:
        _memory.move_to_end(key)
        return _memory[key]
    kind = "whole" if model.head_only else f"{model.first_layer}"
    place = folder and folder / f"{path.stem}.{kind}.safetensors"
    examples = place and _from_file(place, key)
    if not examples:
        table = records.table(path, content)
        if left_out is not None:
            table = left_out.without(path, table)
        owners = None if owner is None else records.owners(path, table, owner)
        found = _encode(model, path, records.by_role(path, table, model.roles, columns))
        examples = replace(found, owners=owners)
        if place:
            _to_file(place, key, examples)
    _memory[key] = examples
    while len(_memory) > KEPT_IN_MEMORY:
        _memory.popitem(last=False)
    return examples


def _encode(model: StudyModel, path: Path, columns: Columns) -> Examples:
    try:
        return model.prepare(columns)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _from_file(place: Path, key: str) -> Examples | None:
    """What `place` keeps for `key`; None if it is absent, older or damaged, and made anew then."""
    try:
        content, kept = noted.decode(place.read_bytes(), str(place))
    except (FileNotFoundError, AdapterError):
        return None
    if kept != _note(key, content):
        return None
    owners = content["owners"].numpy() if "owners" in content else None
    return Examples(content["hidden"], content["offsets"].numpy(), content["targets"], owners)


def _to_file(place: Path, key: str, examples: Examples) -> None:
    content = {
        "hidden": examples.hidden_PD,
        "offsets": torch.from_numpy(examples.offsets),
        "targets": examples.targets,
    }
    if examples.owners is not None:
        content["owners"] = torch.from_numpy(examples.owners)
    write_atomically(place, tensors.encode(content, note=_note(key, content)), mode=0o600)


def _note(key: str, content: tensors.Tensors) -> str:
    """What is kept, and for what: a file with a flipped bit is not taken for it."""
    return f"{key} {tensors.digest(content)}"

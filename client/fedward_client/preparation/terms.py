"""Under what a dataset is prepared: its runs keep to the terms of the first."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from fedward_client.preparation import readers
from fedward_client.preparation.finishing import LowQuality, Quality, Rules
from fedward_client.preparation.identifiers.pseudonyms import Pseudonyms
from fedward_client.preparation.labels import Labels
from fedward_client.preparation.mask import Mask
from fedward_client.preparation.prepare import Way
from fedward_shared import base_models
from fedward_shared.errors import ModelError, UsageError
from fedward_shared.text.duplicates import Terms


def quality(
    folders: Iterable[Path], head: Path | None, cut: float, then: LowQuality
) -> tuple[Quality | None, dict[str, str]]:
    """How texts are scored with the base model that is in one of `folders`, and the terms that follow;
    nothing where they are `unscored`.

    Raises UsageError for a cut outside of [0, 1], ModelError where no folder has the head's base model,
    DataError and AdapterError for a file that is no head.
    """
    if then == "unscored":
        return None, {"low_quality": then}
    if not 0 <= cut <= 1:
        raise UsageError(f"--cut: {cut:g} is not between 0 and 1")
    from fedward_shared.text.quality import Head

    loaded = Head.load(head)
    try:
        model = base_models.find(folders, loaded.base_model)
    except ModelError as error:
        raise ModelError(
            "site.toml: base_models: the quality of texts is told with the model that the head was "
            f"trained on: {error}. Add it, train a head on one of yours "
            "(`fedward site data train-quality`), or prepare with --low-quality unscored"
        ) from error
    told = {
        "low_quality": then,
        "cut": f"{cut:g}",
        "head": loaded.digest,
        "base_model": loaded.base_model,
    }
    return Quality(model, head, cut, then == "leave-out"), told


Names = Literal["model", "rules"]


def names(folders: Iterable[Path], by: Names) -> tuple[Path | None, dict[str, str]]:
    """The one of `folders` with the base model that finds names, and the terms that follow; nothing
    where `rules` alone do.

    Raises ModelError where no folder has it.
    """
    if by == "rules":
        return None, {}  # as datasets were begun when there was no model
    from fedward_client.preparation.identifiers.tagger import Head

    head = Head.load()
    try:
        model = base_models.find(folders, head.base_model)
    except ModelError as error:
        raise ModelError(
            "site.toml: base_models: names are found with the model that the head was trained on: "
            f"{error}. Add it, or prepare with --names rules, which misses more of them"
        ) from error
    return model, {"names": head.digest, "names_base_model": head.base_model}


def of(
    key: bytes,
    compared: Terms,
    scored: tuple[Quality | None, dict[str, str]],
    named: tuple[Path | None, dict[str, str]],
    labels: Labels,
    day_first: bool,
    mask: Mask | None,
    processes: int,
) -> tuple[Way, dict[str, Any]]:
    """The way of a preparation, and the terms that it keeps to; `key` is that of a site's pseudonyms."""
    scoring, told = scored
    base_model, told_of_names = named
    terms = {
        "version": 1,
        "threshold": f"{compared.threshold:g}",
        "seed": compared.seed,
        "suppresses": compared.suppresses,
        "labels": labels.digest,
        "day_first": day_first,
        "mask": str(mask) if mask else "none",
        # Tells a site's key from another's, as it names nobody.
        "pseudonyms": Pseudonyms(key).person("the terms of a dataset").pseudonym,
        "readers": [f"{reader.NAME}/{reader.VERSION}" for reader in readers.READERS],
        **told,
        **told_of_names,
    }
    rules = Rules(key, labels, day_first, scoring, base_model)
    return Way(compared, rules, scoring.cut if scoring else 0.0, processes, mask), terms

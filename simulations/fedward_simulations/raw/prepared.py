"""The hospitals' records as they come of raw folders: written, prepared, and read as a study reads them.

OUT/raw/SITE/files       what the ward has
OUT/datasets/SITE/       what `site data prepare` makes of it
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from rich.console import Console

from fedward_client.preparation import bars, card, terms
from fedward_client.preparation.labels import Labels
from fedward_client.preparation.prepare import prepare
from fedward_client.preparation.store import LABELLED, Store
from fedward_shared import records
from fedward_shared.errors import UsageError
from fedward_shared.files import write_atomically
from fedward_shared.tasks.base import Columns
from fedward_shared.text.duplicates import Terms
from fedward_simulations.raw import hospital
from fedward_simulations.raw import hospitals as raw
from fedward_simulations.raw.hospital import Size
from fedward_simulations.scenarios import hospitals

RAW, DATASETS = "raw", "datasets"
DELTA = 1e-5
SIZE = Size(scale=0.25)
"""Fewer of the files that hold no diagnosis: they take time, and nothing is trained on them."""


class Prepared(NamedTuple):
    """What each site trains on, and what is said of it."""

    sites: dict[str, Columns]
    notes: list[str]


def prepared(options: hospitals.Options, console: Console) -> Prepared:
    """Of every site of `options`; goes on where it was stopped.

    Texts are not scored: the head of quality knows prose, and these are diagnoses. Raises UsageError for
    data of one's own, or raw folders that other options have made.
    """
    if options.data is not None:
        raise UsageError("--from-raw: the raw folders are made of ICD-10-CM, not of --data")
    _write(options, console)
    labels = Labels.read(options.out / RAW / raw.LABELS)
    sites: dict[str, Columns] = {}
    reports: dict[str, Mapping[str, Any]] = {}
    for name in hospitals.dealt(options, hospitals.corpus_of(options)):
        folder = options.out / RAW / name
        out = options.out / DATASETS / folder.name
        key = hashlib.sha256(f"{options.seed} {folder.name}".encode()).digest()
        way, kept = terms.of(
            key, Terms(), (None, {}), (None, {}), labels, False, None, options.threads
        )
        with Store(out, kept) as store, bars.shown(console, folder.name) as progress:
            reports[folder.name] = report = prepare(folder / "files", store, way, progress)
        page = card.render(folder.name, report, card.thumbnails(out, report), DELTA)
        write_atomically(out / card.PAGE, page.encode(), 0o600)
        sites[folder.name] = records.read(out / LABELLED, ("text", "label"), {})
    return Prepared(sites, [*map(_note, reports.items()), _lost(options, sites)])


def _write(options: hospitals.Options, console: Console) -> None:
    """The raw folders, if these options have not made them before."""
    folder = options.out / RAW
    said = f"{options.records} {options.sites} {options.partition} {options.seed} {SIZE}"
    mark = folder / "options.txt"
    if folder.exists() and (not mark.exists() or mark.read_text("utf-8") != said):
        raise UsageError(f"{folder}: made under other options; name another --out")
    if folder.exists():
        return
    console.print("writing the hospitals' raw folders, about half a minute each")
    half = options.out / f".{RAW}"
    shutil.rmtree(half, ignore_errors=True)
    raw.write(replace(options, out=half), SIZE)
    write_atomically(half / mark.name, said.encode())
    half.rename(folder)


def _note(one: tuple[str, Mapping[str, Any]]) -> str:
    name, report = one
    files, documents = report["files"], report["documents"]
    return (
        f"{name} prepared {files['found']:,} files ({files['quarantined']:,} in quarantine): "
        f"{documents['read']:,} documents, {documents['duplicates']:,} duplicates, "
        f"{report['records']['labelled']:,} records with a label."
    )


def _lost(options: hospitals.Options, sites: Mapping[str, Columns]) -> str:
    """How much of the tidy records is in what was prepared, text and label unchanged."""
    tidy, there = 0, 0
    for name, columns in sites.items():
        path = options.out / RAW / name / hospital.TIDY
        own = records.read(path, ("text", "label"), {})
        wanted = Counter(zip(own["text"], own["label"], strict=True))
        found = Counter(zip(columns["text"], columns["label"], strict=True))
        tidy, there = tidy + wanted.total(), there + (wanted & found).total()
    return f"Of {tidy:,} diagnoses in the raw folders {there:,} came out word by word, with their label."

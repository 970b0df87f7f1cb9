"""The card of a dataset: one page on what it is made of, for the people who decide what it is used for.

Everything on it is counted from the dataset or planned from its size. It is of the site's records, and
meant for the site.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from fedward_client.preparation import advice, png
from fedward_client.preparation.spread import spread
from fedward_client.preparation.store import PICTURES, RECORDS, REPORT, read
from fedward_shared import charts, pages, planner
from fedward_shared.canonical import DIGEST_PREFIX
from fedward_shared.errors import DataError, PrivacyError, StateError

PAGE = "card.html"
EPSILONS = (1.0, 3.0, 8.0)
ROUNDS = 24
SAMPLING_RATE = 0.3
"""As `fedward study draft` has them unless it is told otherwise."""

SMALLEST = 100
"""With fewer owners there is nothing to plan: at ε = 8 the noise drowns them."""

MOST_ROWS = 30
THUMBNAILS = 12
THUMBNAIL_SIDE = 144


@dataclass(frozen=True)
class Row:
    """A count, its share of the largest in the table, and what it counts."""

    name: str
    count: int
    bar: Markup


@dataclass(frozen=True)
class Thumbnail:
    """A picture, small: its number among those that are kept, its kind, and a data: URI."""

    number: int
    kind: str
    uri: str


@dataclass(frozen=True)
class Cost:
    """What an ε buys at this size."""

    epsilon: float
    noise: float
    of_a_step: float
    dimensions: float


def load(folder: Path) -> dict[str, Any]:
    """The report of the dataset in `folder`.

    Raises DataError where there is none, and StateError if the records are others than it says.
    """
    path = folder / REPORT
    if not path.exists():
        raise DataError(f"{path}: no such file; `fedward site data prepare` makes a dataset")
    report: dict[str, Any] = read(path)
    try:
        with (folder / RECORDS).open("rb") as file:
            found = f"{DIGEST_PREFIX}{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if found != report["digests"][RECORDS]:
            raise _others(folder / RECORDS)
        if PICTURES not in report["digests"]:
            raise KeyError(PICTURES)
    except (OSError, KeyError, TypeError) as error:
        raise StateError(f"{folder}: no whole dataset; prepare it again") from error
    return report


def _others(path: Path) -> StateError:
    return StateError(
        f"{path}: not the records that were prepared; `fedward site data prepare` into another folder "
        "makes them anew"
    )


def thumbnails(folder: Path, report: Mapping[str, Any]) -> list[Thumbnail]:
    """Some of the pictures of the dataset in `folder`, at equal distances; they are read one by one.

    Raises StateError if the pictures are others than `report` says.
    """
    path, digest = folder / PICTURES, hashlib.sha256()
    wanted = set(spread(report["pictures"]["kept"], THUMBNAILS))
    found = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file):
                digest.update(line)
                if number in wanted:
                    found.append(_thumbnail(number, json.loads(line)))
    except (OSError, KeyError, ValueError, SyntaxError, zlib.error) as error:
        raise _others(path) from error
    if f"{DIGEST_PREFIX}{digest.hexdigest()}" != report["digests"][PICTURES]:
        raise _others(path)
    return found


def _thumbnail(number: int, record: Mapping[str, str]) -> Thumbnail:
    small = png.thumbnail(base64.b64decode(record["image"]), THUMBNAIL_SIDE)
    uri = f"data:image/png;base64,{base64.b64encode(small).decode()}"
    return Thumbnail(number, record.get("kind", ""), uri)


def render(name: str, report: Mapping[str, Any], sheet: Iterable[Thumbnail], delta: float) -> str:
    """The page, one file that asks nothing of a network. `sheet`: of `thumbnails`."""
    environment = pages.environment(Path(__file__).parent)
    documents, records = report["documents"], report["records"]
    cut = float(report["cut"])
    parts = [
        (text, documents[key], f"c{place}")
        for place, (text, key) in enumerate(
            (
                ("kept", "kept"),
                ("duplicates", "duplicates"),
                ("low quality", "low_quality"),
            ),
            1,
        )
    ]
    quality = report["quality"]
    return environment.get_template("card.html.j2").render(
        name=name,
        files=report["files"],
        documents=documents,
        records=records,
        digest=report["digests"][RECORDS],
        became=charts.stack(parts, title="What became of the documents that were read"),
        parts=parts,
        quality=charts.histogram(quality, 0, 1, cut=cut, title="Quality of texts")
        if quality
        else "",
        cut=cut,
        labels=_rows(report["labels"]),
        other_labels=report["other_labels"],
        identifiers=_rows(_by_kind(report["identifiers"]["found"])),
        by_model=report["identifiers"]["found"].get("name/model", 0),
        touched=report["identifiers"]["texts_with_any"],
        readers=_rows(report["readers"]),
        pictures=report["pictures"],
        kinds=_rows(report["pictures"]["kinds"]),
        sheet=list(sheet),
        reasons=_rows(report["files"]["reasons"]),
        advice=advice.sentences(documents["kept"]),
        costs=_costs(records["owners"], delta),
        delta=delta,
        rounds=ROUNDS,
        sampling_rate=SAMPLING_RATE,
    )


def _rows(counts: Mapping[str, int]) -> list[Row]:
    most = max(counts.values(), default=0)
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [
        Row(name, count, charts.meter(count, most, title=f"{name}: {count:,}"))
        for name, count in ranked[:MOST_ROWS]
    ]


def _by_kind(found: Mapping[str, int]) -> dict[str, int]:
    kinds: dict[str, int] = {}
    for name, count in found.items():
        kind = name.partition("/")[0]
        kinds[kind] = kinds.get(kind, 0) + count
    return kinds


def _costs(owners: int, delta: float) -> list[Cost]:
    """Of a study of the usual length, in which one owner at a time is protected."""
    found = []
    for epsilon in EPSILONS if owners >= SMALLEST else ():
        batch = SAMPLING_RATE * owners
        try:
            plan = planner.plan(
                owners, batch, ROUNDS * SAMPLING_RATE, delta, ROUNDS, epsilon=epsilon
            )
        except PrivacyError:
            continue
        found.append(Cost(epsilon, plan.noise, plan.noise_per_coordinate, plan.level_dimensions))
    return found

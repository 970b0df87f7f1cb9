"""What a site has found in the last session of a study of duplicates that is over here."""

import csv
import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from fedward_client.attendance.outcomes import COMPLETION_FILE, RESULT_FILE, Kept
from fedward_client.site import Site
from fedward_shared import canonical
from fedward_shared.duplicates.charter import DuplicatesCharter
from fedward_shared.errors import CharterError, StateError, UsageError
from fedward_shared.files import write_atomically
from fedward_shared.text import BANDS, ROWS

COLUMNS = ("record", "site", "bands")


def show(settings: Path, digest: str, out: Path | None) -> Iterator[str]:
    """Lines for people; the records themselves go to `out`, if that is named.

    Raises CharterError for a charter that is not kept here or is of another kind, and StateError where
    no session of it is over.
    """
    if out is not None and not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}")
    with closing(Site.open(settings)) as site:
        charter, _ = site.charters.read(digest)
        if not isinstance(charter, DuplicatesCharter):
            raise CharterError(f"charter {charter.study}: it is not about duplicates")
        result = last(site.settings.state, charter)
    yield (
        f"{charter.study}: {result['records']} documents were compared, those of the file "
        f"{result['file']}"
    )
    for peer, rows in result["alike"].items():
        yield f"  {peer}: {len(rows)} of them are nearly its own{_likeness(rows)}"
    if out is not None:
        write_atomically(out, _table(result["alike"]), mode=0o600)
        yield f"which ones they are is in {out}"


def last(state: Path, charter: DuplicatesCharter) -> dict[str, Any]:
    """What came of the last session of `charter` that is over. Raises StateError if none is."""
    folder = Kept(state, charter, "").folder
    over = sorted(folder.glob(f"*/{COMPLETION_FILE}"), key=lambda path: path.stat().st_mtime_ns)
    if not over:
        raise StateError(f"charter {charter.study}: no session of it is over here")
    found: dict[str, Any] = canonical.decode((over[-1].parent / RESULT_FILE).read_bytes())
    return found


def likeness(bands: int) -> float:
    """About how alike two documents are that have so many bands in common: what makes that likeliest."""
    return float((bands / BANDS) ** (1 / ROWS))


def _likeness(rows: list[list[int]]) -> str:
    if not rows:
        return ""
    fewest, most = min(n for _, n in rows), max(n for _, n in rows)
    return (
        f", in {fewest} to {most} of {BANDS} bands (Jaccard similarity of about {likeness(fewest):.2f} "
        f"to {likeness(most):.2f})"
    )


def _table(alike: dict[str, list[list[int]]]) -> bytes:
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(
        [record, peer, bands] for peer, rows in sorted(alike.items()) for record, bands in rows
    )
    return made.getvalue().encode()

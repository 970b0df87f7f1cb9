"""What people read of a dataset, from what is kept of all its runs."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fedward_client.preparation import segments
from fedward_client.preparation.documents import Remark
from fedward_client.preparation.folder import Quarantined, Read
from fedward_client.preparation.store import (
    ALIKE,
    DOCUMENTS,
    FILES,
    FRAMES,
    LABELLED,
    OURS,
    PICTURES,
    QUARANTINE,
    RECORDS,
    REMARKS,
    REPORT,
    Store,
    row,
    rows,
)
from fedward_client.preparation.tally import Tally
from fedward_shared import canonical
from fedward_shared.files import write_atomically
from fedward_shared.text.duplicates import Index

MOST_REASONS = 100
PUBLISHED = (*(RECORDS, LABELLED, DOCUMENTS, PICTURES, FRAMES, ALIKE, FILES, QUARANTINE, REMARKS),)


def publish(store: Store, index: Index, across: int, cut: float) -> dict[str, Any]:
    """Writes all files for people, the report last; it is returned. `across`: of `pictures.Compared`."""
    tally = _write_documents(store, cut)
    pictures = _write_pictures(store)
    files = _write_files(store)
    with store.writing(ALIKE) as out:
        for later, earlier, similarity in index.links().tolist():
            pair = {"number": later, "like": earlier, "similarity": round(similarity, 4)}
            out.write(row(pair))
    compared = index.report()
    counted = tally.as_json()
    counted["documents"] |= {
        "duplicates_within_owners": compared.within,
        "duplicates_across_owners": compared.across,
        "like_others": compared.alike,
    }
    report = {
        "runs": store.runs,
        "files": files,
        "cut": f"{cut:g}",
        **counted,
        "pictures": pictures.pictures() | {"same_across_owners": across},
        "digests": {name: _digest(store.folder / name) for name in PUBLISHED},
    }
    write_atomically(store.folder / REPORT, canonical.encode(report), OURS)
    return report


def _write_documents(store: Store, cut: float) -> Tally:
    tally, kept = Tally(cut), 0
    with ExitStack() as files:
        records, labelled, documents = (
            files.enter_context(store.writing(name)) for name in (RECORDS, LABELLED, DOCUMENTS)
        )
        for segment in store.done_segments():
            for line in rows(segment):
                tally.add(line)
                record = line.pop("record", None)
                line.pop("found", None)
                if record is not None:
                    line["record"] = kept
                    kept += 1
                    records.write(row(record))
                    if "label" in record:
                        labelled.write(row(record))
                documents.write(row(line))
    return tally


def _write_pictures(store: Store) -> Tally:
    tally, kept = Tally(0.0), 0
    with ExitStack() as files:
        pictures, frames = (files.enter_context(store.writing(name)) for name in (PICTURES, FRAMES))
        for segment in store.shown_segments():
            for line in rows(segment):
                tally.add(line)
                record = line.pop("record", None)
                if record is not None:
                    line["record"] = kept
                    kept += 1
                    pictures.write(row(record))
                frames.write(row(line))
    return tally


def _write_files(store: Store) -> dict[str, Any]:
    """Of a file that was quarantined and came again, what became of it in the end."""
    ended = {one.file: one for one in _events(store) if isinstance(one, Read | Quarantined)}
    reasons: Counter[str] = Counter()
    remarks = 0
    with ExitStack() as files:
        read, quarantine, said = (
            files.enter_context(store.writing(name)) for name in (FILES, QUARANTINE, REMARKS)
        )
        for event in ended.values():
            if isinstance(event, Read):
                read.write(
                    row(
                        {
                            "file": event.file,
                            "size": event.size,
                            "sha256": event.digest,
                            "documents": event.documents,
                            "pictures": event.pictures,
                        }
                    )
                )
            else:
                quarantine.write(row({"file": event.file, "reason": event.reason}))
                reasons[event.reason] += 1
        for remark in _events(store):
            if isinstance(remark, Remark):
                about = remark.provenance
                said.write(row({"file": about.file, "place": about.place, "remark": remark.text}))
                remarks += 1
    quarantined = reasons.total()
    return {
        "found": len(ended),
        "read": len(ended) - quarantined,
        "quarantined": quarantined,
        "reasons": dict(sorted(reasons.most_common(MOST_REASONS))),
        "remarks": remarks,
    }


def _events(store: Store) -> Iterator[segments.Event]:
    for run in range(1, store.runs + 1):
        yield from segments.events(store.events(run))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"{canonical.DIGEST_PREFIX}{hashlib.file_digest(file, 'sha256').hexdigest()}"

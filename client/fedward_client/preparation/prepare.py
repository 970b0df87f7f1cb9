"""From a folder of the ward to a dataset: read, compare, finish, publish.

A **run** takes the files that are there when it begins and were not read before:

    read       files → documents and pictures, each file whole or not     (on all cores)
    compare    documents → which are duplicates of one before             (on all cores)
    finish     each that stays → scored, scrubbed, a record               (on all cores)
    pictures   which are duplicates; of the others a record each
    publish    what people read, from what is kept of all runs

Every step leaves segments that are whole or not there, and goes on where they end: the dataset of a run
that was killed is, byte for byte, that of one that was not.

    files found = read + quarantined          documents read = kept + duplicates + low quality
                                              pictures read = kept + duplicates
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

from fedward_client.preparation import finishing, folder, owners, pictures, publishing, segments
from fedward_client.preparation.documents import MOST_OF_A_PERSON, Document, Person, Picture, encode
from fedward_client.preparation.finishing import Piece, Rules
from fedward_client.preparation.folder import Quarantined, Read
from fedward_client.preparation.mask import Mask
from fedward_client.preparation.sandbox import Sandbox
from fedward_client.preparation.store import OURS, Store, read
from fedward_shared import canonical
from fedward_shared.errors import DataError, StateError, UsageError
from fedward_shared.files import write_atomically, written_atomically
from fedward_shared.records import normalised
from fedward_shared.text import workers
from fedward_shared.text.duplicates import Index, Terms
from fedward_shared.text.workers import Work

FILES_AT_ONCE = 64
BYTES_AT_ONCE = 2**25
DOCUMENTS_AT_ONCE = 512
CHARACTERS_AT_ONCE = 2**22
MOST_NAMED = 5

Progress = Callable[[str, int, int], None]
"""Is told a step, how much of it is done, and of how much: bytes of files where these are read, else
documents or pictures."""


People = Mapping[str, tuple[tuple[str, str], ...]]
"""Of each person, as `normalised`, the kinds and values of what is known."""


class File(NamedTuple):
    """One of a listing: its name, size in bytes and time of change in ns."""

    name: str
    size: int
    changed: str


class Way(NamedTuple):
    """How documents are prepared: which are alike, what becomes of the others, on how many cores, and
    what is made black of pictures."""

    terms: Terms
    rules: Rules
    cut: float
    processes: int = 1
    mask: Mask | None = None


def prepare(source: Path, store: Store, way: Way, progress: Progress) -> dict[str, Any]:
    """Prepares what is in `source` and was not prepared before; the report of all that is in `store`.

    A run that was killed is finished first, with the files that it has begun with. Raises DataError for
    no folder and for a file that was read and is another now, UsageError if one folder is in the other,
    MissingExtra, ModelError, and StateError if the disk is full; what is done is kept.
    """
    one, other = source.resolve(), store.folder.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise UsageError(f"{store.folder}: dataset and files have to lie in folders apart")
    try:
        report = store.report()
        if store.runs > (report["runs"] if report else 0):
            report = _run(source, store, store.runs, way, progress)
        if _list(source, store):
            report = _run(source, store, store.runs, way, progress)
    except OSError as error:
        where = error.filename or store.folder
        raise StateError(f"{where}: {error.strerror}; what was finished is kept") from error
    store.forget()
    if report is None:
        raise DataError(f"{source}: there are no files in it")
    return report


def _run(source: Path, store: Store, run: int, way: Way, progress: Progress) -> dict[str, Any]:
    with _workers(way.processes) as work:
        _read(source, store, run, way, progress)
        across = _finish_pictures(store, run, way.rules, progress)
        with Index(store.index, way.terms) as index:
            before, count = _counts(store, run)
            _compare(store, run, index, (before, count), work, progress)
            _finish(store, run, index.instead(), (before, count), (work, way.rules), progress)
            progress("publish", 0, 1)
            report = publishing.publish(store, index, across, way.cut)
    progress("publish", 1, 1)
    store.forget()
    return report


def _workers(processes: int) -> AbstractContextManager[Work]:
    return nullcontext(map) if processes == 1 else workers.processes(processes)


def _list(source: Path, store: Store) -> bool:
    """Begins a run with the files that are new, if there are any."""
    known = _known(store)
    files: list[File] = []
    quarantined: list[list[str]] = []
    changed: list[str] = []
    for found in folder.listing(source):
        if isinstance(found, Quarantined):
            if found.file not in known:
                quarantined.append([found.file, found.reason])
            continue
        state = (source / found).stat(follow_symlinks=False)
        file = File(found, state.st_size, str(state.st_mtime_ns))
        before = known.get(found)
        if before is None or (before.digest is None and before.file != file):
            files.append(file)
        elif before.file != file and folder.fingerprint(source / found)[1] != before.digest:
            changed.append(found)
    if changed:
        named = ", ".join(changed[:MOST_NAMED])
        raise DataError(
            f"{source}: {len(changed)} files are others than when they were prepared ({named}): "
            "what they said is in the dataset; prepare anew into another folder"
        )
    if files or quarantined:
        content = {"files": [list(file) for file in files], "quarantined": quarantined}
        write_atomically(store.listing(store.runs + 1), canonical.encode(content), OURS)
    return bool(files or quarantined)


class _Before(NamedTuple):
    """A file as it was listed, and its digest; None where it was quarantined."""

    file: File | None
    digest: str | None


def _known(store: Store) -> dict[str, _Before]:
    """All files of the runs that are done."""
    found: dict[str, _Before] = {}
    for run in range(1, store.runs + 1):
        files = {file.name: file for file in _files(store, run)}
        for event in segments.events(store.events(run)):
            if isinstance(event, Read):
                found[event.file] = _Before(files[event.file], event.digest)
            elif isinstance(event, Quarantined):
                found[event.file] = _Before(files.get(event.file), None)
    return found


def _files(store: Store, run: int) -> list[File]:
    return [File(*entry) for entry in read(store.listing(run))["files"]]


def _read(source: Path, store: Store, run: int, way: Way, progress: Progress) -> None:
    """Reads the files of the run, several at once, a sandbox for each."""
    if store.events(run).exists():
        return
    files = _files(store, run)
    whole, done = sum(file.size for file in files), 0
    chunks = list(_chunks(files))
    boxes: SimpleQueue[Sandbox] = SimpleQueue()
    for _ in range(way.processes):
        boxes.put(Sandbox(mask=way.mask))

    def one(numbered: tuple[int, list[File]]) -> int:
        number, chunk = numbered
        segment = store.read_segment(run, number)
        if not segment.exists():
            box = boxes.get()
            try:
                with (
                    written_atomically(segment, OURS) as out,
                    written_atomically(store.seen_segment(run, number), OURS) as seen,
                ):
                    for file in chunk:
                        for event in folder.read_file(source, file.name, box):
                            to = seen if isinstance(event, Picture) else out
                            to.write(segments.line(event))
            finally:
                boxes.put(box)
        return sum(file.size for file in chunk)

    progress("read", 0, whole)
    pool = ThreadPoolExecutor(way.processes)
    try:
        for size in pool.map(one, enumerate(chunks)):
            done += size
            progress("read", done, whole)
    finally:
        pool.shutdown(cancel_futures=True)
        while not boxes.empty():
            boxes.get().close()
    with written_atomically(store.events(run), OURS) as out:
        for file, reason in read(store.listing(run))["quarantined"]:
            out.write(segments.line(Quarantined(file, reason)))
        for segment in store.read_segments(run):
            for event in segments.events(segment):
                if not isinstance(event, Document | Person):
                    out.write(segments.line(event))


def _finish_pictures(store: Store, run: int, rules: Rules, progress: Progress) -> int:
    """How many that stay another owner has as well."""
    count = sum(e.pictures for e in segments.events(store.events(run)) if isinstance(e, Read))
    compared = pictures.compare(store, run)
    pictures.finish(
        *(store, run, rules, compared.instead), lambda done: progress("pictures", done, count)
    )
    return compared.across


def _chunks(files: list[File]) -> Iterator[list[File]]:
    chunk: list[File] = []
    size = 0
    for file in files:
        if chunk and (len(chunk) == FILES_AT_ONCE or size + file.size > BYTES_AT_ONCE):
            yield chunk
            chunk, size = [], 0
        chunk.append(file)
        size += file.size
    if chunk:
        yield chunk


def _counts(store: Store, run: int) -> tuple[int, int]:
    """How many documents the runs before have, and this one."""
    of_each = [
        sum(e.documents for e in segments.events(store.events(one)) if isinstance(e, Read))
        for one in range(1, run + 1)
    ]
    return sum(of_each[:-1]), of_each[-1]


def _documents(store: Store, run: int) -> Iterator[Document]:
    for segment in store.read_segments(run):
        for event in segments.events(segment):
            if isinstance(event, Document):
                yield event


def _people(store: Store, run: int) -> People:
    """What the files of the run say of people, by whom they name."""
    found: dict[str, dict[tuple[str, str], None]] = {}
    for segment in store.read_segments(run):
        for event in segments.events(segment):
            if isinstance(event, Person):
                known = found.setdefault(normalised(event.unit), {})
                known |= dict.fromkeys(event.known[: MOST_OF_A_PERSON - len(known)])
    return {unit: tuple(known) for unit, known in found.items()}


def _compare(
    store: Store,
    run: int,
    index: Index,
    counts: tuple[int, int],
    work: Work,
    progress: Progress,
) -> None:
    before, count = counts
    done = len(index) - before
    units: deque[str] = deque()

    def texts() -> Iterator[str]:
        for number, document in enumerate(islice(_documents(store, run), done, None), done):
            units.append(owners.of(document)[0])
            progress("compare", number, count)
            yield document.text

    def whose() -> Iterator[str]:
        while units:
            yield units.popleft()

    if done < count:
        index.add(texts(), whose(), work)
    progress("compare", count, count)


def _finish(
    store: Store,
    run: int,
    instead: Any,
    counts: tuple[int, int],
    how: tuple[Work, Rules],
    progress: Progress,
) -> None:
    """A segment for each piece of the run's documents that has none."""
    before, count = counts
    work, rules = how
    done = 0
    people = _people(store, run)
    progress("finish", 0, count)

    def missing() -> Iterator[Piece]:
        nonlocal done
        for number, piece in enumerate(_pieces(_documents(store, run), people, before, instead)):
            if store.done_segment(run, number).exists():
                done += len(piece.documents)
                progress("finish", done, count)
            else:
                waiting.append((number, len(piece.documents)))
                yield piece

    waiting: deque[tuple[int, int]] = deque()
    for said in work(partial(finishing.lines, rules), missing()):
        number, size = waiting.popleft()
        write_atomically(store.done_segment(run, number), said, OURS)
        done += size
        progress("finish", done, count)


def _pieces(
    documents: Iterator[Document], people: People, first: int, instead: Any
) -> Iterator[Piece]:
    piece: list[bytes] = []
    known: list[tuple[tuple[str, str], ...]] = []
    characters = 0

    def made() -> Piece:
        return Piece(first, piece, known, instead[first : first + len(piece)].tolist())

    for document in documents:
        piece.append(encode(document))
        known.append(people.get(normalised(document.fields.get("unit", "")), ()))
        characters += len(document.text)
        if len(piece) == DOCUMENTS_AT_ONCE or characters >= CHARACTERS_AT_ONCE:
            yield made()
            first, piece, known, characters = first + len(piece), [], [], 0
    if piece:
        yield made()


def cores() -> int:
    """How many processes this one may use."""
    return len(os.sched_getaffinity(0))

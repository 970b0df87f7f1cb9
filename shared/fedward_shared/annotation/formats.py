"""The files that annotations come in and go out by, each by its name on the command line.

`records` are what a study of `token-classification` reads: `text` and, as JSON in a text, `entities`.
`bio` and `bilou` show words and tags, and are not read: they have lost the text between the words.
"""

from collections.abc import Callable
from pathlib import Path

from fedward_shared import records
from fedward_shared.annotation import brat, documents, label_studio, tags
from fedward_shared.annotation.boundaries import words
from fedward_shared.annotation.documents import Document
from fedward_shared.annotation.kinds import Readable, Scheme, Segmentation, Writable
from fedward_shared.files import write_atomically


def read(path: Path, kind: Readable) -> list[Document]:
    """The documents in `path`, a folder where they are brat's. Raises DataError."""
    readers: dict[str, Callable[[Path], list[Document]]] = {
        "jsonl": documents.read,
        "label-studio": _read_label_studio,
        "brat": brat.read,
        "records": _read_records,
    }
    return readers[kind](path)


def write(path: Path, read: list[Document], kind: Writable, segmentation: Segmentation) -> None:
    """Writes them, readable for the user alone. Raises DataError for what the format cannot hold."""
    for number, document in enumerate(read, start=1):
        document.check(f"document {number}")
    match kind:
        case "jsonl":
            documents.write(path, read)
        case "label-studio":
            write_atomically(path, label_studio.encode(read, str(path)).encode(), mode=0o600)
        case "brat":
            brat.write(path, read)
        case "records":
            entities = [documents.entities_json(one.entities) for one in read]
            records.write_jsonl(path, {"text": [one.text for one in read], "entities": entities})
        case "bio" | "bilou":
            tables = [_table(one, kind, segmentation) for one in read]
            write_atomically(path, "\n".join(tables).encode(), mode=0o600)


def _read_label_studio(path: Path) -> list[Document]:
    text = documents.decode_text(documents.bounded_bytes(path), path)
    return label_studio.decode(text, str(path))


def _read_records(path: Path) -> list[Document]:
    columns = records.read(path, ("text", "entities"), {})
    return [
        Document(text=text, entities=documents.parse_entities(entities, f"{path}: record {row}"))
        for row, (text, entities) in enumerate(
            zip(columns["text"], columns["entities"], strict=True), start=1
        )
    ]


def _table(document: Document, scheme: Scheme, segmentation: Segmentation) -> str:
    """A word and its tag a line."""
    spans = words(document.text, segmentation)
    marked = tags.on_tokens([(e.start, e.end, e.label) for e in document.entities], spans)
    rows = zip(spans, tags.encode(marked, len(spans), scheme), strict=True)
    return "".join(f"{document.text[a:b]}\t{tag}\n" for (a, b), tag in rows)

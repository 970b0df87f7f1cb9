"""Plain text: one document for each file."""

from collections.abc import Iterator
from pathlib import Path

from fedward_client.preparation.documents import Found, Origin
from fedward_client.preparation.readers import bounded
from fedward_shared.errors import Unreadable

NAME, VERSION = "plain", 1
ENDINGS: tuple[str, ...] = (".txt", ".text", ".md")


def takes(head: bytes, /) -> bool:  # noqa: ARG001
    """Text has no sign of its own: its ending says it."""
    return False


def read(path: Path, origin: Origin) -> Iterator[Found]:
    """The whole text, its ends of line as they are everywhere else."""
    encoding = bounded.encoding(path)
    try:
        text = bounded.whole(path).decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable(f"byte {error.start} is not in {encoding}, as what is before it") from None
    if "\0" in text:
        raise Unreadable("has NUL characters, which no text has")
    if encoding != "utf-8":
        yield origin.remark("whole file", f"read as {encoding}")
    text = "\n".join(text.splitlines())
    if text.strip():
        yield origin.document(f"lines 1 to {text.count(chr(10)) + 1}", text)
    else:
        yield origin.remark("whole file", "nothing but white space")

"""Labels of codes, as the chapter of a diagnosis: that of the longest beginning that is listed."""

import csv
from collections.abc import Mapping
from pathlib import Path

from fedward_shared import canonical
from fedward_shared.errors import DataError

MOST_CODES = 1_000_000
MOST_BYTES = 2**28


class Labels:
    """`beginnings`: of codes, with the label of each. Points and case of a code do not count."""

    def __init__(self, beginnings: Mapping[str, str]) -> None:
        self._labels = {_plain(code): label for code, label in beginnings.items()}
        self._longest = max(map(len, self._labels), default=0)

    @classmethod
    def read(cls, path: Path) -> "Labels":
        """Of a CSV file with the columns `code` and `label`. Raises DataError, naming the line."""
        try:
            if path.stat().st_size > MOST_BYTES:
                raise DataError(f"{path}: more than {MOST_BYTES:,} bytes")
            with path.open(encoding="utf-8-sig", newline="") as file:
                return cls(_beginnings(path, csv.DictReader(file, strict=True)))
        except FileNotFoundError as error:
            raise DataError(f"{path}: no such file") from error
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path}: no CSV file in UTF-8: {error}") from error

    @property
    def digest(self) -> str:
        """The same for the same labels."""
        return canonical.digest(canonical.encode(self._labels))

    def of(self, code: str) -> str | None:
        """The label of `code`, if a beginning of it is listed."""
        plain = _plain(code)[: self._longest]
        for end in range(len(plain), 0, -1):
            if label := self._labels.get(plain[:end]):
                return label
        return None


def _beginnings(path: Path, rows: "csv.DictReader[str]") -> dict[str, str]:
    found: dict[str, str] = {}
    for row in rows:
        code, label = (str(row.get(name) or "").strip() for name in ("code", "label"))
        if not _plain(code) or not label:
            raise DataError(f"{path}: line {rows.line_num}: no `code` and `label`")
        if found.setdefault(code, label) != label:
            raise DataError(f"{path}: line {rows.line_num}: {code} has two labels")
        if len(found) > MOST_CODES:
            raise DataError(f"{path}: more than {MOST_CODES:,} codes")
    if not found:
        raise DataError(f"{path}: no `code` and `label` in it")
    return found


def _plain(code: str) -> str:
    return code.replace(".", "").strip().upper()

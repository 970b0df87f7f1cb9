"""What a power cut leaves of a folder, and a disk without room."""

import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LIMITS = resource.getrlimit(resource.RLIMIT_FSIZE)
SHARED_MEMORY = "-shm"
"""SQLite makes this index anew from its log."""


@dataclass(frozen=True)
class Image:
    """The files of some folders at one instant."""

    folders: tuple[Path, ...]
    files: dict[Path, tuple[bytes, int]]

    @classmethod
    def of(cls, *folders: Path) -> Self:
        """Takes every file as the operating system holds it now, whatever is still going on."""
        found = {
            path: (path.read_bytes(), path.stat().st_mode)
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file() and not path.name.endswith(SHARED_MEMORY)
        }
        return cls(folders, found)

    def put_back(self, *patterns: str) -> None:
        """Makes the folders what they were; with `patterns`, only the files with such names."""
        for folder in self.folders:
            for path in list(folder.rglob("*")):
                if path.is_file() and _among(path, patterns) and path not in self.files:
                    path.unlink()
        for path, (content, mode) in self.files.items():
            if _among(path, patterns):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                path.chmod(mode)


def _among(path: Path, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(path.match(pattern) for pattern in patterns)


def fill(size: int) -> None:
    """From now on the kernel refuses to write beyond byte `size` of any file of this process.

    As with a full disk, the first part of a write may go through.
    """
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, LIMITS[1]))


def make_room() -> None:
    """Ends what `fill` began."""
    resource.setrlimit(resource.RLIMIT_FSIZE, LIMITS)

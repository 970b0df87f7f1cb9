"""Reading in a process of its own, which may die: anything may come of a file that nobody has seen.

It has no environment, writes to no file, and is bound in memory, processor time and open files; the time
of a file is bound besides. What it says is believed as far as it fits.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from fedward_client.preparation import child
from fedward_client.preparation.documents import LONGEST_LINE, Found, decode
from fedward_client.preparation.mask import Mask
from fedward_shared.errors import MissingExtra, Unreadable

INHERITED = ("PYTHONPATH",)
"""Where an installation lies that is in no environment of its own. Nothing else is handed on."""

THREADS = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
COMMAND = (sys.executable, "-P", "-m", child.__name__)
FILES_A_PROCESS = 1000
"""Then it is replaced, so that what a library does not give back ends no later file."""

BLOCK = 2**16


@dataclass(frozen=True)
class Bounds:
    """What reading one file may take. `seconds` are those in which it is waited for; a document that
    is not asked for takes none of them."""

    memory: int = 2**31
    seconds: float = 600.0
    processor_seconds: int = 300
    output: int = 2**32
    open_files: int = 64


class Sandbox:
    """A process that reads file after file, and another one when it has died. `mask`: of pictures."""

    def __init__(
        self,
        bounds: Bounds | None = None,
        command: Sequence[str] = COMMAND,
        mask: Mask | None = None,
    ) -> None:
        self.bounds = bounds or Bounds()
        self._mask = mask
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._files = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.communicate()

    def read(self, path: Path, file: str) -> Iterator[Found]:
        """What is in `path`, which is called `file`.

        Raises Unreadable, be it after some documents, for a file that cannot be read or ended its
        reader; MissingExtra where a library is not installed.
        """
        process = self._at_hand()
        self._files += 1
        done = False
        try:
            assert process.stdin is not None
            try:
                asked = json.dumps([str(path.absolute()), file, self._mask])
                process.stdin.write(asked.encode() + b"\n")
                process.stdin.flush()
            except BrokenPipeError:
                raise self._death(process) from None
            for line in self._lines(process):
                tag, said = line[:1], line[1:]
                if tag == child.FOUND:
                    yield _found(said, file)
                    continue
                done = True
                if tag == child.UNREADABLE:
                    raise Unreadable(_reason(said))
                if tag == child.MISSING:
                    raise MissingExtra(_reason(said))
                if tag != child.END or said:
                    done = False
                    raise Unreadable("its reader said what is no answer")
                return
        finally:
            if not done:  # what it would say next belongs to no file
                self.close()

    def _at_hand(self) -> subprocess.Popen[bytes]:
        if self._files >= FILES_A_PROCESS or (self._process and self._process.poll() is not None):
            self.close()
        if self._process is None:
            bounds = (self.bounds.memory, self.bounds.open_files, self.bounds.processor_seconds)
            kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
            self._files = 0
            self._process = subprocess.Popen(
                [*self._command, *map(str, bounds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=kept | THREADS,
                start_new_session=True,
            )
        return self._process

    def _lines(self, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
        """What it says, without the ends of the lines."""
        assert process.stdout is not None
        pipe, left, said = process.stdout.fileno(), self.bounds.seconds, 0
        waiting = select.poll()
        waiting.register(pipe, select.POLLIN)
        rest = bytearray()
        while True:
            began = time.monotonic()
            if not waiting.poll(max(0.0, left) * 1000):
                raise Unreadable(f"took longer than {self.bounds.seconds:g} seconds")
            left -= time.monotonic() - began
            block = os.read(pipe, BLOCK)
            if not block:
                raise self._death(process)
            said += len(block)
            if said > self.bounds.output:
                raise Unreadable(f"unpacks to more than {self.bounds.output:,} bytes of documents")
            *whole, tail = block.split(b"\n")
            for part in whole:
                yield bytes(rest + part)
                rest.clear()
            rest += tail
            if len(rest) > LONGEST_LINE:
                raise Unreadable("its reader said what is no answer")

    def _death(self, process: subprocess.Popen[bytes]) -> Unreadable:
        """Why the process has ended, or is made to end."""
        try:
            code = process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return Unreadable("its reader closed its pipe")
        if code == child.OUT_OF_MEMORY:
            return Unreadable(f"needs more than {self.bounds.memory / 2**20:,.0f} MiB of memory")
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            seconds = self.bounds.processor_seconds
            return Unreadable(f"needs more than {seconds} seconds of processor, or was killed")
        return Unreadable(f"its reader died of {_cause(code)}")


def _cause(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"an error (exit code {code})"


def _found(line: bytes, file: str) -> Found:
    found = decode(line)
    if found.provenance.file != file:
        raise Unreadable("its reader spoke of another file")
    return found


def _reason(said: bytes) -> str:
    try:
        reason = json.loads(said)
    except (ValueError, RecursionError):
        reason = None
    return reason[:1000] if isinstance(reason, str) else "its reader gave no reason"

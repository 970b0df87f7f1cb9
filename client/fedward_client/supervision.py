"""Keeping a process alive: when to start it again, and nothing of it left when it ends."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedward_shared.backoff import Backoff

LONGEST_LINE = 2**16

MARK = "FEDWARD_SUPERVISED"
"""Every process below carries this in its environment, so that what a crash leaves is found by it."""


@dataclass(frozen=True)
class Program:
    """What is run: a command, its whole environment, and the user it runs as (None: this one).

    `patience`: seconds in which it ends when it is asked to.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    patience: float
    user: str | None = None
    group: int | None = None

    @property
    def mark(self) -> str:
        """What tells its processes from all others on the machine."""
        return self.environment[MARK]


class Supervised:
    """One program, started again whenever it ends, until it is stopped.

    `said` gets each line that it prints; `ended` is told of its exit code and of the seconds until it
    is started again. `rest`: how many these are at least, after an exit with such a code.
    """

    def __init__(
        self,
        program: Program,
        said: Callable[[str], None],
        ended: Callable[[int, float], None],
        rest: Callable[[int], float] = lambda _: 0.0,
    ) -> None:
        self.program = program
        self._said = said
        self._ended = ended
        self._rest = rest
        self._backoff = Backoff()
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    async def run(self) -> None:
        """Until `stop`. What an earlier run has left behind is ended first."""
        end_marked(self.program.mark)
        while not self._stopping.is_set():
            started = asyncio.get_running_loop().time()
            code = await self._once()
            if self._stopping.is_set():
                return
            ran = asyncio.get_running_loop().time() - started
            delay = max(self._backoff.after(ran), self._rest(code))
            self._ended(code, delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    async def _once(self) -> int:
        # A pipe of our own: asyncio's would have us wait for whatever orphan holds it open.
        ours, theirs = os.pipe()
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *self.program.command,
                env=dict(self.program.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
                user=self.program.user,
                group=self.program.group,
                extra_groups=None if self.program.user is None else [],
            )
        finally:
            os.close(theirs)
        reading = asyncio.create_task(self._read(ours))
        code = await process.wait()
        end_marked(self.program.mark)
        await reading
        return code

    async def _read(self, pipe: int) -> None:
        lines = asyncio.StreamReader(limit=LONGEST_LINE)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(pipe, "rb")
        )
        with contextlib.closing(transport):
            while True:
                try:
                    line = await lines.readline()
                except ValueError:  # longer than that: left out
                    continue
                if not line:
                    return
                self._said(line.decode("utf-8", "replace").rstrip())

    async def stop(self) -> None:
        """Asks the process to end, and does not start it again; kills it if it does not listen."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self.program.patience)
        except TimeoutError:
            process.kill()


def marked(mark: str) -> Iterator[tuple[int, str]]:
    """Living processes that carry `mark`: id and command line. Those of other users are not seen."""
    needle = f"{MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # gone since, or somebody else's
            if needle in (entry / "environ").read_bytes().split(b"\0"):
                yield (
                    int(entry.name),
                    (entry / "cmdline")
                    .read_bytes()
                    .replace(b"\0", b" ")
                    .decode("utf-8", "replace"),
                )


def end_marked(mark: str) -> list[int]:
    """Kills, by its id, every process that carries `mark`; returns the ids."""
    killed = []
    for pid, _ in list(marked(mark)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
    return killed

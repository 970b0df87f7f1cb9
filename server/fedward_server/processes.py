"""Processes that have to be there: started, watched, started again when they end, stopped in order.

`Supervised` is one process, with all that it starts, as a group of its own. They are ended by their ids,
nothing else.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fedward_shared.backoff import Backoff

STOP_SECONDS = 10.0
POLL_SECONDS = 0.05


@dataclass
class Supervised:
    """One process: its command, where it writes, and whether it runs. Times are monotonic seconds."""

    name: str
    command: list[str]
    log: Path
    environment: Mapping[str, str]
    say: Callable[[str], None]
    backoff: Backoff = field(default_factory=Backoff)
    _process: subprocess.Popen[bytes] | None = None
    _started: float = 0.0
    _due: float = 0.0

    @property
    def is_running(self) -> bool:
        """Whether it is there. One that has ended is not reaped here, so that its id stays its own."""
        if self._process is None:
            return False
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, flags) is None

    def look(self, now: float) -> None:
        """Notices that it has ended, and starts it when it is due."""
        if self.is_running:
            return
        if self._process is not None:
            code = self._end_group()
            wait = self.backoff.after(now - self._started)
            self._due = now + wait
            self.say(f"{self.name}: ended with {code} ({self.log}); again in {wait:g} s")
        if now >= self._due:
            self._start(now)

    def ask_to_stop(self) -> None:
        """SIGTERM to the process itself, which ends what it has started."""
        if self._process is not None and self.is_running:
            self._process.terminate()

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Stops it; what is left of its group after `seconds` is killed."""
        if self._process is None:
            return
        self.ask_to_stop()
        wait_until(lambda: not self.is_running, seconds)
        self._end_group()
        self.say(f"{self.name}: stopped")

    def _start(self, now: float) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*with_parent(), *self.command],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started = now
        self.say(f"{self.name}: started, process {self._process.pid}")

    def _end_group(self) -> int:
        """Kills what is left of the group, which has the id of the process; returns its exit code."""
        assert self._process is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        code, self._process = self._process.wait(), None
        return code


def with_parent() -> list[str]:
    """What comes before a command that is to end with this process, even where that is killed."""
    found = shutil.which("setpriv")  # util-linux; prctl(2), PR_SET_PDEATHSIG
    return [found, "--pdeathsig", "TERM", "--"] if found else []


def wait_until(ready: Callable[[], bool], seconds: float) -> bool:
    """Whether `ready` came to be true in time."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() >= end:
            return False
        time.sleep(POLL_SECONDS)
    return True

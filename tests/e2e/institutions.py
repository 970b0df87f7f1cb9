"""Institutions of which each has a folder, in which its people type, and a standing process."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from e2e.federation import TASK_POLL_S, free_ports
from e2e.processes import kill_all_in
from patience import PATIENCE, until

FEDWARD = [sys.executable, "-m", "fedward_shared.cli"]
FINGERPRINT = re.compile(r"(?:[0-9a-f]{4} ){9}[0-9a-f]{4}")
KEY = re.compile(r"ed25519:[0-9a-f]{64}")


@dataclass
class Consortium:
    """A folder for each institution, and the standing processes."""

    root: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": TASK_POLL_S}

    def typed(self, who: str, *words: object, code: int = 0) -> str:
        """What the command prints, typed in the folder of that institution."""
        told = subprocess.run(
            [*FEDWARD, *(str(word) for word in words)],
            cwd=self.root / who,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert told.returncode == code, told.stdout + told.stderr + self.tails()
        return told.stdout + told.stderr

    def start(self, who: str, *words: object) -> None:
        """A standing process of the institution."""
        self.processes[who] = self._begun(who, f"{who}.log", *words)

    def start_coordinator(self) -> tuple[str, str]:
        """The university's, on free ports; its key and the fingerprint of it."""
        port, inner = free_ports(2)
        where = ("--address", f"127.0.0.1:{port}", "--superlink-port", inner)
        told = self.typed("university", "coordinator", "init", "--name", "university", *where)
        [key], [fingerprint] = KEY.findall(told), FINGERPRINT.findall(told)
        self.start("university", "coordinator", "run")
        until(lambda: "ready, at" in self.log("university"), self.tails)
        return key, fingerprint

    def begin(self, who: str, *words: object) -> subprocess.Popen[bytes]:
        """A command that is not waited for."""
        return self._begun(who, f"{who}-typed.log", *words)

    def _begun(self, who: str, log_name: str, *words: object) -> subprocess.Popen[bytes]:
        with (self.root / log_name).open("wb") as log:
            return subprocess.Popen(
                [*FEDWARD, *(str(word) for word in words)],
                cwd=self.root / who,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @staticmethod
    def hasten(study: Path) -> None:
        """Its coordinator looks for answers often, and waits for the slowest of sites to come."""
        path = study / "study.toml"
        lines = [s for s in path.read_text("utf-8").splitlines() if "gather_seconds" not in s]
        own = ["poll_seconds = 0.5", f"gather_seconds = {PATIENCE}"]
        path.write_text("\n".join([*own, *lines, ""]), "utf-8")

    def log(self, who: str) -> str:
        return (self.root / f"{who}.log").read_text(errors="replace")

    def tails(self) -> str:
        logs = sorted([*self.root.glob("*.log"), *self.root.glob("university/logs/*.log")])
        return "\n".join(f"== {p}\n{p.read_text(errors='replace')[-3000:]}" for p in logs)

    def stop(self) -> dict[str, int]:
        """Each as its people would; the exit codes."""
        for process in self.processes.values():
            process.terminate()
        return {who: process.wait(PATIENCE) for who, process in self.processes.items()}


@contextmanager
def consortium_of(root: Path, *institutions: str) -> Iterator[Consortium]:
    """Their folders in `root`; in the end no process is left there."""
    made = Consortium(root)
    for who in institutions:
        (root / who).mkdir()
    try:
        yield made
    finally:
        for process in made.processes.values():
            process.terminate()  # so that each ends its own, nginx too
        for process in made.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
        kill_all_in(root)

"""Runs the benchmarks that are named, or all of them, and prints their figures."""

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from fedward_simulations.bench import accountant, engines, gate, registration
from fedward_simulations.cli import log_to

BENCHMARKS: dict[str, Callable[[Path], list[str]]] = {
    "accountant": accountant.run,
    "engines": engines.run,
    "gate": gate.run,
    "registration": registration.run,
}


def main(names: list[str]) -> None:
    """Runs the benchmarks `names`."""
    for name in names or list(BENCHMARKS):
        if name not in BENCHMARKS:
            sys.exit(f"{name!r} is none of {', '.join(BENCHMARKS)}")
        with TemporaryDirectory() as folder:
            log_to(Path(folder) / "log.jsonl")
            print(f"{name}\n" + "\n".join(f"  {line}" for line in BENCHMARKS[name](Path(folder))))


if __name__ == "__main__":
    main(sys.argv[1:])

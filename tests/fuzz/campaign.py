"""All targets of `decoders.py`, one after the other, and what came of it as a Markdown table."""

import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from fuzz.targets import TARGETS  # found by the line above

DECODERS = Path(__file__).with_name("decoders.py")


def statistic(output: str, name: str) -> int:
    """A figure of libFuzzer's final statistics."""
    found = re.search(rf"^stat::{name}:\s+(\d+)", output, re.MULTILINE)
    return int(found[1]) if found else 0


def main(folder: Path, runs: int) -> int:
    """Returns the number of targets with a finding, whose inputs lie in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    print("| decoder | inputs | peak memory, MiB | finding |\n|---|---|---|---|")
    total = findings = 0
    for target in TARGETS:
        command = [sys.executable, str(DECODERS), target, str(folder / target), f"-runs={runs}"]
        ended = subprocess.run(
            [*command, f"-artifact_prefix={folder}/"], capture_output=True, text=True, check=False
        )
        output = ended.stdout + ended.stderr
        count = statistic(output, "number_of_executed_units")
        total += count
        if ended.returncode:
            findings += 1
            (folder / f"{target}.log").write_text(output, "utf-8")
        told = f"see {target}.log" if ended.returncode else "none"
        memory = statistic(output, "peak_rss_mb")
        print(f"| {target} | {count:,} | {memory:,} | {told} |", flush=True)
    print(f"| all | {total:,} | | {findings or 'none'} |")
    return findings


if __name__ == "__main__":
    sys.exit(1 if main(Path(sys.argv[1]), int(sys.argv[2])) else 0)

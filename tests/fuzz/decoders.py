"""Coverage-guided fuzzing of every decoder of foreign bytes: `make fuzz`, with atheris (libFuzzer).

    python tests/fuzz/decoders.py TARGET CORPUS -runs=200000

A finding is anything but a FedwardError, a hang of 10 s, or more than 2 GiB: libFuzzer stops and writes
the input beside it.
"""

import hashlib
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["fedward_shared", "fedward_client"]):
    from fuzz import targets


def main() -> None:
    """Runs libFuzzer on the target that the command line names."""
    name, corpus, *options = sys.argv[1:]
    folder = Path(corpus)
    folder.mkdir(parents=True, exist_ok=True)
    for data in targets.seeds():
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    limits = ["-rss_limit_mb=2048", "-timeout=10", "-print_final_stats=1", "-verbosity=0"]
    atheris.Setup(
        [sys.argv[0], str(folder), *limits, *options], lambda data: targets.run(name, data)
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()

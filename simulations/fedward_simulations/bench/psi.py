"""Private set intersection: both halves on one core, beside OpenMined's, and over two; and its memory.

Both find who is common to two parties with as many identifiers each, half of them common. OpenMined's
(`openmined-psi`, C++ on P-256) is called with the data structure that has no false positives. Of ours
the memory is that of one party, as a process of its own has it.
"""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fedward_shared.privacy.randomness import Randomness
from fedward_shared.psi.alignment import BATCH, Active, Passive, Terms, Work, aligned
from fedward_simulations.bench.rows import Row

ITEMS = 10_000
TURNS = 5
FASTER = 1.2
NEARLY_HALF = 0.6
MANY = 1_000_000
DOMAIN = b"fedward/psi/1 benchmark"
PEER = "openmined-psi"


def run(folder: Path) -> list[Row]:
    """Rows for one core, two cores, and the memory of a million identifiers."""
    del folder
    with ThreadPoolExecutor(2) as pool:
        contenders: dict[str, Callable[[], int]] = {
            "ours": lambda: _ours(map),
            PEER: _peer,
            "two": lambda: _ours(pool.map),
        }
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(TURNS):
            for name, contender in contenders.items():
                started = time.perf_counter()
                found = contender()
                seconds[name].append(time.perf_counter() - started)
                assert found == ITEMS // 2, f"{name}: {found} are common"
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return [
        Row(
            f"{ITEMS:,} and {ITEMS:,} identifiers, one core",
            median["ours"],
            median[PEER],
            PEER,
            bound=1 / FASTER,
        ),
        Row("the same, on two cores", median["two"], median["ours"], "one core", bound=NEARLY_HALF),
        Row(f"memory that {MANY:,} identifiers take", _memory(), unit="MB"),
    ]


def _people(first: int, count: int) -> list[bytes]:
    return [f"person {number}".encode() for number in range(first, first + count)]


def _ours(work: Work) -> int:
    terms = Terms(DOMAIN, ITEMS, ITEMS, ITEMS)
    active = Active(terms, _people(0, ITEMS), Randomness.from_os(), work)
    passive = Passive(terms, _people(ITEMS // 2, ITEMS), Randomness.from_os(), work)
    for batch in active.batches():
        active.doubled(passive.doubled(batch))
    for batch in passive.batches():
        active.theirs(batch)
    rows, (places,) = aligned([active.common()], 1)
    assert len(passive.rows(places)) == len(rows)
    return len(rows)


def _peer() -> int:
    import private_set_intersection.python as psi

    own = [who.decode() for who in _people(0, ITEMS)]
    theirs = [who.decode() for who in _people(ITEMS // 2, ITEMS)]
    client = psi.client.CreateWithNewKey(True)
    server = psi.server.CreateWithNewKey(True)
    setup = server.CreateSetupMessage(0.0, len(own), theirs, psi.DataStructure.RAW)
    response = server.ProcessRequest(client.CreateRequest(own))
    return len(client.GetIntersection(setup, response))


def _memory() -> float:
    """Megabytes that the active party of many takes at its peak, beside its identifiers."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    process = context.Process(target=_many, args=(results,))
    process.start()
    grown = float(results.get())
    process.join()
    return grown


def _many(results: Any) -> None:
    """What comes back and what the peer sends are points without a meaning here: they take as much room,
    and none of the time that multiplying takes."""
    terms = Terms(DOMAIN, MANY, MANY, MANY)
    identifiers = _people(0, MANY)
    before = _resident()
    active = Active(terms, identifiers, Randomness.from_os(), _as_it_is)
    points = (number.to_bytes(32) for number in range(2 * MANY))
    for size in [min(BATCH, MANY - at) for at in range(0, MANY, BATCH)]:
        active.doubled(b"".join(next(points) for _ in range(size)))
    for size in [min(BATCH, MANY - at) for at in range(0, MANY, BATCH)]:
        active.theirs(b"".join(next(points) for _ in range(size)))
    assert len(active.common().rows) == 0
    results.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3)


def _resident() -> float:
    """Kilobytes that this process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / 1e3


def _as_it_is(function: Callable[[bytes], bytes], pieces: Any) -> Any:
    del function
    return pieces

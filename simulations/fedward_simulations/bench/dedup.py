"""Near-duplicates: time of a core, what is missed at 0.85, and a million documents.

The peer is datasketch as its documentation shows it: one document after the other is hashed, asked for
in a `MinHashLSH`, compared by its shingles and put in. It has what it needs in memory; ours has it on
disk, and looks across units too. Both hash the same shingles with as many permutations. What is missed
is counted over all pairs of a corpus, whose shingles are made and compared by other code.
"""

import multiprocessing
import statistics
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fedward_shared.text.duplicates import THRESHOLD, Index
from fedward_shared.text.signatures import BANDS, ROWS, Sketches, sketches
from fedward_simulations.bench.dedup_texts import alike, corpora, shingles
from fedward_simulations.bench.rows import Row

TURNS = 3
FASTER = 1.5
MISSED = 1.0
"""Percent."""

MANY = 1_000_000
LENGTH = 12
VOCABULARY = 20_000
PEER = "datasketch, one by one"
TUNED = "MinHashLSH(0.85, 128)"


def run(folder: Path) -> list[Row]:
    """Rows for each corpus, and for a million documents."""
    rows = []
    for name, texts in corpora().items():
        rows += [_time(name, texts, folder), *_quality(name, texts, folder / name)]
    return [*rows, *_scale(folder / "many")]


def _time(name: str, texts: list[str], folder: Path) -> Row:
    """Of one unit in which whatever is like an earlier one goes, as the peer does it."""
    seconds: dict[str, list[float]] = {"ours": [], PEER: []}
    for _ in range(TURNS):
        stay = []
        for who, contender in (("ours", _ours), (PEER, _peer)):
            with TemporaryDirectory(dir=folder) as scratch:
                started = time.process_time()
                stay.append(contender(texts, Path(scratch)))
                seconds[who].append(time.process_time() - started)
        assert abs(stay[0] - stay[1]) <= 0.01 * len(texts), f"{name}: {stay} stay"
    ours, peer = (1e6 * statistics.median(seconds[who]) / len(texts) for who in ("ours", PEER))
    about = f"{name}, {len(texts):,}: a document"
    return Row(about, ours, peer, PEER, "µs of CPU", 1 / FASTER)


def _ours(texts: list[str], folder: Path) -> int:
    with Index(folder) as index:
        index.add(texts, ["all"] * len(texts))
        return index.report().stay


def _peer(texts: list[str], folder: Path) -> int:
    del folder
    from datasketch import MinHash, MinHashLSH

    lsh = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    permutations = MinHash(BANDS * ROWS).permutations  # drawn once, as `MinHash.bulk` does
    kept: dict[int, set[str]] = {}
    for number, text in enumerate(texts):
        found = shingles(text)
        signature = MinHash(BANDS * ROWS, permutations=permutations, scheme="affine32")
        signature.update_batch([one.encode() for one in found])
        candidates = (kept[candidate] for candidate in lsh.query(signature))
        if all(len(found & one) < THRESHOLD * len(found | one) for one in candidates):
            lsh.insert(number, signature)
            kept[number] = found
    return len(kept)


def _quality(name: str, texts: list[str], folder: Path) -> Iterator[Row]:
    """What is missed and what is compared for nothing, in percent, of pairs and of documents."""
    true = alike([shingles(text) for text in texts], THRESHOLD)
    ours = _candidates(Sketches.joined(list(sketches(texts, 1))).keys_DB)
    peer = _peers_candidates(texts)
    yield Row(
        f"{name}: of {len(true):,} pairs from {THRESHOLD} on, missed",
        _percent(true - ours, true),
        _percent(true - peer, true),
        TUNED,
        "%",
    )
    yield Row(
        f"{name}: of {len(ours):,} candidates, below {THRESHOLD}, before they are compared",
        _percent(ours - true, ours),
        _percent(peer - true, peer),
        TUNED,
        "%",
    )
    with Index(folder) as index:
        index.add(texts, map(str, range(len(texts))))
        links = index.links()
    told = set(zip(links["earlier"].tolist(), links["later"].tolist(), strict=True))
    later, reported = ({second for _, second in pairs} for pairs in (true, told))
    yield Row(
        f"{name}: of {len(later):,} documents like an earlier one, not reported",
        _percent(later - reported, later),
        MISSED,
        "at most",
        "%",
        1.0,
    )
    yield Row(
        f"{name}: of {len(told):,} reported pairs, wrong", _percent(told - true, told), unit="%"
    )


def _candidates(keys_DB: np.ndarray) -> set[tuple[int, int]]:
    """Pairs with a key in common."""
    pairs: set[tuple[int, int]] = set()
    for keys_D in keys_DB.T:
        order_D = np.argsort(keys_D, kind="stable")
        edges = np.flatnonzero(np.diff(keys_D[order_D])) + 1
        for bucket in np.split(order_D, edges):
            pairs.update(combinations(bucket.tolist(), 2))
    return pairs


def _peers_candidates(texts: list[str]) -> set[tuple[int, int]]:
    """Pairs that datasketch finds with the bands that it chooses itself."""
    from datasketch import MinHash, MinHashLSH

    lsh = MinHashLSH(threshold=THRESHOLD, num_perm=BANDS * ROWS)
    pairs: set[tuple[int, int]] = set()
    encoded = ([one.encode() for one in shingles(text)] for text in texts)
    for number, signature in enumerate(MinHash.generator(encoded, num_perm=BANDS * ROWS)):
        pairs.update((earlier, number) for earlier in lsh.query(signature))
        lsh.insert(number, signature)
    return pairs


def _percent(part: set[Any], whole: set[Any]) -> float:
    return 100 * len(part) / max(1, len(whole))


def _scale(folder: Path) -> list[Row]:
    """In a process of its own, whose memory is that of nothing else."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    process = context.Process(target=_many, args=(folder, results))
    process.start()
    seconds, peak, own = results.get()
    process.join()
    size = sum(path.stat().st_size for path in folder.iterdir())
    about = f"{MANY:,} documents of {LENGTH} words"
    return [
        Row(f"{about}: a document", 1e6 * seconds / MANY, unit="µs of CPU"),
        Row(f"{about}: on disk, a document", size / MANY, unit="bytes"),
        Row(f"{about}: peak memory, files that are mapped included", peak / 1e6, unit="MB"),
        Row(f"{about}: memory of the process's own, at most", own / 1e6, unit="MB"),
    ]


def _many(folder: Path, results: Any) -> None:
    """Four documents of each person, of which one in twenty is nearly another's."""
    drawn = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(VOCABULARY)])
    part, own, seconds = 50_000, 0, 0.0
    list(sketches(["what is loaded once"], 1))
    before, before_own = _status("VmRSS"), _status("RssAnon")
    with Index(folder) as index:
        for first in range(0, MANY, part):
            drawn_DW = drawn.integers(VOCABULARY, size=(part, LENGTH))
            copies = drawn.permutation(part)[: part // 20]
            drawn_DW[copies, :-1] = drawn_DW[copies - 1, :-1]
            texts = [" ".join(row) for row in words[drawn_DW].tolist()]
            started = time.process_time()
            index.add(texts, (f"p{number // 4}" for number in range(first, first + part)))
            seconds += time.process_time() - started
            own = max(own, _status("RssAnon"))
    results.put((seconds, _status("VmHWM") - before, own - before_own))


def _status(name: str) -> int:
    """Bytes, by the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(value)

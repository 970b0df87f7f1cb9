"""What holds after every run, whatever struck: each a function that says what it saw if it does not.

They are checked against what the harness noted (`world.py`), the files as they are, and an oracle that
is not fedward's. Only what a site itself says that it has spent comes from its own code.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors

from fedward_client import settings as site_settings
from fedward_client.site import AUDIT_FILE, Site
from fedward_server.fold import fraction_bits
from fedward_shared import audit
from fedward_shared.agreement import CHARTER_FILE
from fedward_shared.errors import FedwardError, RefusalCode
from fedward_shared.messages import MASK_STAGES
from fedward_simulations.faults import books, oracle
from fedward_simulations.faults.consortium import (
    ACCOUNT,
    key_of,
    site_file,
    site_folder,
    study_folder,
)
from fedward_simulations.faults.operations import BOUND, SITES
from fedward_simulations.faults.run import Ending
from fedward_simulations.faults.world import COPIES, Crossing, World

UNKNOWN = f"refused: {RefusalCode.INTERNAL}"

Seen = Iterator[str]
Array = np.ndarray[Any, Any]


def spending_is_true(world: World, _ending: Ending) -> Seen:
    """Spent ε ≥ true ε, and never above it by more than the reservations that crashed."""
    charter = json.loads((study_folder(world.folder) / CHARTER_FILE).read_bytes())["body"]
    noise = float(charter["privacy"]["noise_multiplier"])
    for site in SITES:
        spent = _spent(world, site)
        trained, crashed = world.trainings[site], world.crashed[site]
        least, _ = oracle.bracket(trained, noise)
        _, most = oracle.bracket(trained + crashed, noise)
        left = {_made(c, charter) for c in world.left if c.site == site and c.update}
        if not least <= spent <= most or len(left) > trained:
            yield (
                f"{site}: spent ε = {spent:.4f}; {trained} trainings and {crashed} crashed "
                f"reservations cost from {least:.4f} to {most:.4f}; {len(left)} updates left"
            )


def _made(crossing: Crossing, charter: dict[str, Any]) -> object:
    """What one training has made: under masks it may leave once in each attempt."""
    return crossing.round if charter["secure_aggregation"] else crossing.update


def rounds_are_paid_once(world: World, _ending: Ending) -> Seen:
    """A site trains twice for a round only where a fault struck it, or took its kept answer."""
    put_back = Counter(o.party for o in world.happened if o.fault in COPIES)
    for (site, number), times in sorted(world.undisturbed.items()):
        if times > 1 + put_back[site]:
            yield f"{site}: trained {times} times for round {number}, and nothing struck it then"


def _spent(world: World, site: str) -> float:
    settings = site_settings.load(site_file(world.folder, site))
    with closing(Site(settings, lambda: world.now(site))) as opened:
        return opened.ledger.spending(ACCOUNT).epsilon


def updates_count_once(world: World, _ending: Ending) -> Seen:
    """Each checkpoint is, bit for bit, what the updates make that were seen to reach the coordinator."""
    counted: Counter[str] = Counter()
    received = {_digest(c.update): c for c in world.received if c.update}
    rounds = study_folder(world.folder) / "rounds"
    kept = [json.loads(path.read_bytes()) for path in sorted(rounds.glob("[0-9]*.json"))]
    charter = json.loads((study_folder(world.folder) / CHARTER_FILE).read_bytes())["body"]
    bits = fraction_bits(float(charter["aggregation"]["maximum_update_norm"]), len(SITES))
    adapters = [_adapter((rounds / f"{n:04d}.safetensors").read_bytes()) for n in range(len(kept))]
    for number in range(1, len(kept)):
        updates: dict[str, str] = kept[number]["updates"]
        counted.update(updates.values())
        if sorted(updates) != kept[number]["record"]["cohort"]:
            yield f"round {number}: the cohort is not those whose updates are named"
        crossings = [received.get(digest) for digest in updates.values()]
        expected = {(site, number) for site in updates}
        if {(c.site, c.round) for c in crossings if c} != expected:
            yield f"round {number}: an update that nobody sent for it is counted"
        elif charter["secure_aggregation"]:
            vectors = [world.integers[site, number] for site in sorted(updates)]
            if _next_masked(adapters[number - 1], vectors) != adapters[number]:
                yield f"round {number}: the adapter is not the mean of the vectors that were masked"
        elif _next(adapters[number - 1], [c for c in crossings if c], bits) != adapters[number]:
            yield f"round {number}: the adapter is not the mean of the updates that are named"
    twice = [digest for digest, times in counted.items() if times > 1]
    if twice:
        yield f"updates counted in two rounds: {', '.join(twice)}"


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _adapter(data: bytes) -> dict[str, bytes]:
    found: dict[str, Array] = load_tensors(data)
    return {
        name.removeprefix("adapter."): tensor.tobytes()
        for name, tensor in found.items()
        if name.startswith("adapter.")
    }


def _next(before: dict[str, bytes], crossings: list[Crossing], bits: int) -> dict[str, bytes]:
    """Federated averaging in fixed point (docs/decisions/0013), written down a second time."""
    updates = [load_tensors(crossing.update) for crossing in crossings]
    found = {}
    for name, content in before.items():
        fixed = [np.rint(u[name] * np.float32(2.0**bits)).astype(np.int64) for u in updates]
        total: Array = np.sum(fixed, axis=0)
        mean = (total * (1.0 / (2.0**bits * len(updates)))).astype(np.float32)
        found[name] = (np.frombuffer(content, np.float32) + mean.ravel()).tobytes()
    return found


def _next_masked(before: dict[str, bytes], vectors: list[Array]) -> dict[str, bytes]:
    """The same of integers of 12 bits that stand for ±BOUND, in a ring of 16."""
    if not vectors:
        return before
    total = np.asarray(np.sum(vectors, axis=0, dtype=np.uint16)).view(np.int16)
    mean: Array = (total * (BOUND / 2047 / len(vectors))).astype(np.float32)
    found, start = {}, 0
    for name in sorted(before):
        content = np.frombuffer(before[name], np.float32)
        found[name] = (content + mean[start : start + content.size]).tobytes()
        start += content.size
    return found


def words_are_given_once(world: World, _ending: Ending) -> Seen:
    """In an attempt a site masks once and reveals once, and it agrees once in a round: whatever it is
    asked again, and whatever state is put back, of no peer both shares leave it."""
    said: defaultdict[tuple[str, str, int, int], set[str]] = defaultdict(set)
    for crossing in world.left:
        word = crossing.said or _digest(crossing.update)
        attempt = 0 if crossing.answer == "survivors" else crossing.attempt
        if crossing.answer in ("survivors", "reveal") or _is_masked(crossing, world):
            said[crossing.site, crossing.answer, crossing.round, attempt].add(word)
    for (site, answer, number, attempt), words in sorted(said.items()):
        if len(words) > 1:
            yield f"{site}: {len(words)} answers ({answer}) in round {number}, attempt {attempt}"


def _is_masked(crossing: Crossing, world: World) -> bool:
    return crossing.answer == "update" and (crossing.site, crossing.round) in world.integers


def audit_fits_ledger(world: World, _ending: Ending) -> Seen:
    """The chain verifies with the public key alone; ledger and log hold the same bookings."""
    for site in SITES:
        state = site_folder(world.folder, site) / "state"
        path = state / AUDIT_FILE
        try:
            list(audit.read(path, key_of(site).public))
        except FedwardError as error:
            yield f"{site}: {error}"
            continue
        announced, booked = books.announced(path.read_bytes()), books.booked(state)
        if announced != booked:
            yield f"{site}: the log announces {len(announced)} bookings, the ledger has {len(booked)}"


def study_ends(_world: World, ending: Ending) -> Seen:
    """It is complete, resumed as often as it takes, or stopped by what people have to decide."""
    if ending.stopped and not ending.reasons:
        yield f"stopped after {ending.resumes} resumes: {ending.stopped}"


def missing_are_named(world: World, ending: Ending) -> Seen:
    """Every site is in a round's cohort or missing with a reason, in the records and when it stops.

    That a site failed by an error which it does not know itself is no reason.
    """
    for path in sorted((study_folder(world.folder) / "rounds").glob("[0-9]*.json")):
        record = json.loads(path.read_bytes())["record"]
        if record is None:
            continue
        cohort, missing = record["cohort"], record["missing"]
        if sorted([*cohort, *missing]) != sorted(SITES) or not all(missing.values()):
            yield f"round {record['round']}: cohort {cohort}, missing {missing}"
    for site in sorted({c.site for c in world.left if c.answer == UNKNOWN}):
        yield f"{site}: {UNKNOWN}"
    if ending.stopped:
        for site in sorted(world.withdrawn):
            if f"{site}: " not in ending.stopped:
                yield f"{site} has withdrawn, and is not named: {ending.stopped}"


def barred_sites_stay_out(world: World, _ending: Ending) -> Seen:
    """A site that has withdrawn, or has an older copy, lets no update out and says no welcome."""
    for crossing in world.left:
        if crossing.barred and crossing.answer in ("update", "welcome", *MASK_STAGES):
            yield f"{crossing.site}: {crossing.answer} left, although {crossing.barred}"
    for site in world.accepted:
        yield f"{site}: an older copy was accepted"


INVARIANTS: tuple[Callable[[World, Ending], Seen], ...] = (
    spending_is_true,
    rounds_are_paid_once,
    updates_count_once,
    words_are_given_once,
    audit_fits_ledger,
    study_ends,
    missing_are_named,
    barred_sites_stay_out,
)


def check(world: World, ending: Ending) -> list[tuple[str, str]]:
    """Each invariant that does not hold, by name, and what was seen."""
    found = []
    for invariant in INVARIANTS:
        try:
            seen = list(invariant(world, ending))
        except Exception as error:
            seen = [f"it cannot be checked: {type(error).__name__}: {error}"]
        found += [(invariant.__name__, text) for text in seen]
    return found

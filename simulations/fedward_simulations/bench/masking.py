"""What masking costs a site: beside the mod of flwr that does the same for a client of its SecAgg+.

Both hold 1,000,000 coordinates, have as many neighbours and the same threshold. The peer runs the very
functions of `flwr.client.mod`, with the terms of its workflow where nobody says otherwise; ours the
party's whole half, with its state written and read between any two messages.
"""

import copy
import logging
import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ConfigRecord
from flwr.client.mod.secure_aggregation.secaggplus_mod import (
    SecAggPlusState,
    _collect_masked_vectors,
    _setup,
    _share_keys,
    _unmask,
)
from flwr.common import ndarrays_to_parameters
from flwr.common.secure_aggregation.secaggplus_constants import Key

from fedward_shared.privacy.randomness import Randomness
from fedward_shared.secagg.quantiser import Quantiser
from fedward_shared.secagg.ring import ring_for
from fedward_shared.secagg.session import Session
from fedward_simulations.bench.masked_site import CHARTER, Calls, MaskedSite, signing_keys
from fedward_simulations.bench.rows import Row

PARAMETERS = 1_000_000
RUNS = 7
PEER = "flwr secaggplus"
PEER_TERMS = {
    Key.CLIPPING_RANGE: 8.0,
    Key.TARGET_RANGE: 2**22,
    Key.MOD_RANGE: 2**32,
    Key.MAX_WEIGHT: 1000.0,
}


@dataclass(frozen=True)
class Terms:
    """How many sites, and how many bits a coordinate has."""

    sites: int
    minimum: int
    colluding: int
    precision: int

    @property
    def about(self) -> str:
        """For a row."""
        bits = ring_for(self.sites, self.precision).bits
        return f"{self.sites - 1} neighbours, ring of {bits} bits"


TERMS = (Terms(11, 8, 1, 12), Terms(50, 34, 5, 10), Terms(11, 8, 1, 8))


def run(folder: Path) -> list[Row]:
    """Processor time, peak memory and bytes of one client, for 10 and 49 neighbours."""
    del folder
    logging.getLogger("flwr").setLevel(logging.INFO)  # what the peer says at each stage is no work
    values = np.random.default_rng(0).normal(0, 1, PARAMETERS).astype(np.float32)
    return [row for terms in TERMS for row in _compared(terms, values)]


def _compared(terms: Terms, values: np.ndarray) -> list[Row]:
    ours, theirs = _ours(terms, values), peers(terms, values)
    own, other = interleaved(ours, theirs)
    rows = [
        Row(f"{terms.about}: {stage}", own[stage], other[stage], PEER, "ms of CPU")
        for stage in own.keys() & other.keys()
    ]
    whole = (sum(own.values()), sum(other.values()))
    peaks = (peak(ours["mask"]) / 2**20, peak(theirs["mask"]) / 2**20)
    sizes = (_bytes_of(ours["mask"]()) / 1e6, _bytes_of(theirs["mask"]()) / 1e6)
    return [
        *sorted(rows, key=lambda row: list(own).index(row.name.rsplit(": ")[-1])),
        Row(f"{terms.about}: the client's CPU in all", *whole, PEER, "ms of CPU", 0.2),
        Row(f"{terms.about}: peak memory of masking", *peaks, PEER, "MiB", 0.2),
        Row(f"{terms.about}: the masked vector", *sizes, PEER, "MB", 0.25),
    ]


def interleaved(*sides: Calls, runs: int = RUNS) -> list[dict[str, float]]:
    """Median milliseconds of the processor, of every call, the sides in turns."""
    taken: list[dict[str, list[float]]] = [{stage: [] for stage in calls} for calls in sides]
    for _ in range(runs):
        for calls, times in zip(sides, taken, strict=True):
            for stage, call in calls.items():
                started = time.process_time()
                call()
                times[stage].append(1000 * (time.process_time() - started))
    return [{stage: statistics.median(of) for stage, of in times.items()} for times in taken]


def peak(call: Callable[[], object]) -> int:
    """Bytes that a call takes at most beyond what was there, in numpy's arrays and Python's objects."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _bytes_of(answer: object) -> int:
    if isinstance(answer, dict):
        return sum(map(len, answer[Key.MASKED_PARAMETERS]))
    assert isinstance(answer, bytes)
    return len(answer)


def _ours(terms: Terms, values: np.ndarray) -> Calls:
    quantiser = Quantiser(PEER_TERMS[Key.CLIPPING_RANGE], terms.precision)
    ring, randomness = ring_for(terms.sites, terms.precision), Randomness.from_os()
    sites = signing_keys(terms.sites)
    known = Session(
        charter=CHARTER,
        round=1,
        attempt=1,
        keys={site: key.public for site, key in sites.items()},
        minimum=terms.minimum,
        colluding=terms.colluding,
        ring=ring,
        count=PARAMETERS,
    )
    return MaskedSite(known, sites, lambda: quantiser.quantise(values, ring, randomness)).calls()


def peers(terms: Terms, values: np.ndarray) -> Calls:
    """The first of as many clients, all of whom share with all."""
    configs = ConfigRecord(
        {
            Key.SAMPLE_NUMBER: terms.sites,
            Key.SHARE_NUMBER: terms.sites,
            Key.THRESHOLD: terms.minimum,
            **PEER_TERMS,
        }
    )
    states = [SecAggPlusState(nid=number) for number in range(1, terms.sites + 1)]
    said: list[dict[str, Any]] = [_setup(state, configs) for state in states]
    keys = ConfigRecord(
        {
            str(state.nid): [one[Key.PUBLIC_KEY_1], one[Key.PUBLIC_KEY_2]]
            for state, one in zip(states, said, strict=True)
        }
    )
    begun = copy.deepcopy(states[0])
    sent: list[dict[str, Any]] = [_share_keys(state, keys) for state in states]
    shared, others = states[0], range(1, terms.sites)
    envelopes = ConfigRecord(
        {
            Key.SOURCE_LIST: [states[number].nid for number in others],
            Key.CIPHERTEXT_LIST: [sent[number][Key.CIPHERTEXT_LIST][0] for number in others],
        }
    )
    parameters = ndarrays_to_parameters([values])
    survivors = ConfigRecord(
        {
            Key.ACTIVE_NODE_ID_LIST: [state.nid for state in states],
            Key.DEAD_NODE_ID_LIST: [],
        }
    )
    masked = copy.deepcopy(shared)
    _collect_masked_vectors(masked, envelopes, 1, parameters)
    return {
        "keys": lambda: _setup(SecAggPlusState(nid=1), configs),
        "share": lambda: _share_keys(begun, keys),
        "mask": lambda: _collect_masked_vectors(shared, envelopes, 1, parameters),
        "reveal": lambda: _unmask(masked, survivors),
    }

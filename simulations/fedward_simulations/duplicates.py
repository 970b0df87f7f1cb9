"""Studies of duplicates on one machine: the sites' programs, and what they find beside what there is."""

import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from fedward_shared import canonical
from fedward_shared.duplicates.bands import Bands
from fedward_shared.duplicates.comparing import comparing
from fedward_shared.duplicates.terms import DuplicatesTerms
from fedward_shared.exchange.program import Action, Program, Send, encode, together
from fedward_shared.privacy.plan import INTERSECTION
from fedward_shared.privacy.randomness import Randomness


@dataclass(frozen=True)
class Outcome:
    """What each site found of each other: for each of its documents the bands in common, [D], 0 for one
    that takes no part. `seconds` of CPU and `sent` bytes are each site's."""

    found: dict[str, dict[str, np.ndarray]]
    seconds: dict[str, float]
    sent: Counter[str]


def run(texts: Mapping[str, Sequence[str]], terms: DuplicatesTerms, seed: int) -> Outcome:
    """Runs one session among the sites that hold `texts`. Raises FedwardError as their programs do."""
    session = canonical.digest(canonical.encode([seed, terms.model_dump(mode="json")]))
    seconds = dict.fromkeys(texts, 0.0)
    sent: Counter[str] = Counter()

    def passed(sender: str, action: Send) -> None:
        sent[sender] += len(encode(action.kind, action.body))

    bands, programs = {}, {}
    for name, own in texts.items():
        started = time.process_time()
        bands[name] = Bands.of(own, terms.seed, terms.shortest)
        seconds[name] += time.process_time() - started
        peers = sorted(texts.keys() - {name})
        streams = partial(Randomness.from_seed, seed, name)
        program = comparing(name, peers, bands[name], terms, session, [INTERSECTION], streams)
        programs[name] = _timed(program, name, seconds)
    results = together(programs, lambda *_: None, passed)
    found = {
        name: {peer: _whole(len(texts[name]), bands[name], counts) for peer, counts in own.items()}
        for name, own in results.items()
    }
    return Outcome(found, seconds, sent)


def _timed(program: Program, name: str, seconds: dict[str, float]) -> Program:
    """The same program; the time that it computes counts for its site."""

    def run() -> Generator[Action, bytes, dict[str, np.ndarray]]:
        answer: bytes | None = None
        while True:
            started = time.process_time()
            try:
                action = next(program) if answer is None else program.send(answer)
            except StopIteration as end:
                found: dict[str, np.ndarray] = end.value
                return found
            finally:
                seconds[name] += time.process_time() - started
            answer = yield action

    return run()


def _whole(documents: int, bands: Bands, counts_D: np.ndarray) -> np.ndarray:
    whole_N = np.zeros(documents, np.int64)
    whole_N[bands.numbers_D] = counts_D
    return whole_N

"""ε beside Opacus's Rényi accountant and dp-accounting's PLD, and how long a ledger takes to say it."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import dp_accounting
from dp_accounting.pld import PLDAccountant
from opacus.accountants import RDPAccountant

from fedward_client.ledger import START, Booking, Ledger, Limit
from fedward_shared.privacy import accountant, composition
from fedward_shared.privacy.plan import Event
from fedward_simulations.bench.rows import Row

DELTA = 1e-5
RUNS = 5
NEW_BOOKINGS = 50
RENYI_BOUND = 0.90
PLD_BOUND = 1.01
WARM_MILLISECONDS = 50.0


def dp_sgd(rate: float, noise: float, steps: int) -> Event:
    """`steps` steps of DP-SGD."""
    return Event("poisson-gaussian", rate, noise, steps)


PLANS: dict[str, list[Event]] = {
    "q 0.01, σ 1, 1,000 steps": [dp_sgd(0.01, 1.0, 1000)],
    "q 0.05, σ 1.8, 60 steps": [dp_sgd(0.05, 1.8, 60)],
    "q 0.05, σ 0.5, 60 steps": [dp_sgd(0.05, 0.5, 60)],
    "q 0.05, σ 0.3, 60 steps": [dp_sgd(0.05, 0.3, 60)],
    "q 0.001, σ 0.8, 100,000 steps": [dp_sgd(0.001, 0.8, 100_000)],
    "two studies": [dp_sgd(0.01, 1.0, 2000), dp_sgd(0.05, 3.0, 300)],
    "three Gaussian, two Laplace": [Event("gaussian", 1.0, 8.0, 3), Event("laplace", 1.0, 10.0, 2)],
    "two studies and all of these": [
        dp_sgd(0.01, 1.0, 2000),
        dp_sgd(0.05, 3.0, 300),
        Event("gaussian", 1.0, 8.0, 3),
        Event("laplace", 1.0, 10.0, 2),
    ],
}

STUDIES: dict[str, tuple[Event, int]] = {
    "first": (dp_sgd(0.01, 1.2, 10), 300),
    "second": (dp_sgd(0.02, 3.0, 5), 300),
    "third": (dp_sgd(0.005, 1.0, 20), 250),
    "fourth": (dp_sgd(0.05, 8.0, 4), 100),
    "counts": (Event("gaussian", 1.0, 30.0, 1), 30),
    "means": (Event("laplace", 1.0, 60.0, 1), 20),
}
"""Six studies at one account, and how many bookings each has."""


def run(folder: Path) -> list[Row]:
    """ε and seconds of each plan beside the peers', then what the real ledger takes; medians.

    Raises AssertionError for an ε below dp-accounting's, which would claim what is not so.
    """
    return [*_compared(), *_ledger(folder / "ledger.sqlite")]


def _compared() -> Iterator[Row]:
    for name, events in PLANS.items():
        (ours, seconds), (pld, pld_seconds) = _in_turns(_cold_epsilon, _pld, events=events)
        assert ours >= pld, f"{name}: ε = {ours} is below dp-accounting's {pld}"
        renyi = _renyi(events)
        if renyi is not None:
            yield Row(name, ours, renyi, "Opacus RDP", "ε", bound=RENYI_BOUND)
        yield Row(name, ours, pld, "dp-accounting PLD", "ε", bound=PLD_BOUND)
        yield Row(
            f"{name}: of an accountant that kept nothing", seconds, pld_seconds, "dp-accounting PLD"
        )


def _in_turns(
    *ways: Callable[[Sequence[Event]], float], events: Sequence[Event]
) -> list[tuple[float, float]]:
    """What each of `ways` gives, and its median seconds."""
    values = [0.0 for _ in ways]
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(RUNS):
        for number, way in enumerate(ways):
            started = time.perf_counter()
            values[number] = way(events)
            seconds[number].append(time.perf_counter() - started)
    return [(value, statistics.median(taken)) for value, taken in zip(values, seconds, strict=True)]


def _cold_epsilon(events: Sequence[Event]) -> float:
    composition.forget()
    return accountant.epsilon(events, DELTA)


def _pld(events: Sequence[Event]) -> float:
    peer = PLDAccountant()
    for event in events:
        gaussian = dp_accounting.GaussianDpEvent(event.noise_multiplier)
        of_kind = {
            "poisson-gaussian": dp_accounting.PoissonSampledDpEvent(event.sampling_rate, gaussian),
            "gaussian": gaussian,
            "laplace": dp_accounting.LaplaceDpEvent(event.noise_multiplier),
        }
        peer.compose(of_kind[event.mechanism], event.steps)
    return float(peer.get_epsilon(DELTA))


def _renyi(events: Sequence[Event]) -> float | None:
    """None where Opacus has no such mechanism."""
    if any(event.mechanism == "laplace" for event in events):
        return None
    peer = RDPAccountant()
    peer.history = [(e.noise_multiplier, e.sampling_rate, e.steps) for e in events]
    return float(peer.get_epsilon(DELTA))


def _ledger(path: Path) -> list[Row]:
    """Of a ledger of 1,000 bookings, six studies and six mechanisms."""
    filled(path)
    ledger = Ledger(path)
    try:
        spending = "what was spent, asked"
        return [
            _row("the ledger opened, its chain checked", _of(lambda: Ledger(path).close())),
            _row(f"{spending} the first time in a process", _of(lambda: _cold_spending(ledger))),
            _row(f"{spending} again", _of(lambda: ledger.spending("records")), WARM_MILLISECONDS),
            *_booking(ledger),
        ]
    finally:
        ledger.close()


def _row(name: str, milliseconds: Sequence[float], at_most: float | None = None) -> Row:
    peer_name, bound = ("", None) if at_most is None else ("at most", 1.0)
    return Row(name, statistics.median(milliseconds), at_most, peer_name, "ms", bound)


def _of(call: Callable[[], object]) -> list[float]:
    return [_timed_once(call) for _ in range(RUNS)]


def _timed_once(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def _cold_spending(ledger: Ledger) -> None:
    composition.forget()
    ledger.spending("records")


def _booking(ledger: Ledger) -> list[Row]:
    """One new booking after the other, each of another study than the last, and what is spent then."""
    account = Limit("records", "site.toml", 50.0, DELTA)
    reserved, said = [], []
    names = list(STUDIES)
    for number in range(NEW_BOOKINGS):
        name = names[number % len(names)]
        study = Limit(name, "the charter", 50.0, DELTA)
        asked = (account, study, 1000 + number, "r", STUDIES[name][0])
        reserved.append(_timed_once(partial(ledger.reserve, *asked)))
        said.append(_timed_once(partial(ledger.spending, account.name)))
    return [
        _row(f"a new booking reserved ({NEW_BOOKINGS}, of every study in turn)", reserved),
        _row("what was spent, after each of these", said, WARM_MILLISECONDS),
    ]


def filled(path: Path) -> None:
    """A ledger with the bookings of `STUDIES`, in the order in which studies run beside each other."""
    ledger = Ledger(path)
    left = {name: count for name, (_, count) in STUDIES.items()}
    chain, number = START, 0
    with ledger.exclusively():
        while any(left.values()):
            for name in [name for name, count in left.items() if count]:
                left[name] -= 1
                number += 1
                booking = Booking(
                    number=number,
                    account="records",
                    delta=repr(DELTA),
                    charter=name,
                    round=STUDIES[name][1] - left[name],
                    request="r",
                    event=STUDIES[name][0].as_text(),
                    at="2026-01-01T00:00:00.000+00:00",
                ).after(chain)
                ledger.insert(booking)
                chain = booking.chain
    ledger.close()

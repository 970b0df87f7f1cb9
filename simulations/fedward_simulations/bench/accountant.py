"""ε beside Opacus's Rényi accountant and dp-accounting's PLD, and how long a ledger takes to say it."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dp_accounting
from dp_accounting.pld import PLDAccountant
from opacus.accountants import RDPAccountant

from fedward_client.ledger import START, Booking, Ledger, Limit
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event

DELTA = 1e-5
RUNS = 5
EVENTS = 1000
NEW_BOOKINGS = 50


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


def run(folder: Path) -> list[str]:
    """A Markdown table of ε, then what the real ledger takes; times are medians."""
    return [*_compared(), "", *_ledger(folder / "ledger.sqlite")]


def _compared() -> list[str]:
    lines = [
        "| plan | fedward ε | seconds | Opacus RDP ε | ratio | dp-accounting ε | seconds | above it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, events in PLANS.items():
        ours, our_time = _timed(_cold_epsilon, events)
        pld, pld_time = _timed(_pld, events)
        renyi = _renyi(events)
        against = "none" if renyi is None else f"{renyi:.4f}"
        ratio = "" if renyi is None else f"{ours / renyi:.3f}"
        lines.append(
            f"| {name} | {ours:.4f} | {our_time:.3f} | {against} | {ratio} | {pld:.4f} | "
            f"{pld_time:.3f} | {100 * (ours / pld - 1):.3f} % |"
        )
    return lines


def _timed(
    compute: Callable[[Sequence[Event]], float], events: Sequence[Event]
) -> tuple[float, float]:
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        value = compute(events)
        seconds.append(time.perf_counter() - started)
    return value, statistics.median(seconds)


def _cold_epsilon(events: Sequence[Event]) -> float:
    accountant.forget()
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


@dataclass(frozen=True)
class _Times:
    """Milliseconds of several calls, by the clock and of computing."""

    calls: list[tuple[float, float]]

    def __str__(self) -> str:
        clock, computing = zip(*self.calls, strict=True)
        return (
            f"{statistics.median(clock):7.1f} ms (at most {max(clock):.1f}), of that "
            f"{statistics.median(computing):.1f} ms of computing"
        )


def _ledger(path: Path) -> list[str]:
    filled(path)
    ledger = Ledger(path)
    try:
        return [
            f"a ledger of {EVENTS:,} bookings, six studies, six mechanisms",
            f"opened and checked                   {_of(lambda: Ledger(path).close())}",
            f"spending, nothing kept               {_of(lambda: _cold_spending(ledger))}",
            f"spending, warm                       {_of(lambda: ledger.spending('records'))}",
            *_booking(ledger),
        ]
    finally:
        ledger.close()


def _of(call: Callable[[], object]) -> _Times:
    return _Times([_timed_once(call) for _ in range(RUNS)])


def _timed_once(call: Callable[[], object]) -> tuple[float, float]:
    clock, computing = time.perf_counter(), time.process_time()
    call()
    return 1000 * (time.perf_counter() - clock), 1000 * (time.process_time() - computing)


def _cold_spending(ledger: Ledger) -> None:
    accountant.forget()
    ledger.spending("records")


def _booking(ledger: Ledger) -> list[str]:
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
        f"reserve, {NEW_BOOKINGS} new bookings             {_Times(reserved)}",
        f"spending after each of these         {_Times(said)}",
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

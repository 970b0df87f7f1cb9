"""What the coordinator sees tells nothing but the sum.

A round is replayed with other updates of the same sum, and other keys for the masks between the parties,
everything else being drawn alike. What crosses is then the same byte for byte, but for the masked
vectors, which are uniform both times.
"""

import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from scipy.stats import chisquare, kstest
from shared.secagg.rounds import Round, drawn_alike, session, values

from fedward_shared.secagg import masks
from fedward_shared.secagg.labels import Label
from fedward_shared.secagg.session import HEADER_BYTES

KNOWN = session(6, 4, 1, bits=16, count=20_000)
FIRST = values(KNOWN)
LOST = {"site-05": "mask"}
UNLIKELY = 1e-6
pair_key = masks.pair_key


def other_updates() -> dict[str, np.ndarray]:
    """With the same sum of the survivors, coordinate by coordinate, and far from the first."""
    moved = dict(FIRST)
    shift = np.random.default_rng(1).integers(-3000, 3000, KNOWN.count)
    moved["site-00"], moved["site-01"] = FIRST["site-00"] + shift, FIRST["site-01"] - shift
    moved["site-05"] = np.zeros(KNOWN.count, dtype=np.int64)
    return moved


def replay(
    patch: pytest.MonkeyPatch, updates: dict[str, np.ndarray], between: str, masked: bool = True
) -> Round:
    """`between` stands for what the parties share and the coordinator does not know."""

    def salted(
        label: Label, private: X25519PrivateKey, own: tuple[str, bytes], other: tuple[str, bytes]
    ) -> bytes:
        key = pair_key(label, private, own, other)
        return (
            key
            if LOST.keys() & {own[0], other[0]}
            else hashlib.sha256(key + between.encode()).digest()
        )

    patch.setattr(masks, "pair_key", salted)
    if not masked:
        patch.setattr(masks, "apply", lambda ring, numbers, key, sign: None)
    made = Round(KNOWN, updates, LOST, drawn_alike(patch))
    made.run()
    return made


def numbers(made: Round) -> dict[str, np.ndarray]:
    return {
        site: KNOWN.ring.unpack(data[HEADER_BYTES:], KNOWN.count, "test")
        for (stage, site), data in made.seen.items()
        if stage == "mask"
    }


def looks_uniform(sample: np.ndarray) -> bool:
    """By the frequencies of the high bytes and low bytes, and the distribution of the whole."""
    counts = [np.bincount(part, minlength=256) for part in (sample >> 8, sample & 255)]
    odds = [chisquare(count).pvalue for count in counts]
    odds.append(kstest((sample + 0.5) / 2**16, "uniform").pvalue)
    return min(odds) > UNLIKELY


def differs_in_masks_alone(first: Round, second: Round) -> bool:
    """All that a reader of both transcripts can tell."""
    if first.seen.keys() != second.seen.keys():
        return False
    same = all(
        data[:HEADER_BYTES] == second.seen[key][:HEADER_BYTES]
        if key[0] == "mask"
        else data == second.seen[key]
        for key, data in first.seen.items()
    )
    ones, others = numbers(first), numbers(second)
    uniform = all(
        looks_uniform(ones[site])
        and looks_uniform(others[site])
        and looks_uniform(ones[site] - others[site])
        for site in ones
    )
    return same and uniform


def test_what_was_seen_differs_in_nothing_but_uniform_masks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = replay(monkeypatch, FIRST, "one")
    second = replay(monkeypatch, other_updates(), "other")
    assert differs_in_masks_alone(first, second)
    survivors = first.aggregator._survivors
    totals = [made.aggregator._total for made in (first, second)]
    assert (KNOWN.ring.to_signed(totals[0]) == first.expected(survivors)).all()
    assert (totals[0] == totals[1]).all()


def test_the_same_updates_and_keys_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the replay varies what it says and nothing else."""
    assert replay(monkeypatch, FIRST, "one").seen == replay(monkeypatch, FIRST, "one").seen


def test_a_plain_sum_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    first = replay(monkeypatch, FIRST, "one", masked=False)
    second = replay(monkeypatch, other_updates(), "other", masked=False)
    assert not differs_in_masks_alone(first, second)


def test_a_mask_that_is_used_twice_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The difference of two vectors is then that of the updates."""
    first = replay(monkeypatch, FIRST, "one")
    second = replay(monkeypatch, other_updates(), "one")
    assert not differs_in_masks_alone(first, second)


def test_a_vector_stays_uniform_once_all_that_was_revealed_is_taken_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The coordinator knows the survivors' seeds, and the mask key of the lost: their pair masks too."""
    made = replay(monkeypatch, FIRST, "one")
    cohort = made.aggregator.cohort
    for site, vector in numbers(made).items():
        left = vector.copy()
        state = made.party(site).state
        masks.apply(KNOWN.ring, left, masks.self_key(cohort.label, state.self_seed, site), -1)
        own, lost = ((one, cohort.peers[one].mask_key) for one in (site, "site-05"))
        private = masks.mask_key(KNOWN.label, state.mask_seed, site)
        key = masks.pair_key(cohort.label, private, own, lost)
        masks.apply(KNOWN.ring, left, key, masks.pair_sign("site-05", site))
        assert looks_uniform(left)

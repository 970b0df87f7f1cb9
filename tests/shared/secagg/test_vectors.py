"""Golden vectors: what two releases have to agree about, byte by byte, to be in one round.

    WRITE_VECTORS=1 pytest tests/shared/secagg/test_vectors.py

writes `tests/vectors/secagg/` anew; a change there is a new version of the protocol (`labels.PROTOCOL`).
Keys, seeds and nonces are drawn from SHA-512 (`rounds.stream`); binary values are in hexadecimal.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shared.secagg.rounds import Round, drawn_alike, names, session, values

from fedward_shared.secagg import masks, parcels, sharing
from fedward_shared.secagg.aggregator import Aggregator
from fedward_shared.secagg.graph import Graph, degree_for
from fedward_shared.secagg.labels import Label
from fedward_shared.secagg.party import Party
from fedward_shared.secagg.quantiser import Quantiser
from fedward_shared.secagg.ring import WIDTHS, Ring

VECTORS = Path(__file__).parents[2] / "vectors" / "secagg"
LABEL = Label("sha256:" + "1" * 64, 3, 2, "sha256:" + "2" * 64)
ONE, TWO = (hashlib.sha256(name).digest() for name in (b"one", b"two"))
KNOWN = session(5, 4, 1, bits=12, count=7)
LOST = {"site-03": "mask"}


class Draws:
    """Random words that are written down."""

    def words32(self, count: int) -> np.ndarray:
        return (np.arange(count) % 10 * (2**32 // 10)).astype(np.uint32)


def keys() -> dict[str, Any]:
    one, two = masks.private_key(ONE), masks.private_key(TWO)
    first, second = ("north", masks.public_of(one)), ("south", masks.public_of(two))
    return {
        "secrets": [ONE.hex(), TWO.hex()],
        "public": [first[1].hex(), second[1].hex()],
        "info": LABEL.info("pair-mask", "north", "south").hex(),
        "pair": masks.pair_key(LABEL, one, first, second).hex(),
        "mask": masks.mask_key(LABEL, ONE[:16], "north").private_bytes_raw().hex(),
        "commitment": masks.commitment(LABEL, ONE[:16], "north").hex(),
        "self": masks.self_key(LABEL, ONE[:16], "north").hex(),
        "graph": LABEL.digest("graph").hex(),
    }


def rings() -> dict[str, Any]:
    made: dict[str, Any] = {}
    for bits in WIDTHS:
        ring = Ring(bits)
        numbers = ring.from_signed(np.array([0, 1, -1, 1000, -1000]))
        packed = ring.pack(numbers).hex()
        masks.apply(ring, numbers, ONE, 1)
        made[str(bits)] = {"packed": packed, "masked": ring.pack(numbers).hex()}
    quantised = Quantiser(0.5, 8).quantise(np.linspace(-0.6, 0.6, 13), Ring(16), Draws(), weight=3)
    return made | {"quantised": Ring(16).to_signed(quantised).tolist()}


def graphs() -> dict[str, Any]:
    graph = Graph(tuple(names(9)), 4, LABEL.digest("graph"))
    terms = [(8, 6, 1), (100, 75, 10), (300, 240, 20), (1000, 700, 50)]
    degrees = {term: degree_for(*term) for term in terms}
    return {
        "neighbours": {name: graph.neighbours(name) for name in graph.names},
        "degrees": [[*term, found.degree, found.threshold] for term, found in degrees.items()],
    }


def whole_round(patch: pytest.MonkeyPatch) -> dict[str, Any]:
    made = Round(KNOWN, values(KNOWN), LOST, drawn_alike(patch))
    found = made.run()
    sent: dict[str, dict[str, str]] = {}
    for (stage, site), data in made.seen.items():
        sent.setdefault(stage, {})[site] = data.hex()
    return {
        "values": {site: value.tolist() for site, value in values(KNOWN).items()},
        "sent": sent,
        "state": made.states["site-00"].decode(),
        "sum": found.total.tolist(),
    }


def compared(name: str, made: dict[str, Any]) -> None:
    path = VECTORS / f"{name}.json"
    if os.environ.get("WRITE_VECTORS"):
        path.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    assert json.loads(path.read_text("utf-8")) == made


def test_keys() -> None:
    compared("keys", keys())


def test_rings() -> None:
    compared("rings", rings())


def test_graphs() -> None:
    compared("graphs", graphs())


def test_a_whole_round(monkeypatch: pytest.MonkeyPatch) -> None:
    compared("round", whole_round(monkeypatch))


def test_the_messages_of_that_round_give_its_sum() -> None:
    """What another release has sent, to this release's coordinator."""
    recorded = json.loads((VECTORS / "round.json").read_text("utf-8"))
    add = Aggregator(KNOWN)
    stages = (
        ("begin", add.add_advertisement, add.close_advertisements),
        ("share", add.add_envelopes, add.close_envelopes),
        ("mask", add.add_vector, add.close_vectors),
        ("agree", add.add_agreement, add.close_agreements),
        ("reveal", add.add_reveal, add.close),
    )
    for stage, accept, close in stages:
        for site, data in recorded["sent"][stage].items():
            accept(site, bytes.fromhex(data))
        found = close()
    survivors = [site for site in names(5) if site not in LOST]
    assert found.total.tolist() == recorded["sum"]
    assert recorded["sum"] == np.sum([recorded["values"][s] for s in survivors], axis=0).tolist()


def test_the_state_of_that_round_opens_its_envelopes() -> None:
    recorded = json.loads((VECTORS / "round.json").read_text("utf-8"))
    party = Party.from_bytes(recorded["state"].encode(), KNOWN)
    cohort = party._cohort
    for sender, data in recorded["sent"]["share"].items():
        if sender != "site-00":
            envelope = parcels.decode(bytes.fromhex(data), "vector")["site-00"]
            text = sharing.unseal(
                cohort.label,
                masks.private_key(party.state.envelope_secret),
                sender,
                "site-00",
                cohort.peers[sender].envelope_key,
                envelope,
            )
            assert text == party.state.held[sender]

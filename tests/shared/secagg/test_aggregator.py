"""The coordinator's half: bad input is refused, named, and changes nothing."""

from collections.abc import Callable

import numpy as np
import pytest
from conftest import key_of
from shared.secagg.rounds import Round, names, session, values
from shared.secagg.test_party import agreement, keys

from fedward_shared.errors import AdapterError, AggregationError, FedwardError, StatementError
from fedward_shared.secagg import parcels
from fedward_shared.secagg.party import Party
from fedward_shared.secagg.session import HEADER_BYTES

KNOWN = session(5, 4, 1)
NORTH, SOUTH, *_ = names(5)


@pytest.fixture
def made() -> Round:
    return Round(KNOWN, values(KNOWN))


def refused(call: Callable[[], object], words: str, error: type[FedwardError]) -> None:
    with pytest.raises(error, match=words):
        call()


def finish(made: Round) -> None:
    """From whatever stage the round is at, to a right sum."""
    survivors = made.aggregator._survivors or made.aggregator.close_vectors()
    found = made.reveal(made.agree(survivors))
    assert (found.total == made.expected(survivors)).all()


def test_a_message_that_comes_again_changes_nothing(made: Round) -> None:
    add = made.aggregator
    advertisements = made.advertise()
    with pytest.raises(AggregationError, match="over or not yet begun"):
        add.add_advertisement(NORTH, advertisements[NORTH])
    sharers, boxes = made.share(advertisements)
    for site in sharers[:4]:
        party, masked = made.party(site).mask(sharers, boxes[site], made.vector(site))
        made.keep("mask", site, (party, masked))
        add.add_vector(site, masked)
        add.add_vector(site, masked)
    made.lost = {sharers[4]: "mask"}
    agreements = made.agree(add.close_vectors())
    for site in agreements:
        _, said = made.party(site).reveal(agreements)
        add.add_reveal(site, said)
        add.add_reveal(site, said)
    found = add.close()
    assert (found.total == made.expected(found.survivors)).all()


def test_a_second_message_of_one_site_is_refused(made: Round) -> None:
    add = made.aggregator
    add.add_advertisement(NORTH, keys(NORTH))
    add.add_advertisement(NORTH, keys(NORTH))
    words = "site-00: a second message of one stage"
    refused(
        lambda: add.add_advertisement(NORTH, keys(NORTH, commitment="1" * 64)),
        words,
        AggregationError,
    )


def test_a_second_vector_is_not_added(made: Round) -> None:
    sharers, boxes = made.share(made.advertise())
    for site in sharers:
        party, masked = made.party(site).mask(sharers, boxes[site], made.vector(site))
        made.keep("mask", site, (party, masked))
        made.aggregator.add_vector(site, masked)
        other = bytes([*masked[:-1], masked[-1] ^ 1])
        with pytest.raises(AggregationError, match=f"{site}: a second message"):
            made.aggregator.add_vector(site, other)
    finish(made)


@pytest.mark.parametrize(
    ("site", "data", "words", "error"),
    [
        ("mallory", keys(NORTH), "mallory is not among", AggregationError),
        (SOUTH, keys(NORTH), "not signed by site-01", StatementError),
        (NORTH, keys(NORTH, attempt=2), "attempt 2, and this is", AggregationError),
        (NORTH, keys(NORTH, round=2), "of round 2", AggregationError),
        (NORTH, b"{}", "keys of site-00: not a signed statement", StatementError),
        (NORTH, b"", "not canonical", StatementError),
    ],
)
def test_keys_that_are_not_right_are_refused(
    made: Round, site: str, data: bytes, words: str, error: type[FedwardError]
) -> None:
    refused(lambda: made.aggregator.add_advertisement(site, data), words, error)
    made.run()


def test_a_site_that_lies_about_its_key_is_named(made: Round) -> None:
    """It advertises the key of another as its own."""
    made.aggregator.add_advertisement(NORTH, keys(NORTH))
    copied = keys(SOUTH, envelope_key="2" * 64)
    with pytest.raises(AggregationError, match="site-01 has advertised a key of another site"):
        made.aggregator.add_advertisement(SOUTH, copied)


def test_a_site_that_shares_another_key_than_it_advertised_is_named(made: Round) -> None:
    """What its neighbours give back is then not the key that its masks were made with."""
    made.lost = {SOUTH: "mask"}
    advertisements = made.advertise()
    party = made.party(SOUTH)
    false = party._with(mask_seed=b"7" * 16)
    made.states[SOUTH] = false.to_bytes()
    survivors = made.mask(*made.share(advertisements))
    with pytest.raises(FedwardError, match="4 shares of the seed of site-01 do not give it back"):
        made.reveal(made.agree(survivors))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda parts: parts.pop(names(5)[4]), "not for its neighbours"),
        (lambda parts: parts.update(mallory=bytes(60)), "not for its neighbours"),
        (lambda parts: parts.update({names(5)[4]: bytes(59)}), "one is of another size"),
    ],
)
def test_envelopes_that_are_not_right_are_refused(
    made: Round, change: Callable[[dict[str, bytes]], object], words: str
) -> None:
    _, said = made_party(made).share(made.aggregator._advertisements)
    parts = parcels.decode(said, "test")
    change(parts)
    refused(
        lambda: made.aggregator.add_envelopes(NORTH, parcels.encode(parts)), words, AggregationError
    )
    refused(
        lambda: made.aggregator.add_envelopes("mallory", said),
        "not in the cohort",
        AggregationError,
    )
    made.aggregator.add_envelopes(NORTH, said)


def made_party(made: Round) -> Party:
    made.advertise()
    return made.party(NORTH)


@pytest.mark.parametrize(
    ("change", "words", "error"),
    [
        (lambda data: data[:-1], "39 bytes, and 20 numbers of 16 bits are 40", AdapterError),
        (lambda data: data + b"\0", "41 bytes", AdapterError),
        (lambda data: data[:HEADER_BYTES], "0 bytes", AdapterError),
        (lambda data: b"", "of another round, attempt or cohort", AggregationError),
        (lambda data: b"\0" + data[1:], "of another round, attempt or cohort", AggregationError),
        (lambda data: data[:32] + b"\x20" + data[33:], "another ring or length", AggregationError),
        (lambda data: data[:36] + b"\x15" + data[37:], "another ring or length", AggregationError),
    ],
)
def test_a_masked_vector_that_does_not_fit_is_refused(
    made: Round, change: Callable[[bytes], bytes], words: str, error: type[FedwardError]
) -> None:
    sharers, boxes = made.share(made.advertise())
    _, masked = made.party(NORTH).mask(sharers, boxes[NORTH], made.vector(NORTH))
    refused(lambda: made.aggregator.add_vector(NORTH, change(masked)), words, error)
    made.mask(sharers, boxes)
    finish(made)


@pytest.mark.parametrize("other", [{"round": 2}, {"attempt": 2}, {"bits": 32}, {"count": 21}])
def test_a_vector_of_another_session_is_refused(made: Round, other: dict[str, int]) -> None:
    """A replay of an earlier attempt among them."""
    foreign = Round(session(5, 4, 1, **other), values(session(5, 4, 1, **other)))
    foreign.masked()
    made.share(made.advertise())
    with pytest.raises(AggregationError, match="of another round, attempt or cohort"):
        made.aggregator.add_vector(NORTH, foreign.seen["mask", NORTH])


def test_a_vector_of_who_has_not_shared_is_refused(made: Round) -> None:
    made.lost = {NORTH: "share"}
    made.share(made.advertise())
    with pytest.raises(AggregationError, match="site-00 has shared no secrets"):
        made.aggregator.add_vector(NORTH, b"")


def test_a_late_vector_is_refused(made: Round) -> None:
    sharers, boxes = made.share(made.advertise())
    made.lost = {NORTH: "mask"}
    made.mask(sharers, boxes)
    _, late = made.party(NORTH).mask(sharers, boxes[NORTH], made.vector(NORTH))
    with pytest.raises(AggregationError, match="site-00: a message of a stage that is over"):
        made.aggregator.add_vector(NORTH, late)
    finish(made)


def test_signatures_that_are_not_right_are_refused(made: Round) -> None:
    made.lost = {SOUTH: "mask"}
    survivors = made.masked()
    add = made.aggregator.add_agreement
    other = agreement(made, NORTH, names(5))
    refused(lambda: add(NORTH, other), "site-00 has signed another set", AggregationError)
    late = agreement(made, SOUTH, list(survivors))
    refused(lambda: add(SOUTH, late), "site-01 has not survived", AggregationError)
    stale = agreement(made, NORTH, list(survivors), attempt=2)
    refused(lambda: add(NORTH, stale), "attempt 2, and this is", AggregationError)
    finish(made)


def test_shares_that_nobody_asked_for_are_refused(made: Round) -> None:
    made.lost = {names(5)[4]: "agree"}
    survivors = made.masked()
    refused(lambda: made.aggregator.add_reveal(NORTH, b""), "not yet begun", AggregationError)
    agreements = made.agree(survivors)
    _, said = made.party(NORTH).reveal(agreements)
    add, parts = made.aggregator.add_reveal, parcels.decode(said, "test")
    refused(lambda: add(names(5)[4], said), "has not signed who survived", AggregationError)
    stranger = parcels.encode(parts | {"zoe": bytes(16)})
    refused(lambda: add(NORTH, stranger), "of a site that is no neighbour", AggregationError)
    short = parcels.encode(parts | {NORTH: bytes(15)})
    refused(lambda: add(NORTH, short), "one is of another size", AggregationError)
    refused(lambda: add(NORTH, said[:-1]), "cut off", AggregationError)
    found = made.reveal(agreements)
    assert (found.total == made.expected(survivors)).all()


def test_it_is_ready_once_a_threshold_of_shares_is_there(made: Round) -> None:
    agreements = made.agree(made.masked())
    ready = []
    for site in agreements:
        ready.append(made.aggregator.ready)
        made.aggregator.add_reveal(site, made.party(site).reveal(agreements)[1])
    assert ready == [False, False, False, False, True]
    found = made.aggregator.close()
    assert (found.total == made.expected(found.survivors)).all()


def test_the_vectors_are_kept_nowhere(made: Round) -> None:
    """One sum, whatever the number of sites: no masked vector is reachable from the aggregator."""
    made.masked()
    kept = [one for one in vars(made.aggregator).values() if isinstance(one, np.ndarray)]
    assert len(kept) == 1
    sent = {data for (stage, _), data in made.seen.items() if stage == "mask"}
    held: list[object] = list(vars(made.aggregator).values())
    while held:
        one = held.pop()
        assert not (isinstance(one, bytes) and one in sent)
        held += [*one.keys(), *one.values()] if isinstance(one, dict) else []


def test_the_key_of_the_site_signs_for_the_coordinator_too(made: Round) -> None:
    """A party's half signs with its identity, which the aggregator's half checks against the charter."""
    _, said = Party.begin(KNOWN, NORTH, key_of(NORTH))
    made.aggregator.add_advertisement(NORTH, said)
    with pytest.raises(StatementError):
        made.aggregator.add_advertisement(SOUTH, said)

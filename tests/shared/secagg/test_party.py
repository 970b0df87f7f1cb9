"""A site's half: what it refuses, what it answers twice, and what its state holds."""

import traceback
from dataclasses import replace

import numpy as np
import pytest
from conftest import key_of
from shared.secagg.rounds import CHARTER, Round, names, session, values

from fedward_shared import canonical
from fedward_shared.errors import (
    AdapterError,
    AggregationError,
    CharterError,
    FedwardError,
    RoundAbandoned,
    StateError,
    StatementError,
)
from fedward_shared.secagg import masks, parcels, sharing
from fedward_shared.secagg.party import Party
from fedward_shared.secagg.signed import Advertisement, Agreement


def public(secret: bytes) -> str:
    return masks.public_of(masks.private_key(secret)).hex()


KNOWN = session(5, 4, 1)
NORTH, *OTHERS = names(5)
MALLORY = public(bytes(31) + b"\x01")


@pytest.fixture
def made() -> Round:
    return Round(KNOWN, values(KNOWN))


def keys(site: str, **changed: object) -> bytes:
    fields: dict[str, object] = {
        "charter": CHARTER,
        "site": site,
        "round": 1,
        "attempt": 1,
        "mask_key": public(b"m" * 32),
        "envelope_key": public(b"e" * 32),
        "commitment": "0" * 64,
    }
    return Advertisement.model_validate(fields | changed).signed(key_of(site))


# --- its keys, and the others'


def test_only_the_owner_of_a_site_s_key_begins() -> None:
    for site, key in ((NORTH, key_of("mallory")), ("mallory", key_of("mallory"))):
        with pytest.raises(AggregationError, match="not among the participants with this key"):
            Party.begin(KNOWN, site, key)


def test_two_beginnings_have_nothing_in_common() -> None:
    first, second = (Party.begin(KNOWN, NORTH, key_of(NORTH))[0] for _ in range(2))
    for part in ("mask_seed", "envelope_secret", "self_seed"):
        assert getattr(first.state, part) != getattr(second.state, part)
    assert len({first.state.mask_seed, first.state.envelope_secret, first.state.self_seed}) == 3


def test_a_key_that_the_coordinator_swapped_is_noticed(made: Round) -> None:
    """The message is signed with a key of its own, and then with none at all."""
    advertisements = made.advertise()
    other = OTHERS[0]
    swapped = Advertisement.model_validate(
        {
            "charter": CHARTER,
            "site": other,
            "round": 1,
            "attempt": 1,
            "mask_key": MALLORY,
            "envelope_key": MALLORY,
            "commitment": "0" * 64,
        }
    ).signed(key_of("university"))
    with pytest.raises(StatementError, match=f"not signed by {other}"):
        made.party(NORTH).share(advertisements | {other: swapped})
    old = KNOWN.read_advertisement(other, advertisements[other]).mask_key.encode()
    tampered = advertisements[other].replace(old, MALLORY.encode())
    with pytest.raises(StatementError, match="signature"):
        made.party(NORTH).share(advertisements | {other: tampered})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"charter": "sha256:" + "2" * 64}, "about charter"),
        ({"round": 2}, "a message of round 2, attempt 1, and this is round 1"),
        ({"attempt": 2}, "a message of round 1, attempt 2"),
    ],
)
def test_keys_of_another_attempt_are_refused(
    made: Round, change: dict[str, object], words: str
) -> None:
    advertisements = made.advertise() | {OTHERS[0]: keys(OTHERS[0], **change)}
    with pytest.raises(FedwardError, match=words):
        made.party(NORTH).share(advertisements)


def test_its_own_keys_have_to_come_back_unchanged(made: Round) -> None:
    advertisements = made.advertise()
    party = made.party(NORTH)
    with pytest.raises(AggregationError, match="itself was changed"):
        party.share(advertisements | {NORTH: keys(NORTH)})
    del advertisements[NORTH]
    with pytest.raises(AggregationError, match="itself was changed"):
        party.share(advertisements)


def test_strangers_and_doubled_keys_are_refused(made: Round) -> None:
    advertisements, party = made.advertise(), made.party(NORTH)
    with pytest.raises(AggregationError, match="mallory is not among the participants"):
        party.share(advertisements | {"mallory": keys("mallory")})
    own = KNOWN.read_advertisement(NORTH, advertisements[NORTH])
    copied = keys(OTHERS[0], mask_key=own.mask_key)
    with pytest.raises(AggregationError, match="two of the advertised keys are the same"):
        party.share(advertisements | {OTHERS[0]: copied})


def test_one_site_s_keys_do_not_pass_for_another_s(made: Round) -> None:
    advertisements = made.advertise()
    advertisements[OTHERS[0]] = advertisements[OTHERS[1]]
    with pytest.raises(StatementError):
        made.party(NORTH).share(advertisements)


def test_too_few_keys_and_it_shares_nothing(made: Round) -> None:
    advertisements = made.advertise()
    few = {site: advertisements[site] for site in names(3)}
    with pytest.raises(RoundAbandoned, match="3 sites advertised keys, the charter's minimum is 4"):
        made.party(NORTH).share(few)


def test_it_shares_once(made: Round) -> None:
    advertisements = made.advertise()
    made.share(advertisements)
    party = made.party(NORTH)
    again, said = party.share(advertisements)
    assert (again, said) == (party, made.seen["share", NORTH])
    fewer = {site: advertisements[site] for site in names(4)}
    with pytest.raises(AggregationError, match="has answered already, to other advertisements"):
        party.share(fewer)


# --- its vector


def test_it_masks_nothing_before_it_has_shared(made: Round) -> None:
    made.advertise()
    with pytest.raises(AggregationError, match="has shared nothing"):
        made.party(NORTH).mask(names(5), b"", made.vector(NORTH))


def test_the_same_vector_gives_the_same_bytes_and_another_none(made: Round) -> None:
    sharers, boxes = made.share(made.advertise())
    made.mask(sharers, boxes)
    party = made.party(NORTH)
    again, said = party.mask(sharers, boxes[NORTH], made.vector(NORTH))
    assert (again, said) == (party, made.seen["mask", NORTH])
    with pytest.raises(AggregationError, match="answered already"):
        party.mask(sharers, boxes[NORTH], made.vector(NORTH) + np.uint16(1))
    fewer = {
        site: data for site, data in parcels.decode(boxes[NORTH], "").items() if site != "site-04"
    }
    with pytest.raises(AggregationError, match="answered already"):
        party.mask(names(4), parcels.encode(fewer), made.vector(NORTH))


@pytest.mark.parametrize(
    "vector",
    [np.zeros(19, "<u2"), np.zeros(21, "<u2"), np.zeros(20, "<u4"), np.zeros((20, 1), "<u2")],
)
def test_a_vector_of_another_shape_or_ring_is_refused(made: Round, vector: np.ndarray) -> None:
    sharers, boxes = made.share(made.advertise())
    with pytest.raises(AdapterError, match="cannot be masked: 20 of uint16 expected"):
        made.party(NORTH).mask(sharers, boxes[NORTH], vector)
    assert not vector.any()


@pytest.mark.parametrize(
    ("sharers", "words"),
    [
        ([*names(5), "mallory"], "out of order"),
        (["mallory", *names(5)], "mallory cannot be among them"),
        ([*names(5)[::-1]], "out of order"),
        ([NORTH, *names(5)], "one occurs twice"),
        (names(4), "not those of its neighbours"),
        (OTHERS, "not those of its neighbours"),
    ],
)
def test_sharers_that_cannot_be_are_refused(made: Round, sharers: list[str], words: str) -> None:
    _, boxes = made.share(made.advertise())
    with pytest.raises(AggregationError, match=words):
        made.party(NORTH).mask(sharers, boxes[NORTH], made.vector(NORTH))


def test_too_few_sharers_and_it_masks_nothing(made: Round) -> None:
    _, boxes = made.share(made.advertise())
    with pytest.raises(RoundAbandoned, match="3 sites shared secrets"):
        made.party(NORTH).mask(names(3), boxes[NORTH], made.vector(NORTH))


def damaged(box: bytes, *senders: str) -> bytes:
    parts = parcels.decode(box, "test")
    return parcels.encode(
        {site: bytes(len(data)) if site in senders else data for site, data in parts.items()}
    )


def test_a_share_that_does_not_open_is_passed_over(made: Round) -> None:
    sharers, boxes = made.share(made.advertise())
    boxes[NORTH] = damaged(boxes[NORTH], OTHERS[1])
    survivors = made.mask(sharers, boxes)
    assert made.party(NORTH).unreadable == [OTHERS[1]]
    found = made.reveal(made.agree(survivors))
    assert (found.total == made.expected(survivors)).all()


def test_too_many_that_do_not_open_and_it_masks_nothing(made: Round) -> None:
    sharers, boxes = made.share(made.advertise())
    with pytest.raises(AggregationError, match="2 envelopes open for site-00: too few"):
        made.party(NORTH).mask(sharers, damaged(boxes[NORTH], *OTHERS[:2]), made.vector(NORTH))


def test_an_envelope_of_another_attempt_does_not_open(made: Round) -> None:
    made.share(made.advertise())
    later = Round(session(5, 4, 1, attempt=2), values(KNOWN))
    sharers, boxes = later.share(later.advertise())
    parts = parcels.decode(boxes[NORTH], "test")
    for sender in OTHERS:
        parts[sender] = parcels.decode(made.seen["share", sender], "test")[NORTH]
    with pytest.raises(AggregationError, match="0 envelopes open"):
        later.party(NORTH).mask(sharers, parcels.encode(parts), later.vector(NORTH))


# --- who survived


def test_it_agrees_to_one_set_and_to_no_other(made: Round) -> None:
    survivors = made.masked()
    party, said = made.party(NORTH).agree(survivors, key_of(NORTH))
    assert party.agree(survivors, key_of(NORTH)) == (party, said)
    restarted = Party.from_bytes(party.to_bytes(), KNOWN)
    with pytest.raises(AggregationError, match="answered already, to other set of survivors"):
        restarted.agree(names(4), key_of(NORTH))


@pytest.mark.parametrize(
    ("survivors", "words"),
    [
        ([*names(5), "zoe"], "zoe cannot be among them"),
        (names(5)[::-1], "out of order"),
        ([NORTH, *names(4)], "one occurs twice"),
        (OTHERS, "has sent a vector and is not among them"),
    ],
)
def test_a_set_that_cannot_be_is_refused(made: Round, survivors: list[str], words: str) -> None:
    made.masked()
    with pytest.raises(AggregationError, match=words):
        made.party(NORTH).agree(survivors, key_of(NORTH))


def test_a_set_below_the_minimum_is_refused(made: Round) -> None:
    made.masked()
    with pytest.raises(RoundAbandoned, match="3 sites sent a masked vector"):
        made.party(NORTH).agree(names(3), key_of(NORTH))


def test_who_has_masked_nothing_agrees_to_nothing(made: Round) -> None:
    made.share(made.advertise())
    with pytest.raises(AggregationError, match="has masked nothing"):
        made.party(NORTH).agree(names(5), key_of(NORTH))


# --- what it reveals


def agreement(made: Round, site: str, of: list[str], **changed: object) -> bytes:
    cohort = made.aggregator.cohort
    fields: dict[str, object] = {
        "charter": CHARTER,
        "site": site,
        "round": 1,
        "attempt": 1,
        "cohort": cohort.label.cohort,
        "survivors": cohort.survivors_digest(names(5), of),
    }
    return Agreement.model_validate(fields | changed).signed(key_of(site))


def test_it_gives_the_seed_s_share_or_the_key_s_and_never_both(made: Round) -> None:
    made.lost = {OTHERS[3]: "mask"}
    agreements = made.agree(made.masked())
    party = made.party(NORTH)
    _, said = party.reveal(agreements)
    shares = parcels.decode(said, "test")
    assert list(shares) == names(5)
    for owner, share in shares.items():
        of_seed, of_key = party.state.held[owner][:16], party.state.held[owner][16:]
        assert share == (of_key if owner == OTHERS[3] else of_seed)
        assert len(share) == sharing.SHARE_BYTES
    assert party.reveal(agreements) == (party, said)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"survivors": "sha256:" + "0" * 64}, "another set of survivors"),
        ({"cohort": "sha256:" + "0" * 64}, "another cohort"),
        ({"attempt": 2}, "attempt 2, and this is"),
        ({"round": 3}, "a message of round 3"),
        ({"charter": "sha256:" + "2" * 64}, "about charter"),
    ],
)
def test_a_signature_under_anything_else_and_it_reveals_nothing(
    made: Round, change: dict[str, object], words: str
) -> None:
    agreements = made.agree(made.masked())
    agreements[OTHERS[0]] = agreement(made, OTHERS[0], names(5), **change)
    with pytest.raises(FedwardError, match=words):
        made.party(NORTH).reveal(agreements)


def test_nor_does_it_for_signatures_of_others_or_too_few(made: Round) -> None:
    made.lost = {OTHERS[3]: "mask"}
    agreements = made.agree(made.masked())
    party = made.party(NORTH)
    with pytest.raises(RoundAbandoned, match="3 sites signed who survived"):
        party.reveal({site: agreements[site] for site in OTHERS[:3]})
    dropped = agreement(made, OTHERS[3], names(4))
    with pytest.raises(AggregationError, match="another set"):
        party.reveal({OTHERS[3]: dropped, **agreements})
    with pytest.raises(StatementError, match=f"not by {OTHERS[1]}|not signed by"):
        party.reveal(agreements | {OTHERS[1]: agreements[OTHERS[0]]})


def test_who_has_agreed_to_nothing_reveals_nothing(made: Round) -> None:
    survivors = made.masked()
    agreements = {site: agreement(made, site, list(survivors)) for site in survivors}
    with pytest.raises(AggregationError, match="has agreed to no set"):
        made.party(NORTH).reveal(agreements)


# --- attempts and restarts


def test_a_later_attempt_has_keys_of_its_own(made: Round) -> None:
    made.masked()
    before = made.party(NORTH)
    later, said = Party.begin(replace(KNOWN, attempt=2), NORTH, key_of(NORTH), before)
    assert said != before.state.advertisement
    assert later.state.mask_seed != before.state.mask_seed
    assert later.state.vector == ""


def test_no_attempt_after_it_has_agreed(made: Round) -> None:
    made.agree(made.masked())
    before = Party.from_bytes(made.states[NORTH], replace(KNOWN, attempt=2))
    assert before.session.attempt == 1
    with pytest.raises(AggregationError, match="agreed to the survivors of round 1 already"):
        Party.begin(replace(KNOWN, attempt=2), NORTH, key_of(NORTH), before)


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_stale_attempt_is_refused(attempt: int) -> None:
    before, _ = Party.begin(replace(KNOWN, attempt=2), NORTH, key_of(NORTH))
    with pytest.raises(AggregationError, match="is at attempt 2 already"):
        Party.begin(replace(KNOWN, attempt=attempt), NORTH, key_of(NORTH), before)


def test_its_state_comes_back_at_every_stage_and_shows_no_secret(made: Round) -> None:
    def check() -> None:
        party = made.party(NORTH)
        assert party.to_bytes() == made.states[NORTH]
        shown = repr(party) + str(party) + repr(party.state) + str(party.state)
        state = party.state
        for secret in (
            state.mask_seed,
            state.envelope_secret,
            state.self_seed,
            *state.held.values(),
        ):
            assert secret.hex() not in shown
            assert repr(secret) not in shown

    advertisements = made.advertise()
    check()
    sharers, boxes = made.share(advertisements)
    check()
    survivors = made.mask(sharers, boxes)
    check()
    agreements = made.agree(survivors)
    check()
    made.reveal(agreements)
    check()


@pytest.mark.parametrize(
    "field", ["site", "self_seed", "peers", "held", "sharers", "attempt", "session"]
)
@pytest.mark.parametrize("value", [None, "x y", {"x y": 1}, ["x y"], -1])
def test_a_state_that_was_damaged_is_refused_without_its_secrets(field: str, value: object) -> None:
    party, _ = Party.begin(KNOWN, NORTH, key_of(NORTH))
    content = canonical.decode(party.to_bytes())
    with pytest.raises(StateError) as caught:
        Party.from_bytes(canonical.encode(content | {field: value}), KNOWN)
    assert party.state.self_seed.hex() not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"session": 1}'])
def test_bytes_that_are_no_state_are_refused(data: bytes) -> None:
    with pytest.raises(StateError):
        Party.from_bytes(data, KNOWN)


def test_a_state_of_another_session_is_refused() -> None:
    party, _ = Party.begin(KNOWN, NORTH, key_of(NORTH))
    for other in (session(5, 4, 1, round=2), session(5, 5, 1), session(5, 4, 1, bits=32)):
        with pytest.raises(StateError, match="of another round"):
            Party.from_bytes(party.to_bytes(), other)


def test_terms_that_protect_nobody_make_no_session() -> None:
    with pytest.raises(CharterError, match="two sets of survivors could both be signed"):
        session(5, 3, 1)

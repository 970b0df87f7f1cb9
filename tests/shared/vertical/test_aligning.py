"""The alignment as the parties' programs run it."""

import pytest

from fedward_shared.errors import AlignmentError, ExchangeError
from fedward_shared.exchange.program import Send, together
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.vertical import aligning
from fedward_shared.vertical.terms import AlignmentTerms

TERMS = AlignmentTerms(rules=("exact",), most=100, step=10, least=2)


def people(*numbers):
    return [f"person {number}".encode() for number in numbers]


def parties(bank, *bureaus, terms=TERMS, seed=0):
    def stream(name):
        return Randomness.from_seed(seed, name)

    names = [f"bureau {n}" for n in range(len(bureaus))]
    programs = {"bank": aligning.active(names, bank, terms, "session", stream("bank"))}
    for name, own in zip(names, bureaus, strict=True):
        programs[name] = aligning.passive("bank", name, own, terms, "session", stream(name))
    return programs


def run(programs):
    sent = []
    return together(programs, lambda *_: None, lambda who, what: sent.append((who, what))), sent


def test_three_parties_come_to_the_same_people_in_the_same_order():
    bank, first, second = people(*range(30)), people(*range(5, 40)), people(*range(20, 0, -1))
    found, _ = run(parties(bank, first, second))
    ordered = [bank[row] for row in found["bank"]]
    assert sorted(ordered) == sorted(people(*range(5, 21)))
    assert ordered == [first[row] for row in found["bureau 0"]]
    assert ordered == [second[row] for row in found["bureau 1"]]


def test_the_same_seed_gives_the_same_bytes_and_another_one_none_of_them():
    bank, bureau = people(1, 2, 3, 4), people(2, 3, 5)
    first, again, other = (run(parties(bank, bureau, seed=seed))[1] for seed in (0, 0, 1))
    assert first == again
    points = [
        {what.body for _, what in sent if isinstance(what, Send) and what.kind == "points"}
        for sent in (first, other)
    ]
    assert not points[0] & points[1]


def test_no_identifier_is_in_what_is_sent_and_sizes_are_padded():
    bank, bureau = people(1, 2, 3, 4), people(2, 3, 5)
    _, sent = run(parties(bank, bureau))
    whole = b"".join(what.body for _, what in sent)
    assert not any(identifier in whole for identifier in [*bank, *bureau])
    sizes = [int.from_bytes(what.body) for _, what in sent if what.kind == "sizes"]
    assert sizes == [10, 10, 2]


def test_nobody_in_common_is_said_and_a_few_are_not_enough():
    with pytest.raises(AlignmentError, match="0 records are common"):
        run(parties(people(1, 2), people(3, 4)))
    with pytest.raises(AlignmentError, match="1 records are common"):
        run(parties(people(1, 2), people(2, 3)))


def test_more_than_the_charter_allows_is_refused_before_a_point_is_sent():
    sent = []
    programs = parties(people(*range(101)), people(1, 2))
    with pytest.raises(AlignmentError, match="has 110 identifiers, the charter allows 1 to 100"):
        together(programs, lambda *_: None, lambda who, what: sent.append(what.kind))
    assert set(sent) <= {"sizes"}


def changed(program, kind, number, body):
    """The program, whose message of that kind and number has another body."""
    sent = 0
    action = next(program)
    while True:
        if isinstance(action, Send) and action.kind == kind:
            sent += 1
            if sent == number:
                action = Send(action.peer, kind, body)
        try:
            action = program.send((yield action))
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("count", [0, 1, 11, 2**32 - 1])
def test_a_number_of_common_people_that_cannot_be_is_refused(count):
    programs = parties(people(1, 2, 3), people(1, 2, 3))
    programs["bank"] = changed(programs["bank"], "sizes", 2, count.to_bytes(4))
    with pytest.raises(ExchangeError, match=f"bank says that {count} records are common"):
        run(programs)


@pytest.mark.parametrize(
    ("who", "kind", "number"),
    [("bank", "points", 1), ("bureau 0", "doubled", 1), ("bureau 0", "points", 1)],
)
def test_points_that_are_none_are_refused(who, kind, number):
    programs = parties(people(1, 2, 3), people(1, 2, 3))
    programs[who] = changed(programs[who], kind, number, bytes([255]) * 320)
    with pytest.raises(AlignmentError):
        run(programs)


def test_places_that_are_none_are_refused():
    programs = parties(people(1, 2, 3), people(1, 2, 3))
    programs["bank"] = changed(programs["bank"], "places", 1, bytes(12))
    with pytest.raises(AlignmentError, match="one is twice"):
        run(programs)

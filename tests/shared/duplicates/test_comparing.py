"""Sites that look for each other's near-duplicates, as their programs run it."""

from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_shared.duplicates import comparing
from fedward_shared.duplicates.bands import Bands
from fedward_shared.duplicates.terms import DuplicatesTerms
from fedward_shared.errors import AlignmentError, DataError, ExchangeError, FedwardError
from fedward_shared.exchange.program import Action, Program, Send, together
from fedward_shared.privacy.plan import INTERSECTION
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.psi import POINT_BYTES, group
from fedward_shared.text import BANDS

TERMS = DuplicatesTerms(seed=1, most=12, step=4, shortest=1)
WORDS = ["cough", "fever", "visit", "blood", "lungs", "heart", "clear", "tired", "since", "today"]
texts = st.lists(st.lists(st.sampled_from(WORDS), min_size=3, max_size=8).map(" ".join), max_size=4)


def programs(
    held: dict[str, list[str]], terms: DuplicatesTerms = TERMS, seed: int = 0
) -> dict[str, Program]:
    def program(name: str) -> Program:
        return comparing.comparing(
            name,
            sorted(held.keys() - {name}),
            Bands.of(held[name], terms.seed, terms.shortest),
            terms,
            "session",
            [INTERSECTION],
            lambda peer: Randomness.from_seed(seed, name, peer),
        )

    return {name: program(name) for name in held}


def run(made: dict[str, Program]) -> tuple[dict[str, Any], list[tuple[str, Send]]]:
    sent: list[tuple[str, Send]] = []
    found = together(made, lambda *_: None, lambda who, what: sent.append((who, what)))
    return found, sent


@settings(max_examples=20, deadline=None)
@given(held=st.fixed_dictionaries(dict.fromkeys(("a", "b", "c"), texts)))
def test_each_learns_how_many_bands_of_its_documents_the_others_have(
    held: dict[str, list[str]],
) -> None:
    found, _ = run(programs(held))
    elements = {name: set(Bands.of(own, TERMS.seed).elements) for name, own in held.items()}
    for name, own in held.items():
        bands = Bands.of(own, TERMS.seed)
        for peer, counts_D in found[name].items():
            plain = [
                sum(bands.elements[one] in elements[peer] for one in element_B)
                for element_B in bands.element_DB
            ]
            assert counts_D.tolist() == plain
        assert found[name].keys() == held.keys() - {name}


def received(sent: list[tuple[str, Send]], by: str) -> list[tuple[str, str, int]]:
    return [(who, what.kind, len(what.body)) for who, what in sent if what.peer == by]


SAME = [f"the same document number {n} that both of the sites have" for n in range(3)]


def test_what_a_site_receives_tells_nothing_of_what_is_not_its_own() -> None:
    """Of another site's documents but for those in common: neither how many, nor which, nor how alike
    they are to each other. All that comes are points, each of them new, in as many bytes."""
    few = [*SAME, "a document of the other site alone"]
    many = [
        *SAME[::-1],
        *[f"other {n} that is of one site alone and of nobody else" for n in range(5)],
    ]
    alike = [*SAME, *["a document of which there are many copies here"] * 4]
    own = [*SAME, "a document that is of this site alone"]
    told: list[dict[str, Any]] = []
    for theirs in (few * 2, many, [*alike, "and one more of them"]):
        found, sent = run(programs({"here": own, "there": theirs}, seed=len(told)))
        points = b"".join(
            what.body for _, what in sent if what.peer == "here" and what.kind != "sizes"
        )
        counts = found["here"]["there"].tolist()
        told.append({"shape": received(sent, "here"), "pieces": pieces(points), "counts": counts})
        # As many as both show, and none of them twice.
        assert len(told[-1]["pieces"]) == len(set(told[-1]["pieces"])) == BANDS * (4 + 8)
    first, *others = told
    for other in others:
        assert other["shape"] == first["shape"]
        assert other["counts"] == first["counts"] == [BANDS, BANDS, BANDS, 0]
        assert not set(other["pieces"]) & set(first["pieces"])


def test_the_order_of_points_is_that_of_no_document() -> None:
    """Points of one document lie anywhere among the others, so that nobody can put them together."""
    elements = Bands.of(SAME, TERMS.seed).elements
    domain = comparing._domain("session", "here", "there")
    hashed = b"".join(group.hashed(element, domain) for element in elements)
    found: list[list[int]] = []
    for seed in (0, 1):
        _, sent = run(programs({"here": SAME, "there": SAME}, seed=seed))
        [body] = [what.body for who, what in sent if (who, what.kind) == ("here", "points")]
        secret = group.secret(Randomness.from_seed(seed, "here", "there").words64(8).tobytes())
        places = [
            body.index(point) // POINT_BYTES for point in pieces(group.multiplied(secret, hashed))
        ]
        assert sorted(places) != places
        assert max(places[:BANDS]) - min(places[:BANDS]) > 2 * BANDS
        found.append(places)
    assert found[0] != found[1]


def pieces(points: bytes) -> list[bytes]:
    return [points[at : at + POINT_BYTES] for at in range(0, len(points), POINT_BYTES)]


def test_the_same_secret_gives_the_same_bytes() -> None:
    held = {"a": SAME, "b": SAME[1:], "c": []}
    assert run(programs(held))[1] == run(programs(held))[1]


def test_a_batch_at_a_time_all_pairs_go_on_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "BATCH", 24)
    monkeypatch.setattr("fedward_shared.psi.alignment.BATCH", 24)
    held = {"a": SAME, "b": SAME * 3, "c": SAME[:1], "d": []}
    found, sent = run(programs(held))
    assert found["a"]["b"].tolist() == [BANDS] * 3
    assert found["b"]["c"].tolist() == [BANDS, 0, 0] * 3
    kinds = Counter((who, what.peer, what.kind) for who, what in sent)
    assert kinds["b", "a", "points"] == kinds["a", "b", "doubled"] == -(-12 * BANDS // 24)


def test_more_documents_than_the_charter_allows_are_not_shown() -> None:
    sent: list[Any] = []
    made = programs({"a": [f"document number {n} of many" for n in range(13)], "b": SAME})
    with pytest.raises(DataError, match=r"13 documents take part, duplicates\.most .* is 12"):
        together(made, lambda *_: None, lambda _, what: sent.append(what.kind))
    assert set(sent) <= {"sizes"}


def test_nothing_leaves_but_sizes_before_it_is_booked() -> None:
    happened: list[str] = []
    together(
        programs({"a": SAME, "b": SAME}),
        lambda who, event: happened.append(f"{who} books {event.mechanism}"),
        lambda who, what: happened.append(f"{who} sends {what.kind}"),
    )
    for who in "ab":
        own = [one for one in happened if one.startswith(who)]
        assert own[:3] == [f"{who} sends sizes", f"{who} books intersection", f"{who} sends points"]


def changed(program: Program, kind: str, change: Callable[[bytes], bytes]) -> Program:
    """The program, whose messages of that kind have another body."""

    def run() -> Generator[Action, bytes, Any]:
        action = next(program)
        while True:
            if isinstance(action, Send) and action.kind == kind:
                action = Send(action.peer, action.kind, change(action.body))
            try:
                action = program.send((yield action))
            except StopIteration as end:
                return end.value

    return run()


@pytest.mark.parametrize(
    ("kind", "change", "error"),
    [
        ("sizes", lambda _: (16).to_bytes(4), r"b shows 16 documents; the charter allows 12"),
        ("sizes", lambda _: (5).to_bytes(4), r"b shows 5 documents; .* in steps of 4"),
        ("sizes", lambda _: bytes(4), r"b shows 0 documents"),
        ("sizes", lambda body: body[:3], r"b has sent 3 bytes of sizes where 4 are due"),
        ("points", lambda body: body[POINT_BYTES:], r"bytes of points where 2048 are due"),
        ("points", lambda body: b"\xff" * len(body), r"for a point of ristretto255 is none"),
        ("points", lambda body: body[:POINT_BYTES] * 64, r"a point of .* came twice"),
        ("doubled", lambda body: body[:POINT_BYTES] * 64, r"a point of own came twice"),
        ("doubled", lambda body: body + body[:POINT_BYTES], r"bytes of doubled where 2048 are due"),
    ],
)
def test_what_does_not_fit_ends_it(kind: str, change: Callable[[bytes], bytes], error: str) -> None:
    made = programs({"a": SAME, "b": SAME})
    made["b"] = changed(made["b"], kind, change)
    with pytest.raises((AlignmentError, ExchangeError), match=error) as caught:
        run(made)
    assert isinstance(caught.value, FedwardError)

"""Predictions of three sites over the real relay: scores, what they cost, and how many there are."""

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from client.attendance.consortium import (
    ONCE,
    SESSION,
    SITES,
    Deployed,
    Killed,
    Mortal,
    Worker,
    World,
    opened,
)
from client.exchange.running import RunningRelay
from patience import PATIENCE

from fedward_client import asking
from fedward_client.attendance.queries import Queries
from fedward_client.boundary.wire import RefusedByCore
from fedward_client.core import Attending, SessionOffer
from fedward_client.vertical import predicting
from fedward_client.vertical.predicting import Predicted
from fedward_client.vertical.records import PartyRecords
from fedward_shared import records, tensors
from fedward_shared.errors import CharterError, DataError, ExchangeError, Interrupted, RefusalCode
from fedward_shared.exchange.program import Program, together
from fedward_shared.privacy import accountant
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.vertical import planning
from fedward_shared.vertical.charter import VerticalCharter

PREDICTIONS = 2
MODES: dict[str, Any] = {
    "without DP": None,
    "once": planning.once(8.0, 1e-5, predictions=PREDICTIONS).model_dump(mode="json"),
    "every batch": planning.every_batch(8.0, 1e-5, 4, PREDICTIONS).model_dump(mode="json"),
}
ASKED = {"id": ["person-00003", "person-99999", "person-00250"], "x": ["0.9", "0.5", "0.1"]}
FIRST, SECOND, THIRD = "a1" * 32, "a2" * 32, "a3" * 32


def trained(world: World, mode: str = "once") -> tuple[VerticalCharter, dict[str, Deployed]]:
    charter, sites = world(privacy=MODES[mode], predictions=PREDICTIONS)
    for worker in [site.attend(charter) for site in sites.values()]:
        worker.done()
    return charter, sites


def queries_of(sites: dict[str, Deployed], charter: VerticalCharter) -> Queries:
    return Queries(sites["bank"].home / "state", charter)


def queried(
    sites: dict[str, Deployed], charter: VerticalCharter, **columns: list[str]
) -> asking.Waiting:
    """A question that waits at the bank."""
    path = sites["bank"].home / "asked.jsonl"
    records.write_jsonl(path, columns or ASKED)
    return asking.Waiting(queries_of(sites, charter), path.read_bytes(), path.suffix)


class Seen:
    """What the sites were offered."""

    def __init__(self) -> None:
        self.offers: dict[str, SessionOffer] = {}

    def __call__(self, seat: Attending) -> Attending:
        self.offers[seat.offer.site] = seat.offer
        return seat


def asked(
    sites: dict[str, Deployed],
    charter: VerticalCharter,
    relay: RunningRelay,
    session: str = FIRST,
    wrapped: Any = lambda seat: seat,
) -> dict[str, Worker]:
    opened(relay, charter, session)
    return {n: s.attend(charter, session, wrapped, model=SESSION) for n, s in sites.items()}


def scores_of(sites: dict[str, Deployed], charter: VerticalCharter, session: str) -> Any:
    folder = sites["bank"].home / "state" / "vertical" / charter.digest.partition(":")[2] / session
    return json.loads((folder / "result.json").read_bytes())["scores"]


def in_one_process(
    charter: VerticalCharter, offers: dict[str, SessionOffer]
) -> dict[str, list[str]]:
    """The scores that the parties' programs come to with the same secrets and models."""
    terms = charter.vertical
    programs: dict[str, Program] = {}
    for name, offer in offers.items():
        streams = partial(Randomness.derived, offer.secret)
        model = tensors.decode(offer.model, "the model")
        if name == terms.active:
            query = PartyRecords.parse(offer.data, offer.query, terms, name, ["id"])
            programs[name] = predicting.active(terms, query, model, offer.session, streams)
        else:
            own = PartyRecords.read(offer.data, terms, name, ["id"])
            programs[name] = predicting.passive(terms, name, own, model, offer.session, streams)
    found = together(programs, lambda *_: None)[terms.active]
    assert isinstance(found, Predicted)
    pairs = zip(found.rows, found.probability_N.tolist(), strict=True)
    return {ASKED["id"][row]: [f"{score:.6f}"] for row, score in pairs}


@pytest.mark.parametrize("mode", MODES)
def test_people_are_asked_about_and_each_answer_is_booked(
    world: World, relay: RunningRelay, mode: str
) -> None:
    charter, sites = trained(world, mode)
    queried(sites, charter)
    seen = Seen()
    for worker in asked(sites, charter, relay, wrapped=seen).values():
        worker.done()
    scores = scores_of(sites, charter, FIRST)
    assert scores == in_one_process(charter, seen.offers)
    assert scores.keys() == {"person-00003", "person-00250"}
    terms = charter.vertical
    for name, site in sites.items():
        with site.site() as opened_site:
            booked = [*terms.fitted(name), *terms.predicted(name)]
            assert opened_site.ledger.studies("customers") == {charter.digest: booked}
            numbers = [one.round for one in opened_site.ledger.bookings()]
        assert numbers == list(range(1, len(booked) + 1))
        ended = site.logged("session done")[-1]
        assert (ended["purpose"], ended["answered"]) == ("predict", 2)
        began = site.logged("attended")[-1]
        assert (began["purpose"], began["privacy"].startswith("NOT PRIVATE")) == (
            "predict",
            mode == "without DP",
        )
    said = sites["bureau"].logged("session done")[-1]["said"]
    answer = "cells to bank" if mode == "once" else "embeddings to bank"
    assert said[answer] == 2 * (1 if mode == "once" else terms.model.embedding * 4)
    assert set(said) == {"sizes to bank", "points to bank", "doubled to bank", answer}
    bank = sites["bank"].logged("session done")[-1]["said"]
    assert {what.split()[0] for what in bank} == {"sizes", "points", "places"}


@pytest.mark.parametrize("mode", ["without DP", "once"])
def test_there_are_as_many_as_the_charter_has_by_the_sites_own_ledgers(
    world: World, relay: RunningRelay, mode: str
) -> None:
    charter, sites = trained(world, mode)
    for session, person in ((FIRST, "person-00001"), (SECOND, "person-00002")):
        queried(sites, charter, id=[person], x=["0.5"])
        for worker in asked(sites, charter, relay, session).values():
            worker.done()
        assert list(scores_of(sites, charter, session)) == [person]
    with sites["bureau"].site() as site:
        before = site.ledger.studies("customers")
        assert before == {charter.digest: charter.events("bureau")}
        if mode == "once":
            spent = site.ledger.spending("customers").epsilon
            assert spent == accountant.epsilon(charter.events("bureau"), 1e-5) <= 8.0
    queried(sites, charter, id=["person-00003"], x=["0.5"])
    assert refusal(sites["bureau"], charter, THIRD, relay) is RefusalCode.BUDGET
    with sites["bureau"].site() as site:
        assert site.ledger.studies("customers") == before


def refusal(
    site: Deployed,
    charter: VerticalCharter,
    session: str,
    relay: RunningRelay,
    model: str = SESSION,
) -> RefusalCode:
    opened(relay, charter, session)
    with pytest.raises(RefusedByCore) as caught:
        site.attend(charter, session, model=model).done()
    return caught.value.refusal


def test_where_nobody_asks_anything_it_costs_nothing(world: World, relay: RunningRelay) -> None:
    charter, sites = trained(world)
    opened(relay, charter, FIRST)
    others = [sites[n].attend(charter, FIRST, model=SESSION) for n in ("bureau", "telecom")]
    assert refusal(sites["bank"], charter, FIRST, relay) is RefusalCode.DATA
    queried(sites, charter).withdraw()
    assert refusal(sites["bank"], charter, FIRST, relay) is RefusalCode.DATA
    relay.sessions.close(FIRST)
    for worker in others:
        worker.ended()
        assert worker.error is not None
    for name in ("bureau", "telecom"):
        with sites[name].site() as site:
            done = site.ledger.studies("customers")
        assert done == {charter.digest: charter.vertical.fitted(name)}


def test_a_party_that_is_killed_goes_on_as_the_same_prediction(
    world: World, relay: RunningRelay
) -> None:
    charter, sites = trained(world)
    queried(sites, charter)
    seen = Seen()
    opened(relay, charter, FIRST)
    others = [sites[n].attend(charter, FIRST, seen, model=SESSION) for n in ("bank", "telecom")]
    killed = sites["bureau"].attend(
        charter, FIRST, lambda seat: Mortal(seen(seat), 2), model=SESSION
    )
    killed.ended()
    assert isinstance(killed.error, Killed)
    sites["bureau"].stop()
    sites["bureau"].start()
    again = sites["bureau"].attend(charter, FIRST, model=SESSION)
    for worker in (*others, again):
        worker.done()
    assert scores_of(sites, charter, FIRST) == in_one_process(charter, seen.offers)
    with sites["bureau"].site() as site:
        fitted = len(charter.vertical.fitted("bureau"))
        assert site.ledger.spending("customers").bookings == fitted + 1


def test_a_model_that_was_not_fitted_here_is_not_asked(world: World, relay: RunningRelay) -> None:
    charter, sites = trained(world)
    queried(sites, charter)
    other = "0f" * 32
    for name in SITES:
        assert refusal(sites[name], charter, FIRST, relay, other) is RefusalCode.MODEL
    for worker in asked(sites, charter, relay).values():
        worker.done()
    # A prediction is over too, and has fitted nothing.
    assert refusal(sites["bureau"], charter, SECOND, relay, FIRST) is RefusalCode.MODEL


def test_about_people_whom_nobody_has_it_is_a_prediction_too(
    world: World, relay: RunningRelay
) -> None:
    charter, sites = trained(world)
    queried(sites, charter, id=["nobody"], x=["0.5"])
    for worker in asked(sites, charter, relay).values():
        worker.done()
    assert scores_of(sites, charter, FIRST) == {}
    with sites["telecom"].site() as site:
        booked = site.ledger.studies("customers")[charter.digest]
    assert booked[-1] == charter.vertical.predicted("telecom")[0]


def asking_of(site: Deployed, charter: VerticalCharter, path: Path) -> Any:
    said: list[str] = []
    out = site.home / "scores.csv"
    return (
        out,
        said,
        Worker(
            lambda: asking.ask(site.path, charter.digest, path, out, PATIENCE, said.append)  # type: ignore[func-returns-value,arg-type,return-value]
        ),
    )


def test_whoever_asks_waits_and_has_the_scores_in_a_table(
    world: World, relay: RunningRelay
) -> None:
    charter, sites = trained(world, "without DP")
    path = sites["bank"].home / "new.csv"
    path.write_text("x,id\n0.9,person-00003\n0.5,person-99999\n", "utf-8")
    out, said, asker = asking_of(sites["bank"], charter, path)
    while not any("waiting for the coordinator" in line for line in said):
        asker._thread.join(0.05)
        assert asker.error is None
    for worker in asked(sites, charter, relay).values():
        worker.done()
    asker.ended()
    assert asker.error is None
    assert said[0].startswith("NOT PRIVATE")
    scores = scores_of(sites, charter, FIRST)
    with out.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["id", "score"],
            ["person-00003", *scores["person-00003"]],
            ["person-99999", ""],
        ]
    assert out.stat().st_mode & 0o777 == 0o600
    # The same question has the same answer, whoever is online.
    for site in sites.values():
        site.stop()
    before = out.read_bytes()
    out.unlink()
    asking.ask(sites["bank"].path, charter.digest, path, out, 0.0, said.append)
    assert out.read_bytes() == before
    for site in sites.values():
        site.start()


def test_a_question_is_checked_before_anybody_hears_of_it(world: World) -> None:
    charter, sites = world(privacy=ONCE)
    bank, path = sites["bank"], sites["bank"].home / "asked.csv"
    path.write_text("id,x\nperson-00001,0.5\n", "utf-8")
    ask = partial(asking.ask, bank.path, charter.digest, path, bank.home / "out.csv", 0.0, print)
    with pytest.raises(CharterError, match="predictions is 0"):
        ask()
    bureau = sites["bureau"].path
    with pytest.raises(CharterError, match="has no label in it, and nothing to ask"):
        asking.ask(bureau, charter.digest, path, bank.home / "out.csv", 0.0, print)


def interrupted(_: float) -> None:
    raise KeyboardInterrupt


def test_a_question_that_nobody_answers_is_withdrawn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    charter, sites = trained(world)
    bank, path = sites["bank"], sites["bank"].home / "asked.csv"
    out = bank.home / "out.csv"
    path.write_text("id\nperson-00001\n", "utf-8")
    with pytest.raises(DataError, match="no column 'x'"):
        asking.ask(bank.path, charter.digest, path, out, 0.0, print)
    path.write_text("id,x\nperson-00001,0.5\n", "utf-8")
    with pytest.raises(ExchangeError, match="the question is withdrawn"):
        asking.ask(bank.path, charter.digest, path, out, 0.0, print)
    monkeypatch.setattr(asking.time, "sleep", interrupted)
    with pytest.raises(Interrupted, match="the question is withdrawn"):
        asking.ask(bank.path, charter.digest, path, out, None, print)
    assert not out.exists()
    with pytest.raises(DataError, match="nobody here asks"):
        queries_of(sites, charter).taken(FIRST)


def test_a_prediction_that_the_sites_hours_do_not_allow_is_for_later(
    world: World, relay: RunningRelay
) -> None:
    charter, sites = trained(world)
    queried(sites, charter)
    bureau = sites["bureau"]
    text = bureau.path.read_text("utf-8")
    bureau.path.write_text(text + "\n[limits]\nrounds_per_day = 3\n", "utf-8")
    assert refusal(bureau, charter, FIRST, relay) is RefusalCode.LATER

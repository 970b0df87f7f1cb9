"""Sessions of three sites over the real relay and real sockets: what they come to, come what may."""

import base64
import io
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from client.attendance.consortium import (
    COORDINATOR,
    EVERY_BATCH,
    MODES,
    ONCE,
    PEOPLE,
    SESSION,
    Deployed,
    Killed,
    Mortal,
    World,
    data_of,
    opened,
    undisturbed,
)
from client.exchange.running import RunningRelay
from conftest import key_of
from PIL import Image

from fedward_client.attendance.seat import AttendedSession
from fedward_client.boundary.wire import RefusedByCore
from fedward_client.vertical import checkpoints
from fedward_shared import base_models, records, tensors
from fedward_shared.assurances import Completion, SessionRequest
from fedward_shared.errors import ExchangeError, FedwardError, ModelError, RefusalCode
from fedward_shared.exchange.program import KINDS
from fedward_shared.privacy import accountant
from fedward_shared.vertical import planning
from fedward_shared.vertical.charter import VerticalCharter
from fedward_simulations.data.base_models import tiny_bert


@pytest.mark.parametrize("mode", MODES)
def test_all_do_their_part_and_what_they_say_is_booked(world: World, mode: str) -> None:
    charter, sites = world(privacy=MODES[mode])
    workers = {name: site.attend(charter) for name, site in sites.items()}
    for name, worker in workers.items():
        done = worker.done()
        said = Completion.read_of(done.completion, charter, name, "test")
        assert said.session == SESSION
        cost = accountant.epsilon(charter.events(name), 1e-5)
        assert said.spent == cost
        with sites[name].site() as site:
            assert site.ledger.studies("customers") == {charter.digest: charter.events(name)}
            assert site.shown_head == said.head
        [attended] = sites[name].logged("attended")
        assert "not covered by epsilon" in attended["alignment"]
        assert not sites[name].journal().exists()
    [ended] = sites["bureau"].logged("session done")
    kind = "cells" if mode == "once" else "embeddings"
    assert set(ended["said"]) == {
        f"{what} to bank" for what in ("sizes", "points", "doubled", kind)
    }


@pytest.mark.parametrize("records", [10**9, 3 * 64])
def test_a_party_that_is_killed_goes_on_and_the_result_is_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, records: int
) -> None:
    """From the checkpoint after alignment, and from one after some batches."""
    monkeypatch.setattr(checkpoints, "CHECKPOINT_RECORDS", records)
    charter, sites = world(privacy=EVERY_BATCH)
    others = [sites[name].attend(charter) for name in ("bank", "telecom")]
    killed = sites["bureau"].attend(charter, wrapped=lambda seat: Mortal(seat, 9))
    killed.ended()
    assert isinstance(killed.error, Killed)
    sites["bureau"].stop()
    secrets = {name: site.secret() for name, site in sites.items()}
    sites["bureau"].start()
    again = sites["bureau"].attend(charter)
    for worker in (*others, again):
        worker.done()
    files = {name: site.home / "customers.jsonl" for name, site in sites.items()}
    expected = undisturbed(charter, SESSION, secrets, files)
    assert {name: site.model(charter) for name, site in sites.items()} == expected
    with sites["bureau"].site() as site:
        assert site.ledger.spending("customers").bookings == 1
    # What was said before the checkpoint counts on, here as at a party that said as much undisturbed.
    [said], [theirs] = (sites[n].logged("session done") for n in ("bureau", "telecom"))
    assert said["said"] == theirs["said"]


def test_what_was_said_before_a_checkpoint_counts_in_the_runs_after_it(world: World) -> None:
    charter, sites = world(privacy=EVERY_BATCH)
    request = SessionRequest(charter=charter.digest, session=SESSION).signed(COORDINATOR)
    for name in ("bank", "telecom"):
        sites[name].attend(charter)
    sizes, core = bytes([KINDS.index("sizes"), *bytes(8)]), sites["bureau"].core
    seat = core.attend(charter.digest, request)
    assert isinstance(seat, AttendedSession)
    with closing(seat):
        seat.send("bank", sizes)
        seat.checkpoint(b"half")
    again = core.attend(charter.digest, request)
    assert isinstance(again, AttendedSession)
    with closing(again):
        assert again.restored() == b"half"
        with pytest.raises(ExchangeError, match="16 bytes of sizes for bank, at most 8"):
            again.send("bank", sizes)


def test_who_was_killed_at_the_very_end_does_not_wait_for_those_who_are_done(
    world: World, relay: RunningRelay
) -> None:
    charter, sites = world(privacy=ONCE)
    others = {name: sites[name].attend(charter) for name in ("bank", "telecom")}
    sites["bureau"].attend(charter, wrapped=lambda seat: Mortal(seat, 999)).ended()
    done = b"\n".join(worker.done().completion for worker in others.values())
    again = sites["bureau"].attend(charter, done=done).done(10)
    assert Completion.read_of(again.completion, charter, "bureau", "test").session == SESSION


def test_only_a_party_says_of_itself_that_it_is_done(world: World) -> None:
    charter, sites = world(privacy=ONCE)
    completion = Completion(
        charter=charter.digest,
        site="bank",
        session=SESSION,
        epsilon="1.0",
        delta="1e-05",
        head="0" * 64,
    )
    request = SessionRequest(charter=charter.digest, session=SESSION).signed(COORDINATOR)
    for false in (
        completion.signed(COORDINATOR),
        completion.model_copy(update={"session": "0a" * 32}).signed(key_of("bank")),
        completion.model_copy(update={"site": "stranger"}).signed(key_of("stranger")),
        b"no statement",
    ):
        with pytest.raises(FedwardError):
            sites["bureau"].core.attend(charter.digest, request, false)
    assert not sites["bureau"].journal().exists()


def test_whoever_is_asked_again_says_what_it_said(world: World) -> None:
    charter, sites = world(privacy=ONCE)
    first = {name: site.attend(charter) for name, site in sites.items()}
    said = {name: worker.done() for name, worker in first.items()}
    assert {name: site.attend(charter).done() for name, site in sites.items()} == said


def test_a_second_worker_waits_for_the_first(world: World) -> None:
    charter, sites = world()
    twice = [sites["bureau"].attend(charter) for _ in range(2)]
    others = [sites[name].attend(charter) for name in ("bank", "telecom")]
    for worker in others:
        worker.done()
    assert twice[0].done() == twice[1].done()
    assert len(sites["bureau"].logged("attended")) == 1


def refused(site: Deployed, charter: VerticalCharter, session: str = SESSION) -> RefusalCode:
    worker = site.attend(charter, session)
    with pytest.raises(RefusedByCore) as caught:
        worker.done()
    return caught.value.refusal


def interrupted(world: World, **changes: Any) -> tuple[VerticalCharter, dict[str, Deployed]]:
    """All have begun, and the bureau was killed in the middle."""
    charter, sites = world(**changes)
    for name in ("bank", "telecom"):
        sites[name].attend(charter)
    killed = sites["bureau"].attend(charter, wrapped=lambda seat: Mortal(seat, 9))
    killed.ended()
    return charter, sites


def test_with_other_records_a_session_does_not_go_on(world: World) -> None:
    charter, sites = interrupted(world, privacy=EVERY_BATCH)
    bureau, data = sites["bureau"], data_of("bureau")
    fewer = {name: values[:-1] for name, values in data.items()}
    records.write_jsonl(bureau.home / "customers.jsonl", fewer)
    assert refused(bureau, charter) is RefusalCode.DATA  # not registered as it is
    with bureau.site() as site:
        site.register("customers")
    assert refused(bureau, charter) is RefusalCode.STATE
    records.write_jsonl(bureau.home / "customers.jsonl", data)
    with bureau.site() as site:
        site.register("customers")
    assert isinstance(bureau.attend(charter, wrapped=lambda s: Mortal(s, 12)).ended(), type(None))
    with bureau.site() as site:
        assert site.ledger.spending("customers").bookings == 1


def test_without_its_journal_a_session_is_paid_for_anew_or_not_at_all(world: World) -> None:
    charter, sites = interrupted(world, privacy=EVERY_BATCH)
    bureau = sites["bureau"]
    for path in bureau.journal().parent.iterdir():
        path.unlink()
    code = refused(bureau, charter)
    assert code in (RefusalCode.BUDGET, RefusalCode.EXCHANGE)
    with bureau.site() as site:
        assert site.ledger.spending("customers").epsilon <= 8.0


def test_another_session_of_a_study_is_more_than_its_charter_allows(
    world: World, relay: RunningRelay
) -> None:
    charter, sites = world(privacy=ONCE)
    for worker in [site.attend(charter) for site in sites.values()]:
        worker.done()
    other = "0a" * 32
    opened(relay, charter, other)
    workers = {name: site.attend(charter, other) for name, site in sites.items()}
    workers["bank"].ended()
    assert isinstance(workers["bank"].error, RefusedByCore)
    assert workers["bank"].error.refusal is RefusalCode.BUDGET


def test_a_request_that_is_not_the_coordinators_is_refused(world: World) -> None:
    charter, sites = world()
    forged = SessionRequest(charter=charter.digest, session=SESSION).signed(key_of("thief"))
    core = sites["bank"].core
    with pytest.raises(FedwardError, match="not signed by"):
        core.attend(charter.digest, forged)
    with pytest.raises(FedwardError, match="it has no rounds"):
        core.offer(charter.digest, b"")


def test_a_withdrawal_ends_what_has_not_begun(world: World) -> None:
    from fedward_client import consent

    charter, sites = world()
    with sites["bank"].site() as site:
        consent.withdraw(site, charter.digest)
    assert refused(sites["bank"], charter) is RefusalCode.CHARTER


def test_what_is_in_the_seat_of_the_active_party(world: World) -> None:
    charter, sites = world()
    for worker in [site.attend(charter) for site in sites.values()]:
        worker.done()
    folder = sites["bank"].home / "state/vertical" / charter.digest.partition(":")[2] / SESSION
    result = json.loads((folder / "result.json").read_bytes())
    assert result["records"] == 300
    assert result["held_out"] == 60
    assert float(result["auc"]) > 0.9
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == 0o600


def picture(across: int, down: int) -> str:
    """Of 8 × 8 grey points in base64: stripes that lie, stand or cross, as wide as is said."""
    file = io.BytesIO()
    image = Image.new("L", (8, 8))
    image.putdata([200 * ((x // across + y // down) % 2) for y in range(8) for x in range(8)])
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def contents_of(name: str) -> dict[str, list[str]]:
    """Of one in three kinds of people: the bank's file says which, the others' show it."""
    found = data_of(name)
    kind_N = [int(person.removeprefix("person-")) % 3 for person in found["id"]]
    shown = {
        "bank": ("y", ["calm", "swift", "bright"]),
        "bureau": ("scan", [picture(1, 8), picture(8, 1), picture(2, 2)]),
        "telecom": ("note", ["calm steady", "sudden", "severe acute"]),
    }
    column, of_kind = shown[name]
    return found | {column: [of_kind[kind] for kind in kind_N]}


def contents_terms(encoder: str) -> dict[str, Any]:
    """Of three classes, an image and a text; LoRA is what trains of the encoder."""
    scan = {"kind": "image", "name": "scan", "height": 8, "width": 8, "channels": 1}
    lora = {"method": "lora", "rank": 2, "alpha": 4, "target_modules": ["query"], "layers": [0]}
    note = {"kind": "text", "name": "note", "base_model": {"digest": encoder}, "adapter": lora}
    return {
        "classes": ["calm", "swift", "bright"],
        "fitting": {"epochs": 12, "batch": 64, "learning_rate": 0.05},
        "passive": [
            {"name": "bureau", "table": {"columns": [scan]}},
            {"name": "telecom", "table": {"columns": [note]}},
        ],
    }


@pytest.mark.parametrize("mode", ["without DP", "once"])
def test_texts_images_and_classes_are_learnt_from(world: World, tmp_path: Path, mode: str) -> None:
    bert = tiny_bert(tmp_path / "bert", 0, ["calm steady sudden severe acute"])
    once = planning.once(8.0, 1e-5, PEOPLE, classes=3).model_dump(mode="json")
    charter, sites = world(
        {"telecom": {"base_models": [str(bert)]}},
        contents_of,
        privacy=once if mode == "once" else None,
        **contents_terms(base_models.digest(bert)),
    )
    files = {name: site.home / "customers.jsonl" for name, site in sites.items()}
    killed = sites["bureau"].attend(charter, wrapped=lambda seat: Mortal(seat, 2))
    workers = [sites[name].attend(charter) for name in ("bank", "telecom")]
    killed.ended()
    secrets = {name: site.secret() for name, site in sites.items()}
    for worker in [*workers, sites["bureau"].attend(charter)]:
        worker.done()
    models = {name: site.model(charter) for name, site in sites.items()}
    assert models == undisturbed(charter, SESSION, secrets, files, [bert])
    base_model = [n for n in tensors.decode(models["telecom"], "test") if "base_layer" in n]
    assert not base_model, "only what trains is kept"
    result = json.loads((sites["bank"].kept(charter) / "result.json").read_bytes())
    assert float(result["accuracy"]) > 0.7
    assert float(result["balanced_accuracy"]) > 0.7
    assert set(charter.events("bureau")) == set(charter.events("telecom"))


def test_a_site_without_the_encoder_of_its_texts_refuses(world: World) -> None:
    with pytest.raises(ModelError, match=r"site\.toml: base_models: no base model with the digest"):
        world(**contents_terms("sha256:" + "0" * 64))


def test_peers_that_are_silent_end_it_and_are_named(world: World, caplog: Any) -> None:
    charter, sites = world()
    core = sites["bank"].core
    request = SessionRequest(charter=charter.digest, session=SESSION).signed(COORDINATOR)
    seat = core.attend(charter.digest, request)
    with closing(seat), pytest.raises(FedwardError, match="bureau has not answered for 1 s"):  # type: ignore[type-var]
        seat.receive("bureau", 1.0)  # type: ignore[union-attr]

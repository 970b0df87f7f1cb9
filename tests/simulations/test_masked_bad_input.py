"""Masked rounds among sites and a coordinator that lie: somebody is lost, nobody's update is seen."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flwr.app import Message
from simulations.masks import FOUR, Meddle, Reply, bookings, closeness, run, undisturbed

from fedward_client.vault import FOLDER
from fedward_server.observer import Observer
from fedward_server.studies import Study
from fedward_shared import canonical
from fedward_shared.assurances import Delivery
from fedward_shared.errors import CohortError, RefusalCode
from fedward_shared.messages import (
    Answer,
    MaskAnswer,
    MaskRequest,
    Refusal,
    TrainRequest,
    Update,
    answer_from_record,
)
from fedward_shared.secagg import parcels
from fedward_shared.secagg.signed import Advertisement
from fedward_simulations.consortium import Consortium, Recipe, World

Forge = Callable[[World, Answer], Answer]


def resigned(world: World, update: Update, vector: bytes) -> Update:
    """The site itself sends another vector, and signs for it."""
    key = Consortium(world, Observer())._key(update.site)
    body = json.loads(update.delivery)["body"]
    said = Delivery.model_validate({**body, "update": canonical.digest(vector)})
    return replace(update, delivery=said.signed(key), update=vector)


def vector(change: Callable[[bytes], bytes]) -> Forge:
    def forge(world: World, answer: Answer) -> Answer:
        assert isinstance(answer, Update)
        return resigned(world, answer, change(answer.update))

    return forge


def advertised(world: World, answer: Answer, **changes: str) -> MaskAnswer:
    """A site signs other keys than it has made."""
    assert isinstance(answer, MaskAnswer)
    said = Advertisement.model_validate({**json.loads(answer.parcel)["body"], **changes})
    return replace(answer, parcel=said.signed(Consortium(world, Observer())._key(answer.site)))


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


LIES: dict[str, tuple[str, Forge, str]] = {
    "too long": (
        "training",
        vector(lambda v: v + b"\0\0"),
        "bytes, and 194 numbers of 16 bits are",
    ),
    "too short": ("training", vector(lambda v: v[:-2]), "bytes, and 194 numbers of 16 bits are"),
    "cut within its head": (
        "training",
        vector(lambda v: v[:20]),
        "another round, attempt or cohort",
    ),
    "another ring": (
        "training",
        vector(lambda v: v[:32] + bytes([32]) + v[33:]),
        "of another ring or length",
    ),
    "another round": (
        "training",
        vector(lambda v: bytes(32) + v[32:]),
        "another round, attempt or",
    ),
    "not what it signed": (
        "training",
        lambda _, a: replace(a, update=flipped(a.update)),  # type: ignore[arg-type, union-attr]
        "it was made for another round, or is another one",
    ),
    "not masked": (
        "training",
        lambda _, a: replace(a, masked=False),  # type: ignore[arg-type]
        "answered another question",
    ),
    "keys that it did not sign": (
        "keys",
        lambda _, a: replace(a, parcel=flipped(a.parcel)),  # type: ignore[arg-type, union-attr]
        "keys of west",
    ),
    "a key of small order": (
        "shares",
        lambda _, a: replace(a, parcel=b""),  # type: ignore[arg-type]
        "not for its neighbours",
    ),
    "another attempt": ("keys", lambda w, a: advertised(w, a, attempt="2"), "attempt 2"),
    "another stage": (
        "shares",
        lambda _, a: replace(a, stage="keys"),  # type: ignore[arg-type]
        "answered another question",
    ),
}


def test_a_site_that_lies_is_lost_and_the_others_have_their_sum(
    four: World, masked: Recipe, meddle: Meddle
) -> None:
    """In each round of one study it lies in another way."""
    training = masked.training.model_copy(update={"rounds": len(LIES)})

    def lies(site: str, stage: str, _count: int, message: Message, reply: Reply) -> Message:
        answered = reply(message)
        where, forge, _ = list(LIES.values())[int(message.metadata.group_id or 1) - 1]
        if (site, stage) == ("west", where):
            forged = forge(four, answer_from_record(answered.content))
            return Message(forged.to_record(), reply_to=message)
        return answered

    meddle(lies)
    records = run(four, replace(masked, training=training)).records
    for record, (lie, (where, _, named)) in zip(records, LIES.items(), strict=True):
        assert record.cohort == list(FOUR[:3]), lie
        assert record.dropped == {"west": where}, lie
        assert named in record.missing["west"], lie


def test_a_site_that_takes_anothers_key_for_its_own_is_lost(
    four: World, masked: Recipe, meddle: Meddle
) -> None:
    """The last to answer has seen the others' keys, with the coordinator's help."""
    seen: list[str] = []

    def lies(site: str, stage: str, _count: int, message: Message, reply: Reply) -> Message:
        answered = reply(message)
        if stage != "keys":
            return answered
        answer = answer_from_record(answered.content)
        assert isinstance(answer, MaskAnswer)
        seen.append(json.loads(answer.parcel)["body"]["mask_key"])
        if len(seen) < len(FOUR):
            return answered
        return Message(advertised(four, answer, mask_key=seen[0]).to_record(), reply_to=message)

    meddle(lies)
    [record] = run(four, masked).records
    [(site, reason)] = record.missing.items()
    assert f"{site} has advertised a key of another site" in reason


def spoiling(receivers: tuple[str, ...]) -> Forge:
    """West seals for these of its neighbours what they cannot open."""

    def forge(_: World, answer: Answer) -> Answer:
        assert isinstance(answer, MaskAnswer)
        envelopes = parcels.decode(answer.parcel, "test")
        spoilt = {n: flipped(e) if n in receivers else e for n, e in envelopes.items()}
        return replace(answer, parcel=parcels.encode(spoilt))

    return forge


@pytest.mark.parametrize("receivers", [("east",), ("east", "north", "south")])
def test_shares_that_do_not_decrypt(
    receivers: tuple[str, ...], four: World, masked: Recipe, meddle: Meddle, tmp_path: Path
) -> None:
    """One is done without. Too many: nothing can be had of the round, and the next one starts."""
    rounds = masked.training.model_copy(update={"rounds": 2})
    two = replace(masked, training=rounds)

    def spoils(site: str, stage: str, count: int, message: Message, reply: Reply) -> Message:
        answered = reply(message)
        if (site, stage, count) == ("west", "shares", 0):
            forged = spoiling(receivers)(four, answer_from_record(answered.content))
            return Message(forged.to_record(), reply_to=message)
        return answered

    meddle(spoils)
    outcome = run(four, two)
    first, second = outcome.records
    assert (second.cohort, second.abandoned) == (list(FOUR), "")
    assert bookings(outcome.sites) == [2, 2, 2, 2]
    if receivers == ("east",):
        assert (first.cohort, first.abandoned) == (list(FOUR), "")
    else:
        assert "nothing was learnt" in first.abandoned
        assert outcome.study.history[0].tensors == outcome.study.history[1].tensors


# The coordinator lies


def with_parcel(message: Message, parcel: bytes) -> Message:
    """The message with another parcel."""
    asked = MaskRequest.from_record(message.content)
    message.content = replace(asked, parcel=parcel).to_record()
    return message


def test_a_coordinator_that_swaps_a_key_is_caught_before_anybody_trains(
    four: World, masked: Recipe, meddle: Meddle
) -> None:
    said: list[RefusalCode] = []

    def swaps(site: str, stage: str, _count: int, message: Message, reply: Reply) -> Message:
        if stage != "shares" or site == "west":
            return reply(message)
        keys = parcels.decode(MaskRequest.from_record(message.content).parcel, "test")
        body = {**json.loads(keys["west"])["body"], "mask_key": "5a" * 32}
        forged = Advertisement.model_validate(body).signed(
            Consortium(four, Observer())._key("mallory")
        )
        answered = reply(with_parcel(message, parcels.encode({**keys, "west": forged})))
        answer = answer_from_record(answered.content)
        assert isinstance(answer, Refusal)
        said.append(answer.code)
        return answered

    meddle(swaps)
    with pytest.raises(CohortError, match="1 sites shared secrets"):
        run(four, masked)
    assert set(said) == {RefusalCode.CHARTER}
    sites = [four.folder / "study" / "sites" / name / "site.toml" for name in FOUR]
    assert bookings(sites) == [0, 0, 0, 0]


def test_a_coordinator_gets_one_signature_under_one_set_of_survivors(
    four: World, masked: Recipe, meddle: Meddle
) -> None:
    """Nor does it get another from a state that was put back, in this attempt or the next."""
    codes: list[RefusalCode] = []
    vault = four.folder / "study" / "sites" / "east" / "run" / FOLDER
    subset = parcels.encode(dict.fromkeys(FOUR[:3], b""))

    def code_of(answered: Message) -> RefusalCode | None:
        answer = answer_from_record(answered.content)
        return answer.code if isinstance(answer, Refusal) else None

    def asks_twice(site: str, stage: str, _count: int, message: Message, reply: Reply) -> Message:
        if (site, stage) != ("east", "survivors"):
            return reply(message)
        shutil.copytree(vault, vault.with_name("older"))
        asked = MaskRequest.from_record(message.content)
        answered = reply(message)
        assert answer_from_record(reply(message).content) == answer_from_record(answered.content)
        refused = code_of(reply(with_parcel(message, subset)))
        shutil.rmtree(vault)
        shutil.copytree(vault.with_name("older"), vault)
        again = code_of(reply(with_parcel(message, subset)))
        same = reply(with_parcel(message, asked.parcel))
        assert answer_from_record(same.content) == answer_from_record(answered.content)
        shutil.rmtree(vault)  # a new attempt of the same round, with nothing known of the old one
        study = Study(four.folder / "study" / "coordinator")
        study.read()
        message.content = replace(asked, stage="keys", parcel=b"").to_record()
        codes.extend(code for code in (refused, again, code_of(reply(message))) if code)
        shutil.copytree(vault.with_name("older"), vault)
        reply(with_parcel_of(message, asked))
        return answered

    meddle(asks_twice)
    [record] = run(four, masked).records
    assert record.cohort == list(FOUR)
    assert codes == [RefusalCode.PROTOCOL] * 3


def with_parcel_of(message: Message, asked: MaskRequest) -> Message:
    """The message as it was."""
    message.content = asked.to_record()
    return message


def test_a_site_masks_once_in_an_attempt_whatever_state_is_put_back(
    four: World, masked: Recipe, meddle: Meddle
) -> None:
    vault = four.folder / "study" / "sites" / "east" / "run" / FOLDER
    codes: list[RefusalCode] = []

    def asks_twice(site: str, stage: str, _count: int, message: Message, reply: Reply) -> Message:
        if (site, stage) != ("east", "training"):
            return reply(message)
        shutil.copytree(vault, vault.with_name("older"))
        answered = reply(message)
        assert answer_from_record(reply(message).content) == answer_from_record(answered.content)
        kept = (vault.parent / "kept").with_suffix(".vector")
        shutil.copy(next(vault.glob("*.vector")), kept)
        name = next(vault.glob("*.vector")).name
        shutil.rmtree(vault)
        shutil.copytree(vault.with_name("older"), vault)
        shutil.copy(kept, vault / name)
        # With a neighbour less, and no answer in the ledger that would be the same bytes.
        asked = TrainRequest.from_record(message.content)
        fewer = parcels.encode(dict.fromkeys(FOUR[:3], b""))
        envelopes = parcels.decode(asked.sharing.envelopes, "test")
        envelopes.pop("west")
        ledger = vault.parent.parent / "state" / "ledger.sqlite"
        forget(ledger)
        less = replace(asked.sharing, sharers=fewer, envelopes=parcels.encode(envelopes))
        message.content = replace(asked, sharing=less).to_record()
        answer = answer_from_record(reply(message).content)
        assert isinstance(answer, Refusal)
        codes.append(answer.code)
        message.content = asked.to_record()
        again = answer_from_record(reply(message).content)
        first = answer_from_record(answered.content)
        assert isinstance(again, Update)
        assert isinstance(first, Update)
        assert again.update == first.update
        return answered

    meddle(asks_twice)
    outcome = run(four, masked)
    assert outcome.records[0].cohort == list(FOUR)
    assert codes == [RefusalCode.PROTOCOL]
    assert bookings(outcome.sites) == [1, 1, 1, 1]


def forget(ledger: Path) -> None:
    """The site was killed before it had kept its answer."""
    import sqlite3

    with sqlite3.connect(ledger) as db:
        db.execute("UPDATE bookings SET closed_at = NULL, delivery = NULL, answer = NULL")


def test_every_message_of_a_round_may_come_twice(
    four: World, masked: Recipe, meddle: Meddle, tmp_path: Path
) -> None:
    def twice(_site: str, _stage: str, _count: int, message: Message, reply: Reply) -> Message:
        first, second = reply(message), reply(message)
        if answer_from_record(first.content) != answer_from_record(second.content):
            raise AssertionError(f"two answers in {_stage}")
        return second

    meddle(twice)
    outcome = run(four, masked)
    assert outcome.records[0].cohort == list(FOUR)
    meddle(undisturbed)
    plain = run(replace(four, folder=tmp_path / "plain"), replace(masked, masks=None))
    assert 0 < closeness(outcome, plain) < 1.001


@pytest.mark.parametrize("stage", ["training", "survivors", "reveal"])
def test_a_site_whose_secrets_are_gone_is_lost_and_says_so(
    stage: str, four: World, masked: Recipe, meddle: Meddle
) -> None:
    vault = four.folder / "study" / "sites" / "west" / "run" / FOLDER

    def forgets(site: str, now: str, _count: int, message: Message, reply: Reply) -> Message:
        if (site, now) == ("west", stage):
            shutil.rmtree(vault)
        return reply(message)

    meddle(forgets)
    [record] = run(four, masked).records
    assert record.dropped == {"west": stage}
    assert ("west" in record.cohort) == (stage != "training")

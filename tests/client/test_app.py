"""What a site answers: an update for what was booked, once; for any failure a word that says nothing."""

import dataclasses
import random
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from client.home import (
    CHALLENGE,
    DELTA,
    ROUND,
    Home,
    answer,
    as_bytes,
    ask,
    broken_tensors,
    delivery,
    refused,
    requested,
    trusted,
    update,
)
from conftest import key_of, texts
from pydantic import BaseModel
from structlog.testing import capture_logs

from fedward_client.app import answer_train, create_app, from_os
from fedward_client.settings import DatasetSettings, SiteSettings
from fedward_client.site import LEDGER_FILE, Site
from fedward_shared import (
    canonical,
    messages,
    records,
    tensors,
)
from fedward_shared.assurances import Objection, Presence
from fedward_shared.charter import Charter, parse
from fedward_shared.charter_terms import Participant
from fedward_shared.errors import (
    CharterError,
    FedwardError,
    RefusalCode,
    StateError,
)
from fedward_shared.messages import (
    HELLO,
    Hello,
    Refusal,
    Welcome,
    answer_from_record,
)
from fedward_shared.privacy import accountant
from fedward_shared.privacy.randomness import Randomness

# A refusal depends on no record


def jsonl(columns: dict[str, list[str]]) -> Callable[[Path], None]:
    return lambda path: records.write_jsonl(path, columns)


def raw(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


PROBLEMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "single class": (jsonl({"text": ["Ada", "Bo"], "label": ["bone"] * 2}), "same label"),
    "single class again": (jsonl({"text": ["Cy"] * 90, "label": ["heart"] * 90}), "same label"),
    "one record": (jsonl({"text": ["Ada"], "label": ["heart"]}), "same label"),
    "unknown column": (jsonl({"words": ["Ada"], "label": ["bone"]}), "'text'"),
    "another unknown column": (jsonl({"text": ["Bo"], "diagnosis": ["x"]}), "'label'"),
    "unknown label": (jsonl({"text": ["Ada", "Bo"], "label": ["bone", "plague"]}), "'plague'"),
    "other unknown labels": (jsonl({"text": ["Cy"] * 9, "label": ["HIV+"] * 9}), "'HIV\\+'"),
    "not UTF-8": (raw(b'{"text": "Ren\xe9", "label": "bone"}\n'), "line 1 is not UTF-8"),
    "not UTF-8 later": (raw(b'{"text": "a", "label": "bone"}\n' * 9 + b"\xff"), "line 10"),
    "empty": (raw(b""), "empty"),
    "no JSON": (raw(b"patient 4711 has"), "cannot be read"),
    "missing text": (raw(b'{"text": null, "label": "bone"}\n'), "record 1"),
    "lists": (raw(b'{"text": ["Ada"], "label": "bone"}\n'), "'text'"),
    "missing file": (Path.unlink, "no such file"),
    "a folder": (folder, "no such file"),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_whatever_the_records_are_the_same_bytes_leave(home: Home, problem: str) -> None:
    damage, reason = PROBLEMS[problem]
    damage(home.data)
    home.register()
    answers = canonical.digest(home.request.adapter).removeprefix("sha256:")
    objection = Objection(
        charter=home.charter.digest, site="north", answers=answers, code=RefusalCode.DATA
    ).signed(key_of("north"))
    expected = as_bytes(Refusal("north", RefusalCode.DATA, objection).to_record())
    with capture_logs() as log:
        assert as_bytes(ask(home)) == expected
    [refused] = [line for line in log if line["event"] == "refused"]
    assert refused["reason"].startswith(str(home.data))
    assert re.search(f"{reason}|changed since it was registered", refused["reason"])


def test_the_greeting_opens_no_record(found: Callable[[str], Home]) -> None:
    answers = set()
    for name in ("single class", "unknown label", "not UTF-8", "empty"):
        home = found(name)
        PROBLEMS[name][0](home.data)
        answers.add(as_bytes(ask(home, Hello(home.charter.digest, CHALLENGE).to_record(), HELLO)))
        assert home.spending().bookings == 0
    (only,) = answers
    with closing(Site.open(home.settings)) as site:
        decision = site.charters.decision_bytes(home.charter.digest)
    assert decision is not None
    presence = Presence(charter=home.charter.digest, site="north", challenge=CHALLENGE)
    welcome = Welcome("north", decision, presence.signed(key_of("north")))
    assert only == as_bytes(welcome.to_record())


def test_bad_records_are_paid_for_before_they_are_seen(home: Home) -> None:
    PROBLEMS["single class"][0](home.data)
    home.register()
    for _ in range(2):
        assert refused(answer(home)) is RefusalCode.DATA
    assert home.spending().bookings == 2
    assert home.spending().open_bookings == 2
    assert refused(answer(home)) is RefusalCode.BUDGET


def test_beside_the_noised_tensors_an_update_depends_on_no_record(
    found: Callable[[str], Home],
) -> None:
    small, large = found("small"), found("large")
    records.write_jsonl(small.data, texts(3))
    records.write_jsonl(large.data, texts(90, 1000))
    small.register()
    large.register()
    one, other = update(answer(small)), update(answer(large))
    assert one.update != other.update
    assert len(one.update) == len(other.update)
    said, otherwise = delivery(small, one), delivery(large, other)
    blank = {"update": said.update, "head": said.head}
    assert said == otherwise.model_copy(update=blank)
    assert len(one.delivery) == len(other.delivery)
    assert said.spent == accountant.epsilon([ROUND], DELTA)


# Every other failure: a word, and nothing booked


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("epsilon = 8.0", "epsilon = 0.01", RefusalCode.BUDGET),
        ("epsilon = 8.0", "epsilon = 8.0\ndelta = 1e-7", RefusalCode.PRIVACY),
        ("minimum_cohort = 1", "minimum_cohort = 2", RefusalCode.CHARTER),
        ('account = "people"', 'account = "people"\ncolumns = {text="x"}', RefusalCode.DATA),
    ],
)
def test_the_sites_own_limits_refuse(home: Home, old: str, new: str, code: RefusalCode) -> None:
    home.edit(old, new)
    assert refused(answer(home)) is code
    assert home.spending().bookings == 0


def test_a_model_that_is_not_on_the_list(home: Home, tiny_bert_folder: Path) -> None:
    home.edit(f'"{tiny_bert_folder}",', "")
    assert refused(answer(home)) is RefusalCode.MODEL
    hello = ask(home, Hello(home.charter.digest, CHALLENGE).to_record(), HELLO)
    assert refused(answer_from_record(hello)) is RefusalCode.MODEL


def test_a_charter_that_is_not_approved(home: Home) -> None:
    digest = "sha256:" + "0" * 64
    assert refused(answer(home, replace(home.request, charter=digest))) is RefusalCode.CHARTER
    hello = ask(home, Hello(digest, CHALLENGE).to_record(), HELLO)
    assert refused(answer_from_record(hello)) is RefusalCode.CHARTER


@pytest.mark.parametrize("damage", ["garbage", "nan", "inf", "wrong names", "empty"])
def test_a_broken_global_adapter_costs_nothing(home: Home, damage: str) -> None:
    adapter = {
        "garbage": b"\x00" * 64,
        "nan": broken_tensors(home, float("nan")),
        "inf": broken_tensors(home, float("inf")),
        "wrong names": tensors.encode({"head.bias": torch.ones(2)}),
        "empty": tensors.encode({}),
    }[damage]
    assert refused(answer(home, requested(home.charter, 1, adapter))) is RefusalCode.ADAPTER
    assert home.spending().bookings == 0


def test_a_corrupt_ledger_is_left_as_it_is(home: Home) -> None:
    assert update(answer(home))
    ledger = home.folder / "state" / LEDGER_FILE
    ledger.write_bytes(b"no ledger" * 1000)
    assert refused(answer(home)) is RefusalCode.STATE
    hello = ask(home, Hello(home.charter.digest, CHALLENGE).to_record(), HELLO)
    assert refused(answer_from_record(hello)) is RefusalCode.STATE
    assert ledger.read_bytes() == b"no ledger" * 1000


def test_a_lost_ledger_is_not_begun_afresh(home: Home) -> None:
    assert update(answer(home))
    state = home.folder / "state"
    (state / LEDGER_FILE).unlink()
    for _ in range(2):
        assert refused(answer(home)) is RefusalCode.STATE
    with pytest.raises(StateError, match=r"ledger\.sqlite: the ledger is gone.* backup"):
        Site.open(home.settings)
    assert not (state / LEDGER_FILE).exists()
    # Who moves the state away forgets the approvals, too.
    state.rename(home.folder / "lost")
    assert refused(answer(home)) is RefusalCode.CHARTER
    assert home.spending().bookings == 0


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (-1, "round: Input should be greater"),
        (0, "round: Input should be greater"),
        (3, r"training\.rounds is 2, the request is for round 3"),
    ],
)
def test_a_round_that_the_charter_does_not_have_costs_nothing(
    home: Home, number: int, said: str
) -> None:
    request = requested(home.charter, number, home.request.adapter)
    assert refused(answer(home, request)) is RefusalCode.CHARTER
    assert home.spending().bookings == 0
    with pytest.raises(FedwardError, match=said):
        answer_train(home.core, request.to_record())


def test_settings_that_are_gone_and_messages_of_another_protocol(home: Home) -> None:
    record = home.request.to_record()
    record.config_records["fedward"]["protocol"] = 99
    assert answer_from_record(ask(home, record)) == Refusal("north", RefusalCode.PROTOCOL)
    home.settings.unlink()
    assert answer(home) == Refusal("", RefusalCode.INTERNAL)


# Where a deployed site's randomness comes from


def seed_everything() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def test_a_deployed_sites_noise_is_another_each_time_whatever_it_is_told(
    found: Callable[[str], Home],
) -> None:
    drawn = []
    for name in ("one", "other"):
        home = found(name)
        seed_everything()
        content = home.request.to_record()
        content.config_records["fedward"]["seed"] = 7
        answered = ask(home, content, extra={"seed": 7, "partition-id": 0})
        drawn.append(update(answer_from_record(answered)).update)
    assert drawn[0] != drawn[1]


def test_an_injected_seed_gives_the_same_noise_and_so_the_test_above_would_notice(
    found: Callable[[str], Home],
) -> None:
    drawn = []
    for name in ("one", "other"):
        home = found(name)
        seeded = create_app(trusted, lambda label: Randomness.from_seed(7, label))
        drawn.append(update(answer_from_record(ask(home, client=seeded))).update)
    assert drawn[0] == drawn[1]


def fields(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation)


def test_no_setting_charter_or_message_has_a_field_for_a_seed(home: Home) -> None:
    kinds = [k for k in vars(messages).values() if dataclasses.is_dataclass(k)]
    names = [field.name for kind in kinds for field in dataclasses.fields(kind)]
    names += [
        *fields(SiteSettings),
        *fields(DatasetSettings),
        *fields(Charter),
        *fields(Participant),
    ]
    assert {"adapter", "threads", "noise_multiplier", "account"} <= set(names)
    assert not [name for name in names if "seed" in name or "random" in name]
    content = home.charter.model_dump(mode="json", exclude_none=True)
    content["privacy"]["seed"] = 7
    with pytest.raises(CharterError, match=r"privacy\.seed: Extra"):
        parse(content, "charter.json")
    assert create_app.__defaults__ == (from_os,)
    assert answer_train.__wrapped__.__defaults__ == (from_os,)  # type: ignore[attr-defined]

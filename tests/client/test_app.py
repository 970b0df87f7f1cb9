"""What a site answers: an update for what was booked, once; for any failure a word that says nothing."""

import dataclasses
import random
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from conftest import COORDINATOR, LABELS, key_of, texts
from flwr.app import Context, Message, RecordDict, UserConfig
from flwr.clientapp import ClientApp
from flwr.common.serde import message_to_proto
from flwr.supercore.task_identity import TaskIdentity
from pydantic import BaseModel
from structlog.testing import capture_logs

from fedward_client import consent
from fedward_client.app import answer_hello, answer_train, create_app, from_os
from fedward_client.core import Core
from fedward_client.ledger import Spending
from fedward_client.settings import DatasetSettings, SiteSettings
from fedward_client.settings import load as load_settings
from fedward_client.site import LEDGER_FILE, Site
from fedward_client.trusted import Trusted
from fedward_shared import (
    adapters,
    audit,
    base_models,
    canonical,
    messages,
    records,
    statements,
    tasks,
    tensors,
)
from fedward_shared import charter as charters
from fedward_shared.assurances import Delivery, Objection, Presence, Receipt, RoundRequest
from fedward_shared.charter import (
    AdapterTerms,
    AggregationTerms,
    BaseModelTerms,
    Charter,
    Participant,
    Party,
    PrivacyTerms,
    TaskTerms,
    TrainingTerms,
    parse,
)
from fedward_shared.errors import (
    BudgetExceeded,
    CharterError,
    DataError,
    FedwardError,
    RefusalCode,
    StateError,
)
from fedward_shared.messages import (
    HELLO,
    RECEIPT,
    TRAIN,
    Answer,
    Hello,
    Noted,
    ReceiptNote,
    Refusal,
    TrainRequest,
    Update,
    Welcome,
    answer_from_record,
)
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event
from fedward_shared.privacy.randomness import Randomness
from fedward_simulations.federation import through_bytes

SITE_KEY = "site"
CHALLENGE = "ab" * 32
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DELTA = 1e-5
ROUND = Event("poisson-gaussian", 0.5, 2.0, 2)
BUDGET = accountant.epsilon([ROUND] * 2, DELTA)
"""Exactly the two rounds of the study."""


def trusted(context: Context) -> AbstractContextManager[Core]:
    """The trusted side without a process between (`boundary/` has its own tests)."""
    path = Path(str(context.node_config[SITE_KEY]))
    return nullcontext(Trusted(lambda: load_settings(path)))


app = create_app(trusted)


@dataclass(frozen=True)
class Home:
    """A site's folder and what it is asked for round 1."""

    folder: Path
    charter: Charter
    request: TrainRequest

    @property
    def settings(self) -> Path:
        return self.folder / "site.toml"

    @property
    def data(self) -> Path:
        return self.folder / "records.jsonl"

    @property
    def core(self) -> Trusted:
        return Trusted(lambda: load_settings(self.settings))

    def edit(self, old: str, new: str) -> None:
        """Changes a line of `site.toml`."""
        text = self.settings.read_text("utf-8")
        assert old in text
        self.settings.write_text(text.replace(old, new), "utf-8")

    def register(self) -> None:
        """As people do when their file has changed; one that cannot be registered stays unregistered."""
        with closing(Site.open(self.settings)) as site, suppress(DataError):
            site.register("records")

    def spending(self) -> Spending:
        site = Site.open(self.settings)
        try:
            return site.ledger.spending("people")
        finally:
            site.close()


@pytest.fixture(scope="module")
def sent(
    tiny_bert_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainRequest]:
    """The charter's folder, and the request for round 1 of its study."""
    task = TaskTerms(kind="text-classification", labels=LABELS, max_tokens=16)
    adapter = AdapterTerms(method="ffa-lora", rank=2, target_modules=("query",), layers=(1,))
    model = tasks.build(tiny_bert_folder, task, adapter)
    model.load(adapters.initial(model.body, 0), "initial adapter")
    initial = {name: tensor.detach().clone() for name, tensor in model.named_tensors().items()}
    charter = Charter(
        study="diagnoses",
        purpose="test",
        legal_basis="test",
        expires=date(2100, 1, 1),
        coordinator=Party(name="university", key=COORDINATOR.public.text),
        dataset="records",
        base_model=BaseModelTerms(digest=base_models.digest(tiny_bert_folder)),
        initial=tensors.digest(initial),
        task=task,
        adapter=adapter,
        privacy=PrivacyTerms(
            epsilon=BUDGET,
            delta=DELTA,
            noise_multiplier=ROUND.noise_multiplier,
            sampling_rate=ROUND.sampling_rate,
        ),
        training=TrainingTerms(rounds=2, local_steps=ROUND.steps, learning_rate=0.5),
        aggregation=AggregationTerms(minimum_cohort=1),
        participants=(Participant(name="north", records=24, key=key_of("north").public.text),),
    )
    folder = tmp_path_factory.mktemp("sent")
    charters.save(folder, charter, initial, COORDINATOR)
    return folder, requested(charter, 1, tensors.encode(model.exchanged()))


@pytest.fixture
def found(
    tmp_path: Path, tiny_bert_folder: Path, sent: tuple[Path, TrainRequest]
) -> Callable[[str], Home]:
    """Founds a site of the name north in a folder, with 24 records and an approved charter."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 0, 1
    source, request = sent
    settings = {
        "name": "north",
        "coordinators": {"university": COORDINATOR.public.text},
        "base_models": [str(tiny_bert_folder)],
        "minimum_cohort": 1,
        "datasets": {"records": {"path": "records.jsonl", "account": "people", "epsilon": 8.0}},
    }

    def make(name: str) -> Home:
        folder = tmp_path / name
        records.write_jsonl(folder / "records.jsonl", texts(24))
        key_of("north").save(folder / "site.key")
        (folder / "site.toml").write_text(tomli_w.dumps(settings), "utf-8")
        with closing(Site(load_settings(folder / "site.toml"), clock=lambda: NOON)) as site:
            charter, _ = consent.approve(site, source)
        return Home(folder, charter, request)

    return make


@pytest.fixture
def home(found: Callable[[str], Home]) -> Home:
    return found("home")


def message(content: RecordDict, kind: str) -> Message:
    return Message(content=content, dst_node_id=1, message_type=kind, group_id="1")


def as_bytes(content: RecordDict) -> bytes:
    """What of a message is the site's own, as it crosses the wire."""
    proto = message_to_proto(message(content, TRAIN))
    return bytes(proto.content.SerializeToString(deterministic=True))


def ask(
    home: Home,
    content: RecordDict | None = None,
    kind: str = TRAIN,
    client: ClientApp = app,
    extra: UserConfig | None = None,
) -> RecordDict:
    """What the ClientApp answers, by default to the request for round 1."""
    context = Context(
        run_id=1,
        node_id=1,
        node_config={SITE_KEY: str(home.settings), **(extra or {})},
        state=RecordDict(),
        run_config=extra or {},
    )
    asked = message(content or home.request.to_record(), kind)
    return through_bytes(client(through_bytes(asked), context)).content


def answer(home: Home, request: TrainRequest | None = None) -> Answer:
    return answer_from_record(ask(home, request.to_record() if request else None))


def refused(answer: Answer) -> RefusalCode:
    """The word, which the site has signed too."""
    assert isinstance(answer, Refusal), answer
    assert answer.site == "north"
    body = statements.decode(answer.objection, Objection.KIND, "objection").body
    said = Objection.read(
        answer.objection, body["charter"], key_of("north").public, "north", "objection"
    )
    assert (said.site, said.code) == ("north", answer.code)
    return answer.code


def delivery(home: Home, update: Update) -> Delivery:
    """What the site says of its update."""
    said = Delivery.read_of(update.delivery, home.charter, "north", "delivery")
    assert said.update == canonical.digest(update.update)
    return said


def requested(charter: Charter, number: int, adapter: bytes, receipt: bytes = b"") -> TrainRequest:
    """What the coordinator sends for a round."""
    asked = RoundRequest.model_construct(
        charter=charter.digest, round=number, adapter=canonical.digest(adapter)
    )
    return TrainRequest(charter.digest, asked.signed(COORDINATOR), receipt, adapter)


def update(answer: Answer) -> Update:
    assert isinstance(answer, Update), answer
    return answer


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


def broken_tensors(home: Home, value: float) -> bytes:
    received = tensors.decode(home.request.adapter, "request")
    received["head.bias"][0] = value
    return tensors.encode(received)


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


# Asked again


def test_identical_bytes_again_cost_nothing_and_give_the_same_answer(home: Home) -> None:
    first = ask(home)
    update(answer_from_record(first))
    for _ in range(2):
        assert as_bytes(ask(home)) == as_bytes(first)
    assert home.spending().bookings == 1


def test_the_kept_answer_needs_the_records_no_more(home: Home) -> None:
    first = ask(home)
    records.write_jsonl(home.data, texts(50, 700))
    assert as_bytes(ask(home)) == as_bytes(first)


def test_another_request_for_the_same_round_costs_again_until_nothing_is_left(home: Home) -> None:
    first = update(answer(home))
    other = requested(home.charter, 1, broken_tensors(home, 0.25))
    second = update(answer(home, other))
    assert second.update != first.update
    assert delivery(home, second).spent == BUDGET > delivery(home, first).spent
    assert home.spending().bookings == 2
    third = requested(home.charter, 1, broken_tensors(home, 0.5))
    assert refused(answer(home, third)) is RefusalCode.BUDGET
    assert home.spending().bookings == 2
    assert update(answer(home, other)) == second


def test_the_same_bytes_for_another_round_cost_again(home: Home) -> None:
    first = update(answer(home))
    second = update(answer(home, requested(home.charter, 2, home.request.adapter)))
    assert second.update != first.update
    assert home.spending().bookings == 2
    # The first answer made room for the second, and its round is over.
    assert refused(answer(home)) is RefusalCode.STATE


def pressed(times: int) -> Callable[[str], Randomness]:
    """Ctrl-C is pressed some times after the booking, while the site trains."""

    def randomness(label: str) -> Randomness:
        for _ in range(times if label.endswith("sample") else 0):
            signal.raise_signal(signal.SIGINT)
        return Randomness.from_os()

    return randomness


def test_ctrl_c_lets_a_booked_round_finish_and_its_answer_is_kept(
    home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        answer_train(home.core, home.request.to_record(), pressed(1))
    assert "finishes its round" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is handler
    assert (home.spending().bookings, home.spending().open_bookings) == (1, 0)
    update(answer(home))
    assert home.spending().bookings == 1


def test_ctrl_c_again_stops_at_once_and_the_booking_stays(home: Home) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        answer_train(home.core, home.request.to_record(), pressed(2))
    assert signal.getsignal(signal.SIGINT) is handler
    assert (home.spending().bookings, home.spending().open_bookings) == (1, 1)


def test_the_functions_raise_what_the_app_turns_into_a_word(home: Home) -> None:
    home.edit("epsilon = 8.0", "epsilon = 0.01")
    with pytest.raises(BudgetExceeded, match=r"site\.toml allows ε = 0\.01"):
        answer_train(home.core, home.request.to_record())
    with pytest.raises(CharterError, match="not approved here"):
        answer_hello(home.core, Hello("sha256:" + "0" * 64, CHALLENGE).to_record())


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


# What both sides sign


def test_only_the_coordinator_asks_for_a_round(home: Home) -> None:
    forged = RoundRequest(
        charter=home.charter.digest, round=1, adapter=canonical.digest(home.request.adapter)
    ).signed(key_of("south"))
    assert refused(answer(home, replace(home.request, request=forged))) is RefusalCode.CHARTER
    assert refused(answer(home, replace(home.request, request=b"{}"))) is RefusalCode.CHARTER
    other = replace(home.request, adapter=broken_tensors(home, 0.5))
    assert refused(answer(home, other)) is RefusalCode.INTERNAL
    assert home.spending().bookings == 0


@pytest.mark.parametrize("challenge", ["", "ab", "AB" * 32, "zz" * 32, "ab" * 33])
def test_a_challenge_is_32_bytes(home: Home, challenge: str) -> None:
    hello = ask(home, Hello(home.charter.digest, challenge).to_record(), HELLO)
    assert answer_from_record(hello) == Refusal("north", RefusalCode.INTERNAL)


def receipt(home: Home, said: Delivery, **changes: object) -> bytes:
    terms = {
        "charter": home.charter.digest,
        "site": "north",
        "round": said.round,
        "update": said.update,
        "head": said.head,
    }
    return Receipt.model_validate(terms | changes).signed(COORDINATOR)


def test_a_receipt_is_noted_and_the_log_tells_all(home: Home) -> None:
    said = delivery(home, update(answer(home)))
    note = ReceiptNote(home.charter.digest, receipt(home, said)).to_record()
    assert answer_from_record(ask(home, note, RECEIPT)) == Noted("north")
    entries = list(audit.read(home.folder / "state/audit.jsonl", key_of("north").public))
    assert [e.event for e in entries] == [
        "registered",
        "decided",
        "reserved",
        "cleared",
        "received",
    ]
    reserved, cleared, received = (entry.details for entry in entries[2:])
    assert reserved["booking"]["event"] == ROUND.as_text()
    assert cleared["update"] == said.update
    assert cleared["to"] == "university"
    assert received["receipt"].encode() == receipt(home, said)


def test_a_receipt_comes_with_the_next_request(home: Home) -> None:
    said = delivery(home, update(answer(home)))
    second = requested(home.charter, 2, home.request.adapter, receipt(home, said))
    assert update(answer(home, second))
    entries = audit.read(home.folder / "state/audit.jsonl", key_of("north").public)
    assert [e.event for e in entries][4:] == ["received", "reserved", "cleared"]


def test_a_head_that_is_not_in_the_log_stops_the_site(home: Home) -> None:
    """The coordinator has seen a later log than this one: somebody has put an older copy here."""
    said = delivery(home, update(answer(home)))
    unknown = receipt(home, said, head="0" * 64)
    second = requested(home.charter, 2, home.request.adapter, unknown)
    assert refused(answer(home, second)) is RefusalCode.STATE
    assert home.spending().bookings == 1


def test_a_receipt_of_somebody_else_is_refused(home: Home) -> None:
    said = delivery(home, update(answer(home)))
    for false in (
        receipt(home, said, site="south"),
        receipt(home, said, charter="sha256:" + "0" * 64),
        Receipt(
            charter=home.charter.digest, site="north", round=1, update=said.update, head=said.head
        ).signed(key_of("south")),
    ):
        note = ReceiptNote(home.charter.digest, false).to_record()
        assert answer_from_record(ask(home, note, RECEIPT)) == Refusal("north", RefusalCode.CHARTER)

"""The trusted side on its own: one update a booking, one coordinator a worker, nothing on trust."""

import inspect
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import tomli_w
import torch
from conftest import COORDINATOR, key_of, small_charter

from fedward_client import consent
from fedward_client import settings as site_settings
from fedward_client.core import Core, Grant
from fedward_client.site import Site
from fedward_client.trusted import Trusted
from fedward_shared import base_models, canonical, records, tensors
from fedward_shared import charter as charters
from fedward_shared.assurances import Objection, RoundRequest
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import BaseModelTerms, PrivacyTerms, TrainingTerms
from fedward_shared.errors import (
    AdapterError,
    CharterError,
    FedwardError,
    PrivacyError,
    RefusalCode,
    StateError,
)
from fedward_shared.messages import Hello, Refusal

ADAPTER = canonical.digest(b"a global adapter")
CHALLENGE = "ab" * 32


Found = Callable[..., tuple[Path, Charter]]


@pytest.fixture
def found(tmp_path: Path, tiny_bert_folder: Path) -> Found:
    """The settings of a site that has approved a charter of two rounds, over a head alone."""
    return lambda **changes: _found(tmp_path, tiny_bert_folder, changes)


@pytest.fixture
def approved(found: Found) -> tuple[Path, Charter]:
    return found()


def _found(
    tmp_path: Path, tiny_bert_folder: Path, changes: dict[str, object]
) -> tuple[Path, Charter]:
    initial = {
        "head.weight": torch.zeros(2, 3),
        "head.bias": torch.zeros(2),
        "head.mean": torch.zeros(3),
    }
    model = BaseModelTerms(digest=base_models.digest(tiny_bert_folder))
    training = TrainingTerms(rounds=2, local_steps=1, learning_rate=1.0)
    changes = {"base_model": model, "training": training, **changes}
    charter = small_charter(tensors.digest(initial), **changes)
    charters.save(tmp_path / "sent", charter, initial, COORDINATOR)
    records.write_jsonl(tmp_path / "records.jsonl", {"text": ["x"], "label": ["bone"]})
    key_of("north").save(tmp_path / "site.key")
    settings = {
        "name": "north",
        "coordinators": {"university": COORDINATOR.public.text},
        "base_models": [str(tiny_bert_folder)],
        "minimum_cohort": 1,
        "datasets": {"records": {"path": "records.jsonl", "account": "people", "epsilon": 8.0}},
    }
    path = tmp_path / "site.toml"
    path.write_text(tomli_w.dumps(settings), "utf-8")
    with closing(Site.open(path)) as site:
        consent.approve(site, tmp_path / "sent")
    return path, charter


def core(path: Path, **options: object) -> Trusted:
    return Trusted(lambda: site_settings.load(path), **options)  # type: ignore[arg-type]


def request(charter: Charter, round_number: int = 1) -> bytes:
    asked = RoundRequest(charter=charter.digest, round=round_number, adapter=ADAPTER)
    return asked.signed(COORDINATOR)


def update(value: float = 0.5) -> bytes:
    return tensors.encode(
        {"head.weight": torch.full((2, 3), value), "head.bias": torch.full((2,), value)}
    )


def booked(path: Path, charter: Charter) -> int:
    granted = core(path).reserve(charter.digest, request(charter), ADAPTER)
    file = canonical.digest((path.parent / "records.jsonl").read_bytes())
    assert granted == Grant(1, 1, file)
    return 1


def test_the_next_round_goes_on_from_the_clipping_norms_of_the_last(
    tmp_path: Path, found: Found
) -> None:
    adaptive = PrivacyTerms(
        epsilon=2.0, noise_multiplier=6.0, sampling_rate=0.1, adaptive_clipping={}
    )
    path, charter = found(privacy=adaptive)
    booked(path, charter)
    for wrong in ("{}", '{"head":"0"}'):
        with pytest.raises(PrivacyError, match="not the clipping norms"):
            core(path).clear(1, update(), wrong)
    core(path).clear(1, update(), '{"head":"0.25"}')
    granted = core(path).reserve(charter.digest, request(charter, 2), ADAPTER)
    assert isinstance(granted, Grant)
    assert granted.norms == '{"head":"0.25"}'
    (kept,) = (tmp_path / "state" / "clipping").iterdir()
    kept.write_text('{"head":"-1.0"}')
    with closing(Site.open(path)) as site, pytest.raises(StateError, match="goes on from"):
        site.clipping.read(charter)


def test_norms_are_not_kept_where_none_is_adaptive(approved: tuple[Path, Charter]) -> None:
    path, charter = approved
    booked(path, charter)
    core(path).clear(1, update(), '{"head":"0.25"}')
    granted = core(path).reserve(charter.digest, request(charter, 2), ADAPTER)
    assert isinstance(granted, Grant)
    assert granted.norms == ""


def test_a_booking_lets_out_one_update(approved: tuple[Path, Charter]) -> None:
    path, charter = approved
    number = booked(path, charter)
    first = core(path).clear(number, update())
    assert first.update == update()
    for again in (update(), update(0.25)):
        with pytest.raises(StateError, match="no open booking 1; each lets out one update"):
            core(path).clear(number, again)
    assert core(path).reserve(charter.digest, request(charter), ADAPTER) == first


def test_a_round_before_the_last_is_not_trained_for_any_more(
    approved: tuple[Path, Charter],
) -> None:
    path, charter = approved
    core(path).reserve(charter.digest, request(charter, 2), ADAPTER)
    with pytest.raises(StateError, match="round 1 is over, round 2 is booked already"):
        core(path).reserve(charter.digest, request(charter), ADAPTER)
    with closing(Site.open(path)) as site:
        assert site.ledger.spending("people").bookings == 1


@pytest.mark.parametrize("number", [0, 2, -1, 2**62])
def test_without_a_booking_nothing_leaves(approved: tuple[Path, Charter], number: int) -> None:
    path, charter = approved
    booked(path, charter)
    with pytest.raises(StateError, match="no open booking"):
        core(path).clear(number, update())


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        tensors.encode({"head.weight": torch.ones(2, 3)}),
        tensors.encode(
            {
                "head.weight": torch.ones(2, 3),
                "head.bias": torch.ones(2),
                "head.mean": torch.ones(3),
            }
        ),
        update(float("nan")),
        update(1e9),
        update(0.0),
    ],
)
def test_what_is_not_the_charters_leaves_the_booking_spent_and_open(
    approved: tuple[Path, Charter], wrong: bytes
) -> None:
    path, charter = approved
    number = booked(path, charter)
    with pytest.raises(AdapterError, match="egress of north"):
        core(path).clear(number, wrong)
    with closing(Site.open(path)) as site:
        spending = site.ledger.spending("people")
        assert (spending.bookings, spending.open_bookings) == (1, 1)
        assert [e.event for e in site.audit.entries] == ["registered", "decided", "reserved"]


def test_a_withdrawal_counts_at_once_even_within_a_round(approved: tuple[Path, Charter]) -> None:
    path, charter = approved
    number = booked(path, charter)
    with closing(Site.open(path)) as site:
        consent.withdraw(site, charter.digest)
    with pytest.raises(CharterError, match="chose to withdraw"):
        core(path).clear(number, update())


def test_an_expired_charter_is_not_trained_for(approved: tuple[Path, Charter]) -> None:
    path, charter = approved
    late = core(path, clock=lambda: datetime(2100, 1, 2, tzinfo=UTC))
    assert charter.expires == date(2100, 1, 1)
    for ask in (
        lambda: late.greet(Hello(charter.digest, CHALLENGE)),
        lambda: late.offer(charter.digest, b""),
        lambda: late.reserve(charter.digest, request(charter), ADAPTER),
    ):
        with pytest.raises(CharterError, match="expired"):
            ask()


CALLS: dict[str, Callable[[Trusted, Charter], object]] = {
    "greet": lambda c, charter: c.greet(Hello(charter.digest, CHALLENGE)),
    "offer": lambda c, charter: c.offer(charter.digest, b""),
    "reserve": lambda c, charter: c.reserve(charter.digest, request(charter), ADAPTER),
    "clear": lambda c, charter: c.clear(1, update()),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_worker_of_one_coordinator_gets_nothing_of_anothers(
    approved: tuple[Path, Charter], call: str
) -> None:
    path, charter = approved
    booked(path, charter)
    with pytest.raises(CharterError, match="is by university, and bank asks for it"):
        CALLS[call](core(path, coordinator="bank"), charter)


def test_the_offer_has_what_training_needs_and_no_more(approved: tuple[Path, Charter]) -> None:
    path, charter = approved
    offer = core(path).offer(charter.digest, b"")
    assert canonical.digest(offer.initial) == charter.initial
    assert (offer.charter, offer.data) == (charter, path.parent / "records.jsonl")
    assert offer.cache == path.parent / "cache"
    with closing(Site.open(path)) as site:
        assert site.ledger.spending("people").bookings == 0


def test_a_refusal_is_signed_and_in_the_log(approved: tuple[Path, Charter]) -> None:
    path, charter = approved
    refusal = core(path).refuse(charter.digest, CHALLENGE, RefusalCode.DATA)
    said = Objection.read_of(refusal.objection, charter, "north", "test")
    assert (said.answers, said.code) == (CHALLENGE, RefusalCode.DATA)
    assert core(path).refuse("", "", RefusalCode.INTERNAL) == Refusal("north", RefusalCode.INTERNAL)
    with closing(Site.open(path)) as site:
        assert [e.event for e in site.audit.entries] == [
            "registered",
            "decided",
            "refused",
            "refused",
        ]


def test_a_refusal_can_be_said_when_the_log_cannot_be_written(
    approved: tuple[Path, Charter],
) -> None:
    path, charter = approved
    (path.parent / "state/audit.jsonl").write_bytes(b"no log\n")
    refusal = core(path).refuse(charter.digest, CHALLENGE, RefusalCode.STATE)
    assert Objection.read_of(refusal.objection, charter, "north", "test").code is RefusalCode.STATE
    (path.parent / "site.key").unlink()
    unsigned = core(path).refuse(charter.digest, CHALLENGE, RefusalCode.STATE)
    assert unsigned == Refusal("north", RefusalCode.STATE)


def test_it_is_a_core() -> None:
    for name, function in vars(Core).items():
        if not name.startswith("_"):
            ours = inspect.signature(getattr(Trusted, name))
            assert list(ours.parameters) == list(inspect.signature(function).parameters)


def test_every_failure_of_a_call_is_one_of_ours(approved: tuple[Path, Charter]) -> None:
    path, charter = approved
    path.write_text("no settings")
    for call in CALLS.values():
        with pytest.raises(FedwardError):
            call(core(path), charter)

"""A site in masked rounds: its word is in the log before it is given; its secrets end with the round."""

from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import tomli_w
import torch
from client.home import NOON
from conftest import COORDINATOR, key_of, small_charter

from fedward_client import consent
from fedward_client import settings as site_settings
from fedward_client.core import Grant
from fedward_client.site import Site
from fedward_client.trusted import Trusted
from fedward_client.vault import FOLDER
from fedward_shared import base_models, canonical, records, tensors
from fedward_shared import charter as charters
from fedward_shared.assurances import RoundRequest
from fedward_shared.charter_terms import (
    AggregationTerms,
    BaseModelTerms,
    Participant,
    SecureAggregationTerms,
    TrainingTerms,
)
from fedward_shared.errors import (
    AdapterError,
    AggregationError,
    CharterError,
    FedwardError,
    StateError,
    StatementError,
)
from fedward_shared.masked import MaskedTerms
from fedward_shared.messages import MaskRequest, MaskStage, Sharing, Update
from fedward_shared.secagg import parcels
from fedward_shared.secagg.party import Party

SITES = ("east", "north", "south", "west")
ADAPTER = canonical.digest(b"a global adapter")
INITIAL = {
    "head.weight": torch.zeros(2, 3),
    "head.bias": torch.zeros(2),
    "head.mean": torch.zeros(3),
}
SCHEMA = {"head.weight": (2, 3), "head.bias": (2,)}
DEADLINE = 600.0
UPDATE = tensors.encode({"head.weight": torch.full((2, 3), 0.5), "head.bias": torch.ones(2)})


class Study:
    """The site north on disk, three others as bare parties, and the coordinator's words."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.now = NOON
        self.charter = small_charter(
            tensors.digest(INITIAL),
            base_model=BaseModelTerms(digest=base_models.digest(model)),
            training=TrainingTerms(rounds=2, local_steps=1, learning_rate=1.0),
            aggregation=AggregationTerms(minimum_cohort=3, round_deadline_seconds=DEADLINE),
            secure_aggregation=SecureAggregationTerms(bound=2.0),
            participants=tuple(
                Participant(name=name, records=100, key=key_of(name).public.text) for name in SITES
            ),
        )
        charters.save(folder / "sent", self.charter, INITIAL, COORDINATOR)
        records.write_jsonl(folder / "records.jsonl", {"text": ["x"], "label": ["bone"]})
        key_of("north").save(folder / "site.key")
        settings = {
            "name": "north",
            "coordinators": {"university": COORDINATOR.public.text},
            "base_models": [str(model)],
            "secure_aggregation": "required",
            "datasets": {"records": {"path": "records.jsonl", "account": "people", "epsilon": 8.0}},
        }
        (folder / "site.toml").write_text(tomli_w.dumps(settings), "utf-8")
        with closing(Site(site_settings.load(folder / "site.toml"), self.clock)) as site:
            consent.approve(site, folder / "sent")
        self.core = Trusted(lambda: site_settings.load(folder / "site.toml"), self.clock)
        self.others: dict[str, Party] = {}
        self.sent = b""

    def clock(self) -> datetime:
        return self.now

    def request(self, attempt: int = 1, number: int = 1) -> bytes:
        said = RoundRequest(
            charter=self.charter.digest, round=number, adapter=ADAPTER, attempt=attempt
        )
        return said.signed(COORDINATOR)

    def ask(
        self, stage: MaskStage, parcel: bytes = b"", attempt: int = 1, number: int = 1
    ) -> bytes:
        request = self.request(attempt, number)
        return self.core.mask(MaskRequest(self.charter.digest, request, stage, parcel)).parcel

    def shared(self, attempt: int = 1, number: int = 1) -> Sharing:
        """All have advertised and shared; what north gets before it trains."""
        session = MaskedTerms(self.charter, number, SCHEMA).session(attempt)
        keys = {"north": self.ask("keys", b"", attempt, number)}
        for name in SITES:
            if name != "north":
                self.others[name], keys[name] = Party.begin(session, name, key_of(name))
        self.sent = self.ask("shares", parcels.encode(keys), attempt, number)
        sent = {"north": self.sent}
        for name in self.others:
            self.others[name], sent[name] = self.others[name].share(keys)
        envelopes = {
            name: parcels.decode(parcel, "test")["north"]
            for name, parcel in sorted(sent.items())
            if name != "north"
        }
        return Sharing(parcels.encode(dict.fromkeys(SITES, b"")), parcels.encode(envelopes))

    def reserve(self, sharing: Sharing, attempt: int = 1, number: int = 1) -> Grant | Update:
        request = self.request(attempt, number)
        return self.core.reserve(self.charter.digest, request, ADAPTER, sharing)

    def masked(self, attempt: int = 1, number: int = 1) -> Update:
        sharing = self.shared(attempt, number)
        granted = self.reserve(sharing, attempt, number)
        assert isinstance(granted, Grant)
        return self.core.clear(granted.booking, UPDATE, sharing=sharing)

    @property
    def log(self) -> list[tuple[str, object]]:
        with closing(Site(site_settings.load(self.folder / "site.toml"), self.clock)) as site:
            return [
                (e.event, e.details.get("attempt"))
                for e in site.audit.entries
                if e.event in ("reserved", "masked", "agreed", "revealed", "sent again")
            ]

    @property
    def kept(self) -> set[str]:
        return {path.suffix for path in (self.folder / "run" / FOLDER).glob("*")}


@pytest.fixture
def study(tmp_path: Path, tiny_bert_folder: Path) -> Study:
    return Study(tmp_path, tiny_bert_folder)


EVERYBODY = parcels.encode(dict.fromkeys(SITES, b""))


def test_what_leaves_is_masked_and_the_same_as_often_as_it_is_asked_for(study: Study) -> None:
    sharing = study.shared()
    granted = study.reserve(sharing)
    assert isinstance(granted, Grant)
    update = study.core.clear(granted.booking, UPDATE, sharing=sharing)
    assert update.masked
    assert len(update.update) == 40 + 2 * 8
    assert study.reserve(sharing) == update
    assert study.log == [("reserved", None), ("masked", 1), ("sent again", None)]
    assert study.kept == {".party", ".vector"}


def test_what_may_not_leave_is_not_masked_either(study: Study) -> None:
    sharing = study.shared()
    granted = study.reserve(sharing)
    assert isinstance(granted, Grant)
    nan = tensors.encode({"head.weight": torch.full((2, 3), torch.nan), "head.bias": torch.ones(2)})
    with pytest.raises(AdapterError, match="egress of north"):
        study.core.clear(granted.booking, nan, sharing=sharing)
    assert study.log == [("reserved", None)]
    assert study.kept == {".party"}


def test_another_attempt_masks_the_same_integers_and_books_nothing(study: Study) -> None:
    first = study.masked()
    again = study.reserve(study.shared(2), 2)
    assert isinstance(again, Update)
    assert again.update != first.update
    assert study.log == [("reserved", None), ("masked", 1), ("masked", 2)]
    with pytest.raises(AggregationError, match="round 1: attempt 1 is over"):
        study.ask("keys", b"", 1)


def test_whoever_agreed_answers_in_no_other_attempt_of_the_round(study: Study) -> None:
    study.masked()
    agreement = study.ask("survivors", EVERYBODY)
    assert study.ask("survivors", EVERYBODY) == agreement
    with pytest.raises(AggregationError):
        study.ask("survivors", parcels.encode(dict.fromkeys(SITES[:3], b"")))
    with pytest.raises(AggregationError, match="agreed on already"):
        study.ask("keys", b"", 2)
    assert study.kept == {".party"}
    study.masked(number=2)  # the next round is another matter
    assert study.log[-3:] == [("agreed", 1), ("reserved", None), ("masked", 1)]


def test_secrets_end_with_the_round_and_the_answer_stays(study: Study) -> None:
    study.masked()
    agreements = {"north": study.ask("survivors", EVERYBODY)}
    for name in ("east", "south"):
        vector = MaskedTerms(study.charter, 1, SCHEMA).ring.zeros(8)
        envelopes = {
            other: parcels.decode(party.state.sent, "test")[name]
            for other, party in study.others.items()
            if other != name
        }
        envelopes["north"] = parcels.decode(study.sent, "test")[name]
        study.others[name], _ = study.others[name].mask(
            list(SITES), parcels.encode(envelopes), vector
        )
        study.others[name], agreements[name] = study.others[name].agree(list(SITES), key_of(name))
    shares = study.ask("reveal", parcels.encode(agreements))
    assert list(parcels.decode(shares, "test")) == list(SITES)
    assert study.kept == {".answer"}
    assert study.ask("reveal", parcels.encode(agreements)) == shares
    for stage in ("survivors", "reveal"):
        with pytest.raises(FedwardError):
            study.ask(stage, parcels.encode(dict(list(agreements.items())[:2])))  # type: ignore[arg-type]
    assert [event for event, _ in study.log][-2:] == ["agreed", "revealed"]


def test_secrets_expire_with_their_stages(study: Study) -> None:
    study.masked()
    study.now += timedelta(seconds=2 * DEADLINE)
    with pytest.raises(AggregationError, match="no masks of attempt 1"):
        study.ask("survivors", EVERYBODY)
    assert study.kept == {".vector"}
    with pytest.raises(AggregationError, match="has answered for it already"):
        study.reserve(study.shared(2), 2)
    assert study.log == [("reserved", None), ("masked", 1)]


def test_only_the_coordinator_of_a_study_with_masks_begins_a_round(study: Study) -> None:
    forged = RoundRequest(charter=study.charter.digest, round=1, adapter=ADAPTER)
    request = MaskRequest(study.charter.digest, forged.signed(key_of("mallory")), "keys", b"")
    with pytest.raises(StatementError):
        study.core.mask(request)
    with pytest.raises(CharterError, match=r"training\.rounds is 2, the request is for round 3"):
        study.ask("keys", b"", 1, 3)
    study.masked(number=2)
    with pytest.raises(StateError, match="round 1 is over, round 2 is booked already"):
        study.ask("keys", b"", 1, 1)

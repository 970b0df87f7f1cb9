"""A site at home: its folder, what it is asked, and what it answered."""

from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from conftest import COORDINATOR, key_of
from flwr.app import Context, Message, RecordDict, UserConfig
from flwr.clientapp import ClientApp
from flwr.common.serde import message_to_proto

from fedward_client.app import create_app
from fedward_client.core import Core
from fedward_client.ledger import Spending
from fedward_client.settings import load as load_settings
from fedward_client.site import Site
from fedward_client.trusted import Trusted
from fedward_shared import (
    canonical,
    statements,
    tensors,
)
from fedward_shared.assurances import Delivery, Objection, RoundRequest
from fedward_shared.charter import (
    Charter,
)
from fedward_shared.errors import (
    DataError,
    RefusalCode,
)
from fedward_shared.messages import (
    TRAIN,
    Answer,
    Refusal,
    TrainRequest,
    Update,
    answer_from_record,
)
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event
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


def broken_tensors(home: Home, value: float) -> bytes:
    received = tensors.decode(home.request.adapter, "request")
    received["head.bias"][0] = value
    return tensors.encode(received)

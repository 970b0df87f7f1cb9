"""What crosses between coordinator and site, typed, and its one mapping to Flower's records.

Each message is a frozen object; `to_record` and `from_record` are the only code that knows Flower's
`RecordDict`. Tensors travel as one blob: safetensors, or a masked vector. Decoders raise MessageError
for anything else than what they expect; they run on foreign bytes.
"""

from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedward_shared import canonical
from fedward_shared.canonical import DIGEST_PREFIX
from fedward_shared.errors import FedwardError, RefusalCode

PROTOCOL = 1
HELLO = "query.hello"
TRAIN = "train.round"
MASKS = "query.masks"
RECEIPT = "query.receipt"
SESSION = "query.session"
STATISTICS = "query.statistics"

_FIELDS = "fedward"
_TENSORS = "tensors"
_BLOB = "safetensors"
_MASKED = "masked"


class MessageError(FedwardError):
    """A message that is not of the expected form."""


class ForeignProtocol(MessageError):
    """A message of a release that does not fit this one (docs/explanation/versions.md)."""

    refusal = RefusalCode.PROTOCOL


def _pack(fields: dict[str, Any], blob: bytes | None = None, kind: str = _BLOB) -> RecordDict:
    record = RecordDict({_FIELDS: ConfigRecord({"protocol": PROTOCOL, **fields})})
    if blob is not None:
        array = Array(dtype="uint8", shape=(len(blob),), stype=kind, data=blob)
        record[_TENSORS] = ArrayRecord({kind: array})
    return record


def _field(record: RecordDict, name: str, kind: type) -> Any:
    fields = record.config_records.get(_FIELDS)
    spoken = fields.get("protocol") if fields is not None else None
    if fields is None or type(spoken) is not int:
        raise MessageError(f"not a message of protocol {PROTOCOL}")
    if spoken != PROTOCOL:
        raise ForeignProtocol(
            f"a message of protocol {spoken}, and this release speaks protocol {PROTOCOL}: site and "
            "coordinator need releases of fedward that fit"
        )
    value = fields.get(name)
    if type(value) is not kind:
        raise MessageError(f"field {name} is missing or no {kind.__name__}")
    return value


def _blob(record: RecordDict, kind: str = _BLOB) -> bytes:
    arrays = record.array_records.get(_TENSORS)
    if arrays is None or list(arrays) != [kind] or arrays[kind].stype != kind:
        raise MessageError("the tensors are missing")
    return arrays[kind].data


@dataclass(frozen=True)
class Hello:
    """The coordinator asks who is there for the study of this charter.

    `challenge`: 32 fresh random bytes in hexadecimal, which the answer has to contain.
    """

    charter: str
    challenge: str

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        return _pack({"charter": self.charter, "challenge": self.challenge})

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """Raises MessageError."""
        return cls(_field(record, "charter", str), _field(record, "challenge", str))


@dataclass(frozen=True)
class Welcome:
    """A site answers: `decision` and `presence` are assurances of it."""

    site: str
    decision: bytes
    presence: bytes

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        return _pack(
            {
                "answer": "welcome",
                "site": self.site,
                "decision": self.decision,
                "presence": self.presence,
            }
        )


@dataclass(frozen=True)
class Sharing:
    """What a site gets of a masked round before it trains: the sites that have shared their secrets, and
    its neighbours' envelopes for it, each a parcel. Both are empty in a round without masks.
    """

    sharers: bytes = b""
    envelopes: bytes = b""


UNSHARED = Sharing()
"""Of a round without masks."""


@dataclass(frozen=True)
class TrainRequest:
    """The coordinator hands out the global adapter of a round: safetensors of what is exchanged.

    `request` is its signed `RoundRequest`; `receipt` the one for the site's update of the round
    before, empty if there was none.
    """

    charter: str
    request: bytes
    receipt: bytes
    adapter: bytes
    sharing: Sharing = UNSHARED

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        fields = {
            "charter": self.charter,
            "request": self.request,
            "receipt": self.receipt,
            "sharers": self.sharing.sharers,
            "envelopes": self.sharing.envelopes,
        }
        return _pack(fields, self.adapter)

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """Raises MessageError."""
        charter, blob = _field(record, "charter", str), _blob(record)
        request, receipt, sharers, envelopes = (
            _field(record, name, bytes) for name in ("request", "receipt", "sharers", "envelopes")
        )
        return cls(charter, request, receipt, blob, Sharing(sharers, envelopes))


MaskStage = Literal["keys", "shares", "survivors", "reveal"]
MASK_STAGES: tuple[MaskStage, ...] = get_args(MaskStage)
"""The stages of a masked round besides the training, which comes third."""


@dataclass(frozen=True)
class MaskRequest:
    """The coordinator hands on, in one stage of a masked round, what its sites have said in the last.

    `request` is its signed `RoundRequest`. `parcel` holds, by site: nothing (`keys`); everybody's signed
    keys (`shares`); the names of those whose masked vector has come (`survivors`); their signatures
    under that (`reveal`).
    """

    charter: str
    request: bytes
    stage: MaskStage
    parcel: bytes

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        fields = {"charter": self.charter, "request": self.request}
        return _pack({**fields, "stage": self.stage, "parcel": self.parcel})

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """Raises MessageError."""
        stage = stage_of(_field(record, "stage", str))
        request, parcel = (_field(record, name, bytes) for name in ("request", "parcel"))
        return cls(_field(record, "charter", str), request, stage, parcel)


def stage_of(word: str) -> MaskStage:
    """The stage that `word` names. Raises MessageError."""
    for stage in MASK_STAGES:
        if word == stage:
            return stage
    raise MessageError("an unknown stage of a masked round")


@dataclass(frozen=True)
class MaskAnswer:
    """What a site says in that stage: its signed keys; envelopes for its neighbours; its signature under
    the set of survivors; of each neighbour one share.
    """

    site: str
    stage: MaskStage
    parcel: bytes

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        fields = {"answer": "masks", "site": self.site}
        return _pack({**fields, "stage": self.stage, "parcel": self.parcel})


@dataclass(frozen=True)
class Update:
    """A site's change of the adapter in one round, `masked` or as safetensors; `delivery` is its signed
    `Delivery`.
    """

    site: str
    delivery: bytes
    update: bytes
    masked: bool = False

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        answer = _MASKED if self.masked else "update"
        fields = {"answer": answer, "site": self.site, "delivery": self.delivery}
        return _pack(fields, self.update, _MASKED if self.masked else _BLOB)


@dataclass(frozen=True)
class Refusal:
    """A site will not or cannot; `code` is a fixed word that depends on no record.

    `objection` is the signed `Objection` that says the same; empty where the site has no key at hand.
    """

    site: str
    code: RefusalCode
    objection: bytes = b""

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        return _pack(
            {
                "answer": "refusal",
                "site": self.site,
                "code": self.code.value,
                "objection": self.objection,
            }
        )


@dataclass(frozen=True)
class ReceiptNote:
    """The coordinator's signed `Receipt` for what a site has sent; the site answers with `Noted`."""

    charter: str
    receipt: bytes

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        return _pack({"charter": self.charter, "receipt": self.receipt})

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """Raises MessageError."""
        return cls(_field(record, "charter", str), _field(record, "receipt", bytes))


@dataclass(frozen=True)
class Noted:
    """The receipt is in the site's audit log."""

    site: str

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        return _pack({"answer": "noted", "site": self.site})


@dataclass(frozen=True)
class SessionCall:
    """The coordinator calls a party to a session: its signed `SessionRequest`.

    `done`: the signed completions of the parties that are done already, a line each. They have all that
    they need and may be gone, so that whoever comes back need not wait for them.
    """

    charter: str
    request: bytes
    done: bytes = b""

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        fields = {"charter": self.charter, "session_request": self.request, "done": self.done}
        return _pack(fields)

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """Raises MessageError."""
        request, done = (_field(record, name, bytes) for name in ("session_request", "done"))
        return cls(_field(record, "charter", str), request, done)


@dataclass(frozen=True)
class SessionDone:
    """The party's signed `Completion`, when it has done its part. The exchange carried all the rest."""

    site: str
    completion: bytes

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        fields = {"answer": "session", "site": self.site, "completion": self.completion}
        return _pack(fields)


@dataclass(frozen=True)
class StatisticsCall:
    """The coordinator asks for a site's statistics: its signed `StatisticsRequest`."""

    charter: str
    request: bytes

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        return _pack({"charter": self.charter, "statistics_request": self.request})

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """Raises MessageError."""
        return cls(_field(record, "charter", str), _field(record, "statistics_request", bytes))


@dataclass(frozen=True)
class Counted:
    """A site's statistics: its signed `Tally`."""

    site: str
    tally: bytes

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        return _pack({"answer": "statistics", "site": self.site, "tally": self.tally})


Answer = Welcome | Update | MaskAnswer | Refusal | Noted | SessionDone | Counted


def answer_from_record(record: RecordDict) -> Answer:
    """What a site answered. Raises MessageError."""
    site = _field(record, "site", str)
    match _field(record, "answer", str):
        case "welcome":
            decision, presence = (_field(record, n, bytes) for n in ("decision", "presence"))
            return Welcome(site, decision, presence)
        case "update":
            return Update(site, _field(record, "delivery", bytes), _blob(record))
        case "masked":
            blob = _blob(record, _MASKED)
            return Update(site, _field(record, "delivery", bytes), blob, masked=True)
        case "masks":
            stage = stage_of(_field(record, "stage", str))
            return MaskAnswer(site, stage, _field(record, "parcel", bytes))
        case "refusal":
            code = _field(record, "code", str)
            if code not in set(RefusalCode):
                raise MessageError("an unknown refusal code")
            return Refusal(site, RefusalCode(code), _field(record, "objection", bytes))
        case "noted":
            return Noted(site)
        case "session":
            return SessionDone(site, _field(record, "completion", bytes))
        case "statistics":
            return Counted(site, _field(record, "tally", bytes))
        case _:
            raise MessageError("an unknown answer")


def question(record: RecordDict) -> tuple[str, str]:
    """The charter that a message is about, and the digits that an objection to it repeats."""
    try:
        hello = Hello.from_record(record)
        return hello.charter, hello.challenge
    except MessageError:
        pass
    try:
        request = TrainRequest.from_record(record)
        return request.charter, _digits(request.adapter)
    except MessageError:
        pass
    try:
        masks = MaskRequest.from_record(record)
        return masks.charter, _digits(masks.request)
    except MessageError:
        pass
    try:
        call = SessionCall.from_record(record)
        return call.charter, _digits(call.request)
    except MessageError:
        pass
    try:
        asked = StatisticsCall.from_record(record)
        return asked.charter, _digits(asked.request)
    except MessageError:
        return "", ""


def _digits(data: bytes) -> str:
    return canonical.digest(data).removeprefix(DIGEST_PREFIX)

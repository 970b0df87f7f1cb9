"""What crosses between coordinator and site, typed, and its one mapping to Flower's records.

Each message is a frozen object; `to_record` and `from_record` are the only code that knows Flower's
`RecordDict`. Tensors travel as one safetensors blob. Decoders raise MessageError for anything else
than what they expect; they run on foreign bytes.
"""

from dataclasses import dataclass
from typing import Any, Self

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedward_shared.errors import FedwardError, RefusalCode

PROTOCOL = 1
HELLO = "query.hello"
TRAIN = "train.round"

_FIELDS = "fedward"
_TENSORS = "tensors"
_BLOB = "safetensors"


class MessageError(FedwardError):
    """A message that is not of the expected form."""


def _pack(fields: dict[str, Any], blob: bytes | None = None) -> RecordDict:
    record = RecordDict({_FIELDS: ConfigRecord({"protocol": PROTOCOL, **fields})})
    if blob is not None:
        array = Array(dtype="uint8", shape=(len(blob),), stype="safetensors", data=blob)
        record[_TENSORS] = ArrayRecord({_BLOB: array})
    return record


def _field(record: RecordDict, name: str, kind: type) -> Any:
    fields = record.config_records.get(_FIELDS)
    if fields is None or fields.get("protocol") != PROTOCOL:
        raise MessageError(f"not a message of protocol {PROTOCOL}")
    value = fields.get(name)
    if type(value) is not kind:
        raise MessageError(f"field {name} is missing or no {kind.__name__}")
    return value


def _blob(record: RecordDict) -> bytes:
    arrays = record.array_records.get(_TENSORS)
    if arrays is None or list(arrays) != [_BLOB] or arrays[_BLOB].stype != "safetensors":
        raise MessageError("the tensors are missing")
    return arrays[_BLOB].data


@dataclass(frozen=True)
class Hello:
    """The coordinator asks who is there for the study of this charter."""

    charter: str

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        return _pack({"charter": self.charter})

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """Raises MessageError."""
        return cls(_field(record, "charter", str))


@dataclass(frozen=True)
class Welcome:
    """A site answers with its name: it has approved the charter."""

    site: str

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        return _pack({"answer": "welcome", "site": self.site})


@dataclass(frozen=True)
class TrainRequest:
    """The coordinator hands out the global adapter of a round: safetensors of what is exchanged."""

    charter: str
    round: int
    adapter: bytes

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        return _pack({"charter": self.charter, "round": self.round}, self.adapter)

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """Raises MessageError."""
        return cls(_field(record, "charter", str), _field(record, "round", int), _blob(record))


@dataclass(frozen=True)
class Update:
    """A site's change of the adapter in one round, and what its ledger says after it.

    `epsilon` is the account's total at the account's δ, in which this round is included; it follows
    from the plan alone. It is negative where a study without DP has made it unbounded.
    """

    site: str
    round: int
    epsilon: float
    delta: float
    update: bytes

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        fields = {
            "answer": "update",
            "site": self.site,
            "round": self.round,
            "epsilon": self.epsilon,
            "delta": self.delta,
        }
        return _pack(fields, self.update)


@dataclass(frozen=True)
class Refusal:
    """A site will not or cannot; `code` is a fixed word that depends on no record."""

    site: str
    code: RefusalCode

    def to_record(self) -> RecordDict:
        """As Flower carries it."""
        return _pack({"answer": "refusal", "site": self.site, "code": self.code.value})


Answer = Welcome | Update | Refusal


def answer_from_record(record: RecordDict) -> Answer:
    """What a site answered. Raises MessageError."""
    match _field(record, "answer", str):
        case "welcome":
            return Welcome(_field(record, "site", str))
        case "update":
            return Update(
                _field(record, "site", str),
                _field(record, "round", int),
                _field(record, "epsilon", float),
                _field(record, "delta", float),
                _blob(record),
            )
        case "refusal":
            code = _field(record, "code", str)
            if code not in set(RefusalCode):
                raise MessageError("an unknown refusal code")
            return Refusal(_field(record, "site", str), RefusalCode(code))
        case _:
            raise MessageError("an unknown answer")

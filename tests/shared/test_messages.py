"""Messages: each survives Flower's records and bytes; a foreign record is a MessageError and no more."""

import contextlib
from collections.abc import Callable

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.errors import RefusalCode
from fedward_shared.messages import (
    MASK_STAGES,
    Answer,
    Hello,
    MaskAnswer,
    MaskRequest,
    MessageError,
    Noted,
    ReceiptNote,
    Refusal,
    SessionCall,
    SessionDone,
    Sharing,
    TrainRequest,
    Update,
    Welcome,
    answer_from_record,
)

DECODERS: list[Callable[[RecordDict], object]] = [
    Hello.from_record,
    ReceiptNote.from_record,
    TrainRequest.from_record,
    MaskRequest.from_record,
    SessionCall.from_record,
    answer_from_record,
]
GOOD = [
    Hello("sha256:1", "00").to_record(),
    ReceiptNote("sha256:1", b"receipt").to_record(),
    TrainRequest("sha256:1", b"request", b"receipt", b"tensors").to_record(),
    Welcome("north", b"decision", b"presence").to_record(),
    Update("north", b"delivery", b"tensors").to_record(),
    Refusal("north", RefusalCode.BUDGET, b"objection").to_record(),
    Noted("north").to_record(),
    MaskRequest("sha256:1", b"request", "shares", b"parcel").to_record(),
    MaskAnswer("north", "reveal", b"parcel").to_record(),
    Update("north", b"delivery", b"vector", masked=True).to_record(),
    SessionCall("sha256:1", b"request", b"done").to_record(),
    SessionDone("north", b"completion").to_record(),
]
UPDATE, REFUSAL = GOOD[4], GOOD[5]

names = st.text(max_size=20)
answers = st.one_of(
    st.builds(Welcome, names, st.binary(), st.binary()),
    st.builds(Update, names, st.binary(), st.binary(), st.booleans()),
    st.builds(MaskAnswer, names, st.sampled_from(MASK_STAGES), st.binary()),
    st.builds(Refusal, names, st.sampled_from(RefusalCode), st.binary()),
    st.builds(Noted, names),
    st.builds(SessionDone, names, st.binary()),
)

keys = st.sampled_from(
    ["protocol", "answer", "charter", "challenge", "request", "site", "delivery", "code", "stage"]
)
values = st.one_of(
    st.just(1),
    st.sampled_from(["welcome", "update", "masked", "masks", "keys", "refusal", "budget", "north"]),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.booleans(),
    st.binary(max_size=8),
    st.text(max_size=8),
    st.lists(st.integers(0, 9), min_size=1, max_size=2),
)
arrays = st.builds(
    lambda kind, data: Array(dtype="uint8", shape=(len(data),), stype=kind, data=data),
    st.sampled_from(["safetensors", "masked", "numpy.ndarray", ""]),
    st.binary(max_size=8),
)
inner = st.one_of(
    st.dictionaries(keys | st.text(max_size=4), values).map(ConfigRecord),
    st.dictionaries(st.sampled_from(["safetensors", "masked", "other"]), arrays).map(ArrayRecord),
    st.dictionaries(st.text(max_size=4), st.floats()).map(lambda found: MetricRecord(dict(found))),
)
foreign = st.dictionaries(st.sampled_from(["fedward", "tensors", "other"]), inner).map(RecordDict)


def carried(record: RecordDict) -> RecordDict:
    """The record as it is after its way through Flower's bytes."""
    return RecordDict.inflate(record.deflate(), record.children)


def with_field(record: RecordDict, name: str, *value: object) -> RecordDict:
    """A copy of `record` with another value in a field, or without it."""
    fields = dict(record.config_records["fedward"])
    fields.pop(name, None)
    if value:
        fields[name] = value[0]  # type: ignore[assignment]  # whatever a stranger may send
    content = {"fedward": ConfigRecord(fields), **record.array_records}
    return RecordDict(content)  # type: ignore[arg-type]  # its values are of two kinds


@given(answers)
def test_an_answer_survives_the_bytes(answer: Answer) -> None:
    assert answer_from_record(carried(answer.to_record())) == answer


@given(
    names,
    names,
    st.binary(),
    st.binary(),
    st.binary(),
    st.builds(Sharing, st.binary(), st.binary()),
)
def test_a_request_survives_the_bytes(
    charter: str, challenge: str, asked: bytes, receipt: bytes, adapter: bytes, sharing: Sharing
) -> None:
    request = TrainRequest(charter, asked, receipt, adapter, sharing)
    assert TrainRequest.from_record(carried(request.to_record())) == request
    for stage in MASK_STAGES:
        masks = MaskRequest(charter, asked, stage, receipt)
        assert MaskRequest.from_record(carried(masks.to_record())) == masks
    hello = Hello(charter, challenge)
    assert Hello.from_record(carried(hello.to_record())) == hello
    call = SessionCall(charter, asked, receipt)
    assert SessionCall.from_record(carried(call.to_record())) == call
    note = ReceiptNote(charter, receipt)
    assert ReceiptNote.from_record(carried(note.to_record())) == note


@given(foreign)
def test_a_foreign_record_is_refused_or_is_a_message(record: RecordDict) -> None:
    for decode in DECODERS:
        with contextlib.suppress(MessageError):
            decode(record)


@given(st.sampled_from(GOOD), keys, values)
def test_a_message_with_another_field_is_refused_or_is_a_message(
    record: RecordDict, name: str, value: object
) -> None:
    for decode in DECODERS:
        with contextlib.suppress(MessageError):
            decode(with_field(record, name, value))


def accepts(decode: Callable[[RecordDict], object], record: RecordDict) -> bool:
    try:
        decode(record)
    except MessageError:
        return False
    return True


@pytest.mark.parametrize("record", GOOD)
def test_every_field_is_needed(record: RecordDict) -> None:
    (decode,) = [decoder for decoder in DECODERS if accepts(decoder, record)][-1:]
    for name in record.config_records["fedward"]:
        with pytest.raises(MessageError, match="protocol" if name == "protocol" else name):
            decode(with_field(record, name))
    if "tensors" in record:
        with pytest.raises(MessageError, match="tensors are missing"):
            decode(RecordDict({"fedward": record["fedward"]}))


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("site", b"north", "site is missing or no str"),
        ("site", 3, "site is missing or no str"),
        ("delivery", "text", "delivery is missing or no bytes"),
        ("delivery", 3.0, "delivery is missing or no bytes"),
        ("protocol", 2, "a message of protocol 2, and this release speaks protocol 1"),
        ("protocol", "2", "not a message of protocol 1"),
        ("answer", "maybe", "an unknown answer"),
    ],
)
def test_a_field_of_another_kind_is_named(name: str, value: object, named: str) -> None:
    with pytest.raises(MessageError, match=named):
        answer_from_record(with_field(UPDATE, name, value))


@pytest.mark.parametrize("stage", ["", "training", "Keys"])
def test_a_stage_is_one_of_the_four(stage: str) -> None:
    for record in (GOOD[7], GOOD[8]):
        with pytest.raises(MessageError, match="an unknown stage"):
            (MaskRequest.from_record if record is GOOD[7] else answer_from_record)(
                with_field(record, "stage", stage)
            )


def test_a_masked_vector_is_not_taken_for_tensors_nor_tensors_for_it() -> None:
    masked = GOOD[9]
    for said, record in (("update", masked), ("masked", UPDATE)):
        with pytest.raises(MessageError, match="tensors are missing"):
            answer_from_record(with_field(record, "answer", said))


@pytest.mark.parametrize("code", ["", "BUDGET", "budget is 3 records short"])
def test_a_refusal_is_one_of_the_fixed_words(code: str) -> None:
    with pytest.raises(MessageError, match="an unknown refusal code"):
        answer_from_record(with_field(REFUSAL, "code", code))


@pytest.mark.parametrize(
    "tensors",
    [
        {"other": Array(dtype="uint8", shape=(1,), stype="safetensors", data=b"x")},
        {"safetensors": Array(dtype="uint8", shape=(1,), stype="numpy.ndarray", data=b"x")},
        {
            name: Array(dtype="uint8", shape=(1,), stype="safetensors", data=b"x")
            for name in ("safetensors", "other")
        },
        {},
    ],
)
def test_only_one_blob_of_safetensors_is_taken(tensors: dict[str, Array]) -> None:
    record = RecordDict({"fedward": UPDATE["fedward"], "tensors": ArrayRecord(tensors)})
    with pytest.raises(MessageError, match="tensors are missing"):
        answer_from_record(record)

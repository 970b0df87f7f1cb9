"""Messages: each survives Flower's records and bytes; a foreign record is a MessageError and no more."""

import contextlib
from collections.abc import Callable

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.errors import RefusalCode
from fedward_shared.messages import (
    Answer,
    Hello,
    MessageError,
    Refusal,
    TrainRequest,
    Update,
    Welcome,
    answer_from_record,
)

DECODERS: list[Callable[[RecordDict], object]] = [
    Hello.from_record,
    TrainRequest.from_record,
    answer_from_record,
]
GOOD = [
    Hello("sha256:1").to_record(),
    TrainRequest("sha256:1", 3, b"tensors").to_record(),
    Welcome("north").to_record(),
    Update("north", 3, 0.5, 1e-5, b"tensors").to_record(),
    Refusal("north", RefusalCode.BUDGET).to_record(),
]

names = st.text(max_size=20)
rounds = st.integers(-(2**63), 2**63 - 1)
figures = st.floats(allow_nan=False)
updates = st.builds(Update, names, rounds, figures, figures, st.binary())
answers = st.one_of(
    st.builds(Welcome, names), updates, st.builds(Refusal, names, st.sampled_from(RefusalCode))
)

keys = st.sampled_from(["protocol", "answer", "charter", "site", "round", "epsilon", "code"])
values = st.one_of(
    st.just(1),
    st.sampled_from(["welcome", "update", "refusal", "budget", "north"]),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.booleans(),
    st.binary(max_size=8),
    st.text(max_size=8),
    st.lists(st.integers(0, 9), min_size=1, max_size=2),
)
arrays = st.builds(
    lambda kind, data: Array(dtype="uint8", shape=(len(data),), stype=kind, data=data),
    st.sampled_from(["safetensors", "numpy.ndarray", ""]),
    st.binary(max_size=8),
)
inner = st.one_of(
    st.dictionaries(keys | st.text(max_size=4), values).map(ConfigRecord),
    st.dictionaries(st.sampled_from(["safetensors", "other"]), arrays).map(ArrayRecord),
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


@given(names, rounds, st.binary())
def test_a_request_survives_the_bytes(charter: str, number: int, adapter: bytes) -> None:
    request = TrainRequest(charter, number, adapter)
    assert TrainRequest.from_record(carried(request.to_record())) == request
    assert Hello.from_record(carried(Hello(charter).to_record())) == Hello(charter)


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


@pytest.mark.parametrize("record", GOOD)
def test_every_field_is_needed(record: RecordDict) -> None:
    decoders = DECODERS[2:] if "answer" in record.config_records["fedward"] else DECODERS[:2]
    decode = decoders[-1] if "tensors" in record else decoders[0]
    decode(record)
    for name in record.config_records["fedward"]:
        with pytest.raises(MessageError, match="protocol" if name == "protocol" else name):
            decode(with_field(record, name))
    if "tensors" in record:
        with pytest.raises(MessageError, match="tensors are missing"):
            decode(RecordDict({"fedward": record["fedward"]}))


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("round", True, "round is missing or no int"),
        ("round", 3.0, "round is missing or no int"),
        ("round", "3", "round is missing or no int"),
        ("site", b"north", "site is missing or no str"),
        ("epsilon", 1, "epsilon is missing or no float"),
        ("protocol", 2, "not a message of protocol 1"),
        ("answer", "maybe", "an unknown answer"),
    ],
)
def test_a_field_of_another_kind_is_named(name: str, value: object, named: str) -> None:
    with pytest.raises(MessageError, match=named):
        answer_from_record(with_field(GOOD[3], name, value))


@pytest.mark.parametrize("code", ["", "BUDGET", "budget is 3 records short"])
def test_a_refusal_is_one_of_the_fixed_words(code: str) -> None:
    with pytest.raises(MessageError, match="an unknown refusal code"):
        answer_from_record(with_field(GOOD[4], "code", code))


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
    record = RecordDict({"fedward": GOOD[3]["fedward"], "tensors": ArrayRecord(tensors)})
    with pytest.raises(MessageError, match="tensors are missing"):
        answer_from_record(record)

"""The gate: what was cleared and asked for goes out, a released bundle comes in, and nothing else."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from conftest import key_of
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fab_pb2 import Fab, GetFabRequest, GetFabResponse
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    PullMessagesResponse,
    PushMessagesRequest,
)
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import ObjectTree, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.run_pb2 import GetRunResponse, Run
from flwr.proto.transport_pb2 import Scalar
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_id,
    get_object_tree,
)
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given
from hypothesis import strategies as st

from fedward_client.gate import bundle, rules
from fedward_client.gate.rules import FLEET, Gate
from fedward_server.superlink import build_bundle
from fedward_shared.errors import BundleRefused, GateError, RefusalCode
from fedward_shared.messages import HELLO, Hello, Refusal, Update

DIGEST = "sha256:" + "0" * 64
RUN, NODE = 7, 3
PUSH, OBJECT, PULL = FLEET + "push-messages", FLEET + "push-object", FLEET + "pull-messages"
ANSWER = Update("north", b"delivery", bytes(range(256)) * 300).to_record()
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def stamped() -> None:
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN, NODE, 1


def identified(message: Message) -> Message:
    message.metadata.__dict__["_message_id"] = message.object_id
    return message


def asked(run: int = RUN) -> Message:
    """What the coordinator asks."""
    message = Message(Hello(DIGEST, "ab").to_record(), dst_node_id=NODE, message_type=HELLO)
    message.metadata.__dict__["_run_id"] = run
    return identified(message)


def pulled(message: Message) -> bytes:
    return PullMessagesResponse(
        messages_list=[message_to_proto(remove_content_from_message(message))],
        message_object_trees=[get_object_tree(message)],
    ).SerializeToString()


@dataclass(frozen=True)
class Reply:
    """A reply as a SuperNode sends it: the announcement, and then its objects."""

    message: Message

    @property
    def announcement(self) -> PushMessagesRequest:
        bare = (
            remove_content_from_message(self.message)
            if self.message.has_content()
            else self.message
        )
        return PushMessagesRequest(
            node=Node(node_id=NODE),
            messages_list=[message_to_proto(bare)],
            message_object_trees=[get_object_tree(self.message)],
            clientapp_runtime_list=[12.5],
        )

    @property
    def objects(self) -> list[PushObjectRequest]:
        return [
            PushObjectRequest(
                node=Node(node_id=NODE), run_id=RUN, object_id=name, object_content=part.deflate()
            )
            for name, part in get_all_nested_objects(self.message).items()
        ]

    def send(self, gate: Gate) -> list[bytes]:
        parts = [gate.request(PUSH, self.announcement.SerializeToString())]
        return parts + [gate.request(OBJECT, part.SerializeToString()) for part in self.objects]


@pytest.fixture
def question() -> Message:
    return asked()


@pytest.fixture
def gate(question: Message) -> Gate:
    """One through which a question has come in, and for which one answer was cleared."""
    made = Gate()
    made.response(PULL, pulled(question))
    made.clear(ANSWER)
    return made


def reply(question: Message, content: RecordDict | Error = ANSWER) -> Reply:
    return Reply(identified(Message(content, reply_to=question)))


def test_a_cleared_reply_goes_out_whole_and_tells_no_time(gate: Gate, question: Message) -> None:
    good = reply(question)
    announced, *objects = good.send(gate)
    sent = PushMessagesRequest.FromString(announced)
    assert list(sent.clientapp_runtime_list) == [0.0]
    assert sent.messages_list == good.announcement.messages_list
    assert [PushObjectRequest.FromString(part) for part in objects] == good.objects


def test_the_same_reply_may_be_sent_again(gate: Gate, question: Message) -> None:
    same = reply(question)
    assert same.send(gate) == same.send(gate)


def test_what_was_not_cleared_does_not_go_out(gate: Gate, question: Message) -> None:
    secret = RecordDict({"fedward": ConfigRecord({"patient": "4711"})})
    with pytest.raises(GateError, match="not cleared"):
        reply(question, secret).send(gate)
    for part in reply(question, secret).objects:
        with pytest.raises(GateError, match="not cleared"):
            gate.request(OBJECT, part.SerializeToString())


def test_a_reply_needs_a_message_that_came_in(gate: Gate) -> None:
    with pytest.raises(GateError, match="did not come in"):
        reply(asked(run=8)).send(gate)


def altered(change: Callable[[MessageProto], object]) -> Callable[[PushMessagesRequest], None]:
    return lambda request: change(request.messages_list[0]) and None


ALTERATIONS: dict[str, tuple[Callable[[PushMessagesRequest], object], str]] = {
    "group": (
        altered(lambda m: setattr(m.metadata, "group_id", "patient 4711") or True),
        "another group_id",
    ),
    "type": (
        altered(lambda m: setattr(m.metadata, "message_type", "train.x") or True),
        "another message_type",
    ),
    "run": (altered(lambda m: setattr(m.metadata, "run_id", 9) or True), "another run_id"),
    "content": (
        altered(
            lambda m: (
                m.content.CopyFrom(
                    message_to_proto(asked()).content  # a whole record in the announcement
                )
                or True
            )
        ),
        "does not travel as objects",
    ),
    "two": (lambda r: r.messages_list.append(r.messages_list[0]), "one reply at a time"),
    "none": (lambda r: r.ClearField("messages_list"), "one reply at a time"),
    "no tree": (lambda r: r.ClearField("message_object_trees"), "one reply at a time"),
    "no child": (lambda r: r.message_object_trees[0].ClearField("children"), "not cleared"),
    "a further child": (
        lambda r: r.message_object_trees[0].children.append(ObjectTree(object_id="0" * 64)),
        "not cleared",
    ),
    "a further part": (
        lambda r: (
            r.message_object_trees[0].children[0].children.append(ObjectTree(object_id="0" * 64))
        ),
        "a part of the reply was not cleared",
    ),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_altered_announcement_is_stopped(gate: Gate, question: Message, name: str) -> None:
    change, said = ALTERATIONS[name]
    request = reply(question).announcement
    change(request)
    with pytest.raises(GateError, match=said):
        gate.request(PUSH, request.SerializeToString())


def test_unknown_fields_are_left_out(gate: Gate, question: Message) -> None:
    request = reply(question).announcement.SerializeToString()
    smuggled = request + b"\xfa\x3f\x0cpatient 4711"  # field 127, of a length
    assert b"4711" not in gate.request(PUSH, smuggled)
    part = reply(question).objects[0].SerializeToString() + b"\xfa\x3f\x0cpatient 4711"
    assert b"4711" not in gate.request(OBJECT, part)


def test_the_head_of_a_reply_says_no_more_than_its_announcement(
    gate: Gate, question: Message
) -> None:
    good = reply(question)
    gate.request(PUSH, good.announcement.SerializeToString())
    head = good.objects[-1]
    for content in (
        head.object_content + b"4711",
        head.object_content.replace(b"query", b"49711"),
        b"no object",
        b"Message\x00",
    ):
        forged = PushObjectRequest(object_id=head.object_id, object_content=content)
        with pytest.raises(GateError, match="not what its id says"):
            gate.request(OBJECT, forged.SerializeToString())
        renamed = PushObjectRequest(object_id=get_object_id(content), object_content=content)
        with pytest.raises(GateError, match="not cleared"):
            gate.request(OBJECT, renamed.SerializeToString())


def test_an_announcement_cannot_name_another_head(gate: Gate, question: Message) -> None:
    """Announced as one thing, sent as another under the announced id."""
    evil = reply(question).objects[-1].object_content + b"4711"
    request = reply(question).announcement
    request.message_object_trees[0].object_id = get_object_id(evil)
    gate.request(PUSH, request.SerializeToString())
    part = PushObjectRequest(object_id=get_object_id(evil), object_content=evil)
    with pytest.raises(GateError, match="another than the one announced"):
        gate.request(OBJECT, part.SerializeToString())


@pytest.mark.parametrize(("code", "reason"), sorted(rules.FIXED_ERRORS))
def test_an_error_in_flowers_fixed_words_goes_out(
    gate: Gate, question: Message, code: int, reason: str
) -> None:
    assert reply(question, Error(code, reason)).send(gate)


@pytest.mark.parametrize(
    "error",
    [
        Error(2, "<class 'KeyError'>:<'patient 4711'>"),
        Error(rules.CRASHED[0], "patient 4711"),
        Error(4711, rules.CRASHED[1]),
    ],
)
def test_an_error_in_words_of_its_own_does_not(gate: Gate, question: Message, error: Error) -> None:
    with pytest.raises(GateError, match="may depend on records"):
        reply(question, error).send(gate)


def test_a_refusal_is_a_reply_like_any_other(gate: Gate, question: Message) -> None:
    refusal = Refusal("north", RefusalCode.BUNDLE, key_of("north").sign(b"x")).to_record()
    with pytest.raises(GateError):
        reply(question, refusal).send(gate)
    gate.clear(refusal)
    assert reply(question, refusal).send(gate)
    assert [one.metadata.run_id for one in gate.asked(RUN)] == [RUN]
    gate.answered(question.metadata.message_id)
    assert list(gate.asked(RUN)) == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/start-run",
        "/v1/runtime/acquire-task",
        "/v1/fleet/register-node",
        "/v1/fleet/unregister-node",
        "/v1/fleet/",
        "/v1/fleet/../control/start-run",
        "/v1/fleet/push-messages/",
        "/health",
        "",
    ],
)
def test_no_other_endpoint_passes(gate: Gate, path: str) -> None:
    with pytest.raises(GateError, match="fleet endpoints and nothing else"):
        gate.request(path, b"")


def test_sizes_are_bounded(gate: Gate) -> None:
    body = ActivateNodeRequest(public_key=bytes(rules.SMALL + 1)).SerializeToString()
    with pytest.raises(GateError, match=r"activate-node: \d+ bytes, more than"):
        gate.request(FLEET + "activate-node", body)
    with pytest.raises(GateError, match="more than"):
        gate.response(FLEET + "get-run", bytes(rules.SMALL + 1))


@given(st.sampled_from(sorted(rules.ENDPOINTS)), st.binary(max_size=200))
def test_no_bytes_break_the_rules(name: str, body: bytes) -> None:
    for check in (Gate().request, Gate().response):
        try:
            check(FLEET + name, body)
        except GateError:
            continue


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"seed": Scalar(sint64=7)}, "configured by 'seed'"),
        ({"study": Scalar(string="x")}, "no digest"),
        ({"study": Scalar(sint64=7)}, "no digest"),
        ({"study": Scalar(string=DIGEST), "path": Scalar(string="/etc")}, "'path'"),
    ],
)
def test_a_run_is_configured_by_a_charter_alone(
    gate: Gate, config: dict[str, Scalar], said: str
) -> None:
    answer = GetRunResponse(run=Run(run_id=RUN, override_config=config))
    with pytest.raises(GateError, match=said):
        gate.response(FLEET + "get-run", answer.SerializeToString())


def test_the_configuration_of_a_study_comes_in(gate: Gate) -> None:
    run = Run(run_id=RUN, override_config={"study": Scalar(string=DIGEST)})
    gate.response(FLEET + "get-run", GetRunResponse(run=run).SerializeToString())


# Bundles


def test_the_bundle_of_this_release_comes_in(gate: Gate) -> None:
    content = build_bundle(ROOT / "deploy/flower-app")
    gate.response(FLEET + "get-fab", GetFabResponse(fab=Fab(content=content)).SerializeToString())
    assert list(bundle.released())[-1] == "0.1.0"


def zipped(**members: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return data.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zipped(**{"fedward_client/app.py": "x"}), r"it carries 'fedward_client/app\.py'"),
        (zipped(**{f"{n}.pth": "" for n in range(9)}), "and 4 more"),
        (zipped(**{"pyproject.toml": ""}), "of another release or was changed"),
        (zipped(**{"x" * 500: ""}), "it carries 'x{80}'"),
        (b"", "no zip file"),
        (b"PK\x05\x06", "no zip file"),
        (build_bundle(ROOT / "deploy/flower-app") + b"\x00", "another release or was changed"),
    ],
)
def test_any_other_bundle_does_not_and_a_person_reads_why(
    gate: Gate, content: bytes, said: str
) -> None:
    answer = GetFabResponse(fab=Fab(content=content)).SerializeToString()
    with pytest.raises(BundleRefused, match=said) as caught:
        gate.response(FLEET + "get-fab", answer)
    assert caught.value.refusal is RefusalCode.BUNDLE
    assert "nothing of this bundle was unpacked or run" in str(caught.value)


@given(st.binary(max_size=400))
def test_no_bundle_breaks_the_check(content: bytes) -> None:
    for data in (content, zipped(a="b") + content, content + zipped(a="b")):
        with pytest.raises(BundleRefused):
            bundle.check(data)


def test_the_request_for_a_bundle_is_passed_on(gate: Gate) -> None:
    request = GetFabRequest(node=Node(node_id=NODE), hash_str="ab", run_id=RUN)
    body = request.SerializeToString(deterministic=True)
    assert gate.request(FLEET + "get-fab", body) == body


def test_arrays_of_many_pieces_are_cleared_whole(question: Message) -> None:
    large = replace(Update("north", b"", bytes(11 * 2**20))).to_record()
    assert isinstance(large["tensors"], ArrayRecord)
    gate = Gate()
    gate.response(PULL, pulled(question))
    gate.clear(large)
    assert len(reply(question, large).send(gate)) >= 6

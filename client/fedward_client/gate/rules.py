"""What passes the gate. No sockets and no clock: bytes of a request or an answer in, a verdict out.

Out, a reply goes only if the trusted side has cleared its content, answers a message that came in, and
says nothing besides; an error only with one of Flower's fixed texts. In, a bundle comes only if it is a
released one, and a run's configuration only if it is ours. Every request is read and written anew, so
that no field which these rules do not know gets through.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from flwr.app import RecordDict
from flwr.proto.fab_pb2 import GetFabRequest, GetFabResponse
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    DeactivateNodeRequest,
    DeactivateNodeResponse,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest, SendNodeHeartbeatResponse
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ConfirmMessageReceivedResponse,
    ObjectTree,
    PullObjectRequest,
    PullObjectResponse,
    PushObjectRequest,
    PushObjectResponse,
)
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import Metadata as MetadataProto
from flwr.proto.run_pb2 import GetRunRequest, GetRunResponse, Run
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_head_values_from_object_content,
    get_object_id,
    iterate_object_tree,
)
from flwr.supernode.nodestate.in_memory_nodestate import CLIENT_APP_CRASHED_ERROR
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Proto

from fedward_client.gate import bundle
from fedward_shared.errors import GateError
from fedward_shared.terms import DIGEST_PATTERN

FLEET = "/v1/fleet/"
SMALL = 64 * 2**10
LARGE = 64 * 2**20
"""More than the 5 MiB into which Flower cuts a tensor."""

LOADING_FAILED = (1, "An exception was raised when attempting to load `ClientApp`")
CRASHED = (CLIENT_APP_CRASHED_ERROR.code, CLIENT_APP_CRASHED_ERROR.reason)
FIXED_ERRORS = {LOADING_FAILED, CRASHED}
"""Flower's own words for an error, none of which depends on a record: (code, reason)."""

T = TypeVar("T")

CONFIGURATION = {"study"}
REMEMBERED = 10_000


@dataclass(frozen=True)
class Endpoint:
    """A kind of request, and the most bytes that it and its answer may have."""

    request: type[Proto]
    response: type[Proto]
    up: int = SMALL
    down: int = SMALL


ENDPOINTS = {
    "activate-node": Endpoint(ActivateNodeRequest, ActivateNodeResponse),
    "deactivate-node": Endpoint(DeactivateNodeRequest, DeactivateNodeResponse),
    "send-node-heartbeat": Endpoint(SendNodeHeartbeatRequest, SendNodeHeartbeatResponse),
    "pull-messages": Endpoint(PullMessagesRequest, PullMessagesResponse, down=16 * SMALL),
    "push-messages": Endpoint(PushMessagesRequest, PushMessagesResponse, 16 * SMALL, 16 * SMALL),
    "get-run": Endpoint(GetRunRequest, GetRunResponse),
    "get-fab": Endpoint(GetFabRequest, GetFabResponse, down=LARGE),
    "push-object": Endpoint(PushObjectRequest, PushObjectResponse, up=LARGE),
    "pull-object": Endpoint(PullObjectRequest, PullObjectResponse, down=LARGE),
    "confirm-message-received": Endpoint(
        ConfirmMessageReceivedRequest, ConfirmMessageReceivedResponse
    ),
}
"""A node is registered by enrolment, not by itself: those two endpoints of Flower's are missing."""


def endpoint(path: str) -> Endpoint:
    """That of a path. Raises GateError for any other than the ones above."""
    found = ENDPOINTS.get(path.removeprefix(FLEET)) if path.startswith(FLEET) else None
    if found is None:
        raise GateError(
            f"{path[:200]!r}: the gate passes Flower's fleet endpoints and nothing else"
        )
    return found


@dataclass(frozen=True)
class Asked:
    """A message that came in and waits for its reply."""

    metadata: MetadataProto
    tree: ObjectTree


class Gate:
    """The rules of one coordinator's traffic, and what they have to remember for it."""

    def __init__(self) -> None:
        self._cleared: OrderedDict[str, frozenset[str]] = OrderedDict()
        """Object id of a reply's content → the ids of all that it consists of."""
        self._asked: OrderedDict[str, Asked] = OrderedDict()
        self._replies: OrderedDict[str, MessageProto] = OrderedDict()

    def clear(self, content: RecordDict) -> None:
        """From now on a reply may have this content: the trusted side has said so."""
        ids = frozenset(get_all_nested_objects(content))
        _remember(self._cleared, content.object_id, ids)

    def asked(self, run_id: int) -> Iterator[Asked]:
        """The messages of a run that came in and are not answered."""
        yield from [a for a in self._asked.values() if a.metadata.run_id == run_id]

    # Out

    def request(self, path: str, body: bytes) -> bytes:
        """The request as it may go out. Raises GateError."""
        kind = endpoint(path)
        request = _parsed(kind.request, body, kind.up, path)
        match request:
            case PushMessagesRequest():
                self._check_reply(request)
                request.clientapp_runtime_list[:] = [0.0]  # how long it took is the site's own
            case PushObjectRequest():
                self._check_object(request.object_id, request.object_content)
        return bytes(request.SerializeToString(deterministic=True))

    def _check_reply(self, request: PushMessagesRequest) -> None:
        if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
            raise GateError("push-messages: one reply at a time")
        [reply], [tree] = request.messages_list, request.message_object_trees
        self._check_message(reply)
        children = [child.object_id for child in tree.children]
        if reply.HasField("error"):
            if children:
                raise GateError("push-messages: an error has no content")
        else:
            self._check_content(children)
            parts = {part.object_id for part in iterate_object_tree(tree.children[0])}
            if not parts <= self._cleared[children[0]]:
                raise GateError("push-messages: a part of the reply was not cleared")
        _remember(self._replies, tree.object_id, reply)

    def _check_message(self, message: MessageProto) -> None:
        """Raises GateError for anything but a reply to what came in, or a fixed error."""
        metadata = message.metadata
        asked = self._asked.get(metadata.reply_to_message_id)
        if asked is None:
            raise GateError("a reply to a message that did not come in")
        for name in ("run_id", "group_id", "message_type"):
            if getattr(metadata, name) != getattr(asked.metadata, name):
                raise GateError(f"a reply with another {name} than the message's")
        if message.content.ByteSize():
            raise GateError("a reply whose content does not travel as objects")
        error = message.error
        if message.HasField("error") and (error.code, error.reason) not in FIXED_ERRORS:
            raise GateError("an error with words of its own, which may depend on records")

    def _check_content(self, children: list[str]) -> None:
        if len(children) != 1 or children[0] not in self._cleared:
            raise GateError("a reply that the site has not cleared")

    def _check_object(self, object_id: str, content: bytes) -> None:
        if get_object_id(content) != object_id:
            raise GateError("push-object: the object is not what its id says")
        if any(object_id in ids for ids in self._cleared.values()):
            return
        announced = self._replies.get(object_id)
        if announced is None:
            raise GateError("push-object: an object that the site has not cleared")
        self._check_head(announced, content)

    def _check_head(self, announced: MessageProto, content: bytes) -> None:
        """The object that stands for the reply itself: no more in it than in the announcement."""
        try:
            kind, children, length = get_object_head_values_from_object_content(content)
        except (ValueError, UnicodeDecodeError) as error:
            raise GateError("push-object: not an object of Flower's") from error
        body = content[len(content) - length :] if 0 < length < len(content) else b""
        message = MessageProto()
        message.CopyFrom(announced)
        message.metadata.message_id = ""
        message.ClearField("content")  # announced empty; it travels as objects
        if kind != "Message" or body != message.SerializeToString(deterministic=True):
            raise GateError("push-object: the reply is another than the one announced")
        if not message.HasField("error"):
            self._check_content(children)

    # In

    def response(self, path: str, body: bytes) -> None:
        """Raises GateError, or BundleRefused, for an answer that may not come in."""
        kind = endpoint(path)
        response = _parsed(kind.response, body, kind.down, path)
        match response:
            case PullMessagesResponse():
                self._take_in(response)
            case GetRunResponse():
                _check_configuration(response.run)
            case GetFabResponse():
                bundle.check(bytes(response.fab.content))

    def _take_in(self, response: PullMessagesResponse) -> None:
        trees = list(response.message_object_trees)
        if len(trees) != len(response.messages_list):
            raise GateError("pull-messages: not one object tree for each message")
        for message, tree in zip(response.messages_list, trees, strict=True):
            _remember(self._asked, message.metadata.message_id, Asked(message.metadata, tree))

    def answered(self, message_id: str) -> None:
        """The message got its reply; there is no other."""
        self._asked.pop(message_id, None)


def _parsed(kind: type[Proto], body: bytes, limit: int, path: str) -> Proto:
    if len(body) > limit:
        raise GateError(f"{path}: {len(body)} bytes, more than {limit}")
    try:
        message = kind.FromString(body)
    except DecodeError as error:
        raise GateError(f"{path}: not a {kind.__name__}") from error
    message.DiscardUnknownFields()
    return message


def _check_configuration(run: Run) -> None:
    """A run is configured by the digest of its study's charter, and by nothing else."""
    if unknown := sorted(set(run.override_config) - CONFIGURATION):
        raise GateError(
            f"get-run: the run is configured by {unknown[0][:80]!r}, which no study has"
        )
    for name, value in run.override_config.items():
        if not re.fullmatch(DIGEST_PATTERN, value.string):
            raise GateError(f"get-run: {name} is no digest of a charter")


def _remember(place: OrderedDict[str, T], key: str, value: T) -> None:
    place[key] = value
    place.move_to_end(key)
    while len(place) > REMEMBERED:
        place.popitem(last=False)

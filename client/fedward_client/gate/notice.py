"""How a refused bundle becomes known: the site answers the run's messages itself, with a refusal.

The SuperNode stops at a refused bundle and says nothing, and a coordinator would see silence. So the
daemon fetches what was asked, as a SuperNode would and through the same gate, and answers it.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fedward_client.gate.rules import Asked
from fedward_shared.errors import IdentityError

log = structlog.get_logger()

Refuse = Callable[[RecordDict], RecordDict]
"""From the content of a message to that of its refusal, signed and cleared."""


def send(address: str, ca: Path, node_key: Path, asked: Iterable[Asked], refuse: Refuse) -> None:
    """Answers each of `asked` through the gate at `address`. Raises httpx.HTTPError or RuntimeError."""
    key = load_ssh_private_key(node_key.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise IdentityError(f"{node_key}: not an EC key")
    with FleetHttpClient.from_server_address(
        address,
        insecure=False,
        root_certificates=ca.read_bytes(),
        interceptors=[
            RuntimeVersionHttpInterceptor(component_name="SuperNode"),
            NodeAuthHttpInterceptor(key, key.public_key()),
        ],
    ) as client:
        for one in asked:
            _answer(client, one, refuse)


def _answer(client: FleetHttpClient, asked: Asked, refuse: Refuse) -> None:
    run, node = asked.metadata.run_id, Node(node_id=asked.metadata.dst_node_id)
    message = pull_and_inflate_object_from_tree(
        asked.tree,
        make_pull_object_fn_protobuf(client.PullObject, node, run),
        make_confirm_message_received_fn_protobuf(client.ConfirmMessageReceived, node, run),
        return_type=Message,
    )
    message.metadata.__dict__["_message_id"] = asked.metadata.message_id
    # Flower stamps every message with the identity of the process that makes it.
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run, node.node_id, 0
    reply = Message(refuse(message.content), reply_to=message)
    reply.metadata.__dict__["_message_id"] = reply.object_id
    told = client.PushMessages(
        PushMessagesRequest(
            node=node,
            messages_list=[message_to_proto(remove_content_from_message(reply))],
            message_object_trees=[get_object_tree(reply)],
            clientapp_runtime_list=[0.0],
        )
    )
    push = make_push_object_fn_protobuf(client.PushObject, node, run, told.session_id)
    wanted = set(told.objects_to_push)
    for object_id, part in get_all_nested_objects(reply).items():
        if object_id in wanted:
            push(object_id, part.deflate())
    log.info("refusal sent", run=run, message=asked.metadata.message_id)

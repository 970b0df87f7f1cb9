"""Answers one message as a deployed ClientApp does; `test_cut_off.py` starts it without a network.

    cut_off.py SOCKET HOST:PORT …  < a message, as Flower sends it  > its reply

Before and after, it tries to reach each address, and ends with an error if one answers.
"""

import socket
import sys

from flwr.app import Context, RecordDict, UserConfig
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.supercore.task_identity import TaskIdentity

from fedward_client.app import SOCKET_KEY, app


def check_cut_off(addresses: list[str]) -> None:
    """Raises SystemExit if a connection to one of these can be made."""
    for address in addresses:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError:
            continue
        sys.exit(f"{address} was reached")


def main(path: str, addresses: list[str]) -> None:
    """As the module's docstring says."""
    check_cut_off(addresses)
    message = message_from_proto(MessageProto.FromString(sys.stdin.buffer.read()))
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    context = Context(
        run_id=1,
        node_id=1,
        node_config={SOCKET_KEY: path},
        state=RecordDict(),
        run_config=UserConfig(),
    )
    reply = app(message, context)
    check_cut_off(addresses)
    sys.stdout.buffer.write(message_to_proto(reply).SerializeToString())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

"""Receipts that no further request carries, sent at the end of a study."""

import time
from collections.abc import Mapping

from fedward_server.asking import Sender
from fedward_shared.messages import RECEIPT, ReceiptNote


def acknowledge(
    sender: Sender,
    charter: str,
    group: str,
    receipts: Mapping[str, bytes],
    nodes: Mapping[str, int],
    patience: float,
) -> None:
    """Sends each site its receipt, and waits until all have noted it, or for `patience` seconds."""
    notes = [
        (nodes[site], ReceiptNote(charter, receipts[site]).to_record()) for site in sorted(receipts)
    ]
    waiting = set(sender.send(RECEIPT, group, notes))
    until = time.monotonic() + patience
    while waiting and time.monotonic() < until:
        for reply in sender.grid.pull_messages(sorted(waiting)):
            waiting.discard(reply.metadata.reply_to_message_id)
        if waiting:
            sender.pause()

"""Flower's Grid over the three sites, and what a network does: lose, repeat, delay, cut.

A site passes `request.hello`, `request.train`, `request.masks` (four in a masked round) and
`request.receipt` when such a message reaches it, and `reply.…` when its answer is about to leave; the
coordinator passes `push.…` before it sends. The grid outlives the coordinator, as the SuperLink does:
what a killed one had sent reaches the sites later.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from flwr.app import Error, Message
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode

from fedward_shared.messages import (
    HELLO,
    MASKS,
    RECEIPT,
    TRAIN,
    Counted,
    MaskAnswer,
    MaskRequest,
    Noted,
    Refusal,
    SessionDone,
    TrainRequest,
    Update,
    Welcome,
    answer_from_record,
)
from fedward_simulations.faults.operations import SITES, Operation
from fedward_simulations.faults.world import Crossing, Killed, World
from fedward_simulations.federation import InProcessGrid, through_bytes

KINDS = {HELLO: "hello", TRAIN: "train", RECEIPT: "receipt", MASKS: "masks"}
NODES = dict(enumerate(SITES, start=1))


def _asked(request: bytes) -> tuple[int, int]:
    """Round and attempt that a signed request is for."""
    body = json.loads(request)["body"]
    return body["round"], body["attempt"]


@dataclass(frozen=True, eq=False)
class _Reply:
    """A reply on its way, there when the clock shows `due`."""

    due: float
    message: Message
    crossing: Crossing | None = None

    @property
    def answers(self) -> str:
        """The id of the message that it answers."""
        return self.message.metadata.reply_to_message_id


class FaultyGrid(InProcessGrid):
    """Node n is the n-th of `SITES`. A message is answered when its reply is first asked for."""

    def __init__(self, world: World, client: ClientApp) -> None:
        super().__init__(dict.fromkeys(NODES, client))
        self._world = world
        self._late: defaultdict[int, list[Message]] = defaultdict(list)
        """Node → messages that reach it just before its next one."""
        self._overtaken: defaultdict[int, list[Message]] = defaultdict(list)
        """Node → messages that reach it just after its next one."""
        self._replies: list[_Reply] = []

    # The coordinator's side

    def get_node_ids(self) -> Iterable[int]:
        """The nodes that can be reached now."""
        return [node for node in NODES if not self._is_away(node)]

    def _is_away(self, node: int) -> bool:
        return self._world.clock.seconds < self._world.away.get(NODES[node], 0.0)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Accepts messages; returns their ids in the same order."""
        pushed = list(messages)
        if pushed:
            self._world.passes(f"push.{KINDS[pushed[0].metadata.message_type]}")
        return super().push_messages(pushed)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies to `message_ids` that are there, or what the first one of them brings about."""
        wanted = set(message_ids)
        here = self._arrived(wanted)
        if here:
            return here
        for message_id, message in list(self._waiting.items()):
            if message_id in wanted and not self._is_away(message.metadata.dst_node_id):
                del self._waiting[message_id]
                self._reach(message)
                return self._arrived(wanted)
        return []

    def _arrived(self, wanted: set[str]) -> list[Message]:
        now = self._world.clock.seconds
        here = [r for r in self._replies if r.due <= now and r.answers in wanted]
        self._replies = [reply for reply in self._replies if reply not in here]
        self._world.received += [reply.crossing for reply in here if reply.crossing]
        return [reply.message for reply in here]

    def abandon(self) -> None:
        """The coordinator is gone: what it had sent is still on its way, what was sent to it is lost."""
        for message in self._waiting.values():
            self._late[message.metadata.dst_node_id].append(message)
        self._waiting.clear()
        self._replies.clear()

    def deliver_the_rest(self) -> None:
        """All that is still on its way reaches the sites."""
        self.abandon()
        for node in NODES:
            self._deliver(node, self._late)
            self._deliver(node, self._overtaken)

    # The sites' side

    def _reach(self, message: Message) -> None:
        node, kind = message.metadata.dst_node_id, KINDS[message.metadata.message_type]
        self._world.back_up(NODES[node])
        copies = 1
        again: list[Message] = []
        try:
            with self._world.turn(NODES[node]):
                due = self._world.passes(f"request.{kind}")
        except Killed:
            return self._gone(message)
        for operation in due:
            match operation.fault:
                case "lose":
                    copies = 0
                case "late":
                    return self._late[node].append(message)
                case "out of order":
                    return self._overtaken[node].append(message)
                case "again later":
                    again.append(message)
                case "cut":
                    self._cut(operation)
                    self._waiting[message.metadata.message_id] = message
                    return None
                case "twice":
                    copies = 2
        self._deliver(node, self._late)
        for _ in range(copies):
            self._answer_of(message)
        self._deliver(node, self._overtaken)
        self._overtaken[node] += again
        return None

    def _deliver(self, node: int, held: defaultdict[int, list[Message]]) -> None:
        for message in held.pop(node, []):
            self._answer_of(message)

    def _answer_of(self, message: Message) -> None:
        """Has the site answer; what it says sets out for the coordinator."""
        node, kind = message.metadata.dst_node_id, KINDS[message.metadata.message_type]
        site = NODES[node]
        try:
            with self._world.turn(site):
                reply = self._answer(message)
                due = self._world.passes(f"reply.{kind}")
        except Killed:
            return self._gone(message)
        crossing = self._crossing(site, message, reply)
        self._world.left.append(crossing)
        delay = 0.0
        copies = 1
        for operation in due:
            match operation.fault:
                case "lose":
                    copies = 0
                case "cut":
                    self._cut(operation)
                    return self._gone(message)
                case "late" | "out of order":
                    delay = operation.amount
                case "twice":
                    copies = 2
        for _ in range(copies):
            self._replies.append(_Reply(self._world.clock.seconds + delay, reply, crossing))
        return None

    def _cut(self, operation: Operation) -> None:
        self._world.away[operation.party] = self._world.clock.seconds + operation.amount

    def _gone(self, message: Message) -> None:
        """The SuperLink says that a node is gone, in place of an answer that it will not get."""
        error = Message(Error(ErrorCode.NODE_UNAVAILABLE, "gone"), reply_to=message)
        self._replies.append(_Reply(self._world.clock.seconds, through_bytes(error)))

    def _crossing(self, site: str, message: Message, reply: Message) -> Crossing:
        answer = answer_from_record(reply.content)
        barred = self._world.barred(site)
        match answer:
            case Update():
                number = json.loads(answer.delivery)["body"]["round"]
                attempt = _asked(TrainRequest.from_record(message.content).request)[1]
                return Crossing(site, "update", number, answer.update, barred, attempt)
            case Welcome():
                return Crossing(site, "welcome", 0, b"", barred)
            case Refusal():
                return Crossing(site, f"refused: {answer.code.value}", 0, b"", barred)
            case Noted():
                return Crossing(site, "noted", 0, b"", barred)
            case MaskAnswer():
                number, attempt = _asked(MaskRequest.from_record(message.content).request)
                said = hashlib.sha256(answer.parcel).hexdigest()
                return Crossing(site, answer.stage, number, b"", barred, attempt, said)
            case SessionDone() | Counted():
                raise AssertionError("a campaign has studies of rounds alone")

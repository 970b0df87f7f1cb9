"""Who is there: nodes are greeted, and each participant's own answer tells which node is whose."""

import hmac
import math
import os
import time

import structlog
from flwr.app import Message

from fedward_server.asking import Sender, answer_of
from fedward_shared.agreement import Agreement
from fedward_shared.assurances import Objection, Presence, check_approved
from fedward_shared.errors import CharterError, StatementError
from fedward_shared.messages import HELLO, Answer, Hello, Refusal, Welcome

log = structlog.get_logger()


class Gathering:
    """The participants of one charter, waited for `patience` seconds where they are needed: at least
    `minimum` of them are.
    """

    def __init__(self, sender: Sender, charter: Agreement, patience: float, minimum: int) -> None:
        self._sender = sender
        self._charter = charter
        self._patience = patience
        self._minimum = minimum
        self.nodes: dict[str, int] = {}
        """Participant → the node it answers from."""
        self.refused: dict[str, str] = {}
        self._greeted: set[int] = set()
        self._challenge = os.urandom(32).hex()

    def gather(self) -> None:
        """Greets nodes that are new; the first time it waits for all participants."""
        until = time.monotonic() + (0.0 if self._greeted else self._patience)
        waiting: dict[str, int] = {}
        greetings_end = math.inf
        while True:
            new = set(self._sender.grid.get_node_ids()) - self._greeted
            if new:
                self._greeted |= new
                waiting |= self._greet(sorted(new))
                greetings_end = time.monotonic() + self._patience
            for reply in self._sender.grid.pull_messages(sorted(waiting)) if waiting else ():
                node = waiting.pop(reply.metadata.reply_to_message_id, None)
                if node is not None and reply.has_error():
                    self._greeted.discard(node)  # its process failed: it is greeted again
                elif node is not None:
                    self._welcome(reply, node)
            now = time.monotonic()
            if self._complete or (now >= until and (not waiting or now >= greetings_end)):
                return
            self._sender.pause()

    def _greet(self, nodes: list[int]) -> dict[str, int]:
        """Message id → node."""
        hello = Hello(self._charter.digest, self._challenge).to_record()
        ids = self._sender.send(HELLO, "0", [(node, hello) for node in nodes])
        return dict(zip(ids, nodes, strict=True))

    @property
    def _complete(self) -> bool:
        """Whether each participant has said whether it takes part."""
        known = self.nodes.keys() | self.refused.keys()
        return known >= {participant.name for participant in self._charter.participants}

    def connected(self) -> dict[str, int]:
        """The sites that are there, once they are enough or have been waited for."""
        until = time.monotonic() + self._patience
        while True:
            there = set(self._sender.grid.get_node_ids())
            found = {site: node for site, node in self.nodes.items() if node in there}
            hopeless = len(self.nodes) < self._minimum or time.monotonic() >= until
            if len(found) >= self._minimum or hopeless:
                return found
            self._sender.pause()

    def _welcome(self, reply: Message, node: int) -> None:
        answer = answer_of(reply)
        names = {participant.name for participant in self._charter.participants}
        if answer is None or answer.site not in names:
            return
        try:
            self._check_presence(answer)
        except (StatementError, CharterError) as error:
            # Anybody with a node could say this; it must not keep the site itself out.
            log.warning("not believed", node=node, site=answer.site, reason=str(error))
            return
        if isinstance(answer, Refusal):
            self.refused[answer.site] = f"refused: {answer.code.value}"
            log.warning("site refused", site=answer.site, code=answer.code.value)
        elif answer.site in self.nodes and self.nodes[answer.site] != node:
            # Two nodes with one name: which of them is the site cannot be told, so neither is.
            del self.nodes[answer.site]
            self.refused[answer.site] = "two nodes claim this name"
        elif answer.site not in self.refused:
            self.nodes[answer.site] = node

    def _check_presence(self, answer: Answer) -> None:
        """Raises StatementError unless it is the participant itself that says so, now."""
        site, origin = answer.site, f"answer of {answer.site}"
        match answer:
            case Welcome():
                check_approved(answer.decision, self._charter, site, origin)
                presence = Presence.read_of(answer.presence, self._charter, site, origin)
                said = presence.challenge
            case Refusal():
                objection = Objection.read_of(answer.objection, self._charter, site, origin)
                said = objection.answers if objection.code == answer.code else ""
            case _:
                said = ""
        if not hmac.compare_digest(said, self._challenge):
            raise StatementError(f"{origin}: it answers another challenge")

"""Requests to the sites of a round, and every answer handed over until the last one is in.

What the answers are worth is for the state machine behind (`rounds.Round`) to say.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from flwr.app import Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from fedward_server.reasons import LATER, NOT_CONNECTED
from fedward_shared.messages import Answer, MessageError, answer_from_record

LATER_SECONDS = 60.0
"""After so long a site that said `later` is asked again."""

Take = Callable[[str, Answer | None], None]
"""Gets each site's answer, None for a failed process or something that is no answer."""


@dataclass(frozen=True)
class Sender:
    """Flower's grid with a study's patience: replies within `ttl` seconds, looked for at each poll."""

    grid: Grid
    ttl: float
    poll_seconds: float

    def send(self, kind: str, group: str, contents: Iterable[tuple[int, RecordDict]]) -> list[str]:
        """Sends each node its content; the ids of the messages, in the same order."""
        messages = [
            Message(
                content=content, dst_node_id=node, message_type=kind, group_id=group, ttl=self.ttl
            )
            for node, content in contents
        ]
        return list(self.grid.push_messages(messages)) if messages else []

    def pause(self) -> None:
        """Until it is worth looking again."""
        time.sleep(self.poll_seconds)


class Stage(Protocol):
    """What the answers of an `Asking` go to."""

    @property
    def outstanding(self) -> frozenset[str]:
        """Sites whose answer is still to come."""

    @property
    def postponed(self) -> Set[str]:
        """Sites that may answer at another hour."""

    @property
    def closed(self) -> bool:
        """Whether nothing more is waited for."""

    @property
    def sufficient(self) -> bool:
        """Whether those who answered are enough."""

    def fail(self, site: str, reason: str) -> None:
        """No usable answer of `site` will come."""

    def tick(self, now: float) -> None:
        """Gives up on whom it is too late for."""


class Asking:
    """One request to each of `nodes` (site → node), sent in their order; `requests` are theirs by site.

    `under_way`: messages to some of them (id → site) that were sent before and not answered yet.
    """

    def __init__(
        self,
        sender: Sender,
        kind: str,
        group: str,
        requests: Mapping[str, RecordDict],
        nodes: Mapping[str, int],
        under_way: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._sender = sender
        self._kind = kind
        self._group = group
        self._requests = requests
        self._nodes = nodes
        self._away: set[str] = set()
        self._again_at: dict[str, float] = {}
        self.waiting = dict(under_way)
        """Message id → site, of those not answered yet."""
        self._ask(nodes.keys() - set(under_way.values()))

    def until_closed(self, stage: Stage, take: Take) -> None:
        """Hands each answer over until `stage` is closed.

        Sites that are gone or said `later` are waited for, up to the deadline, where they are needed.
        """
        while not stage.closed:
            self._ask(self._returned(stage))
            self._ask(self._due(stage))
            for reply in self._sender.grid.pull_messages(sorted(self.waiting)):
                site = self.waiting.pop(reply.metadata.reply_to_message_id, None)
                if site is not None and _node_is_gone(reply):
                    self._away.add(site)
                elif site is not None:
                    take(site, answer_of(reply))
                    self._postpone(site, stage)
            if stage.sufficient and stage.outstanding <= self._away | stage.postponed:
                for site in stage.outstanding:
                    stage.fail(site, LATER if site in stage.postponed else NOT_CONNECTED)
            stage.tick(time.monotonic())
            if not stage.closed:
                self._sender.pause()

    def _ask(self, sites: Set[str]) -> None:
        asked = [site for site in self._nodes if site in sites]
        contents = [(self._nodes[site], self._requests[site]) for site in asked]
        ids = self._sender.send(self._kind, self._group, contents)
        self.waiting |= dict(zip(ids, asked, strict=True))

    def _returned(self, stage: Stage) -> set[str]:
        """Sites that were gone and are back without having answered.

        What a node had pulled when it died is not delivered again. Asking anew costs a site nothing
        if it has done its part already: it keeps its answer.
        """
        connected = set(self._sender.grid.get_node_ids())
        self._away |= {s for s in stage.outstanding if self._nodes[s] not in connected}
        back = {site for site in self._away if self._nodes[site] in connected}
        self._away -= back
        return back & stage.outstanding

    def _postpone(self, site: str, stage: Stage) -> None:
        """A site whose answer leaves it outstanding has said `later`."""
        if site in stage.postponed & stage.outstanding:
            self._again_at[site] = time.monotonic() + LATER_SECONDS

    def _due(self, stage: Stage) -> set[str]:
        """Sites that said `later` a while ago, and have not been asked since: they may be at it."""
        now, connected = time.monotonic(), set(self._sender.grid.get_node_ids())
        late = self._again_at.items()
        due = {site for site, at in late if at <= now and self._nodes[site] in connected}
        for site in due:
            del self._again_at[site]
        return due & stage.outstanding


def answer_of(reply: Message) -> Answer | None:
    """What a node said, or None for a failed process or something that is no answer."""
    if reply.has_error():
        return None
    try:
        return answer_from_record(reply.content)
    except MessageError:
        return None


def _node_is_gone(reply: Message) -> bool:
    """Whether the SuperLink says so in place of a reply that it will not get."""
    return reply.has_error() and reply.error.code == ErrorCode.NODE_UNAVAILABLE

"""Who is there, and who may talk to whom: the relay's decisions, without a socket.

A state machine without I/O. Connections are numbers; what is to go out comes back as (connection, hop),
and a connection that gets a refusal ends with it. A party attends by a signature for the challenge of
its connection, made with the key that the session has of it. Nothing is kept for a party that is away:
the parties' channels keep what is unconfirmed, and send it again when they are told `here`.

Times are seconds since the epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from fedward_server.exchange.sessions import Session
from fedward_shared import statements
from fedward_shared.errors import ExchangeError, StatementError
from fedward_shared.exchange.envelopes import Attendance
from fedward_shared.exchange.hops import (
    BEAT_SECONDS,
    CHALLENGE_BYTES,
    RELAYED,
    SILENT_SECONDS,
    Hop,
    Refusal,
)

Out = list[tuple[int, Hop]]
Find = Callable[[str], Session | None]


@dataclass
class Count:
    """What a party has sent to its peers, whether they were there or not."""

    frames: int = 0
    bytes: int = 0


@dataclass
class _Connection:
    """`site` and `session` are empty until the party has attended."""

    challenge: bytes
    certificate: str
    heard: float
    session: str = ""
    site: str = ""


@dataclass
class _Live:
    """A session that somebody has attended: who is there, and since when the others are not."""

    session: Session
    away: dict[str, float]
    present: dict[str, int] = field(default_factory=dict)
    counts: dict[str, Count] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    ended: bool = False


class Relay:
    """`find` gives the session with an id, None if there is none."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._connections: dict[int, _Connection] = {}
        self._live: dict[str, _Live] = {}
        self._beaten = 0.0

    def arrive(self, connection: int, challenge: bytes, certificate: str, now: float) -> Out:
        """A new connection, its fresh challenge, and the site in its certificate ("" without one)."""
        if connection in self._connections or len(challenge) != CHALLENGE_BYTES:
            raise ExchangeError("every connection has a number and a challenge of its own")
        self._connections[connection] = _Connection(challenge, certificate, now)
        return [(connection, Hop("challenge", payload=challenge))]

    def take(self, connection: int, hop: Hop, now: float) -> Out:
        """What a connection has sent; nothing for one that has ended."""
        known = self._connections.get(connection)
        if known is None:
            return []
        known.heard = now
        if not known.site:
            return self._attend(connection, hop, now)
        if hop.kind == "beat":
            return []
        if hop.kind == "done":
            self._live[known.session].done.add(known.site)
            return []
        if hop.kind in RELAYED:
            return self._pass(known, connection, hop, now)
        return self.refuse(connection, Refusal.HOP, now)

    def heard(self, connection: int, now: float) -> None:
        """A connection that is not read from, because its peer is slow, is not silent."""
        if connection in self._connections:
            self._connections[connection].heard = now

    def leave(self, connection: int, now: float) -> Out:
        """A connection has ended; its peers are told, unless the party has come again already."""
        known = self._connections.pop(connection, None)
        live = self._live.get(known.session) if known else None
        if known is None or live is None or live.present.get(known.site) != connection:
            return []
        del live.present[known.site]
        live.away[known.site] = now
        return [(peer, Hop("gone", known.site)) for peer in live.present.values()]

    def refuse(self, connection: int, why: Refusal, now: float) -> Out:
        """Ends a connection."""
        return [(connection, Hop.refusal(why)), *self.leave(connection, now)]

    def tick(self, now: float) -> Out:
        """What time brings: call it every few seconds."""
        out: Out = []
        for number, known in list(self._connections.items()):
            if now - known.heard > SILENT_SECONDS:
                out += self.refuse(number, Refusal.SILENT, now)
        for live in list(self._live.values()):
            out += self._end_if_due(live, now)
        if now - self._beaten >= BEAT_SECONDS:
            self._beaten = now
            out += [(number, Hop("beat")) for number in self._connections]
        return out

    def whose(self, connection: int) -> tuple[str, str]:
        """Session and site of a connection; empty for one that nobody has attended on."""
        known = self._connections.get(connection)
        return (known.session, known.site) if known else ("", "")

    def counts(self, session: str) -> dict[str, Count]:
        """What each party of a session has sent since this relay knows it."""
        return dict(self._live[session].counts) if session in self._live else {}

    def _attend(self, connection: int, hop: Hop, now: float) -> Out:
        known = self._connections[connection]
        try:
            session, site = self._checked(known, hop, now)
        except _Refused as refused:
            return self.refuse(connection, refused.why, now)
        needed = session.parties.keys() - set(session.done)
        live = self._live.setdefault(session.session, _Live(session, dict.fromkeys(needed, now)))
        if live.ended:
            return self.refuse(connection, Refusal.OVER, now)
        known.session, known.site = session.session, site
        return self._enter(live, site, connection)

    def _checked(self, known: _Connection, hop: Hop, now: float) -> tuple[Session, str]:
        """Session and site of an attendance that is right."""
        if hop.kind != "attendance":
            raise _Refused(Refusal.HOP)
        try:
            body = statements.decode(hop.payload, Attendance.KIND, "attendance").body
            session, site = self._find(str(body.get("session"))), str(body.get("site"))
            if session is None:
                raise _Refused(Refusal.UNKNOWN)
            if site not in session.parties:
                raise _Refused(Refusal.STRANGER)
            key = session.key(site)
            said = Attendance.read(hop.payload, session.charter, key, site, "attendance")
        except StatementError as error:
            raise _Refused(Refusal.ATTENDANCE) from error
        if said.challenge != known.challenge.hex():
            raise _Refused(Refusal.ATTENDANCE)
        if known.certificate not in ("", site):
            raise _Refused(Refusal.CERTIFICATE)
        if now >= session.deadline.timestamp():
            raise _Refused(Refusal.OVER)
        return session, site

    def _enter(self, live: _Live, site: str, connection: int) -> Out:
        """The newer of two connections of a party counts: the older may be one that broke unseen."""
        out: Out = []
        before = live.present.get(site)
        if before is not None:
            del self._connections[before]
            out.append((before, Hop.refusal(Refusal.REPLACED)))
        live.away.pop(site, None)
        live.done.discard(site)
        live.present[site] = connection
        for peer, other in live.present.items():
            if peer != site:
                out += [(other, Hop("here", site)), (connection, Hop("here", peer))]
        return out

    def _pass(self, known: _Connection, connection: int, hop: Hop, now: float) -> Out:
        live = self._live[known.session]
        if hop.peer == known.site or hop.peer not in live.session.parties:
            return self.refuse(connection, Refusal.STRANGER, now)
        count = live.counts.setdefault(known.site, Count())
        count.frames += 1
        count.bytes += len(hop.payload)
        to = live.present.get(hop.peer)
        return [] if to is None else [(to, Hop(hop.kind, known.site, hop.payload))]

    def _end_if_due(self, live: _Live, now: float) -> Out:
        """By its deadline, because a party was away too long, or because it was closed."""
        session = live.session
        over = now >= session.deadline.timestamp() or self._find(session.session) is None
        away = {site: since for site, since in live.away.items() if site not in live.done}
        missed = [site for site, since in away.items() if now - since > session.patience]
        out: Out = []
        if over or missed:
            last = [Hop.refusal(Refusal.OVER)]
            if not over:
                last = [Hop.refusal(Refusal.SILENT, site) for site in missed[:1]]
            out = [(number, hop) for number in live.present.values() for hop in last]
            for number in live.present.values():
                del self._connections[number]
            live.present.clear()
            live.ended = True
        if over:
            del self._live[session.session]
        return out


class _Refused(Exception):
    """An attendance that is not right."""

    def __init__(self, why: Refusal) -> None:
        super().__init__(why)
        self.why = why

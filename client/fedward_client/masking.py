"""A site's side of a masked round: the thin shell round `secagg.party` that keeps its state and word.

State lives in the vault while the round lasts (`vault.py`), and is written before an answer is given.
What cannot be taken back is in the audit log first: the masked vector of an attempt, the set of
survivors that the site has agreed to, the shares it gave. The log decides: whoever puts an older state
back gets the same answer again, or none. A site agrees once in a round, whatever the number of attempts:
the signatures that a sum needs are more than half, so that no two sums of one round can be had.
"""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import structlog

from fedward_client.site import Site
from fedward_client.vault import VAULT, Vault
from fedward_shared import canonical
from fedward_shared.charter import Charter
from fedward_shared.errors import AggregationError, StateError
from fedward_shared.masked import Draws, MaskedTerms
from fedward_shared.messages import MaskStage, Sharing
from fedward_shared.secagg import parcels
from fedward_shared.secagg.party import Party
from fedward_shared.secagg.ring import Numbers
from fedward_shared.tensors import Arrays, Schema

MASKED, AGREED, REVEALED = "masked", "agreed", "revealed"
"""Events of the audit log."""

STATE, VECTOR, ANSWER = "party", "vector", "answer"
"""Names in the vault."""

DIGEST_BYTES = 71

log = structlog.get_logger()


class Masks:
    """Of round `number` of a charter with secure aggregation, at `site`; `schema` is an update's."""

    def __init__(self, site: Site, charter: Charter, schema: Schema, number: int) -> None:
        self._site = site
        self._charter = charter
        self._terms = MaskedTerms(charter, number, schema)
        self._number = number
        self._vault = Vault(site.settings.runtime, site.secrets.derive(VAULT), charter.digest)

    def answer(self, attempt: int, stage: MaskStage, parcel: bytes) -> bytes:
        """What the site says in a stage. Raises AggregationError, StatementError or RoundAbandoned."""
        match stage:
            case "keys":
                return self._begin(attempt)
            case "shares":
                party, answer = self._party(attempt).share(parcels.decode(parcel, "keys"))
                self._keep(party)
            case "survivors":
                answer = self._agree(attempt, parcel)
            case "reveal":
                answer = self._reveal(attempt, parcel)
        return answer

    def _begin(self, attempt: int) -> bytes:
        earlier = self._state()
        if earlier is not None and earlier.session.attempt == attempt:
            return earlier.state.advertisement
        if self._said(AGREED):
            raise AggregationError(f"round {self._number}: its survivors were agreed on already")
        if any(entry["attempt"] >= attempt for entry in self._said(MASKED)):
            raise AggregationError(f"round {self._number}: attempt {attempt} is over")
        session, key = self._terms.session(attempt), self._site.key
        party, answer = Party.begin(session, self._site.name, key, earlier)
        if self._vector() is None:  # of another round
            self._vault.erase(VECTOR)
        self._vault.erase(ANSWER)
        self._keep(party)
        return answer

    def _agree(self, attempt: int, parcel: bytes) -> bytes:
        survivors = list(parcels.decode(parcel, "survivors"))
        party, answer = self._party(attempt).agree(survivors, self._site.key)
        self._say(AGREED, attempt, answer, survivors=canonical.digest(parcel), sites=len(survivors))
        self._keep(party)
        self._vault.erase(VECTOR)  # no other attempt will need it
        return answer

    def _reveal(self, attempt: int, parcel: bytes) -> bytes:
        asked = canonical.digest(b"%d %d " % (self._number, attempt) + parcel).encode()
        given = self._vault.read(ANSWER, self._site.clock())
        if given is not None and given[:DIGEST_BYTES] == asked:
            return given[DIGEST_BYTES:]
        party, answer = self._party(attempt).reveal(parcels.decode(parcel, "agreements"))
        of = canonical.digest(parcels.encode(dict.fromkeys(party.state.survivors, b"")))
        self._say(REVEALED, attempt, answer, survivors=of, sites=len(party.state.survivors))
        self._vault.write(ANSWER, asked + answer, self._expiry)
        self._vault.erase(STATE, VECTOR)
        return answer

    def keep(self, booking: int, adapter: str, update: Arrays, randomness: Draws) -> None:
        """Keeps `update`, made for a booking from the adapter of that digest, as integers.

        Whatever attempt masks it, the integers are the same. Raises AdapterError for NaN.
        """
        numbers = self._terms.encode(update, self._site.name, randomness)
        head = b"%d %d %s\n" % (booking, self._number, adapter.encode())
        self._vault.write(VECTOR, head + numbers.tobytes(), self._expiry)

    def made(self, adapter: str) -> int | None:
        """The booking of the update that is kept for this round and adapter, if there is one."""
        found = self._vector()
        return found[0] if found is not None and found[1] == adapter else None

    def mask(self, attempt: int | None, sharing: Sharing) -> bytes:
        """What is kept, masked, in an attempt: without a number, in the one that is under way.

        Raises AggregationError if a vector has left in this attempt that this is not, or if the site
        has agreed on this round's survivors; StateError if nothing is kept.
        """
        found = self._vector()
        if found is None:
            raise StateError(f"round {self._number}: the update that was made for it is gone")
        party = self._party(attempt)
        attempt = party.session.attempt
        if self._said(AGREED) and not party.state.survivors:
            raise AggregationError(f"round {self._number}: its survivors were agreed on already")
        sharers = list(parcels.decode(sharing.sharers, "sharers"))
        party, masked = party.mask(sharers, sharing.envelopes, found[2])
        if party.unreadable:
            log.warning("envelopes did not open", of=party.unreadable)
        self._say(MASKED, attempt, masked, bytes=len(masked), to=self._charter.coordinator.name)
        self._keep(party)
        return masked

    def masked(self, attempt: int) -> str | None:
        """The digest of the vector that left in the attempt. Raises AggregationError where this
        round's update has left in another attempt, and is gone or agreed on."""
        for entry in self._said(MASKED):
            if entry["attempt"] == attempt:
                return str(entry["answer"])
        if self._said(AGREED) or (self._said(MASKED) and self._vector() is None):
            raise AggregationError(f"round {self._number}: this site has answered for it already")
        return None

    def _said(self, event: str) -> list[dict[str, Any]]:
        """What the log has of this round, the last entry first."""
        return [
            entry.details
            for entry in reversed(self._site.audit.entries)
            if entry.event == event
            and entry.details.get("charter") == self._charter.digest
            and entry.details.get("round") == self._number
        ]

    def _say(self, event: str, attempt: int, answer: bytes, **details: object) -> None:
        """Logs what is about to be said for good. Raises AggregationError for a second word."""
        digest = canonical.digest(answer)
        for entry in self._said(event):
            if event == MASKED and entry["attempt"] != attempt:
                continue
            if (entry["attempt"], entry["answer"]) != (attempt, digest):
                raise AggregationError(
                    f"round {self._number}, attempt {attempt}: the audit log has another answer of this "
                    f"site, {event} in attempt {entry['attempt']}"
                )
            return
        self._site.log(
            event,
            study=self._charter.study,
            charter=self._charter.digest,
            round=self._number,
            attempt=attempt,
            answer=digest,
            **details,
        )

    def _state(self) -> Party | None:
        """The state of this round, in whatever attempt."""
        data = self._vault.read(STATE, self._site.clock())
        try:
            return None if data is None else Party.from_bytes(data, self._terms.session(1))
        except StateError:
            return None

    def _party(self, attempt: int | None) -> Party:
        party = self._state()
        if party is None or attempt not in (None, party.session.attempt):
            raise AggregationError(
                f"round {self._number}: this site has no masks of attempt {attempt}: they were never "
                "begun, or have been erased"
            )
        return party

    def _keep(self, party: Party) -> None:
        self._vault.write(STATE, party.to_bytes(), self._expiry)

    def _vector(self) -> tuple[int, str, Numbers] | None:
        """Booking, adapter and numbers of the update that is kept for this round."""
        data = self._vault.read(VECTOR, self._site.clock())
        if data is None:
            return None
        head, _, body = data.partition(b"\n")
        booking, number, adapter = head.decode().split(" ")
        if int(number) != self._number:
            return None
        return int(booking), adapter, np.frombuffer(bytearray(body), dtype=self._terms.ring.dtype)

    @property
    def _expiry(self) -> datetime:
        """Two stages from now: this one may last to its deadline, and so may the next."""
        deadline = self._charter.aggregation.round_deadline_seconds
        return self._site.clock() + timedelta(seconds=2 * deadline)

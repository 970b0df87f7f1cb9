"""A site's half of secure aggregation: what it says at each stage, and what it will not say twice.

    begin    → its signed keys of this attempt
    share    everybody's keys             → an envelope with shares of its two secrets for each neighbour
    mask     its neighbours' envelopes    → its masked vector
    agree    who has sent a masked vector → its signature under that set, and under no other
    reveal   the others' signatures       → of each neighbour one share: of the self mask's seed if it
                                            survived, else of the mask key; never both

Every method returns the party's next state and its answer. The caller keeps the state durably before
it lets the answer out; asked the same again, the party answers the same, and refuses anything else.
A round may be attempted again with fresh keys, but who has agreed once has answered for that round:
two sums of it with other survivors would differ by single updates. States hold secrets, for a site's
trusted side alone; what is kept until the round is over is erased then.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Annotated

from pydantic import Field, ValidationError

from fedward_shared import canonical
from fedward_shared.assurances import AttemptNumber
from fedward_shared.errors import AdapterError, AggregationError, StateError
from fedward_shared.identity import SigningKey
from fedward_shared.secagg import masks, parcels, sharing
from fedward_shared.secagg.labels import KEY_BYTES, SEED_BYTES
from fedward_shared.secagg.ring import Numbers
from fedward_shared.secagg.session import Cohort, Kept, Key, Peer, Session, check_enough
from fedward_shared.secagg.signed import Advertisement, Agreement
from fedward_shared.terms import Digest, Name

Seed = Annotated[bytes, Field(min_length=SEED_BYTES, max_length=SEED_BYTES)]


class State(Kept):
    """What a party keeps. `peers` is empty before `share`, `sharers` before `mask`, `survivors` before
    `agree`.

    `held`: by owner, the shares of its self mask's seed and of its mask key's, joined. `vector`: the
    digest of what was masked.
    """

    session: Digest
    attempt: AttemptNumber
    site: Name
    mask_seed: Seed
    self_seed: Seed
    envelope_secret: Key
    advertisement: bytes
    cohort: str = ""
    peers: dict[Name, Peer] = Field(default_factory=dict)
    sent: bytes = b""
    held: dict[Name, bytes] = Field(default_factory=dict)
    sharers: tuple[Name, ...] = ()
    vector: str = ""
    survivors: tuple[Name, ...] = ()

    def __repr_args__(self) -> list[tuple[str, object]]:
        """Never a secret."""
        return [("site", self.site), ("attempt", self.attempt)]


@dataclass(frozen=True)
class Party:
    """A site in one attempt."""

    session: Session = field(repr=False)
    state: State

    @classmethod
    def begin(
        cls,
        session: Session,
        site: str,
        key: SigningKey,
        earlier: "Party | None" = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> tuple["Party", bytes]:
        """A new state with fresh secrets, and the signed advertisement.

        `earlier`: the party's last attempt at this round, if there was one; the new state replaces it.
        Raises AggregationError for an attempt that is not later than it, or if the party has agreed in
        it; or if `key` is not the one that the session names for `site`.
        """
        if earlier is not None:
            earlier._check_next(session)
        if session.keys.get(site) != key.public:
            raise AggregationError(f"{site} is not among the participants with this key")
        mask_seed, self_seed, envelope_secret = map(entropy, (SEED_BYTES, SEED_BYTES, KEY_BYTES))
        mask_key = masks.mask_key(session.label, mask_seed, site)
        said = Advertisement(
            charter=session.charter,
            site=site,
            round=session.round,
            attempt=session.attempt,
            mask_key=masks.public_of(mask_key).hex(),
            envelope_key=masks.public_of(masks.private_key(envelope_secret)).hex(),
            commitment=masks.commitment(session.label, self_seed, site).hex(),
        ).signed(key)
        state = State(
            session=session.digest,
            attempt=session.attempt,
            site=site,
            mask_seed=mask_seed,
            self_seed=self_seed,
            envelope_secret=envelope_secret,
            advertisement=said,
        )
        return cls(session, state), said

    def share(self, advertisements: Mapping[str, bytes]) -> tuple["Party", bytes]:
        """Everybody's advertisements in; a parcel of envelopes by neighbour out.

        Raises StatementError or AggregationError for a signature or key that is not right, this
        party's own among them changed, or other advertisements than before; RoundAbandoned for too few.
        """
        if advertisements.get(self.state.site) != self.state.advertisement:
            raise AggregationError(f"the advertisement of {self.state.site} itself was changed")
        cohort = Cohort.read(self.session, advertisements)
        if self.state.peers:
            return self, self._again(
                cohort.peers == self.state.peers, self.state.sent, "advertisements"
            )
        closed, threshold = cohort.graph.closed(self.state.site), cohort.degree.threshold
        shares = {
            holder: of_seed + of_key
            for holder, of_seed, of_key in zip(
                closed,
                sharing.split(self.state.self_seed, threshold, len(closed)),
                sharing.split(self.state.mask_seed, threshold, len(closed)),
                strict=True,
            )
        }
        private = masks.private_key(self.state.envelope_secret)
        held = {self.state.site: shares.pop(self.state.site)}
        sent = parcels.encode(
            {
                holder: sharing.seal(
                    cohort.label,
                    private,
                    self.state.site,
                    holder,
                    cohort.peers[holder].envelope_key,
                    text,
                )
                for holder, text in shares.items()
            }
        )
        return self._with(
            cohort=cohort.label.cohort, peers=dict(cohort.peers), held=held, sent=sent
        ), sent

    def mask(
        self, sharers: Sequence[str], envelopes: bytes, vector: Numbers
    ) -> tuple["Party", bytes]:
        """The masked bytes of `vector`, numbers of the session's ring, which is masked in place.

        `sharers`: all who have sent envelopes, in order of name; `envelopes`: the parcel of those for
        this party. An envelope that does not open is passed over (`unreadable`): the round can do
        without some shares. Raises AdapterError for a vector of another size or type; AggregationError
        for other sharers, envelopes or numbers than before; RoundAbandoned for too few sharers.
        """
        cohort = self._cohort
        self._check_vector(vector)
        cohort.check_sharers(sharers)
        received = parcels.decode(envelopes, "envelopes")
        partners = [one for one in cohort.graph.neighbours(self.state.site) if one in sharers]
        if self.state.site not in sharers or list(received) != partners:
            raise AggregationError(f"envelopes for {self.state.site}: not those of its neighbours")
        said = canonical.digest(
            canonical.encode([list(sharers), canonical.digest(envelopes)])
            + hashlib.sha256(vector.data).digest()
        )
        if self.state.vector:
            self._again(said == self.state.vector, b"", "envelopes or another vector")
        opened = self._open(received)
        if len(opened) + 1 < cohort.degree.threshold:
            raise AggregationError(
                f"{len(opened)} envelopes open for {self.state.site}: too few to finish"
            )
        self._apply(vector, partners)
        masked = self.session.ring.pack(vector, cohort.header(sharers))
        held = {self.state.site: self.state.held[self.state.site], **opened}
        return self._with(held=held, sharers=tuple(sharers), vector=said), masked

    def agree(self, survivors: Sequence[str], key: SigningKey) -> tuple["Party", bytes]:
        """This party's signature under the set of survivors, in order of name.

        Raises AggregationError for a set without it, with strangers, that a graph does not carry, or
        that differs from one it has signed; RoundAbandoned for too few.
        """
        cohort = self._cohort
        if not self.state.vector:
            raise AggregationError(f"{self.state.site} has masked nothing in this attempt")
        cohort.check_survivors(survivors, self.state.sharers)
        if self.state.site not in survivors:
            raise AggregationError(
                f"survivors: {self.state.site} has sent a vector and is not among them"
            )
        if self.state.survivors:
            self._again(tuple(survivors) == self.state.survivors, b"", "set of survivors")
        said = Agreement(
            charter=self.session.charter,
            site=self.state.site,
            round=self.session.round,
            attempt=self.session.attempt,
            cohort=cohort.label.cohort,
            survivors=cohort.survivors_digest(self.state.sharers, survivors),
        )
        return self._with(survivors=tuple(survivors)), said.signed(key)

    def reveal(self, agreements: Mapping[str, bytes]) -> tuple["Party", bytes]:
        """The parcel of shares, by owner, once enough survivors have signed what this party signed.

        As many as the minimum are looked at: more would prove no more. Raises StatementError or
        AggregationError for a signature that is not right or under another set; RoundAbandoned for
        too few.
        """
        if not self.state.survivors:
            raise AggregationError(f"{self.state.site} has agreed to no set of survivors")
        cohort = self._cohort
        expected = cohort.survivors_digest(self.state.sharers, self.state.survivors)
        check_enough(self.session, len(agreements), "signed who survived")
        for site, data in islice(agreements.items(), self.session.minimum):
            said = self.session.read_agreement(site, data)
            if site not in self.state.survivors or said.survivors != expected:
                raise AggregationError(f"{site} has signed another set of survivors")
            if said.cohort != cohort.label.cohort:
                raise AggregationError(f"{site} was shown another cohort")
        shares = {
            owner: text[: sharing.SHARE_BYTES]
            if owner in self.state.survivors
            else text[sharing.SHARE_BYTES :]
            for owner, text in self.state.held.items()
        }
        return self, parcels.encode(shares)

    def _check_next(self, session: Session) -> None:
        if session.attempt <= self.session.attempt:
            raise AggregationError(
                f"attempt {session.attempt} at round {session.round}: {self.state.site} is at attempt "
                f"{self.session.attempt} already"
            )
        if self.state.survivors:
            raise AggregationError(
                f"{self.state.site} has agreed to the survivors of round {session.round} already"
            )

    @property
    def advertisement(self) -> bytes:
        """What `begin` has answered."""
        return self.state.advertisement

    @property
    def survivors(self) -> tuple[str, ...]:
        """Whom the party has agreed to; nobody before that."""
        return self.state.survivors

    @property
    def unreadable(self) -> list[str]:
        """The neighbours whose envelopes did not open; known after `mask`."""
        near = self._cohort.graph.neighbours(self.state.site)
        return [one for one in near if one in self.state.sharers and one not in self.state.held]

    @cached_property
    def _cohort(self) -> Cohort:
        if not self.state.peers:
            raise AggregationError(f"{self.state.site} has shared nothing in this attempt")
        label = replace(self.session.label, cohort=self.state.cohort)
        return Cohort(self.session, self.state.peers, label)

    def _again(self, same: bool, answer: bytes, what: str) -> bytes:
        if not same:
            raise AggregationError(f"{self.state.site} has answered already, to other {what}")
        return answer

    def _check_vector(self, vector: Numbers) -> None:
        if vector.shape != (self.session.count,) or vector.dtype != self.session.ring.dtype:
            raise AdapterError(
                f"a vector of {vector.shape} {vector.dtype} cannot be masked: "
                f"{self.session.count} of {self.session.ring.dtype} expected"
            )

    def _open(self, envelopes: Mapping[str, bytes]) -> dict[str, bytes]:
        cohort, opened = self._cohort, {}
        private = masks.private_key(self.state.envelope_secret)
        for sender, data in envelopes.items():
            key = cohort.peers[sender].envelope_key
            try:
                opened[sender] = sharing.unseal(
                    cohort.label, private, sender, self.state.site, key, data
                )
            except AggregationError:
                continue
        return opened

    def _apply(self, vector: Numbers, partners: Sequence[str]) -> None:
        cohort, ring = self._cohort, self.session.ring
        own = (self.state.site, cohort.peers[self.state.site].mask_key)
        private = masks.mask_key(self.session.label, self.state.mask_seed, self.state.site)
        masks.apply(
            ring, vector, masks.self_key(cohort.label, self.state.self_seed, self.state.site), 1
        )
        for other in partners:
            theirs = (other, cohort.peers[other].mask_key)
            key = masks.pair_key(cohort.label, private, own, theirs)
            masks.apply(ring, vector, key, masks.pair_sign(self.state.site, other))

    def to_bytes(self) -> bytes:
        """JSON, with the secrets in it."""
        return self.state.model_dump_json().encode()

    @classmethod
    def from_bytes(cls, data: bytes, session: Session) -> "Party":
        """The state that `to_bytes` wrote; its attempt may be another than that of `session`.

        Raises StateError for bytes that are none, or of another round or charter.
        """
        try:
            state = State.model_validate_json(data)
        except ValidationError:
            # Not chained: pydantic's error shows what it was given, and so secrets.
            raise StateError("the state of a masked round: not what was written") from None
        if state.attempt != session.attempt:
            session = replace(session, attempt=state.attempt)
        if state.session != session.digest:
            raise StateError("the state of a masked round: of another round")
        return cls(session, state)

    def _with(self, **changes: object) -> "Party":
        return replace(self, state=self.state.model_copy(update=changes))

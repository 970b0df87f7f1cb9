"""What the parties of a study assure each other, signed: each kind of statement, and how it is read.

    coordinator → site    RoundRequest   this is round 3, and this its adapter
    site → coordinator    Decision       what the institution decided about the charter
                          Presence       it is this institution that answers, now
                          Delivery       this is its update, and the head of its audit log (blinded)
                          Objection      it will not or cannot; a fixed word says why
    coordinator → site    Receipt        the update was received, with that head
    person → site         Assent         one of the people whose assent the institution wants

    coordinator → site    SessionRequest of a study with sessions: one is open, with this id
    site → coordinator    Completion     its part of that session is done; what its ledger says

A site's decisions about one charter are numbered; the last one counts.
"""

import math
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from fedward_shared import statements
from fedward_shared.agreement import Agreement
from fedward_shared.errors import RefusalCode, StatementError
from fedward_shared.identity import PublicKey, SigningKey
from fedward_shared.terms import Digest, Hexadecimal, Name, Terms, describe

Choice = Literal["approve", "refuse", "withdraw"]
RoundNumber = Annotated[int, Field(ge=1, le=100_000)]
AttemptNumber = Annotated[int, Field(ge=1, le=1000)]
EpsilonText = Annotated[str, Field(max_length=32)]
UNBOUNDED = "unbounded"


class Assurance(Terms):
    """About which charter something is assured. `KIND` is the kind of the signed statement."""

    KIND: ClassVar[str]

    charter: Digest

    def signed(self, key: SigningKey) -> bytes:
        """The bytes that are kept and sent."""
        return statements.sign(self.KIND, self.model_dump(mode="json"), key).encode()

    @classmethod
    def read(cls, data: bytes, charter: str, key: PublicKey, whose: str, origin: str) -> Self:
        """What the owner of `key` has signed about the charter of that digest.

        Raises StatementError for anything else: of another kind, about another charter, falsely
        signed, or with a field that is wrong.
        """
        statement = statements.decode(data, cls.KIND, origin)
        try:
            said = cls.model_validate(statement.body)
        except ValidationError as error:
            raise StatementError(f"{origin}: {describe(error)}") from error
        if said.model_dump(mode="json") != statement.body:
            raise StatementError(f"{origin}: a field is not in canonical form")
        if said.charter != charter:
            raise StatementError(f"{origin}: it is about charter {said.charter}, not {charter}")
        statement.signed_by(key, whose)
        return said


class OfSite(Assurance):
    """By, or for, one site."""

    site: Name

    @classmethod
    def read_of(cls, data: bytes, charter: Agreement, site: str, origin: str) -> Self:
        """What the participant called `site` has signed. Raises StatementError or CharterError."""
        key = charter.participant(site).public_key
        return cls.read(data, charter.digest, key, site, origin).by(site, origin)

    def by(self, site: str, origin: str) -> Self:
        """This, if it is `site` that it names. Raises StatementError."""
        if self.site != site:
            raise StatementError(f"{origin}: it is by {self.site}, not by {site}")
        return self


class Decision(OfSite):
    """The `number`-th decision of a site about a charter, and who of its people assented."""

    KIND = "fedward/decision/1"

    choice: Choice
    number: Annotated[int, Field(ge=1, le=10**6)]
    at: Annotated[str, Field(max_length=40)]
    people: tuple[Name, ...] = ()


class Assent(OfSite):
    """`person` wants the site to approve the charter."""

    KIND = "fedward/assent/1"

    person: Name


class Presence(OfSite):
    """The site that holds the key answers this one challenge."""

    KIND = "fedward/presence/1"

    challenge: Hexadecimal


class RoundRequest(Assurance):
    """The coordinator asks for a round that starts from the adapter of this digest.

    A masked round may be attempted again, with other masks; of any other, the attempt is the first.
    """

    KIND = "fedward/round-request/1"

    round: RoundNumber
    adapter: Digest
    attempt: AttemptNumber = 1


Purpose = Literal["fit", "predict", "compare"]
"""What a session is for: to fit a model, or to ask one about other records, both of a vertical study; or
to compare documents, of a study of duplicates."""
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


def purpose_of(text: str) -> Purpose:
    """The purpose that is called so. Raises ValueError for none."""
    return PURPOSES[PURPOSES.index(text)]


class SessionRequest(Assurance):
    """The coordinator has opened a session: all parties are to take part.

    `model`: of a prediction, the session in which the model was fitted that is asked.
    """

    KIND = "fedward/session-request/1"

    session: Hexadecimal
    purpose: Purpose = "fit"
    model: Hexadecimal | None = None

    @model_validator(mode="after")
    def _asks_a_model(self) -> "SessionRequest":
        if (self.purpose == "predict") != (self.model is not None):
            raise ValueError("model: a prediction asks one, and nothing else does")
        return self


class Accounted(OfSite):
    """What a site's ledger says after what is assured.

    `epsilon` and `delta` are the account's totals as decimal text, "unbounded" after a study without
    DP. `head` is the blinded head of the site's audit log.
    """

    epsilon: EpsilonText
    delta: EpsilonText
    head: Hexadecimal

    @property
    def spent(self) -> float:
        """ε as a number, infinite where it is unbounded. Raises StatementError for no such number."""
        if self.epsilon == UNBOUNDED:
            return math.inf
        try:
            value = float(self.epsilon)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0 and repr(value) == self.epsilon):
            raise StatementError(f"{self.site}: epsilon: {self.epsilon!r} is no ε")
        return value


class Delivery(Accounted):
    """A site's update of a round, made for a request."""

    KIND = "fedward/delivery/1"

    round: RoundNumber
    adapter: Digest
    update: Digest


class Completion(Accounted):
    """A party has done its part of a session; what came of it is its own."""

    KIND = "fedward/completion/1"

    session: Hexadecimal


def parties_done(data: bytes, charter: Agreement, session: str) -> frozenset[str]:
    """Who is done with the session, by their completions in `data`, a line each.

    Raises StatementError or CharterError for anything else.
    """
    found: set[str] = set()
    for line in data.splitlines():
        said = statements.decode(line, Completion.KIND, "completion").body
        one = Completion.read_of(line, charter, str(said.get("site")), "completion")
        if one.session != session:
            raise StatementError(f"completion of {one.site}: it is of session {one.session}")
        found.add(one.site)
    return frozenset(found)


class Objection(OfSite):
    """A site will not or cannot: `answers` is the challenge, or the digits of the adapter's digest."""

    KIND = "fedward/objection/1"

    answers: Hexadecimal
    code: RefusalCode


class Receipt(OfSite):
    """The coordinator has received this update of the site, and that head with it."""

    KIND = "fedward/receipt/1"

    round: RoundNumber
    update: Digest
    head: Hexadecimal


def check_approved(data: bytes, charter: Agreement, site: str, origin: str) -> Decision:
    """The decision of a participant, if it approves. Raises StatementError or CharterError."""
    decision = Decision.read_of(data, charter, site, origin)
    if decision.choice != "approve":
        raise StatementError(f"{origin}: {site} decided to {decision.choice} {charter.study}")
    return decision


def epsilon_text(epsilon: float) -> str:
    """How a delivery writes ε."""
    return UNBOUNDED if math.isinf(epsilon) else repr(epsilon)

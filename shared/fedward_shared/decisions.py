"""What an institution decides about a charter, signed, so that both sides can show it.

A site's decisions about one charter are numbered; the last one counts. An assent is the signature of one
person, where the institution wants more than one of them behind an approval.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from fedward_shared import statements
from fedward_shared.charter import Charter, Digest, Name, Terms, describe
from fedward_shared.errors import StatementError
from fedward_shared.identity import PublicKey, SigningKey
from fedward_shared.statements import Statement

DECISION_KIND = "fedward/decision/1"
ASSENT_KIND = "fedward/assent/1"

T = TypeVar("T", bound=Terms)
Choice = Literal["approve", "refuse", "withdraw"]


class Decision(Terms):
    """The `number`-th decision of `site` about `charter`, and who of its people assented."""

    charter: Digest
    site: Name
    choice: Choice
    number: Annotated[int, Field(ge=1, le=10**6)]
    at: str
    people: tuple[Name, ...] = ()

    def signed(self, key: SigningKey) -> Statement:
        """The statement that is kept and sent."""
        return statements.sign(DECISION_KIND, self.model_dump(mode="json"), key)


class Assent(Terms):
    """`person` wants `site` to approve `charter`."""

    charter: Digest
    site: Name
    person: Name

    def signed(self, key: SigningKey) -> Statement:
        """The statement that is kept."""
        return statements.sign(ASSENT_KIND, self.model_dump(mode="json"), key)


def read_decision(data: bytes, charter: str, site: str, key: PublicKey, origin: str) -> Decision:
    """The decision of `site`, whose key is `key`, about the charter of that digest.

    Raises StatementError for anything else: another charter's, another site's, falsely signed.
    """
    statement = statements.decode(data, DECISION_KIND, origin)
    decision = _parsed(Decision, statement, origin)
    _check_about(decision, charter, site, origin)
    statement.signed_by(key, site)
    return decision


def read_assent(data: bytes, charter: str, site: str, key: PublicKey, origin: str) -> Assent:
    """The assent of the person whose key is `key`. Raises StatementError as `read_decision` does."""
    statement = statements.decode(data, ASSENT_KIND, origin)
    assent = _parsed(Assent, statement, origin)
    _check_about(assent, charter, site, origin)
    statement.signed_by(key, assent.person)
    return assent


def check_approved(data: bytes, charter: Charter, site: str, origin: str) -> Decision:
    """The decision of a participant, if it approves. Raises StatementError."""
    key = charter.participant(site).public_key
    decision = read_decision(data, charter.digest, site, key, origin)
    if decision.choice != "approve":
        raise StatementError(f"{origin}: {site} decided to {decision.choice} {charter.study}")
    return decision


def _check_about(said: Decision | Assent, charter: str, site: str, origin: str) -> None:
    if said.charter != charter:
        raise StatementError(f"{origin}: it is about charter {said.charter}, not {charter}")
    if said.site != site:
        raise StatementError(f"{origin}: it is by {said.site}, not by {site}")


def _parsed(kind: type[T], statement: Statement, origin: str) -> T:
    try:
        parsed = kind.model_validate(statement.body)
    except ValidationError as error:
        raise StatementError(f"{origin}: {describe(error)}") from error
    body: dict[str, Any] = parsed.model_dump(mode="json")
    if body != statement.body:
        raise StatementError(f"{origin}: a field is not in canonical form")
    return parsed

"""What every study's charter has, whoever holds which part of the data: the same bytes for everyone.

A charter is a statement that its coordinator signs. Its digest is the SHA-256 of its canonical JSON, in
which decimals are texts.
"""

import tomllib
from abc import abstractmethod
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from fedward_shared import canonical, statements
from fedward_shared.charter_terms import Participant, Party
from fedward_shared.errors import CharterError
from fedward_shared.identity import SigningKey
from fedward_shared.privacy.plan import Event
from fedward_shared.privacy.unit import Unit
from fedward_shared.terms import Name, Terms, describe

CHARTER_FILE = "charter.json"
DRAFT_FILE = "charter.toml"


class Agreement(Terms):
    """Between whom, about what, and until when: the end of the day `expires`, UTC.

    `use` is one word for what the result is for ("research"), which sites permit by dataset;
    `purpose` and `legal_basis` say it in sentences, for the people who approve. `KIND` is the kind of
    the signed statement.
    """

    KIND: ClassVar[str]

    version: Literal[1] = 1
    study: Name
    purpose: Annotated[str, Field(min_length=1, max_length=2000)]
    use: Name = "research"
    legal_basis: Annotated[str, Field(min_length=1, max_length=2000)]
    expires: date
    coordinator: Party
    dataset: Name
    participants: tuple[Participant, ...]

    @model_validator(mode="after")
    def _parties_once(self) -> "Agreement":
        called = [participant.name for participant in self.participants]
        keys = [self.coordinator.key, *(participant.key for participant in self.participants)]
        if len(set(called)) != len(called):
            raise ValueError("participants: one occurs twice")
        if len(set(keys)) != len(keys):
            raise ValueError("participants: two parties have the same key")
        return self

    @property
    def body(self) -> dict[str, Any]:
        """The charter as the body of a statement."""
        return self.model_dump(mode="json")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: the charter's identity."""
        return canonical.digest(canonical.encode(self.body))

    @property
    @abstractmethod
    def epsilon(self) -> float | None:
        """What a site spends at most; None without DP."""

    @property
    @abstractmethod
    def delta(self) -> float:
        """At which δ."""

    @property
    @abstractmethod
    def unit(self) -> Unit:
        """Of whom one at a time is protected."""

    @abstractmethod
    def events(self, site: str) -> list[Event]:
        """What `site` books, in order, if nothing is lost on the way."""

    def check_date(self, now: datetime) -> None:
        """Raises CharterError if the charter has expired by `now`."""
        if now.astimezone(UTC).date() > self.expires:
            raise CharterError(f"charter {self.study}: it expired on {self.expires}")

    def participant(self, site: str) -> Participant:
        """The participant called `site`. Raises CharterError."""
        for participant in self.participants:
            if participant.name == site:
                return participant
        raise CharterError(f"charter {self.study}: {site} is not among the participants")

    def signed(self, key: SigningKey) -> bytes:
        """The statement. Raises CharterError for another key than the coordinator's."""
        if key.public != self.coordinator.public_key:
            raise CharterError(
                f"charter {self.study}: coordinator.key is {self.coordinator.key}, this key is "
                f"{key.public.text}"
            )
        return statements.sign(self.KIND, self.body, key).encode()


AnyAgreement = TypeVar("AnyAgreement", bound=Agreement)


def parse(content: object, model: type[AnyAgreement], origin: str) -> AnyAgreement:
    """A charter of a JSON-like object. Raises CharterError that names each wrong field."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise CharterError(f"{origin}: {describe(error)}") from error


def read(path: Path, model: type[AnyAgreement]) -> AnyAgreement:
    """The charter that is signed in the file `path`.

    Raises CharterError or StatementError, naming file and field, for a file that is missing, is not
    signed by the coordinator whom it names, or is not canonical.
    """
    statement = statements.decode(read_bytes(path), model.KIND, str(path))
    agreed = parse(statement.body, model, str(path))
    if agreed.body != statement.body:
        raise CharterError(f"{path}: a field is not in canonical form")
    statement.signed_by(agreed.coordinator.public_key, f"the coordinator {agreed.coordinator.name}")
    return agreed


def read_toml(path: Path) -> dict[str, Any]:
    """What a draft says. Raises CharterError for a file that cannot be read, or is no TOML."""
    try:
        return tomllib.loads(read_bytes(path).decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CharterError(f"{path}: not a TOML file: {error}") from error


def kind(path: Path) -> str:
    """The kind of charter that the file `path` says it holds; empty for a file that says nothing.

    Whether it is true shows when it is read. Raises CharterError for a file that cannot be read.
    """
    data = read_bytes(path)
    try:
        return str(canonical.decode(data[: statements.MAX_BYTES])["kind"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def read_bytes(path: Path) -> bytes:
    """What is in a file of a charter. Raises CharterError."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CharterError(f"{path}: no such file") from error
    except OSError as error:
        raise CharterError(f"{path}: cannot be read: {error.strerror}") from error

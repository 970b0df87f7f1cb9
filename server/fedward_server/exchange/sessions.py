"""The sessions that a coordinator has opened: one file each, HOME/sessions/SESSION.json.

The exchange knows its home; a ServerApp and `fedward study` find the folder through `$FEDWARD_SESSIONS`,
which `fedward coordinator run` and `--home` set.

Whoever conducts a study writes the file before it tells the parties, and the exchange reads it when one
of them attends. A file that is gone ends its session.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, Field, ValidationError

from fedward_shared.agreement import Agreement
from fedward_shared.errors import ExchangeError, UsageError
from fedward_shared.files import write_atomically
from fedward_shared.identity import KeyText, PublicKey
from fedward_shared.terms import Digest, Hexadecimal, Name, Terms, describe

SESSIONS_VARIABLE = "FEDWARD_SESSIONS"
MAX_BYTES = 2**16
PATIENCE_SECONDS = 600.0


class Session(Terms):
    """Who talks about which charter, and until when.

    `patience`: seconds that a party may be away, before the session ends and its name is told; for those
    that are `done` nobody waits.
    """

    session: Hexadecimal
    charter: Digest
    study: Name
    parties: Annotated[dict[Name, KeyText], Field(min_length=2, max_length=64)]
    deadline: AwareDatetime
    patience: Annotated[float, Field(gt=0, le=86_400)] = PATIENCE_SECONDS
    done: tuple[Name, ...] = ()

    @classmethod
    def of(
        cls,
        charter: Agreement,
        session: str,
        deadline: datetime,
        patience: float,
        done: Iterable[str] = (),
    ) -> "Session":
        """Of all participants of the charter."""
        return cls(
            session=session,
            charter=charter.digest,
            study=charter.study,
            parties={one.name: one.public_key.text for one in charter.participants},
            deadline=deadline,
            patience=patience,
            done=tuple(sorted(done)),
        )

    def key(self, site: str) -> PublicKey:
        """The key of a party."""
        return PublicKey(self.parties[site])


@dataclass(frozen=True)
class Sessions:
    """The files in `folder`."""

    folder: Path

    @classmethod
    def here(cls) -> "Sessions":
        """Those of the exchange that serves this process. Raises UsageError if there is none."""
        folder = os.environ.get(SESSIONS_VARIABLE)
        if not folder:
            raise UsageError(
                f"{SESSIONS_VARIABLE} is not set: a study with sessions needs the exchange that "
                "`fedward coordinator run` starts; --home says where that is"
            )
        return cls(Path(folder))

    def open(self, session: Session) -> None:
        """Lets its parties in."""
        data = session.model_dump_json(indent=1).encode()
        write_atomically(self._path(session.session), data, mode=0o600)

    def close(self, session: str) -> None:
        """Lets nobody in any more, and those who are in go."""
        self._path(session).unlink(missing_ok=True)

    def find(self, session: str) -> Session | None:
        """The one with this id, if it is open. Raises ExchangeError for a file that cannot be one."""
        if not re.fullmatch("[0-9a-f]{64}", session):
            return None
        path = self._path(session)
        try:
            with path.open("rb") as file:
                found = Session.model_validate_json(file.read(MAX_BYTES))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ExchangeError(f"{path}: cannot be read: {error.strerror}") from error
        except ValidationError as error:
            raise ExchangeError(f"{path}: {describe(error)}") from error
        if found.session != session:
            raise ExchangeError(f"{path}: is of session {found.session}")
        return found

    def _path(self, session: str) -> Path:
        return self.folder / f"{session}.json"

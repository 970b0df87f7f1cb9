"""A coordinator's home: one folder with what it is, holds and runs.

    HOME/coordinator.toml                what people set
    HOME/coordinator.key                 the signing key: charters, invitations, admissions
    HOME/authority/ca.pem, ca.key        who vouches for server and sites
                   server.pem, .key      what the proxy shows to sites
                   superlink.pem, .key   what the SuperLink shows on loopback
                   crl.pem               the certificates that were revoked
    HOME/admissions.jsonl                every invitation, admission, renewal and revocation, signed
    HOME/proxy/nginx.conf                made anew at each start; pid, log and temporary files beside it
    HOME/sessions/                       who may talk over the exchange, and until when
    HOME/superlink.sqlite, superexec.secret, launched/, logs/, run/, flower/

The folder is for its owner alone. `coordinator.key`, `authority/` and `admissions.jsonl` are the backup.
"""

import json
import os
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedward_server.authority import Authority
from fedward_server.exchange.sessions import SESSIONS_VARIABLE
from fedward_server.registry import STUDIES_VARIABLE
from fedward_shared.enrolment import Address
from fedward_shared.errors import IdentityError, UsageError
from fedward_shared.files import write_atomically
from fedward_shared.identity import SigningKey
from fedward_shared.terms import Name, describe

SETTINGS_FILE = "coordinator.toml"
KEY_FILE = "coordinator.key"
LOOPBACK = "127.0.0.1"
MAX_SOCKET_PATH = 107  # bytes that a Unix socket's address holds (unix(7))
SECRET_BYTES = 32

TEMPLATE = """\
# What this coordinator is. Only people write this file; `fedward coordinator run` reads it at its start.
name = {name}
address = {address}    # where sites reach it: HOST:PORT, in their certificates and invitations
# listen = "8443"      # where the proxy listens, if that is another port or one address alone
superlink_port = {port}  # on loopback, where nobody but this machine gets
{passphrase}"""
PROTECTED = "passphrase_file = {path}  # the passphrase of authority/ca.key\n"


class CoordinatorSettings(BaseModel):
    """`coordinator.toml`; `listen` is `PORT`, `IPv4:PORT` or `[IPv6]:PORT`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    address: Address
    listen: Annotated[
        str, Field(pattern=r"^(?:[0-9.]{7,15}:|\[[0-9A-Fa-f:.]{2,45}\]:)?[0-9]{1,5}$")
    ] = ""
    superlink_port: Annotated[int, Field(ge=1, le=65535)]
    passphrase_file: Path | None = None


class Home:
    """The home in `folder`. Raises UsageError for settings that are missing or wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.settings = _load(self.folder / SETTINGS_FILE)

    @property
    def name(self) -> str:
        """The coordinator's name in charters."""
        return self.settings.name

    @property
    def authority(self) -> Path:
        """Certificates and their keys."""
        return self.folder / "authority"

    @property
    def admissions(self) -> Path:
        """The signed log of who was admitted."""
        return self.folder / "admissions.jsonl"

    @property
    def superlink_address(self) -> str:
        """Where the SuperLink listens."""
        return f"{LOOPBACK}:{self.settings.superlink_port}"

    @property
    def studies(self) -> Path:
        """Links to the studies that were launched."""
        return self.folder / "launched"

    @property
    def places(self) -> dict[str, str]:
        """The variables that tell the coordinator's processes where studies and sessions are."""
        return {STUDIES_VARIABLE: str(self.studies), SESSIONS_VARIABLE: str(self.sessions)}

    def enter(self) -> None:
        """From now on this process looks for both where the ServerApps of this home do."""
        os.environ.update(self.places)

    @property
    def secret(self) -> Path:
        """What SuperLink and SuperExec share."""
        return self.folder / "superexec.secret"

    @property
    def proxy(self) -> Path:
        """The proxy's folder."""
        return self.folder / "proxy"

    @property
    def socket(self) -> Path:
        """Where the enrolment service listens: a socket in a folder that only its owner may enter.

        On a port anybody on this machine could claim to be the proxy. Raises UsageError for a path
        that a socket or the proxy's configuration cannot hold.
        """
        return self._socket("enrolment")

    @property
    def exchange_socket(self) -> Path:
        """Where the exchange listens, likewise. Raises UsageError as `socket` does."""
        return self._socket("exchange")

    @property
    def sessions(self) -> Path:
        """The sessions of the exchange that are open, one file each."""
        return self.folder / "sessions"

    def _socket(self, name: str) -> Path:
        path = self.folder / "run" / f"{name}.sock"
        if len(os.fsencode(path)) > MAX_SOCKET_PATH or not re.fullmatch(r"[\w./+-]+", str(path)):
            raise UsageError(
                f"{self.folder}: a home's path is of letters, digits and . _ + -, and short: the "
                f"socket in it has at most {MAX_SOCKET_PATH} bytes"
            )
        return path

    def key(self) -> SigningKey:
        """The signing key. Raises IdentityError."""
        return SigningKey.load(self.folder / KEY_FILE)

    def open_authority(self) -> Authority:
        """With the CA's key. Raises IdentityError."""
        return Authority.load(self.authority, passphrase(self.settings.passphrase_file))


def create(
    folder: Path, name: str, address: str, superlink_port: int, passphrase_file: Path | None
) -> Home:
    """Makes a home; never over what is there. Raises UsageError, or IdentityError for the passphrase."""
    folder = folder.resolve()
    if passphrase_file is not None:
        passphrase_file = passphrase_file.resolve()
    for path in (SETTINGS_FILE, KEY_FILE, "authority"):
        if (folder / path).exists():
            raise UsageError(f"{folder / path}: is there already; nothing was changed")
    text = TEMPLATE.format(
        name=_quoted(name),
        address=_quoted(address),
        port=superlink_port,
        passphrase=PROTECTED.format(path=_quoted(str(passphrase_file))) if passphrase_file else "",
    )
    settings = _parse(text, folder / SETTINGS_FILE)
    secret = passphrase(passphrase_file)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    now = datetime.now(UTC)
    authority = Authority.create(folder / "authority", settings.name, secret, now)
    authority.certify_server(settings.address, now)
    authority.certify_loopback(now)
    authority.write_revoked({}, now)
    write_atomically(folder / "superexec.secret", os.urandom(SECRET_BYTES), mode=0o600)
    SigningKey.generate().save(folder / KEY_FILE)
    write_atomically(folder / SETTINGS_FILE, text.encode())
    return Home(folder)


def passphrase(path: Path | None) -> bytes | None:
    """The first line of the file. Raises IdentityError."""
    if path is None:
        return None
    try:
        line = path.read_bytes().partition(b"\n")[0].strip()
    except OSError as error:
        raise IdentityError(f"{path}: the passphrase cannot be read: {error.strerror}") from error
    if not line:
        raise IdentityError(f"{path}: its first line, the passphrase, is empty")
    return line


def _load(path: Path) -> CoordinatorSettings:
    try:
        return _parse(path.read_bytes().decode("utf-8"), path)
    except FileNotFoundError as error:
        raise UsageError(
            f"{path}: no such file; `fedward coordinator init` makes one, --home says where"
        ) from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from error


def _parse(text: str, path: Path) -> CoordinatorSettings:
    try:
        return CoordinatorSettings.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from error
    except ValidationError as error:
        raise UsageError(f"{path}: {describe(error)}") from error


def _quoted(text: str) -> str:
    """A TOML string; JSON's quoting is TOML's, too."""
    return json.dumps(text, ensure_ascii=False)

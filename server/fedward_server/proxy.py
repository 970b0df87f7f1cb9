"""The proxy before the SuperLink: nginx, with a configuration made from the coordinator's home."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from fedward_server.coordinator import Home
from fedward_shared.enrolment import ENROL_PATH, RENEW_PATH
from fedward_shared.errors import MissingExtra, StateError
from fedward_shared.exchange.hops import METHOD
from fedward_shared.files import write_atomically

CONFIGURATION = "nginx.conf"
TEMPLATE = "nginx.conf.j2"
MAX_BODY = "256m"
"""What one object of a message may have: the default adapters have kilobytes, large ones some MB."""


def write_configuration(home: Home) -> Path:
    """Writes nginx.conf into the proxy's folder. Raises UsageError for a path it cannot hold."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    settings = home.settings
    text = templates.get_template(TEMPLATE).render(
        name=settings.name,
        user=pwd.getpwuid(0).pw_name if os.geteuid() == 0 else "",
        superlink=home.superlink_address,
        socket=home.socket,
        exchange_socket=home.exchange_socket,
        exchange=METHOD,
        listen=settings.listen or settings.address.rpartition(":")[2],
        authority=home.authority,
        max_body=MAX_BODY,
        enrol=ENROL_PATH,
        renew=RENEW_PATH,
    )
    home.proxy.mkdir(mode=0o700, exist_ok=True)
    path = home.proxy / CONFIGURATION
    write_atomically(path, f"{text}\n".encode())
    return path


def command(home: Home) -> list[str]:
    """What starts nginx in the foreground. Raises MissingExtra."""
    # Debian keeps it where only the superuser's path leads.
    found = shutil.which(
        "nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
    )
    if found is None:
        raise MissingExtra("nginx is not installed; on Debian: apt install nginx-light")
    # `-e stderr`: before it has read its configuration it would log where root alone may write.
    return [found, "-p", str(home.proxy), "-c", str(home.proxy / CONFIGURATION), "-e", "stderr"]


def reload(home: Home) -> bool:
    """Makes a running proxy read certificates and revocation list anew; False if none runs.

    Raises StateError if it cannot.
    """
    if not is_running(home):
        return False
    ended = subprocess.run(
        [*command(home), "-s", "reload"], capture_output=True, text=True, timeout=30, check=False
    )
    if ended.returncode:
        raise StateError(f"the proxy could not be reloaded: {ended.stderr.strip()}")
    return True


def is_running(home: Home) -> bool:
    """Whether the process that `nginx.pid` names is there and is nginx."""
    try:
        number = int((home.proxy / "nginx.pid").read_text("ascii"))
        return "nginx" in Path(f"/proc/{number}/comm").read_text("utf-8")
    except (OSError, ValueError):
        return False

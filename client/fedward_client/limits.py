"""When a round may begin at a site, and what the process that trains may take of the machine."""

import resource
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fedward_client.settings import SiteSettings
from fedward_shared.errors import NotNow

if TYPE_CHECKING:
    from fedward_client.ledger import Ledger

DAY = timedelta(hours=24)
GIB = 2**30


def check_now(settings: SiteSettings, ledger: "Ledger", now: datetime) -> None:
    """Raises NotNow, with the line of `site.toml`, if no round may begin at `now`."""
    window = settings.window
    if window is not None and not window.contains(now):
        raise NotNow(
            f"site.toml: window: rounds begin from {window.begin} until {window.end} on "
            f"{', '.join(window.days)}; it is {now.astimezone():%a %H:%M}"
        )
    most = settings.limits.rounds_per_day
    begun = 0 if most is None else ledger.begun_since(now - DAY)
    if most is not None and begun >= most:
        raise NotNow(
            f"site.toml: limits.rounds_per_day is {most}, and {begun} have begun in the last 24 hours"
        )


def apply_limits(memory_bytes: int) -> None:
    """Binds this process and all that it starts, for good: to that memory (0: to none), and to no core
    dump, which would hold records.

    The memory is what a process itself has written to (RLIMIT_DATA), mapped files not among it. Beyond
    the limit an allocation fails.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))

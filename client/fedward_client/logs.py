"""The daemon's and the worker's log: JSON, one object a line, to stderr and, if wanted, to syslog."""

import logging
import logging.handlers
import sys
from pathlib import Path

import structlog

from fedward_shared.errors import UsageError


def configure(syslog: str) -> None:
    """Logs to stderr, which journald keeps, and to `syslog`: a path, HOST:PORT (UDP), or empty.

    Raises UsageError for a place that cannot be logged to.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if syslog:
        handlers.append(_syslog(syslog))
    logging.basicConfig(handlers=handlers, level=logging.INFO, format="%(message)s", force=True)
    for noisy in ("httpx", "httpcore", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def _syslog(place: str) -> logging.Handler:
    host, _, port = place.rpartition(":")
    address: str | tuple[str, int] = (host, int(port)) if host and port.isdigit() else place
    if address == place and not Path(place).is_socket():  # the handler would say nothing
        raise UsageError(f"site.toml: syslog: {place}: neither a socket nor HOST:PORT")
    try:
        handler = logging.handlers.SysLogHandler(address, logging.handlers.SysLogHandler.LOG_DAEMON)
    except OSError as error:
        raise UsageError(f"site.toml: syslog: {place}: {error.strerror or error}") from error
    handler.ident = "fedward: "
    return handler

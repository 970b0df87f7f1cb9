"""Servers on loopback within the daemon, which alone heeds the signals."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette

CLOSING_SECONDS = 5


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would take SIGTERM for itself."""
        yield


def server(app: Starlette, **tls: Any) -> uvicorn.Server:
    """A server of `app`, for a socket that is bound already; `tls` as uvicorn names it."""
    return _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=CLOSING_SECONDS,
            **tls,
        )
    )

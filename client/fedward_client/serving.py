"""Servers on loopback within the daemon, which alone heeds the signals."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette

CLOSING_SECONDS = 5
LOOPBACK = "127.0.0.1"


def spare_loopback() -> None:
    """From now on this process asks the institution's proxy for no address on loopback."""
    spared = [*filter(None, [os.environ.get("no_proxy") or os.environ.get("NO_PROXY")]), LOOPBACK]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(spared)


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

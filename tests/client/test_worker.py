"""After which ends of a SuperNode the coordinator has to see the site gone before the next one."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from patience import PATIENCE
from structlog.testing import capture_logs

from fedward_client import worker
from fedward_client.supervision import MARK, Program
from fedward_client.worker import UNCOUNTED_SECONDS, Handover, supervised

HANDOVER = Handover("university", "127.0.0.1:1", "ca", "key", "socket", "home", 1, 0)


def waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *code: str) -> float:
    """How long the next SuperNode is put off after one whose process runs `code`."""
    environment = {"PATH": os.environ["PATH"], MARK: str(tmp_path)}
    program = Program("test", [sys.executable, "-c", "; ".join(code)], environment, PATIENCE)
    monkeypatch.setattr(worker, "program", lambda *_: program)

    async def run() -> float:
        node = supervised(HANDOVER, 0)
        with capture_logs() as log:
            running = asyncio.create_task(node.run())
            while not (ended := [e for e in log if e["event"] == "supernode ended"]):
                await asyncio.sleep(0.02)
            await node.stop()
            await running
        return float(ended[0]["again_in"])

    return asyncio.run(run())


@pytest.mark.parametrize(
    "code",
    [
        ("import os, signal", "os.kill(os.getpid(), signal.SIGKILL)"),
        ("print('Failed to initialize the connection. [code: 2004] ...')", "raise SystemExit(9)"),
    ],
    ids=["killed", "the last one still counts"],
)
def test_one_that_could_not_sign_off_is_missed_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: tuple[str, ...]
) -> None:
    assert waits(tmp_path, monkeypatch, *code) == UNCOUNTED_SECONDS


def test_one_that_ended_by_itself_is_followed_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert waits(tmp_path, monkeypatch, "raise SystemExit(9)") == 1.0


def test_the_superlink_forgets_a_supernode_before_that() -> None:
    """By Flower's own numbers, which another release may have changed."""
    from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, HEARTBEAT_PATIENCE

    assert HEARTBEAT_PATIENCE * HEARTBEAT_DEFAULT_INTERVAL + 5 <= UNCOUNTED_SECONDS

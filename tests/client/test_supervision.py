"""A program is started again, less and less often; what it leaves behind is ended by its mark."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from patience import PATIENCE

from fedward_client import supervision
from fedward_client.supervision import MARK, Program, Supervised, end_marked, marked
from fedward_shared.backoff import Backoff


def program(tmp_path: Path, code: str) -> Program:
    return Program(
        "test",
        [sys.executable, "-c", code],
        {"PATH": os.environ["PATH"], MARK: str(tmp_path)},
        patience=PATIENCE,
    )


def run_until(supervised: Supervised, condition: Callable[[], bool]) -> None:
    async def main() -> None:
        running = asyncio.create_task(supervised.run())
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end
            await asyncio.sleep(0.02)
        await supervised.stop()
        await running

    asyncio.run(main())


def test_it_is_started_again_with_its_exit_code_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "Backoff", lambda: Backoff(0.05))
    said, ends = list[str](), list[tuple[int, float]]()
    again = Supervised(
        program(tmp_path, "print('up', flush=True); raise SystemExit(7)"),
        said.append,
        lambda code, delay: ends.append((code, delay)),
    )
    run_until(again, lambda: len(ends) == 3)
    assert [code for code, _ in ends] == [7, 7, 7]
    assert [delay for _, delay in ends] == [0.05, 0.1, 0.2]
    assert said[:3] == ["up"] * 3
    assert not again.running


def test_it_is_left_alone_for_as_long_as_its_exit_code_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "Backoff", lambda: Backoff(0.05))
    ends = list[tuple[int, float]]()
    again = Supervised(
        program(tmp_path, "raise SystemExit(7)"),
        lambda _: None,
        lambda code, delay: ends.append((code, delay)),
        lambda code: code / 100,
    )
    run_until(again, lambda: len(ends) == 3)
    assert [delay for _, delay in ends] == [0.07, 0.1, 0.2]


ORPHAN = (
    "import subprocess,sys; subprocess.Popen([sys.executable,'-c','import time; time.sleep(600)']);"
    "print('up', flush=True)"
)


def test_orphans_do_not_outlive_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "Backoff", lambda: Backoff(30.0))
    ends = list[int]()
    parent = Supervised(
        program(tmp_path, ORPHAN), lambda _: None, lambda code, _: ends.append(code)
    )
    run_until(parent, lambda: bool(ends))
    assert list(marked(str(tmp_path))) == []


def test_what_an_earlier_supervisor_left_is_ended_first(tmp_path: Path) -> None:
    old = program(tmp_path, "import time; time.sleep(600)")
    left = subprocess.Popen(old.command, env=dict(old.environment))
    assert [pid for pid, _ in marked(str(tmp_path))] == [left.pid]
    said = list[str]()
    new = Supervised(
        program(tmp_path, "import time; print('up', flush=True); time.sleep(600)"),
        said.append,
        lambda *_: None,
    )
    run_until(new, lambda: said == ["up"])
    assert left.wait(PATIENCE) == -signal.SIGKILL
    assert list(marked(str(tmp_path))) == []


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    deaf = "import signal,time; signal.signal(15, 1); print('up', flush=True); time.sleep(600)"
    said, ends = list[str](), list[int]()
    one = program(tmp_path, deaf)
    stubborn = Supervised(
        Program(one.name, one.command, one.environment, patience=0.2),
        said.append,
        lambda code, _: ends.append(code),
    )
    run_until(stubborn, lambda: said == ["up"])
    assert ends == []  # it was asked to end, so that is no failure
    assert list(marked(str(tmp_path))) == []


def test_others_are_left_alone(tmp_path: Path) -> None:
    async def main() -> int | None:
        other = program(tmp_path / "other", "import time; time.sleep(600)")
        process = await asyncio.create_subprocess_exec(*other.command, env=dict(other.environment))
        await asyncio.sleep(0.2)
        assert end_marked(str(tmp_path)) == []
        assert process.returncode is None
        process.send_signal(signal.SIGKILL)
        return await process.wait()

    assert asyncio.run(main()) == -signal.SIGKILL

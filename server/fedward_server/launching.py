"""A study on a running SuperLink: submit it, watch what it keeps, tell how it ended."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Literal

from fedward_server.kinds import AnyStudy, open_study
from fedward_server.registry import STUDY_KEY, register
from fedward_server.sessions.studies import SessionStudy
from fedward_server.studies import OUTCOME_FILE, StudyLock, end
from fedward_server.superlink import SuperLink, UnknownRunError, UnreachableError
from fedward_shared.errors import FedwardError, Interrupted, TransportError, UsageError
from fedward_shared.files import write_atomically

How = Literal["launch", "resume", "new-session", "predict"]
RUN_FILE = "run.json"
POLL_SECONDS = 0.5
STOPPED = "stopped; `fedward study resume` goes on"


def run(
    folder: Path,
    bundle: Path,
    address: str,
    ca: Path,
    how: How,
    say: Callable[[str], None],
) -> None:
    """Runs the study in `folder` to its end on the SuperLink at `address`.

    Unless it is launched, a run that may still be under way is stopped first and the study goes on where
    it was; one with sessions with another of them, or with a prediction, if that is wanted. Raises
    FedwardError for a study that did not end well, with its own exit code.
    """
    study = open_study(folder)
    study.read()
    draw = _drawing(study, how)
    if study.begun and how == "launch":
        raise UsageError(f"{folder}: the study has begun; `fedward study resume` goes on with it")
    superlink = SuperLink(address, ca)
    marker = folder / RUN_FILE
    if how != "launch" and marker.is_file():
        _stop(superlink, json.loads(marker.read_text("utf-8"))["run_id"])
    if draw is not None:
        with StudyLock(folder, study.settings.lock_seconds):
            draw()
    (folder / OUTCOME_FILE).unlink(missing_ok=True)
    register(folder, study.charter.digest)
    run_id = superlink.submit(bundle, {STUDY_KEY: study.charter.digest})
    write_atomically(marker, json.dumps({"run_id": run_id}).encode())
    say(f"{study.charter.study}: run {run_id}")
    _watch(superlink, run_id, study, say)
    _conclude(folder, superlink, run_id, say)


def _drawing(study: AnyStudy, how: How) -> Callable[[], None] | None:
    """What draws another session, if one is wanted. Raises UsageError for a study that has none."""
    if how in ("launch", "resume"):
        return None
    if not isinstance(study, SessionStudy):
        raise UsageError(f"{study.folder}: this study has no session")
    return study.predict if how == "predict" else study.start_over


def stop(folder: Path, address: str, ca: Path) -> bool:
    """Stops the run of the study in `folder`; False if none is under way. What it has kept stays.

    Raises TransportError for a SuperLink that cannot be reached, what `open_study` raises, and, once it
    is stopped, StateError for a session that cannot be closed because its file is damaged.
    """
    study = open_study(folder)
    marker = folder / RUN_FILE
    if not marker.is_file():
        return False
    stopped = _stop(SuperLink(address, ca), json.loads(marker.read_text("utf-8"))["run_id"])
    if stopped:
        end(folder, STOPPED, Interrupted.exit_code)
        study.let_go()
    return stopped


def _stop(superlink: SuperLink, run_id: int) -> bool:
    try:
        return superlink.stop(run_id)
    except UnknownRunError:
        return False


def _watch(superlink: SuperLink, run_id: int, study: AnyStudy, say: Callable[[str], None]) -> None:
    told = study.account
    finished = False
    while not finished:
        # Unreachable, it is asked again: one that comes back takes the run up where it was.
        with suppress(UnreachableError):
            finished = superlink.status(run_id).finished
        study.read()
        now = study.account
        for line in now[_common(told, now) :]:
            say(line)
        told = now
        if not finished:
            time.sleep(POLL_SECONDS)


def _common(before: list[str], now: list[str]) -> int:
    """How many lines both begin with."""
    pairs = zip(before, now, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _conclude(folder: Path, superlink: SuperLink, run_id: int, say: Callable[[str], None]) -> None:
    try:
        content = json.loads((folder / OUTCOME_FILE).read_text("utf-8"))
    except FileNotFoundError as error:
        status = superlink.status(run_id)
        if status.outcome == "stopped":  # whoever did so may not have written it down yet
            raise Interrupted(STOPPED) from error
        raise TransportError(
            f"run {run_id} ended without an outcome ({status.details}); `fedward study resume` goes on"
        ) from error
    if content["exit_code"] == 0:
        say(content["outcome"])
        return
    subclasses: list[type[FedwardError]] = FedwardError.__subclasses__()
    kinds = {kind.exit_code: kind for kind in subclasses}
    raise kinds.get(content["exit_code"], FedwardError)(content["outcome"])

"""A site's daemon among real processes: hostile bundles, kills of its parts, and how it stops."""

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from conftest import texts
from e2e.federation import BUNDLE, Federation, known_as
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import StartRunRequest
from flwr.supercore.fab import Fab
from patience import LONG, PATIENCE, until

from fedward_client.site import Site
from fedward_server.observer import Observer
from fedward_server.registry import STUDIES_VARIABLE
from fedward_server.studies import Study
from fedward_server.superlink import build_bundle
from fedward_shared import audit
from fedward_simulations.consortium import Consortium, Recipe, World

pytestmark = [pytest.mark.e2e, LONG]

SITES = ("north", "south")


def hostile(ran: Path) -> bytes:
    """Our own bundle with a package in it that would run in place of the installed one."""
    code = f"open({str(ran)!r}, 'w').close()\nraise SystemExit\n"
    with zipfile.ZipFile(io.BytesIO(build_bundle(BUNDLE))) as good:
        members = {name: good.read(name) for name in good.namelist()}
    for name in ("fedward_client/__init__.py", "fedward_client/app.py", "sitecustomize.py"):
        members[name] = code.encode()
        digest = hashlib.sha256(code.encode()).hexdigest()
        members[".info/CONTENT"] += f"\n{name},{digest},{8 * len(code)}".encode()
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def submit(federation: Federation, bundle: bytes, study: str) -> int:
    """As somebody would who does not use `fedward study launch`, which refuses to send such a thing."""
    request = StartRunRequest(
        fab=fab_to_proto(Fab(hashlib.sha256(bundle).hexdigest(), bundle, {})),
        override_config=user_config_to_proto({"study": study}),
    )
    return int(federation.superlink._call(lambda client: client.StartRun(request)).run_id)


def health(settings: Path) -> httpx.Response:
    address = json.loads((settings.parent / "run/daemon.json").read_text())["health"]
    return httpx.get(f"http://{address}/healthz", trust_env=False)


def metrics(settings: Path) -> dict[str, float]:
    address = json.loads((settings.parent / "run/daemon.json").read_text())["health"]
    text = httpx.get(f"http://{address}/metrics", trust_env=False).text
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def fedward(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fedward_shared.cli", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def bookings(settings: Path) -> tuple[int, int]:
    with closing(Site.open(settings)) as site:
        spending = site.ledger.spending("records")
        return spending.bookings, spending.open_bookings


def test_a_hostile_bundle_runs_nowhere_and_the_site_goes_on(
    tmp_path: Path, world: World, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STUDIES_VARIABLE, str(tmp_path / "known"))
    world = replace(world, sites={name: texts(24, 100 * n) for n, name in enumerate(SITES)})
    folder, settings = Consortium(world, Observer()).prepare("study", recipe, 8.0)
    digest = known_as(folder)
    ran = tmp_path / "ran"
    known = {STUDIES_VARIABLE: str(tmp_path / "known")}
    with Federation(tmp_path / "flower", settings, env=known) as federation:
        run = submit(federation, hostile(ran), digest)
        status = federation.wait(run)
        assert status.outcome == "failed", federation.log_tails()

        assert not ran.exists()
        unpacked = [
            p for path in settings for p in (path.parent / "cache").rglob("*fedward_client*")
        ]
        assert unpacked == []
        assert all(bookings(path) == (0, 0) for path in settings)
        outcome = json.loads((folder / "outcome.json").read_text())
        assert outcome["exit_code"] == 9
        for name in SITES:
            assert f"{name}: refused: bundle" in outcome["outcome"]
        told = fedward("study", "status", str(folder))
        assert "north: refused: bundle" in told.stdout
        for path in settings:
            answer = health(path)
            assert answer.status_code == 503
            [problem] = answer.json()["problems"]
            assert "it carries 'fedward_client/__init__.py', 'fedward_client/app.py'" in problem
            assert "nothing of this bundle was unpacked or run" in problem
            asked = fedward("site", "status", "--site", str(path))
            assert (asked.returncode, "fedward_client/app.py" in asked.stderr) == (8, True)

        # The same sites, asked with a released bundle.
        (folder / "outcome.json").unlink()
        run = federation.run(study=digest)
        until(lambda: all(bookings(path)[0] >= 1 for path in settings), federation.log_tails)
        # One is told to stop within its round: that round is finished, sent and closed first.
        assert federation.stop_site(0) == 0
        assert bookings(settings[0])[1] == 0
        federation.start_site(0)
        assert federation.wait(run).succeeded, federation.log_tails()
        study = Study(folder)
        study.read()
        assert study.is_complete
        assert [record.missing for record in study.records] == [{}, {}]
        assert all(bookings(path) == (2, 0) for path in settings)

        seen = metrics(settings[1])
        assert seen['fedward_bookings{account="records"}'] == 2
        assert seen["fedward_site_up"] == 1
        assert 0 < seen['fedward_epsilon_spent{account="records"}'] <= 8
        assert (
            seen['fedward_gate_refusals_total{coordinator="coordinator",endpoint="get-fab"}'] >= 1
        )
        assert seen['fedward_egress_bytes_total{coordinator="coordinator"}'] > 1000
        entries = list(audit.read(settings[1].parent / "state/audit.jsonl", own(settings[1])))
        assert [e.event for e in entries].count("received") == 2
        one_more = fedward("site", "run", "--site", str(settings[1]))
        assert (one_more.returncode, "is running already" in one_more.stderr) == (8, True)

        # What is killed of a site comes back; what a killed worker leaves is ended.
        before = supernodes(federation, 1)
        federation.kill_command(1, "site worker")
        until(lambda: len(supernodes(federation, 1) - before) == 1, federation.log_tails)
        assert not supernodes(federation, 1) & before
        assert federation.stop_site(1) == 0
        assert federation._below(1) == {}
    assert federation.processes() == {}


def own(settings: Path) -> object:
    with closing(Site.open(settings)) as site:
        return site.key.public


def supernodes(federation: Federation, index: int) -> set[int]:
    below = federation._below(index).items()
    return {pid for pid, line in below if "/flower-supernode" in line}

"""The units: what systemd itself thinks of them, and that their figures fit those of the code."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from patience import PATIENCE

from fedward_client import worker
from fedward_client.serving import CLOSING_SECONDS
from fedward_shared import errors

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
EXPOSURE = re.compile(r"Overall exposure level for (\S+): ([0-9.]+)")
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def settings(unit: str) -> dict[str, str]:
    """The last value of each setting of a unit; those that are given more than once are joined."""
    found: dict[str, str] = {}
    for line in (FOLDER / unit).read_text("utf-8").splitlines():
        name, mark, value = line.partition("=")
        if mark and not line.startswith("#"):
            found[name] = f"{found[name]} {value}" if name in found else value
    return found


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_no_fault(unit: Path, tmp_path: Path) -> None:
    """In a root of its own, where what the unit starts is there, and the units it names are too."""
    system = tmp_path / "etc/systemd/system"
    system.mkdir(parents=True)
    for each in UNITS:
        shutil.copy(each, system)
    command = tmp_path / "opt/fedward/bin/fedward"
    command.parent.mkdir(parents=True)
    command.write_text("")
    command.chmod(0o755)
    for target in ("network-online", "sysinit", "basic", "shutdown", "multi-user", "system"):
        kind = "slice" if target == "system" else "target"
        (system / f"{target}.{kind}").write_text(f"[Unit]\nDescription={target}\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={tmp_path}", "--recursive-errors=yes", unit.name],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_the_exposure_in_the_documents_is_what_systemd_says() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", *map(str, UNITS)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    told = dict(EXPOSURE.findall(done.stdout))
    page = (ROOT / "docs/how-to/run-a-site.md").read_text("utf-8")
    written = dict(
        re.findall(r"^\| `(fedward-[a-z-]+\.service)` \| ([0-9.]+) \|", page, re.MULTILINE)
    )
    version = subprocess.run(
        ["systemd-analyze", "--version"], capture_output=True, text=True, check=True
    )
    assert sorted(told) == sorted(unit.name for unit in UNITS)
    assert all(float(figure) <= 2.0 for figure in told.values()), told
    if version.stdout.startswith("systemd 252 "):  # another release weighs the settings differently
        assert written == told
    assert written.keys() == told.keys()


def test_a_round_has_the_time_to_end() -> None:
    unit, site = settings("fedward-site-worker.service"), settings("fedward-site.service")
    assert float(unit["TimeoutStopSec"]) >= worker.GRACE_SECONDS + 2 * worker.STOP_SECONDS
    assert float(site["TimeoutStopSec"]) > CLOSING_SECONDS
    # SIGTERM to each process would end the round at once.
    assert unit["KillMode"] == "mixed"
    assert unit["After"] == "fedward-site.service"  # so stopped before it, while the gate is open
    assert unit["BindsTo"] == unit["PartOf"] == "fedward-site.service"


def test_the_worker_reaches_loopback_and_no_key() -> None:
    unit, site = settings("fedward-site-worker.service"), settings("fedward-site.service")
    assert (unit["IPAddressDeny"], unit["IPAddressAllow"]) == ("any", "localhost")
    hidden = unit["InaccessiblePaths"].replace("-/", "/").split()
    assert {f"/var/lib/{site['StateDirectory']}", f"/etc/{site['ConfigurationDirectory']}"} <= set(
        hidden
    )
    assert unit["User"] == unit["Group"] != site["User"]
    assert "EnvironmentFile" not in unit  # which names the proxy
    for each in (unit, site):
        assert each["NoNewPrivileges"] == each["ProtectHome"] == "yes"
        assert each["CapabilityBoundingSet"] == ""
        assert each["LimitCORE"] == "0"
    assert site["MemoryDenyWriteExecute"] == "yes"  # torch, in the worker, compiles as it runs


def test_what_a_person_has_to_mend_is_not_tried_again() -> None:
    stays_down = {errors.UsageError, errors.StateError, errors.IdentityError, errors.AuditError}
    site = settings("fedward-site.service")
    codes = {int(code) for code in site["RestartPreventExitStatus"].split()}
    assert codes == {kind.exit_code for kind in stays_down}


def test_users_and_folders_are_those_of_the_units(tmp_path: Path) -> None:
    for kind in ("site", "coordinator"):
        users = (FOLDER / f"sysusers.d/fedward-{kind}.conf").read_text("utf-8")
        made = set(re.findall(r"^u (\S+)", users, re.MULTILINE))
        used = {settings(u.name)["User"] for u in UNITS if u.name.startswith(f"fedward-{kind}")}
        assert made == used
        folders = (FOLDER / f"tmpfiles.d/fedward-{kind}.conf").read_text("utf-8")
        for user, group in re.findall(r"^d \S+ +\d+ +(\S+) +(\S+)", folders, re.MULTILINE):
            assert {user, group} <= made | {"root"}


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="no systemd-sysusers")
def test_systemd_makes_the_users(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for page in sorted((FOLDER / "sysusers.d").glob("*.conf")):
        subprocess.run(
            ["systemd-sysusers", f"--root={tmp_path}", str(page)], check=True, timeout=PATIENCE
        )
    users = (tmp_path / "etc/passwd").read_text("utf-8")
    assert re.findall("^([a-z-]+):", users, re.MULTILINE) == [
        "fedward-coordinator",
        "fedward",
        "fedward-worker",
    ]
    groups = (tmp_path / "etc/group").read_text("utf-8")
    assert re.search(r"^fedward-worker:x:\d+:fedward$", groups, re.MULTILINE)

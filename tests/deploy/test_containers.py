"""Images and compose files: what the linters say, and that the worker's firewall is one."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from client.test_cut_off import has_namespaces
from patience import PATIENCE

from fedward_client import worker

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
COMPOSE = ROOT / "deploy" / "compose"
BIN = Path(sys.executable).parent


def lint(*command: str) -> None:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def services(name: str) -> dict[str, dict[str, object]]:
    found = yaml.safe_load((COMPOSE / name).read_text("utf-8"))["services"]
    assert isinstance(found, dict)
    return found


def test_hadolint_finds_no_fault() -> None:
    lint("hadolint", str(DOCKERFILE))


def test_hadolint_would_find_one(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN sudo rm -rf /\n")
    with pytest.raises(AssertionError, match="DL3004"):
        lint("hadolint", str(tmp_path / "Dockerfile"))


def test_compose_files_are_compose_files() -> None:
    files = [str(path) for path in sorted(COMPOSE.glob("*.yaml"))]
    assert len(files) == 2
    lint("yamllint", "--strict", "-c", str(COMPOSE / ".yamllint"), *files)
    lint("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *files)


def test_nobody_is_root_but_who_takes_the_network() -> None:
    users = re.findall(r"^USER (\S+)", DOCKERFILE.read_text("utf-8"), re.MULTILINE)
    assert users == ["10001:10001", "10003:10003", "10003:10003"]
    every = services("site.yaml") | services("coordinator.yaml")
    assert {name: each["user"] for name, each in every.items()} == {
        "site": "10001:10001",
        "firewall": "0:0",
        "worker": "10002:10002",
        "coordinator": "10003:10003",
    }
    for each in every.values():
        assert (each["cap_drop"], each["read_only"]) == (["ALL"], True)
        assert each["security_opt"] == ["no-new-privileges:true"]


def test_the_worker_sees_neither_key_nor_ledger_nor_proxy() -> None:
    site, own = services("site.yaml")["site"], services("site.yaml")["worker"]
    assert "environment" not in own
    places = {str(volume).split(":")[-2] for volume in own["volumes"]}  # type: ignore[attr-defined]
    mounted = {str(v).removesuffix(":ro").rpartition(":")[2] for v in own["volumes"]}  # type: ignore[attr-defined]
    assert places
    assert mounted == {
        "/srv/fedward/models",
        "/srv/fedward/records",
        "/var/cache/fedward-worker",
        "/run/fedward",
    }
    assert "/var/lib/fedward" in str(site["volumes"])
    grace = float(str(own["stop_grace_period"]).removesuffix("s"))
    assert grace >= worker.GRACE_SECONDS + 2 * worker.STOP_SECONDS
    assert "firewall" in own["depends_on"]  # type: ignore[operator]


REACH = """
import encodings.idna, os, socket, subprocess, sys  # that codec cannot be read later, as another user
user, *rules = sys.argv[1:]
for words in ("link set lo up", "link add out type veth peer name far", "addr add 10.9.9.1/24 dev out",
              "link set out up", "link set far up"):
    subprocess.run(["ip", *words.split()], check=True)
for path in rules:
    subprocess.run(["nft", "-f", path], check=True)
os.setuid(int(user))
gate = socket.create_server(("127.0.0.1", 0))
socket.create_connection(gate.getsockname(), timeout=5).close()
try:
    socket.create_connection(("10.9.9.2", 443), timeout=0.5)
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.skipif(
    not has_namespaces() or os.getuid() != 0 or not (shutil.which("nft") and shutil.which("ip")),
    reason="needs root, network namespaces, ip and nft",
)
@pytest.mark.parametrize(
    ("user", "rules", "told"),
    [
        ("10002", True, "ConnectionRefusedError"),  # refused here, at once; loopback was reached
        ("10001", True, "TimeoutError"),  # goes out, where nobody is
        ("10002", False, "TimeoutError"),
    ],
)
def test_the_firewall_leaves_the_worker_loopback_alone(user: str, rules: bool, told: str) -> None:
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", REACH, user]
        + ([str(COMPOSE / "firewall.nft")] if rules else []),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{told}\n", "")

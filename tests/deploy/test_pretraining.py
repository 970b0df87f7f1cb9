"""What pretrains on a cluster: it names what is there, and the script of Slurm does as it says."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy.test_containers import COMPOSE, lint
from patience import PATIENCE
from prometheus_client import CollectorRegistry
from server.pretraining.monitoring.exported import families
from server.pretraining.monitoring.reported import MACHINE, tell

from fedward_server.pretraining.monitoring.metrics import Metrics
from fedward_server.pretraining.training.launched import SHARED_STORE

DEPLOY = Path(__file__).parents[2] / "deploy"
SBATCH = DEPLOY / "slurm" / "pretrain.sbatch"
RULES = DEPLOY / "prometheus" / "pretraining.rules.yaml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "pretraining.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def exported() -> set[str]:
    registry = CollectorRegistry()
    tell(Metrics(MACHINE, registry), range(10))
    kinds = {name: kind for name, (kind, _) in families(registry).items()}
    assert {"histogram", "summary", "gauge", "counter"} == set(kinds.values())
    parts = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
    return {f"{name}{part}" for name, kind in kinds.items() for part in parts.get(kind, ("",))}


def named(expression: str) -> set[str]:
    return set(re.findall(r"fedward_\w+", expression))


def whole(name: str) -> str:
    """The metric of which `name` is a part."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def test_the_dashboard_asks_for_what_is_exported_and_for_all_of_it(exported: set[str]) -> None:
    asked = {name for expression in expressions() for name in named(expression)}
    assert asked <= exported
    assert {whole(name) for name in asked} == {whole(name) for name in exported}
    for variable in DASHBOARD["templating"]["list"]:
        assert named(str(variable["query"])) <= exported


def test_every_panel_has_a_place_of_its_own_and_asks_of_the_chosen_run() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["targets"]
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    for expression in expressions():
        assert expression.count("{instance=~") == len(re.findall(r"fedward_\w+", expression))


def test_the_alarms_name_metrics(exported: set[str]) -> None:
    [group] = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    for rule in group["rules"]:
        assert named(rule["expr"])
        assert named(rule["expr"]) <= exported


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not installed")
def test_prometheus_finds_no_fault_in_configuration_alarms_and_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$__rate_interval", "5m", expression)}
        for number, expression in enumerate(expressions())
    ]
    asked = tmp_path / "dashboard.yaml"
    asked.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    for check in (
        ("config", str(DEPLOY / "prometheus" / "prometheus.yaml")),
        ("rules", str(asked)),
    ):
        done = subprocess.run(
            ["promtool", "check", *check],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_yaml_is_yaml() -> None:
    folders = [str(DEPLOY / name) for name in ("prometheus", "kubernetes")]
    lint("yamllint", "--strict", "-c", str(COMPOSE / ".yamllint"), *folders)


def documents() -> dict[str, Any]:
    text = (DEPLOY / "kubernetes" / "pretrain.yaml").read_text("utf-8")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def test_the_pods_have_no_more_rights_than_a_training_needs() -> None:
    [worker] = documents()["PyTorchJob"]["spec"]["pytorchReplicaSpecs"].values()
    pod = worker["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert not any("hostPath" in volume for volume in pod["volumes"])
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    users = re.findall(r"^USER (\d+)", (DEPLOY / "docker/Dockerfile").read_text("utf-8"), re.M)
    assert pod["securityContext"]["runAsUser"] == int(users[-1])


def test_the_job_is_one_that_torchrun_and_the_operator_can_start() -> None:
    spec = documents()["PyTorchJob"]["spec"]
    policy, [worker] = spec["elasticPolicy"], spec["pytorchReplicaSpecs"].values()
    assert list(spec["pytorchReplicaSpecs"]) == ["Worker"]  # an elastic job has no master
    assert policy["rdzvBackend"] == "c10d"
    assert policy["minReplicas"] <= worker["replicas"] <= policy["maxReplicas"]
    pod = worker["template"]["spec"]
    [container] = pod["containers"]
    assert container["name"] == "pytorch"
    assert {"name": SHARED_STORE, "value": "1"} in container["env"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    gpus = int(container["resources"]["limits"]["nvidia.com/gpu"])
    counts = range(policy["minReplicas"], policy["maxReplicas"] + 1)
    assert all(3072 % (gpus * count) == 0 for count in counts)
    assert asked_for(container["command"]) == ["pretrain", "run", "/runs/config.toml"]
    [stop] = re.findall(r"--shutdown-timeout=(\d+)", " ".join(container["command"]))
    assert int(stop) < pod["terminationGracePeriodSeconds"]
    claims = [v["persistentVolumeClaim"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
    assert claims == [{"claimName": documents()["PersistentVolumeClaim"]["metadata"]["name"]}]
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    service = documents()["Service"]
    job = documents()["PyTorchJob"]["metadata"]["name"]
    assert service["spec"]["selector"] == {"training.kubeflow.org/job-name": job}
    scrape = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text("utf-8"))
    [found] = [c["dns_sd_configs"][0] for c in scrape["scrape_configs"] if "dns_sd_configs" in c]
    assert (found["names"], found["port"]) == ([service["metadata"]["name"]], ports["metrics"])


def asked_for(command: list[str]) -> list[str]:
    """What torchrun starts, by its own parser, without fedward's path."""
    from torch.distributed.run import parse_args

    found = parse_args(command[1:])
    assert found.no_python
    assert Path(found.training_script).name == "fedward"
    return list(found.training_script_args)


def test_the_script_of_slurm_is_sound() -> None:
    lint("shellcheck", str(SBATCH))


STAND_INS = {
    "srun": "#!/bin/bash\nwhile [[ $1 == --* ]]; do [[ $1 == *=* ]] || shift; shift; done\n"
    'echo $$ > "$TOLD.step"\nexec "$@"\n',
    "scancel": '#!/bin/bash\n[[ "$*" == "--signal TERM $SLURM_JOB_ID.0" ]] || exit\n'
    'kill -TERM "$(cat "$TOLD.step")"\n',
    "scontrol": '#!/bin/bash\n[[ $1 == show ]] && echo 127.0.0.1 || echo "$@" >> "$TOLD"\n',
    "fedward": f"""#!{sys.executable}
import os, signal, sys, time
from pathlib import Path
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append("kept"))
here = Path(sys.argv[3])
here.with_suffix(f".{{os.environ['RANK']}}").write_text(f"{{sys.argv[1:]}} {{os.environ['WORLD_SIZE']}} "
    + {{"False": "sharing no store"}}[os.environ["TORCHELASTIC_USE_AGENT_STORE"]])
for _ in range(int(here.read_text())):
    time.sleep(0.02)
    if told:
        here.with_suffix(".kept").write_text("")
        sys.exit(1)
""",
}
"""Slurm on one node, and a training that keeps what it has when it is told to. torchrun is itself."""


def job_whose_port_is_free() -> int:
    """A job's number, of which the script makes its port."""
    for number in random.sample(range(10_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", 20_000 + number)):
            return number
    raise AssertionError("no port is free")


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """The environment that Slurm gives a job."""
    environment, path = tmp_path / "env" / "bin", tmp_path / "path"
    environment.mkdir(parents=True)
    path.mkdir()
    (environment / "torchrun").symlink_to(Path(sys.executable).parent / "torchrun")
    for name, text in STAND_INS.items():
        file = (environment if name == "fedward" else path) / name
        file.write_text(text)
        file.chmod(0o755)
    return os.environ | {
        "PATH": f"{path}:{os.environ['PATH']}",
        "TOLD": str(tmp_path / "told"),
        "FEDWARD": str(tmp_path / "env"),
        "SLURM_JOB_ID": str(job_whose_port_is_free()),
        "SLURM_JOB_NODELIST": "one",
        "SLURM_NNODES": "1",
        "SLURM_GPUS_ON_NODE": "2",
        "SLURM_CPUS_PER_TASK": "2",
        "OMP_NUM_THREADS": "1",
    }


def run(cluster: dict[str, str], config: Path, end: bool) -> int:
    """The exit code of the script, whose time ends once both workers have begun."""
    with subprocess.Popen(["bash", str(SBATCH), str(config)], env=cluster) as job:
        try:
            while end and not all(config.with_suffix(f".{rank}").exists() for rank in (0, 1)):
                assert job.poll() is None
                time.sleep(0.05)
            if end:
                job.send_signal(signal.SIGUSR1)
            return job.wait(PATIENCE)
        finally:
            job.kill()


def test_a_training_that_comes_to_its_end_is_not_queued_again(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("1")
    assert run(cluster, config, end=False) == 0
    told = (tmp_path / "config.1").read_text()
    assert told == f"['pretrain', 'run', '{config}'] 2 sharing no store"
    assert not Path(cluster["TOLD"]).exists()


def test_a_training_whose_time_is_over_keeps_what_it_has_and_is_queued_again(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("100000")
    assert run(cluster, config, end=True) == 0
    assert (tmp_path / "config.kept").exists()
    assert Path(cluster["TOLD"]).read_text() == f"requeue {cluster['SLURM_JOB_ID']}\n"


def test_a_training_that_fails_is_not_queued_again(cluster: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("no number")
    assert run(cluster, config, end=False) == 1
    assert not Path(cluster["TOLD"]).exists()


@pytest.mark.parametrize("missing", ["CONFIG.toml", "--gpus-per-node"])
def test_what_is_missing_is_told(missing: str, cluster: dict[str, str]) -> None:
    words = ["bash", str(SBATCH)] if missing == "CONFIG.toml" else ["bash", str(SBATCH), "c.toml"]
    given = {k: v for k, v in cluster.items() if k != "SLURM_GPUS_ON_NODE"}
    done = subprocess.run(
        words, env=given, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode != 0
    assert missing in done.stderr

"""What Prometheus is told: the right numbers, under the names of the reference, at the port."""

import math
import re
import socket
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client import CollectorRegistry
from server.pretraining.monitoring.exported import families
from server.pretraining.monitoring.reported import MACHINE, evaluation, spike, step, tell

from fedward_server.pretraining.doctor import SaveMemory
from fedward_server.pretraining.monitoring.device import utilisation
from fedward_server.pretraining.monitoring.figures import perplexity
from fedward_server.pretraining.monitoring.metrics import Metrics, served
from fedward_shared.errors import UsageError

ROOT = Path(__file__).parents[4]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(MACHINE, registry)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    found = registry.get_sample_value(f"fedward_pretrain_{name}", labels)
    assert found is not None, name
    return found


def test_the_three_levels(registry: CollectorRegistry, metrics: Metrics) -> None:
    tell(metrics, range(20))
    spike(metrics, 20, 20)
    tell(metrics, range(20, 30))
    metrics.treatment(30, SaveMemory("full", True, 1))
    last = step(29)
    quality = {
        "steps_done": 30,
        "steps_planned": 100,
        "loss_nats": last.loss,
        "perplexity": math.exp(last.loss),
        "gradient_norm": last.gradient_norm,
        "learning_rate": last.rate,
    }
    device = {"memory_bytes": 123e6, "mfu_ratio": 6e6 * 1024 / 0.5 / 1e11}
    service = {
        "rows_total": 32 * 8,
        "tokens_total": 32 * 1024,
        "predicted_tokens_total": 32 * 1000,
        "loader_wait_seconds_total": 32 * 0.125,
        "step_seconds_sum": 32 * 0.5,
        "step_seconds_count": 32,
        "evaluation_seconds_sum": 3 * 1.5,
        "checkpoint_seconds_count": 3,
        "checkpoint_step": 30,
    }
    for name, expected in (quality | device | service).items():
        assert value(registry, name) == pytest.approx(expected), name
    assert value(registry, "step_seconds_bucket", le="0.25") == 0
    assert value(registry, "step_seconds_bucket", le="0.5") == 32
    for source, more in (("english", 0.1), ("中文", 0.4)):
        loss = evaluation(30).losses[source]
        assert loss == step(30).loss + more
        assert value(registry, "held_out_loss_nats", source=source) == loss
        assert value(registry, "held_out_perplexity", source=source) == math.exp(loss)
    assert value(registry, "held_out_accuracy_ratio", source="中文") == 0.25
    assert value(registry, "treatments_total", treatment="go_back") == 1
    assert value(registry, "treatments_total", treatment="save_memory") == 1
    assert value(registry, "treatments_total", treatment="give_up") == 0


def test_a_device_whose_peak_nobody_knows_has_no_mfu() -> None:
    registry = CollectorRegistry()
    Metrics(MACHINE._replace(peak_flops=None), registry).step(step(0))
    assert math.isnan(value(registry, "mfu_ratio"))


def test_a_loss_that_left_all_bounds_is_told(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.step(step(3, loss=1e4))
    assert value(registry, "perplexity") == math.inf
    metrics.step(step(3, loss=math.nan))
    assert math.isnan(value(registry, "perplexity"))
    assert perplexity(0.0) == 1.0


def test_how_busy_a_cpu_is_is_what_the_machine_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = utilisation("cpu")
    assert 0 <= asked() <= 1
    monkeypatch.setattr(psutil, "cpu_percent", lambda: 37.5)
    assert asked() == 0.375


def test_a_gpu_that_cannot_be_asked_is_no_number() -> None:
    assert math.isnan(utilisation("cuda:7")())


def test_the_reference_names_every_metric_with_kind_and_labels(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    tell(metrics, range(10))
    page = (ROOT / "docs/reference/metrics.md").read_text("utf-8")
    [section] = re.findall(r"^## Central pretraining\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*) ?\|", section, re.MULTILINE)
    assert {name: (kind, labels.strip()) for name, kind, labels in rows} == families(registry)


def test_the_port_answers_until_it_is_closed(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.step(step(4))
    with served(registry, "127.0.0.1", 0) as url:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", url)
        told = httpx.get(url)
        assert "fedward_pretrain_steps_done 5.0" in told.text
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_port_that_cannot_be_had_is_told_before_anything_starts(
    registry: CollectorRegistry, host: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with (
            pytest.raises(UsageError, match=rf"monitoring.prometheus_port: .*{host}:{port}: \w+"),
            served(registry, host, port),
        ):
            pass

"""A dry run says what a training takes; what does not fit is said with what does."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from fedward_server.pretraining.hardware import CLUSTERS, Cluster, cluster
from fedward_server.pretraining.memory import Run
from fedward_server.pretraining.planning import (
    COLUMNS,
    USABLE,
    Plan,
    largest_micro_batch,
    markdown,
    plan,
    remedies,
    row,
    table,
    told,
)
from fedward_server.pretraining.presets import PRESETS, preset
from fedward_shared.errors import UsageError


def planned(
    name: str, on: str | Cluster = "8xA100-80", tokens: float | None = None, **run: Any
) -> Plan:
    chosen = preset(name)
    where = cluster(on) if isinstance(on, str) else on
    return plan(name, chosen.model, chosen.vocabulary, where, Run.model_validate(run), tokens)


def test_days_are_operations_over_what_the_devices_do() -> None:
    shown = planned("decoder-6b", "4xH100", tokens=1e12, utilisation=0.5)
    assert shown.days == pytest.approx(1e12 * shown.flops / (4 * 989.4e12 * 0.5) / 86_400)
    assert shown.flops == pytest.approx(6.57 * shown.number.total, rel=0.01)


def test_twenty_tokens_for_each_active_parameter_unless_said_otherwise() -> None:
    shown = planned("experts-mixtral-8x640m")
    assert shown.tokens == 20 * shown.number.active < 20 * shown.number.total
    assert planned("decoder-6b", tokens=5.0).tokens == 5.0


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("on", CLUSTERS)
def test_every_preset_fits_the_clusters_of_the_table(name: str, on: str) -> None:
    assert told(planned(name, on)) is None
    assert remedies(planned(name, on)) == []


def test_too_many_rows_are_said_with_how_many_fit() -> None:
    shown = planned("decoder-13b", micro_batch=64)
    most = largest_micro_batch(shown)
    assert most is not None
    assert remedies(shown) == [f"a micro-batch of {most} instead of 64"]
    assert planned("decoder-13b", micro_batch=most).fits
    assert not planned("decoder-13b", micro_batch=2 * most).fits


def test_checkpointing_is_named_where_it_helps() -> None:
    shown = planned("encoder-1.2b", micro_batch=8, checkpointing=False)
    assert not shown.fits
    assert "activation checkpointing, with a micro-batch of 8" in remedies(shown)
    assert planned("encoder-1.2b", micro_batch=8).fits


def test_shards_are_named_where_copies_do_not_fit() -> None:
    shown = planned("decoder-13b", strategy="ddp")
    assert remedies(shown) == ["fsdp2 with activation checkpointing, with a micro-batch of 1"]


def test_more_devices_where_nothing_on_these_helps_and_so_many_do() -> None:
    shown = planned("decoder-13b", "2xA100-80", strategy="ddp")
    found = remedies(shown)
    assert found == ["4 such devices, with fsdp2, activation checkpointing and a micro-batch of 1"]
    assert planned("decoder-13b", "4xA100-80").fits
    assert not planned("decoder-13b", "2xA100-80").fits
    sentence = told(shown)
    assert sentence is not None
    assert "needs" in sentence
    assert "72.0 of 80.0 GB" in sentence
    assert found[0] in sentence


def test_a_shorter_context_where_a_row_is_too_long() -> None:
    long = preset("encoder-1.2b").model.model_copy(update={"context": 65_536})
    small = Cluster(devices=1, memory=48, peak=362)
    shown = plan("long", long, 102_400, small, Run())
    found = [line for line in remedies(shown) if line.startswith("a context of ")]
    assert len(found) == 1
    context = int(found[0].split()[3].rstrip(","))
    shorter = long.model_copy(update={"context": context})
    assert plan("long", shorter, 102_400, small, Run()).fits
    twice = long.model_copy(update={"context": 2 * context})
    assert not plan("long", twice, 102_400, small, Run()).fits


def test_where_nothing_fits_that_is_said_too() -> None:
    watch = Cluster(devices=1, memory=0.01, peak=0.001)
    sentence = told(planned("decoder-13b", watch))
    assert sentence is not None
    assert "a smaller model, or larger devices" in sentence


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(sorted(PRESETS)),
    devices=st.integers(1, 64),
    memory=st.floats(1, 200),
    rows=st.integers(1, 64),
    strategy=st.sampled_from(["fsdp2", "ddp", "zero1", "zero2", "zero3"]),
    checkpointing=st.booleans(),
)
def test_more_of_anything_never_takes_less(
    name: str, devices: int, memory: float, rows: int, strategy: str, checkpointing: bool
) -> None:
    where = Cluster(devices=devices, memory=memory, peak=300)
    run = {"strategy": strategy, "checkpointing": checkpointing, "micro_batch": rows}
    shown = planned(name, where, **run)
    assert (
        shown.memory.total <= planned(name, where, **run | {"micro_batch": rows + 1}).memory.total
    )
    assert shown.memory.total >= planned(name, where, **run | {"checkpointing": True}).memory.total
    more = where.model_copy(update={"devices": devices + 1})
    assert planned(name, more, **run).memory.total <= shown.memory.total
    assert shown.fits == (shown.memory.total <= USABLE * memory * 1e9)
    assert shown.fits == (told(shown) is None)


def test_the_table_has_a_line_for_each_plan() -> None:
    plans = [planned(name) for name in ("tiny-bert", "decoder-13b")]
    console = Console(file=StringIO(), width=300, color_system=None)
    console.print(table(plans, "8xA100-80"))
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    assert "8xA100-80" in shown
    for line in (COLUMNS, *map(row, plans)):
        assert all(cell in shown for cell in line)
    assert len(row(plans[0])) == len(COLUMNS)


@pytest.mark.parametrize("on", CLUSTERS)
def test_the_tables_of_the_document_are_the_code_s(on: str) -> None:
    page = Path(__file__).parents[3] / "docs/explanation/pretraining-sizes.md"
    assert markdown([planned(name, on) for name in PRESETS]) in page.read_text("utf-8")


def test_a_cluster_has_a_name_or_is_this_machine() -> None:
    assert cluster("16xH200") == Cluster(devices=16, memory=141, peak=989.4)
    here = cluster("cpu")
    assert here.devices == 1
    assert 0.001 < here.peak < 100
    assert planned("tiny-llama", here, precision="fp32", strategy="ddp").fits
    for name in ("8xA100", "0xH100", "H100", "-1xH100", "8 x H100", "9999999xH100", ""):
        with pytest.raises(UsageError, match="8xA100-80"):
            cluster(name)


SIZES = {
    "encoder-1.2b": 1.2,
    "encoder-3b": 3,
    "decoder-6b": 6,
    "decoder-13b": 13,
    "decoder-8b-window": 8,
    "encoder-decoder-3b": 3,
    "encoder-decoder-7b": 7,
}


def test_presets_are_of_the_size_of_their_names() -> None:
    for name, billions in SIZES.items():
        assert planned(name).number.total / 1e9 == pytest.approx(billions, rel=0.04)
    for name in ("experts-mixtral-8x640m", "experts-deepseek-16x640m"):
        experts = preset(name).model.experts
        assert experts is not None
        idle = planned(name).number.total - planned(name).number.active
        assert idle / (experts.count - experts.active) == pytest.approx(640e6, rel=0.01)
    for name in PRESETS:
        if name.startswith("tiny"):
            assert planned(name).number.total < 500_000
    assert {"tiny", "encoder", "decoder", "experts"} <= {name.split("-")[0] for name in PRESETS}


def test_there_is_a_tiny_one_of_each_family() -> None:
    tiny = [p.model.family for name, p in PRESETS.items() if name.startswith("tiny")]
    assert sorted(tiny) == sorted(
        ["bert", "modernbert", "longformer", "llama", "mistral", "t5", "mixtral", "deepseek"]
    )


def test_an_unknown_preset_is_told_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="there is no huge; there are tiny-bert"):
        preset("huge")

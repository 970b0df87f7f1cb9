"""The page of curves: what is drawn is what the diary says."""

import math
import re
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest
from server.pretraining.monitoring.reported import evaluation, spike, step, tell
from shared.test_report import CHROMIUM, _look

from fedward_server.pretraining.monitoring import curves, diary
from fedward_server.pretraining.monitoring.diary import Diary, Record
from fedward_server.pretraining.monitoring.figures import Machine
from fedward_shared.errors import DataError

MACHINE = Machine(1, "cpu", 6e6, None)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """With a spike after which the training went back."""
    with Diary(tmp_path / "diary.jsonl", MACHINE) as written:
        tell(written, range(43))
        spike(written, 43, 40)
        tell(written, range(40, 100))
    return diary.read(tmp_path / "diary.jsonl")


def charts(page: str) -> dict[str, Element]:
    """By what stands above them."""
    found = re.findall(r"<h3>(.*?)</h3>.*?(<svg.*?</svg>)", page, re.DOTALL)
    return {title: fromstring(svg) for title, svg in found}


def titles(chart: Element) -> list[str]:
    return [found.text or "" for found in chart.iter("title")]


def names(chart: Element) -> list[str]:
    return [t.text or "" for t in chart.iter("text") if t.get("class", "").startswith("name")]


def test_one_run_has_its_curves_and_the_doctor_in_each(record: Record) -> None:
    page = curves.page({"tiny": record})
    drawn = charts(page)
    assert list(drawn) == [
        "Loss in training",
        "Held-out loss",
        "Held-out accuracy",
        "Perplexity in training",
        "Rate",
        "Gradient norm",
        "Tokens per second",
    ]
    for chart in drawn.values():
        assert "step 44: a spike <&>; back" in titles(chart)
        assert len(chart.findall("line[@class='event']")) == 1
    assert "<td>step 44: a spike &lt;&amp;&gt;; back</td>" in page
    assert sorted(names(drawn["Held-out loss"])) == ["english", "中文"]
    assert f"tiny, step 1: {step(0).loss:.5g}" in titles(drawn["Loss in training"])
    assert f"tiny, step 100: {math.exp(step(99).loss):.5g}" in titles(
        drawn["Perplexity in training"]
    )
    assert f"中文, step 100: {evaluation(100).losses['中文']:.5g}" in titles(drawn["Held-out loss"])
    assert "tiny, step 100: 2,048" in titles(drawn["Tokens per second"])
    assert "http" not in re.sub(r"xmlns\S+", "", page)


def test_the_course_that_was_left_is_grey_and_not_in_the_curve(record: Record) -> None:
    chart = charts(curves.page({"tiny": record}))["Loss in training"]
    assert len(chart.findall("path[@class='curve other']")) == 1
    assert "tiny, left, step 45: 15" in titles(chart)
    drawn = [told for told in titles(chart) if told.startswith("tiny, step")]
    assert not any(told.endswith((": 14", ": 15")) for told in drawn)


def test_several_runs_are_in_one_chart_each_with_its_own_dashes(record: Record) -> None:
    other = Record(record.begun, [r._replace(loss=r.loss + 1) for r in record.steps])
    other.evaluations = record.evaluations[:3]
    drawn = charts(curves.page({"alone": record, "two <processes>": other}))
    assert "Held-out loss, 中文" in drawn
    chart = drawn["Loss in training"]
    assert names(chart) == ["alone", "two <processes>"]
    lines = [p for p in chart.iter("path") if "other" not in p.get("class", "")]
    assert {(p.get("class"), p.get("stroke-dasharray")) for p in lines} == {
        ("curve c1", None),
        ("curve c2", "7 3"),
    }


def test_a_long_run_is_drawn_with_few_points_that_are_means() -> None:
    record = Record(steps=[step(n, loss=float(n % 2), steps=10_000) for n in range(10_000)])
    [(path, *_), *_] = [
        chart.findall("path") for chart in charts(curves.page({"long": record})).values()
    ]
    heights = re.findall(r"[ML]\S+ ([0-9.]+)", path.get("d", ""))
    assert len(heights) <= curves.POINTS
    assert len(set(heights)) == 1


def test_a_loss_that_was_no_number_leaves_a_gap() -> None:
    record = Record(steps=[step(0), step(1, loss=math.nan), step(2, loss=math.inf), step(3)])
    chart = charts(curves.page({"broken": record}))["Loss in training"]
    assert len(re.findall("[ML]", chart.findall("path")[0].get("d", ""))) == 2


def test_a_run_that_has_nothing_finite_is_told_of_too() -> None:
    record = Record(steps=[step(0, loss=math.nan)])
    page = curves.page({"broken": record})
    assert "nothing yet" in page
    assert "Tokens per second" in charts(page)


def test_a_run_without_a_step_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty: no step is in the diary yet"):
        curves.write(tmp_path / "curves.html", {"empty": Record()})
    assert list(tmp_path.iterdir()) == []


def test_runs_are_named_by_their_folders_or_by_paths(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a/tiny", "b/tiny", "b/large")]
    for folder in folders:
        folder.mkdir(parents=True)
        with Diary(folder / diary.FILE, MACHINE) as written:
            tell(written, range(3))
    found = curves.of(folders)
    assert list(found) == [str(folders[0]), str(folders[1]), "large"]
    assert [len(record.steps) for record in found.values()] == [3, 3, 3]
    assert list(curves.of(folders[:1])) == ["tiny"]
    with pytest.raises(DataError, match=r"c/diary.jsonl: cannot be read: No such file"):
        curves.of([tmp_path / "c"])


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_browser_asks_for_nothing_and_complains_of_nothing(
    record: Record, tmp_path: Path
) -> None:
    curves.write(tmp_path / "curves.html", {"tiny": record, "another": record})
    assert _look(tmp_path / "curves.html", tmp_path / "look") == ([], set())

"""The report: one data model, one page, nothing that leaves the file."""

import json
import math
import re
import shutil
import subprocess
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
from patience import PATIENCE
from pydantic import ValidationError

from fedward_shared import charts, formats, report
from fedward_shared.errors import DataError
from fedward_shared.report import MetricSpec, Result, RoundRecord, Row, Sample, SiteSummary

HOSTILE = "<script>alert(1)</script>"
LABELS = (
    "Injury",
    "Neoplasms",
    "Circulatory",
    "Musculoskeletal",
    "Eye",
    "Skin",
    "Digestive",
    "Ear",
)


def made_up(**changes: Any) -> Result:
    """A study of four hospitals, as a simulation would report it; every figure is invented."""
    sites = ("north", "east", "south", "west")
    rounds = [
        RoundRecord(
            study=study,
            round=number,
            cohort=list(sites if number != 7 else sites[:3]),
            missing={"west": "did not answer before the deadline"} if number in (7, 8) else {},
            metrics={
                "loss": 2.9 * math.exp(-number / rate) + 0.6,
                "accuracy": top - 0.5 * math.exp(-number / rate),
                "macro_f1": top - 0.26 - 0.55 * math.exp(-number / rate),
            },
            epsilon={
                site: (limit * math.sqrt(number / 20) * (0.9 if site == "west" else 1))
                if limit
                else None
                for site in sites
            },
            bytes_up=412_000,
            bytes_down=398_000,
            seconds=1.7,
        )
        for study, rate, top, limit in (
            ("federated-dp", 5.0, 0.87, 0.9987),
            ("federated", 3.0, 0.95, None),
            ("probe-dp", 4.0, 0.86, 0.9987),
        )
        for number in range(1, 21)
    ]
    dp: dict[str, Any] = {"epsilon": 0.9987, "delta": 1e-5}
    content: dict[str, Any] = {
        "scenario": "hospitals",
        "title": "Four hospitals code diagnoses together",
        "question": "What does training together buy four hospitals that may not pool records?",
        "started": datetime(2026, 11, 24, 9, 30, tzinfo=UTC),
        "seconds": 192.4,
        "seed": 7,
        "command": "fedward simulate hospitals --seed 7 --out runs/hospitals",
        "versions": {"fedward": "0.1.0", "torch": "2.13.0", "flwr": "1.41.0", "python": "3.11.2"},
        "settings": {
            "epsilon": 1.0,
            "delta": 1e-5,
            "rounds": 20,
            "partition": "dirichlet:0.5",
            "clipping norm": 0.4,
            "secure aggregation": False,
            "data": None,
        },
        "metrics": [
            MetricSpec(name="accuracy", label="Accuracy", format="percent"),
            MetricSpec(name="macro_f1", label="macro-F1", primary=True),
        ],
        "rows": [
            Row.of("majority", "Majority class", {"accuracy": 0.31, "macro_f1": 0.021}),
            Row.of(
                "alone",
                "One site alone, with DP",
                {"accuracy": 0.781, "macro_f1": 0.472},
                spread={"accuracy": 0.021, "macro_f1": 0.034},
                **dp,
            ),
            Row.of(
                "probe-dp", "Linear probe, with DP", {"accuracy": 0.858, "macro_f1": 0.596}, **dp
            ),
            Row.of(
                "federated-dp", "Federated with DP", {"accuracy": 0.865, "macro_f1": 0.612}, **dp
            ),
            Row.of("federated", "Federated, no DP", {"accuracy": 0.948, "macro_f1": 0.732}),
            Row.of("pooled", "All data pooled, no DP", {"accuracy": 0.952, "macro_f1": 0.779}),
        ],
        "rounds": rounds,
        "sites": [
            SiteSummary(
                name=site,
                records=5000 - 210 * index,
                epsilon=0.9987 * (0.9 if site == "west" else 1),
                delta=1e-5,
                epsilon_limit=1.0,
                bytes_up=2_060_000,
                bytes_down=1_990_000,
                alone={"accuracy": 0.75 + 0.02 * index, "macro_f1": 0.43 + 0.03 * index},
                labels={
                    label: 80 + 900 * ((3 * index + place) % 8 == 0) + 37 * place
                    for place, label in enumerate(LABELS)
                },
                rounds_joined=20 if site != "west" else 18,
            )
            for index, site in enumerate(sites)
        ],
        "bytes_up": 24_700_000,
        "bytes_down": 23_900_000,
        "notes": [
            "The demonstration trains on 2,000 records a site, the full study on 5,000.",
            "Whole categories are held out, so no sibling of a test record was trained on.",
        ],
    }
    return Result.model_validate(content | changes)


def language_model() -> Result:
    return made_up(
        metrics=[MetricSpec(name="perplexity", label="Perplexity", higher_is_better=False)],
        rows=[
            Row.of("before", "Before the study", {"perplexity": 41.2}),
            Row.of("alone", "One site alone", {"perplexity": 17.9}, epsilon=8.0, delta=1e-5),
            Row.of("federated-dp", "Federated with DP", {"perplexity": 12.34}, epsilon=8.0),
            Row.of("federated", "Federated, no DP", {"perplexity": 9.9}),
        ],
        samples=[Sample(prompt="Summary:\n", reference="A", before="", after=HOSTILE)],
    )


def deployed() -> Result:
    """What a coordinator knows: no label counts, no site alone, sites that differ."""
    return made_up(
        rows=[Row.of("federated-dp", "Federated with DP", {"macro_f1": 0.6}, epsilon=0.5)],
        sites=[SiteSummary(name=HOSTILE), SiteSummary(name="b", epsilon=1.2, epsilon_limit=1.0)],
        rounds=[RoundRecord(study="federated-dp", round=1, missing={HOSTILE: "<b>budget</b>"})],
    )


def bare() -> Result:
    return made_up(rows=[], rounds=[], sites=[], metrics=[], notes=[], versions={}, settings={})


CASES = {"simulated": made_up, "language": language_model, "deployed": deployed, "bare": bare}


@pytest.fixture(params=CASES, ids=list(CASES))
def result(request: pytest.FixtureRequest) -> Result:
    return CASES[request.param]()


class _Page(HTMLParser):
    """Every element with its attributes, and a check that elements close in order."""

    VOID: ClassVar = {"meta", "link", "br", "hr", "img", "input"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_what_is_written_is_read_back(result: Result, tmp_path: Path) -> None:
    report.write(result, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "report.html",
        "result.json",
    ]
    assert report.load(tmp_path / "out" / "result.json") == result
    text = (tmp_path / "out" / "result.json").read_text("utf-8")
    content = json.loads(text)
    assert text == json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    assert content["schema"] == "fedward-result/1"


def test_metrics_are_keys_of_the_row_and_no_dp_is_null(tmp_path: Path) -> None:
    report.write(made_up(), tmp_path)
    rows = {row["name"]: row for row in json.loads((tmp_path / "result.json").read_text())["rows"]}
    assert rows["federated-dp"]["macro_f1"] == 0.612
    assert rows["federated-dp"]["epsilon"] == 0.9987
    assert rows["pooled"]["epsilon"] is None
    assert rows["pooled"]["delta"] is None


@pytest.mark.parametrize("value", [math.inf, math.nan, "0.5", True, [1.0]])
def test_a_metric_is_a_finite_number(value: object) -> None:
    with pytest.raises(ValidationError, match="macro_f1"):
        Row.model_validate({"name": "a", "label": "a", "private": False, "macro_f1": value})


def test_rows_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValidationError, match="not private"):
        Row.of("federated", "Federated", {}, epsilon=1.0, private=False)
    with pytest.raises(ValueError, match="label"):
        Row.of("federated", "Federated", {"label": 1.0})
    row = made_up().rows[0]
    with pytest.raises(ValidationError, match="rows: one occurs twice"):
        made_up(rows=[row, row])


def test_a_time_has_a_zone_and_nothing_may_be_added() -> None:
    with pytest.raises(ValidationError, match="started"):
        made_up(started=datetime(2026, 11, 24))
    with pytest.raises(ValidationError, match="extra"):
        made_up(extra=1)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not a JSON file"),
        (b"\xff", "not a JSON file"),
        (b"[]", "schema"),
        (b'{"schema": "fedward-result/2"}', "schema"),
        (b'{"schema": "fedward-result/1"}', "title: Field required"),
    ],
)
def test_a_file_that_is_no_result_is_named(content: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(str(path))) as caught:
        report.load(path)
    assert complaint in str(caught.value)
    with pytest.raises(DataError, match="no such file"):
        report.load(tmp_path / "none.json")


def test_infinity_in_a_file_is_refused(tmp_path: Path) -> None:
    report.write(made_up(), tmp_path)
    path = tmp_path / "result.json"
    path.write_text(path.read_text().replace("0.612", "Infinity"))
    with pytest.raises(DataError, match=r"rows\.3\.macro_f1"):
        report.load(path)


def test_a_crash_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report.write(made_up(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("fedward_shared.files.os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        report.write(made_up(seed=8), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_answer() -> None:
    assert report.headline(made_up()) == (
        "Federated with DP reaches macro-F1 0.612 at ε = 0.999, 0.140 above a site alone; "
        "giving up privacy would add 0.120."
    )
    assert report.headline(language_model()) == (
        "Federated with DP reaches perplexity 12.34 (lower is better) at ε = 8, "
        "5.56 below a site alone; giving up privacy would take off 2.44."
    )
    assert report.headline(deployed()) == "Federated with DP reaches macro-F1 0.600 at ε = 0.5."
    assert report.headline(bare()) == ""


def test_the_answer_without_a_federated_row_names_the_best() -> None:
    rows = [row for row in made_up().rows if not row.name.startswith("federated")]
    assert report.headline(made_up(rows=rows)) == "All data pooled, no DP reaches macro-F1 0.779."


def test_the_answer_says_so_when_federation_does_not_help() -> None:
    rows = [
        Row.of("alone", "Alone", {"accuracy": 0.9, "macro_f1": 0.5}, epsilon=1.0),
        Row.of(
            "federated-dp", "Federated with DP", {"accuracy": 0.8, "macro_f1": 0.5}, epsilon=1.0
        ),
        Row.of("federated", "Federated", {"accuracy": 0.75, "macro_f1": 0.5}),
    ]
    assert "level with a site alone; giving up privacy would change nothing" in report.headline(
        made_up(rows=rows)
    )
    metrics = [MetricSpec(name="accuracy", label="Accuracy", format="percent")]
    assert report.headline(made_up(rows=rows, metrics=metrics)) == (
        "Federated with DP reaches accuracy 80.0 % at ε = 1, 10.0 points below a site alone; "
        "giving up privacy would take off 5.0 points."
    )


def test_the_page_is_well_formed_and_asks_for_nothing(result: Result) -> None:
    text = report.render(result)
    page = _Page(text)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img", "iframe", "object", "embed", "form", "base", "image", "use"}
    for tag, attributes in page.elements:
        assert not {name for name in attributes if name.startswith("on")}
        assert not {"src", "srcset", "xlink:href", "style"} & set(attributes)
        assert attributes.get("href", "data:,") == "data:,", tag
    assert "url(" not in text
    assert "@import" not in text
    assert "://" not in text
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")


def test_every_drawing_has_a_name_and_every_header_a_scope(result: Result) -> None:
    for tag, attributes in _Page(report.render(result)).elements:
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or (
                attributes["role"] == "img" and attributes["aria-label"]
            )
        if tag == "th":
            assert attributes["scope"] in {"row", "col"}


def test_whatever_others_wrote_is_escaped() -> None:
    text = report.render(
        made_up(
            title=HOSTILE,
            notes=[HOSTILE],
            settings={HOSTILE: HOSTILE},
            rows=[Row.of("federated-dp", HOSTILE, {"macro_f1": 0.5}, epsilon=1.0)],
            sites=[
                SiteSummary(
                    name=f'"{HOSTILE}', labels={HOSTILE: 3}, alone={"macro_f1": 0.4}, epsilon=1.0
                )
            ],
            rounds=[
                RoundRecord(
                    study="federated-dp",
                    round=1,
                    missing={HOSTILE: HOSTILE},
                    metrics={HOSTILE: 1.0, "macro_f1": 0.5},
                    epsilon={HOSTILE: 1.0},
                )
            ],
            samples=[Sample(prompt=HOSTILE, reference=HOSTILE, before=HOSTILE, after=HOSTILE)],
        )
    )
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 15
    assert "script" not in {tag for tag, _ in _Page(text).elements}


def test_the_page_tells_what_people_look_for() -> None:
    text = report.render(made_up())
    assert "adds up for a person known to two sites" in text
    assert "did not answer before the deadline" in text
    assert "7–8" in text
    assert "fedward simulate hospitals --seed 7" in text
    assert "24.7 MB" in text
    assert "3 min 12 s" in text
    assert "limit 1" in text
    assert "10⁻⁵" in text
    assert 'class="fill dp"' in text
    assert 'class="fill open"' in text
    assert "Linear probe, with DP; Federated with DP; Federated, no DP" in text, "drawn together"
    assert "Who was missing" not in report.render(made_up(rounds=[]))


def test_a_delta_is_not_lent_to_a_row_that_states_none() -> None:
    assert "δ = 10⁻⁵</span></th>" in report.render(made_up()), "one for all: in the head"
    mixed = report.render(language_model())
    assert "δ = 10⁻⁵</span></th>" not in mixed
    assert "δ = 10⁻⁵</span></span></td>" in mixed


def test_a_deployed_study_has_no_seed() -> None:
    text = report.render(made_up(seed=None, command=""))
    assert "seed" not in text
    assert "result.json" in text


def test_a_spent_limit_is_marked() -> None:
    assert 'class="fill over"' in report.render(deployed())
    assert 'class="fill over"' not in report.render(made_up())


def test_many_sites_and_rounds_stay_small() -> None:
    sites = [f"site-{index:02d}" for index in range(40)]
    rounds = [
        RoundRecord(
            study="federated-dp",
            round=number,
            metrics={"macro_f1": 0.5},
            epsilon={site: number * (1 + index / 50) / 400 for index, site in enumerate(sites)},
        )
        for number in range(1, 201)
    ]
    text = report.render(
        made_up(rounds=rounds, sites=[SiteSummary(name=site, epsilon_limit=1.0) for site in sites])
    )
    assert len(text) < 1_500_000
    _Page(text)


@pytest.mark.parametrize("value", [0.0, -5.0, 1e-320, 3e12, 1.7e308, -1.7e308])
def test_a_metric_that_diverged_is_still_drawn(value: float) -> None:
    text = report.render(
        made_up(
            rows=[
                Row.of("federated", "Federated", {"macro_f1": value, "accuracy": 0.5}),
                Row.of("alone", "Alone", {"macro_f1": 1.0}, spread={"macro_f1": abs(value)}),
            ],
            rounds=[
                RoundRecord(study="federated", round=1, metrics={"macro_f1": value}),
                RoundRecord(study="federated", round=2, metrics={"macro_f1": -value}),
            ],
        )
    )
    assert not re.search(r"\b(nan|inf)\b", _drawn(text))
    assert "0000000000000" not in _drawn(text)


def _drawn(text: str) -> str:
    return " ".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))


def test_labels_in_a_chart_never_touch() -> None:
    heights = [16.0] * 9
    tops = sorted(charts.spread_out([100.0] * 5 + [0.0, 240.0, 249.0, 101.0], heights))
    assert all(second - first >= 16 for first, second in pairwise(tops))
    assert tops[0] >= 0
    assert tops[-1] + 16 <= charts.HEIGHT


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 0.0), (0.61, 0.61), (0.2, 0.95), (-3.0, 2.0), (1e-9, 2e-9), (0, 9e9)]
)
def test_ticks_enclose_the_values(low: float, high: float) -> None:
    ticks, step = charts.nice_ticks(low, high)
    assert ticks[0] <= low + step * 1e-6
    assert ticks[-1] >= high - step * 1e-6
    assert 2 <= len(ticks) <= 8


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.0, "1"), (0.7, "0.7"), (0.9987, "0.999"), (0.12301, "0.124"), (12.31, "12.4"), (0.0, "0")],
)
def test_epsilon_is_never_shown_below_what_was_spent(value: float, shown: str) -> None:
    assert formats.epsilon(value) == shown


def test_figures_in_words() -> None:
    assert [formats.size(n) for n in (0, 999, 1000, 999_600, 12_345_678)] == [
        "0 B",
        "999 B",
        "1.00 KB",
        "1.00 MB",
        "12.3 MB",
    ]
    assert [formats.duration(s) for s in (4.2, 59.9, 192.4, 7500)] == [
        "4.2 s",
        "1 min 00 s",
        "3 min 12 s",
        "2 h 05 min",
    ]
    assert [formats.delta(d) for d in (1e-5, 2.5e-6, 1e-3, None)] == [
        "10⁻⁵",
        "2.5 × 10⁻⁶",
        "10⁻³",
        "–",
    ]
    assert formats.metric(-0.5, "number", 2) == "−0.50"
    assert formats.metric(-0.0001, "number", 2) == "0.00"
    assert formats.rounds([9, 3, 4, 5]) == "3–5, 9"


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def _look(page: Path, scratch: Path) -> tuple[list[str], set[str]]:
    """What Chromium says of `page` on its console, and the addresses the page made it ask for."""
    assert CHROMIUM is not None
    log = scratch / "net.json"
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr",
            f"--user-data-dir={scratch / 'profile'}",
            f"--log-net-log={log}",
            f"--screenshot={scratch / 'page.png'}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (scratch / "page.png").stat().st_size > 0
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    events = json.loads(log.read_text(errors="replace"))["events"]
    params = [event.get("params", {}) for event in events]
    asked = {p["url"] for p in params if "url" in p and p.get("initiator") == "null"}
    return console, {url for url in asked if not url.startswith(("data:", "file:"))}


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_browser_asks_for_nothing_and_complains_of_nothing(tmp_path: Path) -> None:
    report.write(made_up(), tmp_path)
    assert _look(tmp_path / "report.html", tmp_path / "look") == ([], set())


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_browser_test_would_notice(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    bad = '<!doctype html><img src="http://elsewhere.invalid/x.png"><script>throw 1</script>'
    page.write_text(bad)
    console, asked = _look(page, tmp_path / "look")
    assert console
    assert asked == {"http://elsewhere.invalid/x.png"}

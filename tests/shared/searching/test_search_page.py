import re
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import pytest
from shared.searching.curves import terms, train

from fedward_shared.searching.search import SearchTerms, opened, search
from fedward_shared.searching.search_page import lines_of, write


def page(folder: Path, searched: SearchTerms) -> str:
    with closing(opened(folder / "search", searched, 1)) as trials:
        write(folder / "search.html", searched, trials, "Rate & <width>")
    return (folder / "search.html").read_text("utf-8")


def charts(text: str) -> list[ElementTree.Element]:
    found = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    return [ElementTree.fromstring(chart) for chart in found]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SearchTerms]:
    folder = tmp_path_factory.mktemp("page")
    asked = terms(trials=24, sampler="random", startup=14)
    search(folder / "search", asked, train, seed=1)
    return folder, asked


def test_each_trial_is_a_dot_in_each_chart_and_a_line_of_the_table(searched) -> None:
    folder, asked = searched
    text = page(folder, asked)
    with closing(opened(folder / "search", asked, 1)) as trials:
        lines, importances = lines_of(trials), trials.importances()
    stopped = [line for line in lines if not line.finished]
    assert (len(lines), len(stopped) > 2) == (24, True)
    plots = [c for c in charts(text) if "Loss" in c.attrib["aria-label"]]
    assert len(plots) == 1 + len(asked.parameters)
    for chart in plots:
        titles = [element.text for element in chart.iter() if element.tag.endswith("title")]
        assert len(titles) == 24
        hollow = [e for e in chart.iter() if e.attrib.get("class") == "hollow open"]
        assert len(hollow) == len(stopped)
    assert text.count('<th scope="row" class="number">') == 24
    assert len(importances) == 3
    assert sum(importances.values()) == pytest.approx(1)
    for name, share in importances.items():
        assert f"{name}: {share:.0%}" in text


def test_the_least_so_far_never_rises(searched) -> None:
    history = charts(page(*searched))[0]
    [line] = [e for e in history.iter() if e.attrib.get("class") == "curve dp"]
    heights = [float(point.split()[1]) for point in line.attrib["d"][1:].split("L")]
    assert heights == sorted(heights)  # y grows downwards
    assert len(set(heights)) > 1


def test_everything_is_escaped_and_nothing_is_fetched(searched) -> None:
    text = page(*searched)
    assert "Rate &amp; &lt;width&gt;" in text
    assert "<script" not in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)


def test_a_search_without_trials_has_a_page(tmp_path: Path) -> None:
    assert "No trial has been finished." in page(tmp_path, terms())


def test_the_same_trials_give_the_same_page(searched) -> None:
    assert page(*searched) == page(*searched)

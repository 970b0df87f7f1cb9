"""The page says what the figures say, names who is missing, and nothing in it is markup of others."""

from html.parser import HTMLParser

from shared.statistics.made import WARD, charter, tally, terms
from shared.statistics.test_summary import counts_of, people, told

from fedward_shared.statistics import page
from fedward_shared.statistics.answer import Layout
from fedward_shared.statistics.summary import summary


class Seen(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def read(text: str) -> Seen:
    seen = Seen()
    seen.feed(text)
    return seen


def test_it_shows_every_site_and_column() -> None:
    sites = [counts_of(*people(1)), counts_of(*people(2)), counts_of(*people(3, middle=60.0))]
    found = told(*sites, noise=1)
    assert page.headline(found).endswith("differ by more than noise and chance: age at every site.")
    seen = read(page.render(found.model_copy(update={"missing": {"east": "refused: budget"}})))
    for said in ("north", "south", "west", "all sites", "the label", "refused: budget", "heart"):
        assert said in seen.text
    assert seen.tags.count("h2") == 6
    assert seen.text.index("ward") < seen.text.index("Quantiles")
    assert "script" not in seen.tags


def test_nothing_that_was_told_is_markup() -> None:
    evil = WARD.model_copy(update={"values": ("<script>", "&amp;"), "name": "<b>"})
    asked = terms(columns=(evil,), label="<b>")
    of = charter(asked, purpose="<script>alert(1)</script>")
    numbers = [100, 60, 30, 5, 5]
    assert len(numbers) == Layout(asked).size
    found = summary(of, {"north": tally(of, "north", numbers)}, {"south": "<script>"})
    seen = read(page.render(found))
    assert "script" not in seen.tags
    assert "<script>alert(1)</script>" in seen.text
    assert "<b>" in seen.text


def test_a_page_without_answers_says_so() -> None:
    nobody = summary(charter(), {}, {"north": "not connected"})
    assert page.headline(nobody) == "No site has answered."
    assert "not connected" in read(page.render(nobody)).text

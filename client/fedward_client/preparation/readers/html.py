"""The text of HTML and XHTML, which FHIR's narratives are: Python's own parser expands no entity."""

from html.parser import HTMLParser

BLOCKS = frozenset(
    {"address", "article", "br", "div", "dd", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6"}
    | {"hr", "li", "ol", "p", "pre", "section", "table", "tr", "ul"}
)
SILENT = frozenset({"script", "style", "head"})


def text(markup: str) -> str:
    """What is read on the page: a line for each block, a tab between the cells of a table."""
    page = _Page()
    page.feed(markup)
    page.close()
    lines = (
        "\t".join(" ".join(c.split()) for c in line.split("\t")).strip() for line in page.lines()
    )
    return "\n".join(filter(None, lines))


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._said: list[str] = []
        self._silent = 0

    def lines(self) -> list[str]:
        return "".join(self._said).split("\n")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self._silent += tag in SILENT
        if tag in ("td", "th"):
            self._said.append("\t")
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in SILENT and self._silent > 0
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._said.append(data.replace("\n", " ").replace("\t", " "))

    def _break(self, tag: str) -> None:
        if tag in BLOCKS:
            self._said.append("\n")

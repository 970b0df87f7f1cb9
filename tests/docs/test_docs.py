"""What the documents name is there."""

import inspect
import re
from pathlib import Path

import pytest

from fedward_shared import errors

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
FOLDERS = ("shared/", "client/", "server/", "simulations/", "deploy/", "tests/", "docs/")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_paths_and_targets_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (page.parent / link).exists(), link
    for path in re.findall(r"`([a-z]+/[\w./-]+)`", text):
        if path.startswith(FOLDERS):
            assert (ROOT / path).exists(), path
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for target in re.findall(r"make ([a-z]+)`", text):
        assert target in targets


def test_every_exit_code_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/exit-codes.md").read_text("utf-8")
    kinds = [k for k in vars(errors).values() if inspect.isclass(k)]
    for kind in kinds:
        if issubclass(kind, errors.FedwardError):
            assert f"| {kind.exit_code} | {kind.__name__} |" in page

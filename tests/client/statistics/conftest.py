"""A site that has approved a charter for statistics of its file."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from conftest import COORDINATOR, key_of
from shared.statistics.made import charter, terms

from fedward_client import consent
from fedward_client import settings as site_settings
from fedward_client.ledger import Spending
from fedward_client.site import Site
from fedward_client.trusted import Trusted
from fedward_shared import records
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.statistics import charter as charters
from fedward_shared.statistics.charter import StatisticsCharter
from fedward_shared.statistics.tally import StatisticsRequest
from fedward_shared.statistics.terms import StatisticsTerms

AGES = ["34", "71", "", "104", "abc", "-2", "100", "55"]
WARDS = ["heart", "bone", "heart", "NA", "lung", "heart", "bone", "Heart"]
OWNERS = ["a", "a", "a", "b", "b", "c", "d", "d"]


@dataclass(frozen=True)
class Home:
    """Its folder and the charter."""

    folder: Path
    charter: StatisticsCharter

    @property
    def settings(self) -> Path:
        return self.folder / "site.toml"

    @property
    def core(self) -> Trusted:
        return Trusted(lambda: site_settings.load(self.settings))

    @property
    def request(self) -> bytes:
        return StatisticsRequest(charter=self.charter.digest).signed(COORDINATOR)

    def spending(self) -> Spending:
        with closing(Site.open(self.settings)) as site:
            return site.ledger.spending("people")

    def edit(self, old: str, new: str) -> None:
        text = self.settings.read_text("utf-8")
        assert old in text
        self.settings.write_text(text.replace(old, new), "utf-8")


Make = Callable[..., Home]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A home: of which terms, with which records, and what else its `site.toml` says of the dataset."""

    def made(
        asked: StatisticsTerms | None = None,
        columns: dict[str, Sequence[str]] | None = None,
        approved: bool = True,
        **dataset: Any,
    ) -> Home:
        of = charter(asked or terms())
        charters.save(tmp_path / "sent", of, COORDINATOR)
        given = columns or {"age": AGES, "ward": WARDS, "owner": OWNERS, "text": AGES}
        records.write_jsonl(tmp_path / "records.jsonl", given)
        key_of("north").save(tmp_path / "site.key")
        settings = {
            "name": "north",
            "coordinators": {"university": COORDINATOR.public.text},
            "base_models": [],
            "datasets": {
                "records": {
                    "path": "records.jsonl",
                    "account": "people",
                    "epsilon": 8.0,
                    "owner": "owner",
                    "statistics": "accepted",
                    **dataset,
                }
            },
        }
        (tmp_path / "site.toml").write_text(tomli_w.dumps(settings), "utf-8")
        if approved:
            with closing(Site.open(tmp_path / "site.toml")) as site:
                consent.approve(site, tmp_path / "sent")
        return Home(tmp_path, of)

    return made


def seeded(label: str) -> Randomness:
    return Randomness.from_seed(0, label)

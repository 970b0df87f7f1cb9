"""Searches at a site: what they cost, and files that nobody may read."""

from pathlib import Path

import tomli_w
from client.home import Home

from fedward_client.searching.looking import Search
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event

TRIAL = Event("poisson-gaussian", 0.5, 2.0, 4)
"""Both rounds of the charter."""
WHOLE = Event("poisson-gaussian", 0.5, 2.0, 4, best_of=(2.0, 1.0))
EPSILON = accountant.epsilon([WHOLE], 1e-5)
RATES: dict[str, dict[str, float | bool]] = {
    "training.learning_rate": {"low": 0.1, "high": 1.0, "log": True}
}
SELECTION = {"sampler": "random", "pruner": "none", "selection": {"mean": 2.0}}
ADAPTIVE = {"sampler": "tpe", "pruner": "none", "trials": 2, "startup": 1}


def written(home: Home, asked: dict[str, object], **changed: object) -> Path:
    """SEARCH.toml in the site's folder."""
    path = home.folder / "SEARCH.toml"
    path.write_text(tomli_w.dumps({"parameters": RATES, **asked, **changed}), "utf-8")
    return path


def searched(
    home: Home,
    charter: Path,
    asked: dict[str, object],
    epsilon: float,
    out: str = "search",
    **changed: object,
) -> Search:
    """A search that has not begun, or goes on in the folder `out`."""
    terms = written(home, asked, **changed)
    return Search(home.settings, charter, terms, home.folder / out, epsilon)


def unread(home: Home) -> None:
    """From now on whoever reads the records is caught: they are not those that were registered."""
    home.data.write_bytes(b"nobody may read this")

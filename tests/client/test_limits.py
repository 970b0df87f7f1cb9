"""When a round may begin, and what the process that trains may take: the kernel is asked, not a mock."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fedward_client.ledger import Ledger, Limit
from fedward_client.limits import check_now
from fedward_client.settings import LimitSettings, SiteSettings, WindowSettings
from fedward_shared.errors import NotNow, RefusalCode
from fedward_shared.privacy.plan import Event

MONDAY = datetime(2026, 11, 23, 12).astimezone()
EVENT = Event("poisson-gaussian", 0.1, 4.0, 1)


def settings(window: dict[str, object] | None = None, **limits: float) -> SiteSettings:
    return SiteSettings(
        name="north",
        coordinators={},
        base_models=(),
        window=None if window is None else WindowSettings.model_validate(window),
        limits=LimitSettings.model_validate(limits),
        datasets={},
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Three rounds of two studies, begun at 12, 13 and 14 o'clock."""
    hours = iter(range(100))
    with closing(Ledger(tmp_path / "l", lambda: MONDAY + timedelta(hours=next(hours)))) as opened:
        for number, study in enumerate(("a", "b", "a"), 1):
            limits = [Limit(name, "site.toml", 8.0, 1e-5) for name in ("people", study)]
            opened.reserve(*limits, number, "r", EVENT)
        yield opened


def test_nothing_is_bound_where_nothing_is_said(ledger: Ledger) -> None:
    check_now(settings(), ledger, MONDAY)


def test_outside_the_window_a_round_is_put_off(ledger: Ledger) -> None:
    bound = settings({"from": "20:00", "until": "06:00", "days": ["mon", "tue"]})
    check_now(bound, ledger, MONDAY + timedelta(hours=9))
    with pytest.raises(NotNow, match=r"window: .* 20:00 until 06:00 on mon, tue; it is Mon 12:00"):
        check_now(bound, ledger, MONDAY.astimezone(UTC))
    assert NotNow.refusal is RefusalCode.LATER


def test_the_rounds_of_24_hours_are_counted_over_all_studies(ledger: Ledger) -> None:
    now = MONDAY + timedelta(hours=3)
    check_now(settings(rounds_per_day=4), ledger, now)
    with pytest.raises(NotNow, match=r"limits\.rounds_per_day is 3, and 3 have begun"):
        check_now(settings(rounds_per_day=3), ledger, now)
    check_now(settings(rounds_per_day=3), ledger, MONDAY + timedelta(hours=24))


SCRIPT = """
import resource, sys, torch
from pathlib import Path
from fedward_client.limits import GIB, apply_limits
from fedward_client.settings import load
torch.ones(8) @ torch.ones(8)
apply_limits(int((load(Path(sys.argv[1])).limits.memory_gib or 0) * GIB))
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
held = torch.ones(64 * 2**20, dtype=torch.uint8)
print("small", flush=True)
held = torch.empty(2**31, dtype=torch.uint8)
print("large", flush=True)
"""


@pytest.mark.parametrize("limit", [None, 1.0])
def test_memory_beyond_the_limit_is_not_given(limit: float | None, tmp_path: Path) -> None:
    bound = "" if limit is None else f"[limits]\nmemory_gib = {limit}\n"
    text = f'name = "north"\nbase_models = []\ncoordinators = {{}}\ndatasets = {{}}\n{bound}'
    (tmp_path / "site.toml").write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "site.toml")], capture_output=True, text=True
    )
    assert done.stdout.split() == (["small", "large"] if limit is None else ["small"])
    assert ("allocate" in done.stderr) == (limit is not None)

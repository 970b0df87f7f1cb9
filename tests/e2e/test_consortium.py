"""A consortium as its people set it up: every command is typed, and nothing is prepared for them.

fedward site run (gate) ── nginx ── SuperLink      two sites and a coordinator, on loopback
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import LABELS, texts
from e2e.federation import BUNDLE
from e2e.institutions import FINGERPRINT, KEY, Consortium, consortium_of
from e2e.processes import living_in
from patience import LONG, PATIENCE, until

from fedward_client.site import Site
from fedward_shared import records

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = [
    pytest.mark.e2e,
    LONG,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed (make system)"),
]
SITES = ("north", "south")


@pytest.fixture
def consortium(tmp_path: Path) -> Iterator[Consortium]:
    with consortium_of(tmp_path, "university", *SITES) as made:
        yield made


def bookings(settings: Path) -> int:
    """How often the site has booked: once for its statistics, then for every round that it begins."""
    with closing(Site.open(settings)) as site:
        return site.ledger.spending("records").bookings


def test_two_sites_enrol_and_train_and_one_is_let_in_no_more(
    consortium: Consortium, tiny_bert_folder: Path
) -> None:
    typed = consortium.typed
    key, fingerprint = consortium.start_coordinator()

    for number, name in enumerate(SITES):
        records.write_jsonl(consortium.root / name / "records.jsonl", texts(24, 100 * number))
        data = ("--data", "records.jsonl", "--base-model", tiny_bert_folder, "--epsilon", 20)
        own = typed(
            name, "site", "init", "--name", name, *data, "--coordinator", f"university={key}"
        )
        file = consortium.root / f"{name}.invitation"
        pinned = ("--key", KEY.findall(own)[0])
        assert fingerprint in typed(
            "university", "coordinator", "invite", name, "--out", file, *pinned
        )
        typed(name, "site", "enrol", file, "--fingerprint", fingerprint)
        consortium.start(name, "site", "run")
        assert FINGERPRINT.findall(own)[0] in typed("university", "coordinator", "sites")

    look_first(consortium)
    terms: tuple[object, ...]
    terms = ("--study", "fractures", "--base-model", tiny_bert_folder, "--labels", ",".join(LABELS))
    terms += ("--epsilon", "8", "--rounds", "2", "--participant", "north=24")
    typed("university", "study", "draft", "studies/fractures", *terms, "--participant", "south=24")
    study = consortium.root / "university" / "studies" / "fractures"
    draft = (study / "charter.toml").read_text("utf-8")
    for blank, filled in (
        ('purpose = ""', 'purpose = "Tell fractures from infarctions"'),
        ('legal_basis = ""', 'legal_basis = "Vote 2026-117"'),
        ("rank = 32", "rank = 4"),  # as small as the model
    ):
        assert blank in draft
        draft = draft.replace(blank, filled)
    (study / "charter.toml").write_text(draft, "utf-8")
    consortium.hasten(study)
    typed("university", "study", "sign", "studies/fractures")
    for name in SITES:
        got = shutil.copytree(study, consortium.root / name / "fractures")
        assert "fractures" in typed(name, "site", "review", got)
        typed(name, "site", "approve", got)

    north = consortium.root / "north" / "site.toml"
    before = bookings(north)
    launched = consortium.begin(
        "university", "study", "launch", "studies/fractures", "--bundle", BUNDLE
    )
    until(lambda: bookings(north) > before, consortium.tails)
    assert "stopped; what is done is kept" in typed(
        "university", "study", "stop", "studies/fractures"
    )
    assert launched.wait(PATIENCE) == 130
    told = typed("university", "study", "status", "studies/fractures")
    assert re.search("[01] of 2 rounds", told), told  # one may end while the command starts
    assert "stopped; `fedward study resume` goes on" in told
    said = typed("university", "study", "resume", "studies/fractures", "--bundle", BUNDLE)
    assert "round 2: north, south" in said
    assert said.rstrip().endswith("complete"), said
    listed = typed("university", "study", "list")
    assert "2 of 2 rounds" in listed
    assert "before: 2 of 2 sites have answered" in listed
    for name in SITES:
        assert "all right" in typed(name, "site", "audit", "verify")

    typed("university", "coordinator", "revoke", "north")
    until(lambda: "whether it was revoked" in consortium.log("north"), consortium.tails)
    assert "certificate revoked" in typed("north", "site", "renew", "university", code=15)
    assert "whether it was revoked" not in consortium.log("south")

    codes = consortium.stop()
    assert set(codes.values()) == {0}, (codes, consortium.tails())
    until(lambda: not list(living_in(consortium.root)))


def look_first(consortium: Consortium) -> None:
    """People ask for statistics before they train; a site answers once it accepts that."""
    typed, folder = consortium.typed, "studies/before"
    terms: tuple[str, ...]
    terms = ("--study", "before", "--column", f"label=category:{','.join(LABELS)}")
    terms += ("--column", "length=number:0:100", "--label", "label", "--epsilon", "2")
    typed(
        *("university", "study", "draft-statistics", folder, *terms),
        *("--participant", "north=24", "--participant", "south=24"),
    )
    study = consortium.root / "university" / folder
    draft = (study / "charter.toml").read_text("utf-8")
    for blank in ("purpose", "legal_basis"):
        draft = draft.replace(f'{blank} = ""', f'{blank} = "Vote 2026-116"')
    (study / "charter.toml").write_text(draft, "utf-8")
    typed("university", "study", "sign", folder)
    for name in SITES:
        got = shutil.copytree(study, consortium.root / name / "before")
        typed(name, "site", "approve", got, code=4)  # nobody has said that statistics are accepted
        settings = consortium.root / name / "site.toml"
        accepted = settings.read_text("utf-8").replace("# statistics = ", "statistics = ")
        settings.write_text(accepted, "utf-8")
        assert "No record leaves" in typed(name, "site", "review", got)
        typed(name, "site", "approve", got)
    told = typed("university", "study", "launch", folder, "--bundle", BUNDLE)
    assert all(f"{name}: answered; its ledger says ε = 1.9" in told for name in SITES), told
    assert told.rstrip().endswith("complete"), told
    found = json.loads((study / "statistics.json").read_text("utf-8"))
    for site in found["sites"]:
        assert abs(site["records"]["value"] - 24) < 40
        assert site["columns"][1]["shares"]["missing"]["value"] > 0.2  # there is no such column
    page = (study / "statistics.html").read_text("utf-8")
    assert all(name in page for name in SITES)

"""A vertical study as its people set it up: a bank, a bureau and a telecom, of which one is killed.

fedward site run (daemon, exchange) ── nginx ── relay, SuperLink      three sites and a coordinator
"""

import csv
import json
import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from client.attendance.consortium import SITES, data_of, undisturbed
from e2e.federation import BUNDLE
from e2e.institutions import KEY, Consortium, consortium_of
from e2e.processes import kill_all_in, living_in
from patience import LONG, PATIENCE, until

from fedward_client.exchange.journal import JOURNAL, Journal
from fedward_shared import records
from fedward_shared import sessions as charters
from fedward_shared.identity import SigningKey

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = [
    pytest.mark.e2e,
    LONG,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed (make system)"),
]
KILLED = "bureau"
TABLE = '[[columns]]\nkind = "number"\nname = "x"\nmost = 1\n'


@pytest.fixture
def consortium(tmp_path: Path) -> Iterator[Consortium]:
    with consortium_of(tmp_path, "university", *SITES) as made:
        yield made


def enrolled(consortium: Consortium) -> None:
    """A coordinator that runs, and three sites that it has admitted and that run."""
    typed = consortium.typed
    key, fingerprint = consortium.start_coordinator()
    for name in SITES:
        records.write_jsonl(consortium.root / name / "customers.jsonl", data_of(name))
        (consortium.root / "university" / f"{name}.toml").write_text(TABLE, "utf-8")
        data = ("--data", "customers.jsonl", "--identifier", "id", "--epsilon", 20)
        own = typed(
            name, "site", "init", "--name", name, *data, "--coordinator", f"university={key}"
        )
        file = consortium.root / f"{name}.invitation"
        typed(
            *("university", "coordinator", "invite", name),
            *("--out", file, "--key", KEY.findall(own)[0]),
        )
        typed(name, "site", "enrol", file, "--fingerprint", fingerprint)
        consortium.start(name, "site", "run")


def signed(consortium: Consortium) -> Path:
    """The study, which all have approved."""
    typed = consortium.typed
    sites = [f"--participant={name}=300" for name in SITES]
    tables = [f"--table={name}={name}.toml" for name in SITES]
    typed(
        *("university", "study", "draft-vertical", "studies/default", "--study", "default"),
        *("--active", "bank", "--label", "y", "--rule", "exact", "--every-batch", "--epsilon", 8),
        *(*sites, *tables, "--predictions", 1),
    )
    study = consortium.root / "university" / "studies" / "default"
    draft = (study / "charter.toml").read_text("utf-8")
    for blank, filled in (
        (r'purpose = ""', 'purpose = "Who pays back"'),
        (r'legal_basis = ""', 'legal_basis = "Contract"'),
        (r"\nleast = \d+", "\nleast = 100"),
    ):
        draft, found = re.subn(blank, filled, draft, count=1)
        assert found, draft
    (study / "charter.toml").write_text(draft, "utf-8")
    consortium.hasten(study)
    typed("university", "study", "sign", "studies/default")
    for name in SITES:
        (consortium.root / name / "default").mkdir()
        shutil.copy(study / "charter.json", consortium.root / name / "default")
        typed(name, "site", "approve", "default")
    assert "NOT covered by ε" in typed(KILLED, "site", "review", "default")
    return study


def journal_of(consortium: Consortium, name: str) -> Path | None:
    found = sorted((consortium.root / name / "state" / "exchange").glob("*.sqlite"))
    return found[0] if found else None


def came(consortium: Consortium, name: str) -> int:
    """How many messages have come from one of its peers; a checkpoint may have deleted them."""
    path = journal_of(consortium, name)
    if path is None:
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        try:
            query = "SELECT coalesce(max(number), 0) FROM frames WHERE direction = 'received'"
            return int(db.execute(query).fetchone()[0])
        except sqlite3.Error:
            return 0  # just being made


def secret_of(consortium: Consortium, name: str) -> bytes:
    """That of the session, of a site that has not finished it."""
    path = journal_of(consortium, name)
    assert path is not None
    key = SigningKey.load(consortium.root / name / "site.key").derive(JOURNAL)
    with closing(Journal(path.parent, path.stem, key)) as journal:
        [terms] = journal._db.execute("SELECT terms FROM beginning").fetchone()
        return journal.begin(terms)


def test_a_party_is_killed_in_the_middle_and_the_result_is_the_undisturbed_one(
    consortium: Consortium,
) -> None:
    enrolled(consortium)
    study = signed(consortium)
    charter = charters.load(study)
    launched = consortium.begin(
        "university", "study", "launch", "studies/default", "--bundle", BUNDLE
    )
    until(lambda: came(consortium, KILLED) > 20, consortium.tails)
    os.killpg(consortium.processes[KILLED].pid, signal.SIGKILL)
    kill_all_in(consortium.root / KILLED)
    assert consortium.processes.pop(KILLED).wait(PATIENCE) == -signal.SIGKILL
    reached = came(consortium, KILLED)
    secrets = {name: secret_of(consortium, name) for name in SITES}
    consortium.start(KILLED, "site", "run")
    assert launched.wait(PATIENCE) == 0, consortium.tails()

    told = (consortium.root / "university-typed.log").read_text("utf-8")
    assert all(f"{name}: done; its ledger says ε = " in told for name in SITES), told
    [session] = {p.name for p in consortium.root.glob("*/state/vertical/*/*")}
    files = {name: consortium.root / name / "customers.jsonl" for name in SITES}
    expected = undisturbed(charter, session, secrets, files)
    for name in SITES:
        [folder] = (consortium.root / name / "state" / "vertical").glob("*/*")
        assert (folder / "model.safetensors").read_bytes() == expected[name], name
        assert journal_of(consortium, name) is None
    assert "all right" in consortium.typed(KILLED, "site", "audit", "verify")
    assert reached < charter.vertical.fitting.steps(240), "it was killed after the end"
    budget = consortium.typed(KILLED, "site", "budget")
    assert re.search(r"\b1\b", budget), budget

    scores = asked_about(consortium, charter.digest, "person-00003", "nobody")
    assert 0 < float(scores["person-00003"]) < 1
    assert scores["nobody"] == ""

    shown = coordinators_log(consortium)
    print(shown)  # for whoever runs this with -s
    assert "session" in shown
    held = everything_of(consortium.root / "university")
    for name in SITES:
        data = data_of(name)
        for value in (*data["id"], *data["x"]):
            assert value.encode() not in held, f"{value} of {name} is at the coordinator"
    result = json.loads(
        next(
            (consortium.root / "bank").glob(f"state/vertical/*/{session}/result.json")
        ).read_bytes()
    )
    assert result["records"] == 300
    assert result["auc"].encode() not in held
    codes = consortium.stop()
    assert set(codes.values()) == {0}, (codes, consortium.tails())
    until(lambda: not list(living_in(consortium.root)))


def asked_about(consortium: Consortium, charter: str, *people: str) -> dict[str, str]:
    """What the model says of them."""
    bank = consortium.root / "bank"
    (bank / "new.csv").write_text("id,x\n" + "".join(f"{one},0.5\n" for one in people), "utf-8")
    files = ("--records", "new.csv", "--out", "scores.csv")
    asking = consortium.begin("bank", "vertical", "predict", charter, *files)
    until(lambda: "waiting for" in consortium.log("bank-typed"), consortium.tails)
    told = consortium.typed("university", "study", "predict", "studies/default", "--bundle", BUNDLE)
    assert ", a prediction, " in told
    assert asking.wait(PATIENCE) == 0, consortium.tails()
    with (bank / "scores.csv").open(newline="") as file:
        return {row["id"]: row["score"] for row in csv.DictReader(file)}


def coordinators_log(consortium: Consortium) -> str:
    """All that the coordinator's processes have written down."""
    root = consortium.root
    logs = [root / "university.log", *sorted((root / "university" / "logs").glob("*.log"))]
    return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')}" for path in logs)


def everything_of(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())

"""A key is replaced at any point of a crash, once; what was derived from the first one stays."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from conftest import COORDINATOR, key_of, small_charter, texts
from typer.testing import CliRunner

from fedward_client import consent, keys, rotation
from fedward_client.commands.site import site as commands
from fedward_client.ledger import Ledger
from fedward_client.rotation import rotate
from fedward_client.settings import load
from fedward_client.site import Site
from fedward_shared import audit, base_models, records, tensors
from fedward_shared import charter as charters
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import BaseModelTerms, Participant
from fedward_shared.errors import AuditError, CharterError, DataError, IdentityError
from fedward_shared.identity import SigningKey

INITIAL = {"head.weight": torch.zeros(2, 3)}


@pytest.fixture(params=[None, b"correct horse"], ids=["plain", "passphrase"])
def home(request: pytest.FixtureRequest, tmp_path: Path, tiny_bert_folder: Path) -> Path:
    """The settings of a site with a registered dataset."""
    folder = tmp_path / "site"
    content: dict[str, Any] = {
        "name": "north",
        "coordinators": {"university": COORDINATOR.public.text},
        "base_models": [str(tiny_bert_folder)],
        "minimum_cohort": 1,
        "witness": "../witness.json",
        "datasets": {
            "records": {"path": "records.jsonl", "account": "people", "epsilon": 8.0},
            "copy": {"path": "records.jsonl", "account": "others", "epsilon": 8.0},
        },
    }
    key_of("north").save(folder / "site.key", request.param)
    if request.param:
        content["key_passphrase"] = "phrase"
        (folder / "phrase").touch(0o600)
        (folder / "phrase").write_bytes(request.param + b"\n")
    records.write_jsonl(folder / "records.jsonl", texts(10))
    (folder / "site.toml").write_text(tomli_w.dumps(content), "utf-8")
    with closing(Site.open(folder / "site.toml")) as site:
        site.register("records")
    return folder / "site.toml"


def log_of(home: Path) -> Path:
    return home.parent / "state" / "audit.jsonl"


def approve(home: Path, folder: Path, tiny_bert_folder: Path, key: str) -> Charter:
    """Has a charter approved that names the site by `key`."""
    terms = small_charter(
        tensors.digest(INITIAL),
        base_model=BaseModelTerms(digest=base_models.digest(tiny_bert_folder)),
        participants=(Participant(name="north", records=10, key=key),),
    )
    charters.save(folder, terms, INITIAL, COORDINATOR)
    with closing(Site.open(home)) as site:
        return consent.approve(site, folder)[0]


def test_what_was_derived_and_what_was_logged_stays(home: Path) -> None:
    with closing(Site.open(home)) as site:
        shown = site.shown_head
    before = keys.load(load(home)).public
    for _ in range(2):
        old, new = rotate(home)
        assert keys.load(load(home)).public == new != old == before
        before = new
        with closing(Site.open(home)) as site:
            site.check_shown(shown)
            assert not site.register("records")[1]
            with pytest.raises(DataError, match="it shares 10 with the account people"):
                site.register("copy")
    for key in (key_of("north").public, old, new):
        events = [entry.event for entry in audit.read(log_of(home), key)]
        assert events == ["witnessed", "registered", "key changed", "key changed"]
    assert not list(home.parent.glob("*.new"))
    assert (home.parent / "site.key").stat().st_mode & 0o777 == 0o600
    assert (home.parent / "site.secret").stat().st_mode & 0o777 == 0o600


def test_a_charter_of_the_old_key_is_run_no_more(
    home: Path, tmp_path: Path, tiny_bert_folder: Path
) -> None:
    first = approve(home, tmp_path / "first", tiny_bert_folder, key_of("north").public.text)
    _, new = rotate(home)
    with closing(Site.open(home)) as site:
        assert site.ledger.spending("people").set_aside == 0
        with pytest.raises(CharterError, match=r"which is not its key any more; .* to be approved"):
            site.charters.load(first.digest)
        with pytest.raises(CharterError, match="participants: north has the key"):
            consent.approve(site, tmp_path / "first")
    again = approve(home, tmp_path / "second", tiny_bert_folder, new.text)
    with closing(Site.open(home)) as site:
        assert site.charters.load(again.digest)[0] == again


class PowerCut(BaseException):
    """Nothing catches it."""


def cut_before(function: Callable[..., Any], nth: int = 1) -> Callable[..., Any]:
    calls = iter(range(1, 100))

    def run(*arguments: Any, **options: Any) -> Any:
        if next(calls) == nth:
            raise PowerCut
        return function(*arguments, **options)

    return run


@pytest.mark.parametrize("step", ["secrets", "log", "witness", "ledger", "rename"])
def test_a_rotation_that_was_cut_off_is_ended_with_the_same_key(
    step: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place: dict[str, tuple[object, str]] = {
        "secrets": (keys.Secrets, "keep"),
        "log": (audit.AuditLog, "append"),
        "witness": (rotation.Site, "log"),
        "ledger": (Ledger, "release_all"),
        "rename": (Path, "replace"),
    }
    owner, name = place[step]
    real = getattr(owner, name)
    if step == "witness":

        def logged(site: Site, event: str, **details: object) -> None:
            site.audit.append(event, details, site.clock())
            raise PowerCut

        monkeypatch.setattr(owner, name, logged)
    elif step == "rename":

        def replaced(path: Path, target: Path) -> Path:
            if path.name == "site.key.new":
                raise PowerCut
            return Path(real(path, target))

        monkeypatch.setattr(owner, name, replaced)
    else:
        monkeypatch.setattr(owner, name, cut_before(real))
    with pytest.raises(PowerCut):
        rotate(home)
    monkeypatch.undo()
    settings = load(home)
    made = SigningKey.load(home.parent / "site.key.new", keys.passphrase(settings.key_passphrase))
    if step in ("secrets", "log"):  # nothing has happened yet
        with closing(Site.open(home)) as site:
            assert site.key.public == key_of("north").public
    else:
        with pytest.raises(AuditError, match="rotate-key` ends a change that was cut off"):
            Site.open(home)
    old, new = rotate(home)
    assert (old, new) == (key_of("north").public, made.public)
    with closing(Site.open(home)) as site:
        assert not site.register("records")[1]
    events = [entry.event for entry in audit.read(log_of(home), new)]
    assert events == ["witnessed", "registered", "key changed"]


@pytest.mark.parametrize("damage", ["gone", "others", "open", "long"])
def test_kept_secrets_that_are_not_what_was_kept(damage: str, home: Path) -> None:
    rotate(home)
    path = home.parent / "site.secret"
    said = {
        "gone": "no such file; restore",
        "others": "not the secrets that were kept",
        "open": "others may read this file",
        "long": "longer than 4096 bytes",
    }[damage]
    if damage == "gone":
        path.unlink()
    elif damage == "open":
        path.chmod(0o640)
    else:
        path.write_bytes(path.read_bytes().replace(b":", b": ") * (1 if damage == "others" else 99))
    with pytest.raises(IdentityError, match=said):
        Site.open(home)


def test_from_the_command_line_an_auditor_with_the_first_key_is_satisfied(home: Path) -> None:
    run = CliRunner().invoke(commands, ["rotate-key", "--site", str(home)])
    assert run.exit_code == 0
    new = keys.load(load(home)).public
    for text in (key_of("north").public.text, new.text, new.fingerprint, "site.secret"):
        assert text in run.output
    arguments = ["audit", "verify", str(log_of(home)), "--key", key_of("north").public.text]
    verified = CliRunner().invoke(commands, arguments)
    assert "3 entries, all right" in verified.output
    own = CliRunner().invoke(commands, ["audit", "verify", "--site", str(home)])
    assert "3 entries, all right" in own.output

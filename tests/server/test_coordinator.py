"""A coordinator's home: made once, refused where it is wrong, and used by the commands of a study."""

from datetime import timedelta
from pathlib import Path

import pytest
from conftest import LABELS, key_of
from typer.testing import CliRunner

from fedward_server import coordinator
from fedward_server.cli import coordinator as command
from fedward_server.cli import study
from fedward_server.coordinator import Home
from fedward_shared.enrolment import Invitation
from fedward_shared.errors import EnrolmentError, FedwardError, IdentityError, UsageError

ADDRESS = "fl.university.example:8443"


def run(app: object, *arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])  # type: ignore[arg-type]
    if isinstance(result.exception, FedwardError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return coordinator.create(tmp_path / "home", "university", ADDRESS, 9091, None)


def test_a_home_is_read_as_it_was_made(home: Home) -> None:
    assert (home.name, home.settings.address) == ("university", ADDRESS)
    assert home.superlink_address == "127.0.0.1:9091"
    assert home.folder.stat().st_mode & 0o777 == 0o700
    assert home.open_authority().revoked == {}
    for name in ("coordinator.key", "superexec.secret"):
        assert (home.folder / name).stat().st_mode & 0o777 == 0o600


def test_a_home_is_never_made_over_another(home: Home) -> None:
    before = {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="is there already; nothing was changed"):
        coordinator.create(home.folder, "other", ADDRESS, 9091, None)
    (home.folder / "coordinator.toml").unlink()
    with pytest.raises(UsageError, match=r"coordinator\.key: is there already"):
        coordinator.create(home.folder, "other", ADDRESS, 9091, None)
    for path, data in before.items():
        assert path.name == "coordinator.toml" or path.read_bytes() == data


@pytest.mark.parametrize(
    ("name", "address", "port", "words"),
    [
        ("University", ADDRESS, 9091, "name: "),
        ("university", "fl.university.example", 9091, "address: "),
        ("university", ADDRESS, 0, "superlink_port: "),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    tmp_path: Path, name: str, address: str, port: int, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        coordinator.create(tmp_path / "home", name, address, port, None)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "not a TOML file"),
        ('name = "university"', "address: Field required"),
        ('name = "u"\naddress = "a:1"\nsuperlink_port = 1\nlisten = "8443; }"', "listen: "),
        ('name = "u"\naddress = "a:1"\nsuperlink_port = 1\nport = 2', "port: "),
    ],
)
def test_settings_that_are_wrong_are_named(home: Home, text: str, words: str) -> None:
    (home.folder / "coordinator.toml").write_text(text)
    with pytest.raises(UsageError, match=rf"coordinator\.toml: {words}"):
        Home(home.folder)


def test_a_folder_that_is_no_home_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fedward coordinator init"):
        Home(tmp_path)


@pytest.mark.parametrize("name", ["a b", "a;b", "é" * 60, "x" * 90])
def test_a_path_that_the_proxy_could_misread_is_refused(tmp_path: Path, name: str) -> None:
    made = coordinator.create(tmp_path / name, "university", ADDRESS, 9091, None)
    with pytest.raises(UsageError, match="a home's path"):
        _ = made.socket


def test_a_passphrase_comes_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_text("correct horse\n")
    made = coordinator.create(tmp_path / "home", "university", ADDRESS, 9091, path)
    assert made.open_authority().revoked == {}
    path.write_text("another\n")
    with pytest.raises(IdentityError, match="another passphrase"):
        made.open_authority()
    path.write_text("\n")
    with pytest.raises(IdentityError, match="is empty"):
        made.open_authority()
    with pytest.raises(IdentityError, match="cannot be read"):
        coordinator.create(tmp_path / "b", "university", ADDRESS, 9091, tmp_path / "none")
    assert not (tmp_path / "b").exists()


def test_invitations_are_typed_listed_and_kept_as_digests(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "north.invitation"
    said = run(command, "invite", "north", "--out", out, "--home", home.folder)
    assert home.key().public.fingerprint in said
    invitation = Invitation.read(out.read_bytes(), "test")
    assert (invitation.site, invitation.address) == ("north", ADDRESS)
    assert out.stat().st_mode & 0o777 == 0o600
    assert invitation.token not in home.admissions.read_text()
    assert "north: invited, until " in run(command, "sites", "--home", home.folder)
    with pytest.raises(UsageError, match="is there already"):
        run(command, "invite", "north", "--out", out, "--home", home.folder)
    with pytest.raises(UsageError, match=r"North: "):
        run(command, "invite", "North", "--out", tmp_path / "x", "--home", home.folder)
    with pytest.raises(IdentityError, match="no public key"):
        run(command, "invite", "n", "--out", tmp_path / "x", "--key", "k", "--home", home.folder)
    with pytest.raises(EnrolmentError, match="no such site is admitted"):
        run(command, "revoke", "north", "--home", home.folder)


def test_a_draft_takes_name_and_keys_from_the_home(
    home: Home, tmp_path: Path, tiny_bert_folder: Path
) -> None:
    from server.test_registrar import enrolled  # the same enrolment as there

    enrolled(home, "north")
    given = ["--study", "fractures", "--base-model", tiny_bert_folder, "--labels", ",".join(LABELS)]
    given += ["--home", home.folder, "--participant"]
    with pytest.raises(UsageError, match="south: no such site is admitted"):
        run(study, "draft", tmp_path / "study", *given, "south=100")
    run(study, "draft", tmp_path / "study", *given, "north=100")
    text = (tmp_path / "study" / "charter.toml").read_text()
    assert key_of("north").public.text in text
    assert home.key().public.text in text
    assert 'name = "university"' in text


def test_superlink_and_certificate_go_together(home: Home, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="go together"):
        run(study, "stop", tmp_path, "--home", home.folder, "--superlink", "127.0.0.1:1")
    with pytest.raises(UsageError, match=r"coordinator\.toml: no such file"):
        run(study, "stop", tmp_path, "--home", tmp_path / "nowhere")


def test_the_studies_of_a_home_are_listed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDWARD_STUDIES", "/nowhere")
    (home.studies / "x").mkdir(parents=True)
    said = run(study, "list", "--home", home.folder)
    assert str(home.studies / "x") in said


def test_a_week_is_what_an_invitation_is_good_for(home: Home) -> None:
    from fedward_server.registrar import Registrar, now

    registrar = Registrar(home)
    made = registrar.invite("north", "", timedelta(days=7))
    assert timedelta(days=6, hours=23) < made.expires - now() <= timedelta(days=7)
    registrar.close()

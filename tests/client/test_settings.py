"""`site.toml`: each wrong value is refused in one line that names the file and the field."""

import time as clock
from collections.abc import Iterator
from datetime import UTC, datetime, time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from fedward_client import keys, settings
from fedward_client.commands.settings import base_models as shown_base_models
from fedward_client.commands.settings import init
from fedward_client.settings import (
    AlignmentSettings,
    DatasetSettings,
    LimitSettings,
    SiteSettings,
    WindowSettings,
)
from fedward_shared import base_models
from fedward_shared.errors import UsageError
from fedward_shared.identity import SigningKey

COORDINATOR = "ed25519:" + "0" * 64


def good() -> dict[str, Any]:
    return {
        "name": "north",
        "coordinators": {"university": COORDINATOR},
        "base_models": ["models/minilm"],
        "datasets": {
            "records": {"path": "records.jsonl", "columns": {}, "account": "people", "epsilon": 1.0}
        },
    }


def write(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "site.toml"
    path.write_text(tomli_w.dumps(content), "utf-8")
    return path


def changed(field: str, value: object) -> dict[str, Any]:
    """The good settings in which `field`, a dotted path, is `value`; None takes it out."""
    content = good()
    *sections, last = field.split(".")
    section = content
    for name in sections:
        section = section[name]
    if value is None:
        del section[last]
    else:
        section[last] = value
    return content


WRONG: list[tuple[str, object]] = [
    ("name", None),
    ("name", 7),
    ("name", ""),
    ("name", "North Hospital"),
    ("name", "../north"),
    ("key", 7),
    ("coordinators", None),
    ("coordinators", ["university"]),
    ("coordinators.university", "ed25519:0"),
    ("coordinators.university", 7),
    ("state", 7),
    ("cache", 7),
    ("runtime", 7),
    ("worker_user", "root; rm"),
    ("metrics_port", 65536),
    ("syslog", 7),
    ("witness", 7),
    ("approval", ["anna"]),
    ("approval", {"people": {"anna": "ed25519:0"}}),
    ("approval", {"people": {"anna": COORDINATOR}, "required": 2}),
    ("approval", {"people": {"anna": COORDINATOR, "ben": COORDINATOR}}),
    ("approval", {"required": 0}),
    ("datasets.records.uses", "research"),
    ("datasets.records.uses", ["Any use"]),
    ("key_passphrase", 7),
    ("revoked", COORDINATOR),
    ("revoked", ["ed25519:0"]),
    ("peers", ["south"]),
    ("peers", {"south": "ed25519:0"}),
    ("peers", {"South": COORDINATOR}),
    ("collusion", -1),
    ("collusion", "two"),
    ("collusion", 1),
    ("secure_aggregation", True),
    ("secure_aggregation", "perhaps"),
    ("distributed_noise", "perhaps"),
    ("window", "at night"),
    ("window", {}),
    ("window", {"from": "20:00"}),
    ("window", {"from": "20:00", "until": "20:00"}),
    ("window", {"from": "8:00", "until": "20:00"}),
    ("window", {"from": "24:00", "until": "06:00"}),
    ("window", {"from": time(20), "until": "06:00"}),
    ("window", {"from": "20:00", "until": "06:00", "days": []}),
    ("window", {"from": "20:00", "until": "06:00", "days": ["monday"]}),
    ("window", {"from": "20:00", "until": "06:00", "days": "mon"}),
    ("window", {"begin": "20:00", "end": "06:00"}),
    ("limits", 4),
    ("limits", {"memory_gib": 0}),
    ("limits", {"memory_gib": float("inf")}),
    ("limits", {"memory_gib": "much"}),
    ("limits", {"rounds_per_day": 0}),
    ("limits", {"rounds_per_day": 1.5}),
    ("limits", {"cpu": 1}),
    ("datasets.records.owner", ""),
    ("datasets.records.owner", 7),
    ("datasets.records.objections", 7),
    ("datasets.records.objections", "objections.txt"),
    ("datasets.records.alignment", {"identifier": ["id"]}),
    ("datasets.records.alignment", {"identifier": [], "most": 1000}),
    ("datasets.records.alignment", {"identifier": "id", "most": 1000}),
    ("datasets.records.alignment", {"identifier": ["id"], "most": 0}),
    ("datasets.records.alignment", {"identifier": ["id"], "most": 1000, "step": 0}),
    ("datasets.records.statistics", "perhaps"),
    ("datasets.records.statistics", True),
    ("datasets.records.coordinators", "university"),
    ("datasets.records.coordinators", ["The University"]),
    ("base_models", None),
    ("base_models", "models/minilm"),
    ("base_models", [7]),
    ("threads", 0),
    ("threads", 1025),
    ("threads", 1.5),
    ("threads", "two"),
    ("minimum_cohort", 0),
    ("minimum_cohort", "two"),
    ("without_dp", True),
    ("keep_prepared", "perhaps"),
    ("keep_prepared", 2),
    ("datasets", None),
    ("datasets", []),
    ("datasets.records", "records.jsonl"),
    ("datasets.Ward 7", {"path": "r.jsonl", "account": "people", "epsilon": 1.0}),
    ("datasets.records.path", None),
    ("datasets.records.path", 7),
    ("datasets.records.columns", "text"),
    ("datasets.records.columns.text", 7),
    ("datasets.records.duplicates", {"step": 10}),
    ("datasets.records.duplicates", {"most": 0}),
    ("datasets.records.duplicates", {"most": 1000, "step": 0}),
    ("datasets.records.duplicates", {"most": 1000, "sessions": 0}),
    ("datasets.records.duplicates", {"most": 1000, "identifier": ["id"]}),
    ("datasets.records.account", None),
    ("datasets.records.account", "All People"),
    ("datasets.records.epsilon", None),
    ("datasets.records.epsilon", 0.0),
    ("datasets.records.epsilon", -1.0),
    ("datasets.records.epsilon", float("inf")),
    ("datasets.records.epsilon", float("nan")),
    ("datasets.records.epsilon", "much"),
    ("datasets.records.delta", 0.0),
    ("datasets.records.delta", 1.0),
    ("datasets.records.delta", float("nan")),
    ("datasets.records.delta", "little"),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda part: str(part))
def test_a_wrong_value_names_file_and_field(tmp_path: Path, field: str, value: object) -> None:
    path = write(tmp_path, changed(field, value))
    with pytest.raises(UsageError) as caught:
        settings.load(path)
    assert str(caught.value).startswith(f"{path}: {field}")
    assert caught.value.exit_code == 2


def test_every_field_has_a_wrong_value_above() -> None:
    tried = {field for field, _ in WRONG}
    assert tried >= set(SiteSettings.model_fields)
    assert tried >= {f"datasets.records.{name}" for name in DatasetSettings.model_fields}
    for section, model in (("window", WindowSettings), ("limits", LimitSettings)):
        wrong = {key for field, value in WRONG if field == section for key in dict_of(value)}
        assert wrong >= {field.alias or name for name, field in model.model_fields.items()}


def dict_of(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


@pytest.mark.parametrize(("field", "value"), [("epsilon", 2.0), ("delta", 1e-6)])
def test_one_account_has_one_budget(tmp_path: Path, field: str, value: float) -> None:
    content = good()
    first = content["datasets"]["records"]
    content["datasets"]["archive"] = {**first, "path": "archive.jsonl"}
    assert settings.load(write(tmp_path, content))
    content["datasets"]["archive"][field] = value
    with pytest.raises(UsageError, match=r"datasets: .*records and archive share .* people"):
        settings.load(write(tmp_path, content))
    content["datasets"]["archive"]["account"] = "others"
    assert settings.load(write(tmp_path, content))


@pytest.mark.parametrize("field", ["seed", "thread", "datasets.records.epsilom"])
def test_an_unknown_key_is_no_silent_no(tmp_path: Path, field: str) -> None:
    path = write(tmp_path, changed(field, 1))
    with pytest.raises(UsageError, match=f"{field}: Extra"):
        settings.load(path)


def test_a_coordinator_of_a_dataset_is_one_of_the_sites(tmp_path: Path) -> None:
    for allowed in ([], ["university"]):
        found = settings.load(write(tmp_path, changed("datasets.records.coordinators", allowed)))
        assert found.datasets["records"].coordinators == tuple(allowed)
    path = write(tmp_path, changed("datasets.records.coordinators", ["university", "univercity"]))
    with pytest.raises(
        UsageError, match=r"records\.coordinators: \[coordinators\] has no univercity"
    ):
        settings.load(path)


def test_a_bound_on_peers_names_them(tmp_path: Path) -> None:
    known = {**good(), "collusion": 2, "peers": {"south": COORDINATOR}}
    assert settings.load(write(tmp_path, known)).collusion == 2
    nobody = {**good(), "collusion": 2, "peers": {}}
    assert settings.load(write(tmp_path, nobody)).peers == {}
    with pytest.raises(UsageError, match=r"collusion: .* name them in \[peers\]"):
        settings.load(write(tmp_path, {**good(), "collusion": 2}))


def window(*days: str, **hours: str) -> WindowSettings:
    content = {"from": hours["begin"], "until": hours["end"], **({"days": days} if days else {})}
    return WindowSettings.model_validate(content)


@pytest.fixture(params=["UTC", "Europe/Berlin", "America/Los_Angeles"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZoneInfo]:
    """The machine's time zone."""
    monkeypatch.setenv("TZ", request.param)
    clock.tzset()
    yield ZoneInfo(request.param)
    monkeypatch.undo()
    clock.tzset()


@pytest.mark.parametrize(
    ("moment", "by_day", "at_night", "on_week_nights"),
    [
        ("2026-11-23T07:59", False, False, False),  # a Monday
        ("2026-11-23T08:00", True, False, False),
        ("2026-11-23T19:59", True, False, False),
        ("2026-11-23T20:00", False, True, True),
        ("2026-11-24T05:59", False, True, True),
        ("2026-11-24T06:00", False, False, False),
        ("2026-11-27T23:00", False, True, True),
        ("2026-11-28T03:00", False, True, True),  # of Friday's night
        ("2026-11-28T23:00", False, True, False),
        ("2026-11-23T03:00", False, True, False),  # of Sunday's night
    ],
)
def test_a_window_is_local_time_and_a_night_belongs_to_its_evening(
    moment: str, by_day: bool, at_night: bool, on_week_nights: bool, zone: ZoneInfo
) -> None:
    local = datetime.fromisoformat(moment).replace(tzinfo=zone)
    week = ("mon", "tue", "wed", "thu", "fri")
    for then in (local, local.astimezone(UTC)):
        assert window(begin="08:00", end="20:00").contains(then) == by_day
        assert window(begin="20:00", end="06:00").contains(then) == at_night
        assert window(*week, begin="20:00", end="06:00").contains(then) == on_week_nights


@given(st.datetimes(timezones=st.just(UTC)), st.integers(0, 1439), st.integers(1, 1439))
def test_a_moment_is_within_a_window_or_within_the_rest_of_the_day(
    moment: datetime, begin: int, length: int
) -> None:
    hours = [f"{m // 60:02d}:{m % 60:02d}" for m in (begin, (begin + length) % 1440)]
    one, rest = (window(begin=a, end=b) for a, b in (hours, hours[::-1]))
    assert one.contains(moment) != rest.contains(moment)


def test_all_wrong_fields_are_named_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, {**good(), "threads": 0, "minimum_cohort": 0})
    with pytest.raises(UsageError, match=r"minimum_cohort: .*; threads: "):
        settings.load(path)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\xff\xfename = 'north'", "not a TOML file"),
        (b"name = 'n\xc3", "not a TOML file"),
        (b"name: north", "not a TOML file"),
        (b"name = 'a'\nname = 'b'", "not a TOML file"),
        (b"", "name: Field required"),
    ],
)
def test_a_file_that_is_no_settings_is_named(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=named) as caught:
        settings.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"site\.toml: no such file"):
        settings.load(tmp_path / "site.toml")
    with pytest.raises(UsageError, match="cannot be read") as caught:
        settings.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_relative_paths_are_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    content = good()
    content["base_models"] = ["models/minilm", str(tmp_path / "absolute")]
    content["key_passphrase"] = "phrase"
    content["datasets"]["records"] |= {"owner": "patient", "objections": "objections.txt"}
    write(home, content)
    monkeypatch.chdir(elsewhere)
    found = settings.load(Path("../home/site.toml"))
    assert found.state == home / "state"
    assert found.base_models == (home / "models/minilm", tmp_path / "absolute")
    assert found.datasets["records"].path == home / "records.jsonl"
    assert found.datasets["records"].objections == home / "objections.txt"
    assert found.key_passphrase == home / "phrase"


def test_what_is_left_out_is_the_careful_choice(tmp_path: Path) -> None:
    found = settings.load(write(tmp_path, good()))
    assert found.without_dp == ""
    assert found.minimum_cohort == 2
    assert found.datasets["records"].delta == 1e-5
    assert found.datasets["records"].columns == {}
    assert found.peers is None
    assert found.limits == LimitSettings()


@given(st.text(max_size=60))
def test_any_text_is_settings_or_a_refusal(text: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "site.toml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(UsageError, match=r"site\.toml"):
            settings.load(path)


def begin(folder: Path, name: str = "north", data: str = "d.csv", epsilon: float = 2.5) -> Path:
    """`fedward site init`."""
    known = [f"university={COORDINATOR}"]
    place = folder / "site.toml"
    init(name, folder / data, "records", epsilon, [folder / "model"], None, known, None, place)
    return folder / "site.toml"


def test_init_below_a_file_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/site\.toml: cannot be written"):
        begin(tmp_path / "file")


@pytest.mark.parametrize("data", ["d.csv", 'a "quoted" name.csv', "back\\slash.csv", "ünï.csv"])
def test_what_init_writes_is_settings(tmp_path: Path, data: str) -> None:
    found = settings.load(begin(tmp_path, data=data))
    assert found.name == "north"
    assert found.base_models == (tmp_path / "model",)
    assert found.datasets["records"].path == tmp_path / data
    assert found.datasets["records"].epsilon == 2.5
    assert found.coordinators == {"university": COORDINATOR}
    assert SigningKey.load(found.key).public.text.startswith("ed25519:")


def test_init_for_vertical_studies_names_who_a_record_is_of(tmp_path: Path) -> None:
    place = tmp_path / "site.toml"
    known = [f"university={COORDINATOR}"]
    init("bank", tmp_path / "d.csv", "records", 1.0, None, ["id", "born"], known, None, place)
    alignment = settings.load(place).datasets["records"].alignment
    assert alignment == AlignmentSettings(identifier=("id", "born"), most=1_000_000)
    assert settings.load(place).base_models == ()


def test_init_puts_the_key_under_a_passphrase(tmp_path: Path) -> None:
    phrase = tmp_path / "phrase"
    phrase.touch(0o600)
    phrase.write_text("correct horse\n")
    known = [f"university={COORDINATOR}"]
    place = tmp_path / "site.toml"
    init("north", tmp_path / "d.csv", "records", 1.0, [tmp_path / "m"], None, known, phrase, place)
    found = settings.load(place)
    assert found.key_passphrase == phrase
    assert b"ENCRYPTED" in found.key.read_bytes()
    assert keys.load(found).public.text.startswith("ed25519:")


def test_init_leaves_a_key_that_is_there(tmp_path: Path) -> None:
    SigningKey.generate().save(tmp_path / "site.key")
    before = (tmp_path / "site.key").read_bytes()
    with pytest.raises(UsageError, match=r"site\.key: is there already"):
        begin(tmp_path)
    assert (tmp_path / "site.key").read_bytes() == before
    assert not (tmp_path / "site.toml").exists()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": 'north" # x'}, "name"),
        ({"name": "North"}, "name"),
        ({"epsilon": 0.0}, "datasets.records.epsilon"),
        ({"epsilon": float("inf")}, "datasets.records.epsilon"),
    ],
)
def test_init_with_a_wrong_value_writes_nothing(
    tmp_path: Path, wrong: dict[str, Any], field: str
) -> None:
    with pytest.raises(UsageError) as caught:
        begin(tmp_path, **wrong)
    assert str(caught.value).startswith(f"{tmp_path / 'site.toml'}: {field}: ")
    assert list(tmp_path.iterdir()) == []


def test_base_models_are_shown_by_the_digests_that_charters_name(
    tmp_path: Path, tiny_bert_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site.toml"
    init("north", tmp_path / "north.jsonl", base_model=[tiny_bert_folder], site=site)
    capsys.readouterr()
    shown_base_models(site)
    digest = base_models.digest(tiny_bert_folder)
    assert capsys.readouterr().out == f"{digest}  {tiny_bert_folder.resolve()}\n"

"""`site.toml`: each wrong value is refused in one line that names the file and the field."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from fedward_client import settings
from fedward_client.commands.settings import init
from fedward_client.settings import DatasetSettings, SiteSettings
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


def test_all_wrong_fields_are_named_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, {**good(), "threads": 0, "minimum_cohort": 0})
    with pytest.raises(UsageError, match=r"threads: .*; minimum_cohort: "):
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
    write(home, content)
    monkeypatch.chdir(elsewhere)
    found = settings.load(Path("../home/site.toml"))
    assert found.state == home / "state"
    assert found.base_models == (home / "models/minilm", tmp_path / "absolute")
    assert found.datasets["records"].path == home / "records.jsonl"


def test_what_is_left_out_is_the_careful_choice(tmp_path: Path) -> None:
    found = settings.load(write(tmp_path, good()))
    assert found.without_dp == ""
    assert found.minimum_cohort == 2
    assert found.datasets["records"].delta == 1e-5
    assert found.datasets["records"].columns == {}


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
    init(name, folder / "model", folder / data, "records", epsilon, known, folder / "site.toml")
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

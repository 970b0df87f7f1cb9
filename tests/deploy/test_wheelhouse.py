"""What a machine without internet installs: made, checked and installed for real."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from client.preparation import made
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from patience import LONG, PATIENCE

ROOT = Path(__file__).parents[2]
RULES = ("--low-quality", "unscored", "--names", "rules")  # no model came along


@pytest.fixture(scope="module")
def wheelhouse() -> ModuleType:
    """`deploy/wheelhouse.py`, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("wheelhouse", ROOT / "deploy" / "wheelhouse.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["wheelhouse"] = module
    spec.loader.exec_module(module)
    return module


def wheel(folder: Path, name: str, *lines: str) -> Path:
    path = folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
    told = "\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *lines, "", ""])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name.replace('-', '_')}-1.0.dist-info/METADATA", told)
    return path


def test_the_bill_names_each_wheel_its_licence_and_what_it_needs(
    wheelhouse: ModuleType, tmp_path: Path
) -> None:
    needs = ["Requires-Dist: Two>=1", "Requires-Dist: absent ; extra == 'x'"]
    long = [
        "License: Copyright somebody",
        "        and all the rest",
        "Classifier: License :: OSI Approved :: MIT License",
    ]
    paths = [
        wheel(tmp_path, "one", "License-Expression: Apache-2.0", *needs),
        wheel(tmp_path, "two", *long),
        wheel(tmp_path, "three"),
    ]
    wheels = [wheelhouse.Wheel.read(path) for path in paths]
    text = wheelhouse.bill(wheels)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    parts = {part["name"]: part for part in bill["components"]}
    assert parts["one"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert parts["two"]["licenses"] == [{"license": {"name": "MIT License"}}]
    assert parts["three"]["licenses"] == [{"license": {"name": "not stated"}}]
    digest = hashlib.sha256(paths[0].read_bytes()).hexdigest()
    assert parts["one"]["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert wheels[0].requirement == f"one==1.0 --hash=sha256:{digest}"
    [first] = [d for d in bill["dependencies"] if d["ref"] == "pkg:pypi/one@1.0"]
    assert first["dependsOn"] == ["pkg:pypi/two@1.0"]


def test_what_extras_need_is_in_the_bill_where_they_were_asked_for(
    wheelhouse: ModuleType, tmp_path: Path
) -> None:
    own = wheel(
        tmp_path,
        "own",
        *(
            "Provides-Extra: data",
            "Requires-Dist: two[fast] ; extra == 'data'",
            "Requires-Dist: one",
        ),
    )
    paths = [
        own,
        wheel(tmp_path, "one"),
        wheel(tmp_path, "two", "Provides-Extra: fast", "Requires-Dist: three ; extra == 'fast'"),
        wheel(tmp_path, "three"),
    ]
    wheels = [wheelhouse.Wheel.read(path) for path in paths]
    told = [wheelhouse.bill(wheels), wheelhouse.bill(wheels, {"own": frozenset({"data"})})]
    needs = [
        {one["ref"]: one.get("dependsOn", []) for one in json.loads(text)["dependencies"]}
        for text in told
    ]
    assert needs[0]["pkg:pypi/own@1.0"] == ["pkg:pypi/one@1.0"]
    assert needs[0]["pkg:pypi/two@1.0"] == []
    assert needs[1]["pkg:pypi/own@1.0"] == ["pkg:pypi/one@1.0", "pkg:pypi/two@1.0"]
    assert needs[1]["pkg:pypi/two@1.0"] == ["pkg:pypi/three@1.0"]
    assert wheelhouse._with_extras(wheels[0], ("data",)) == f"{own}[data]"
    with pytest.raises(SystemExit, match=r"own has no extra dat$"):
        wheelhouse._with_extras(wheels[0], ("dat",))


def test_the_site_has_what_reads_a_ward_and_compares_its_texts(wheelhouse: ModuleType) -> None:
    told = tomllib.loads((ROOT / "client/pyproject.toml").read_text())["project"]
    assert "fedward-shared[text]==0.1.0" in told["optional-dependencies"]["data"]
    assert re.search(
        r"wheelhouse\.py \S+ site data search$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )


@pytest.mark.slow
@LONG
def test_a_site_is_installed_from_it_alone(wheelhouse: ModuleType, tmp_path: Path) -> None:
    house = tmp_path / "site"
    wheelhouse.main(house, "site", "data", "search")
    assert (
        subprocess.run(
            ["sha256sum", "--check", "--quiet", "SHA256SUMS"],
            cwd=house,
            check=False,
            timeout=PATIENCE,
        ).returncode
        == 0
    )
    text = (house / "sbom.cdx.json").read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    wheels = {path.name for path in house.glob("*.whl")}
    named = {p["value"] for c in json.loads(text)["components"] for p in c["properties"]}
    assert named == wheels
    assert not any(name.startswith(("fedward_server", "fedward_simulations")) for name in wheels)

    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=PATIENCE)
    alone = ["unshare", "--net"] if shutil.which("unshare") and os.getuid() == 0 else []
    install = ["-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(house)]
    install += ["--require-hashes", "--requirement", str(house / "requirements.txt")]
    python = tmp_path / "venv/bin/python"
    subprocess.run(
        [*alone, python, *install], check=True, timeout=PATIENCE, env={"PATH": "/usr/bin"}
    )
    told = subprocess.run(
        [tmp_path / "venv/bin/fedward", "site", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
        env={"PATH": "/usr/bin"},
    )
    assert "Runs this site's daemon" in told.stdout

    ward = tmp_path / "ward"
    ward.mkdir()
    (ward / "ct.dcm").write_bytes(made.dicom())
    (ward / "letter.pdf").write_bytes(made.pdf(made.NOTE))
    fedward = [str(tmp_path / "venv/bin/fedward"), "site"]
    for words in (
        ["init", "--name", "north", "--data", "dataset/labelled.jsonl", "--epsilon", "8"],
        ["data", "prepare", "ward", "--out", "dataset", *RULES],
    ):
        told = subprocess.run(
            [*fedward, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={"PATH": "/usr/bin"},
        )
        assert told.returncode == 0, told.stderr
    assert "files: 2 found = 2 read + 0 quarantined" in told.stdout

    [damaged] = house.glob("rfc8785-*.whl")
    damaged.write_bytes(damaged.read_bytes() + b" ")
    refused = subprocess.run(
        [python, *install, "--force-reinstall", "--no-deps"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr

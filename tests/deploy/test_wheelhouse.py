"""What a machine without internet installs: made, checked and installed for real."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from patience import LONG, PATIENCE

ROOT = Path(__file__).parents[2]


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


@pytest.mark.slow
@LONG
def test_a_site_is_installed_from_it_alone(wheelhouse: ModuleType, tmp_path: Path) -> None:
    house = tmp_path / "site"
    wheelhouse.main(house, "site")
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

"""What can be said about the SuperLink's client without a SuperLink; the rest is in tests/e2e."""

from __future__ import annotations

import shutil
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from fedward_server.superlink import BundleError, SuperLink, UnreachableError, build_bundle

BUNDLE = Path(__file__).parents[2] / "deploy" / "flower-app"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUNDLE, tmp_path / "flower-app"))


def test_the_shipped_bundle_is_code_free_and_reproducible() -> None:
    once, again = build_bundle(BUNDLE), build_bundle(BUNDLE, {"study": "sha256:00"})
    assert once == again  # its digest is what a charter or a site's policy can pin
    with zipfile.ZipFile(BytesIO(once)) as archive:
        assert sorted(archive.namelist()) == [".info/CONTENT", "pyproject.toml"]


def test_a_bundle_with_code_is_refused(bundle: Path) -> None:
    (bundle / "fedward_client").mkdir()
    (bundle / "fedward_client" / "app.py").write_text("app = None\n")
    file = bundle / "pyproject.toml"
    file.write_text(file.read_text().replace('fab-include = ["pyproject.toml"]', ""))
    with pytest.raises(BundleError, match=r"fedward_client/app\.py"):
        build_bundle(bundle)


def test_a_bundle_without_its_components_is_refused(bundle: Path) -> None:
    file = bundle / "pyproject.toml"
    file.write_text(file.read_text().replace("serverapp", "otherapp"))
    with pytest.raises(BundleError, match="serverapp"):
        build_bundle(bundle)


def test_a_missing_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="pyproject"):
        build_bundle(tmp_path / "nowhere")


def test_an_unknown_configuration_key_is_refused_before_the_run_starts() -> None:
    with pytest.raises(BundleError, match="stduy"):
        build_bundle(BUNDLE, {"stduy": "/somewhere"})


@pytest.mark.parametrize("content", [None, "", "no certificate\n"])
def test_an_unusable_certificate_is_named(tmp_path: Path, content: str | None) -> None:
    certificate = tmp_path / "ca.pem"
    if content is not None:
        certificate.write_text(content)
    with pytest.raises(UnreachableError, match=r"ca\.pem"):
        SuperLink("127.0.0.1:1", certificate).status(1)

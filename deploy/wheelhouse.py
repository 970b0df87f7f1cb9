"""Collects all that a machine without internet installs, with hashes and a bill of materials.

    python deploy/wheelhouse.py FOLDER [site|coordinator] [EXTRA ...]

    EXTRA                     of fedward-client or fedward-server, as `data`: its dependencies, too
    FOLDER/*.whl              our own distributions and every dependency, as constraints.txt pins them
           requirements.txt   each of them with its SHA-256, for `pip install --require-hashes`
           sbom.cdx.json      CycloneDX 1.6: name, version, licence, SHA-256 and dependencies of each
           SHA256SUMS         of all files above, for `sha256sum --check`

The wheels are those of the Python and the platform that this runs on. Made by `make wheelhouse`.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PARTS = {"site": ("shared", "client"), "coordinator": ("shared", "server")}
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


@dataclass(frozen=True)
class Wheel:
    """A wheel and what its METADATA says."""

    path: Path
    name: str
    version: str
    license: str
    requires: tuple[Requirement, ...]
    extras: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> "Wheel":
        """The wheel in the file `path`."""
        with zipfile.ZipFile(path) as archive:
            [name] = [
                n for n in archive.namelist() if n.count("/") == 1 and n.endswith("/METADATA")
            ]
            told = HeaderParser().parsestr(archive.read(name).decode("utf-8"))
        requires = tuple(Requirement(text) for text in told.get_all("Requires-Dist", []))
        name, version = canonicalize_name(told["Name"]), told["Version"]
        extras = frozenset(told.get_all("Provides-Extra", []))
        return cls(path, name, version, _license(told), requires, extras)

    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def requirement(self) -> str:
        """The line in requirements.txt."""
        return f"{self.name}=={self.version} --hash=sha256:{self.digest}"


def _license(told: Message) -> str:
    """As the package states it; some put the whole text of their licence where its name belongs."""
    stated: str = told["License-Expression"] or told["License"] or ""
    if stated and "\n" not in stated and stated != "UNKNOWN":
        return stated
    classes = [c for c in told.get_all("Classifier", []) if c.startswith("License ::")]
    return ", ".join(c.rpartition(" :: ")[2] for c in classes) or "not stated"


def collect(folder: Path, parts: tuple[str, ...], extras: tuple[str, ...]) -> None:
    """Builds our own wheels and downloads those of their dependencies, with `extras` of the last part.

    Raises SystemExit for an extra that the part has not got.
    """
    with (
        tempfile.TemporaryDirectory() as copies
    ):  # what an earlier build has left gets into no wheel
        left = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
        own = [shutil.copytree(ROOT / part, Path(copies) / part, ignore=left) for part in parts]
        options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
        subprocess.run([*PIP, "wheel", *options, *map(str, own)], check=True)
    built = [Wheel.read(path) for path in sorted(folder.glob("fedward_*.whl"))]
    wanted = [_with_extras(wheel, extras if wheel.name == _name(parts) else ()) for wheel in built]
    options = ["--only-binary", ":all:", "--constraint", str(ROOT / "constraints.txt")]
    options += ["--dest", str(folder), "--find-links", str(folder)]
    subprocess.run([*PIP, "download", *options, *wanted], check=True)


def _name(parts: tuple[str, ...]) -> str:
    """Of the distribution that extras are of."""
    return f"fedward-{parts[-1]}"


def _with_extras(wheel: Wheel, extras: tuple[str, ...]) -> str:
    if missing := set(extras) - wheel.extras:
        raise SystemExit(f"{wheel.name} has no extra {', '.join(sorted(missing))}")
    return f"{wheel.path}[{','.join(extras)}]" if extras else str(wheel.path)


def bill(wheels: list[Wheel], extras: dict[str, frozenset[str]] | None = None) -> str:
    """The bill of materials, as CycloneDX JSON; `extras`: those that were asked for, by name."""
    bom = Bom()
    components = {wheel.name: _component(wheel) for wheel in wheels}
    needs = _needs(wheels, extras or {})
    for wheel in wheels:
        bom.components.add(components[wheel.name])
        bom.register_dependency(
            components[wheel.name], [components[name] for name in sorted(needs[wheel.name])]
        )
    return str(JsonV1Dot6(bom).output_as_string(indent=2)) + "\n"


def _needs(wheels: list[Wheel], asked: dict[str, frozenset[str]]) -> dict[str, set[str]]:
    """What each needs of the others, under the extras that were asked for and that they ask for."""
    extras = {wheel.name: set(asked.get(wheel.name, ())) for wheel in wheels}
    needs: dict[str, set[str]] = {wheel.name: set() for wheel in wheels}
    before = None
    while before != (before := sum(map(len, extras.values()))):
        for wheel in wheels:
            for requirement in wheel.requires:
                name = canonicalize_name(requirement.name)
                if name in needs and _applies(requirement, extras[wheel.name]):
                    needs[wheel.name].add(name)
                    extras[name] |= requirement.extras
    return needs


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _component(wheel: Wheel) -> Component:
    purl = PackageURL("pypi", None, wheel.name, wheel.version)
    return Component(
        name=wheel.name,
        version=wheel.version,
        type=ComponentType.LIBRARY,
        licenses=[LicenseFactory().make_from_string(wheel.license)],
        purl=purl,
        bom_ref=str(purl),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=wheel.digest)],
        properties=[Property(name="fedward:file", value=wheel.path.name)],
    )


def main(folder: Path, kind: str, *extras: str) -> None:
    """Makes the folder anew, and prints what is in it."""
    folder.mkdir(parents=True)
    parts = PARTS[kind]
    collect(folder, parts, extras)
    wheels = sorted((Wheel.read(p) for p in folder.glob("*.whl")), key=lambda wheel: wheel.name)
    lines = "".join(f"{wheel.requirement}\n" for wheel in wheels)
    (folder / "requirements.txt").write_text(lines, "utf-8")
    (folder / "sbom.cdx.json").write_text(bill(wheels, {_name(parts): frozenset(extras)}), "utf-8")
    files = sorted(path for path in folder.iterdir())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(sums), "utf-8")
    megabytes = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    largest = max(wheels, key=lambda wheel: wheel.path.stat().st_size)
    print(f"{folder}: {len(wheels)} wheels, {megabytes:.0f} MB; the largest is {largest.path.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(sys.argv[2:] or ["site"]))

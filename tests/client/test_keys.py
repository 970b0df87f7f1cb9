"""The key of a site: under a passphrase that lies in a file, and what is derived from it."""

from pathlib import Path

import pytest
from conftest import key_of

from fedward_client import keys
from fedward_client.keys import Secrets
from fedward_client.settings import SiteSettings
from fedward_shared.errors import IdentityError


def settings(folder: Path, phrase: Path | None) -> SiteSettings:
    return SiteSettings(
        name="north",
        key=folder / "site.key",
        key_passphrase=phrase,
        coordinators={},
        base_models=(),
        datasets={},
    )


def phrase(folder: Path, content: bytes, mode: int = 0o400) -> Path:
    path = folder / "phrase"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [b"correct horse", b"correct horse\n", b"correct horse\r\nx\n"])
@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440])
def test_the_first_line_is_the_passphrase(content: bytes, mode: int, tmp_path: Path) -> None:
    key_of("north").save(tmp_path / "site.key", b"correct horse")
    found = keys.load(settings(tmp_path, phrase(tmp_path, content, mode)))
    assert found.public == key_of("north").public


def test_a_key_without_its_passphrase_or_with_another(tmp_path: Path) -> None:
    key_of("north").save(tmp_path / "site.key", b"correct horse")
    with pytest.raises(IdentityError, match="is under a passphrase"):
        keys.load(settings(tmp_path, None))
    with pytest.raises(IdentityError, match="under another passphrase"):
        keys.load(settings(tmp_path, phrase(tmp_path, b"wrong")))


@pytest.mark.parametrize("mode", [0o404, 0o644, 0o420])
def test_a_passphrase_that_everybody_may_read(mode: int, tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="phrase: others may read this file"):
        keys.passphrase(phrase(tmp_path, b"correct horse", mode))


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"\nx", "is empty"), (b"x" * 1025, "longer than 1024 bytes")],
)
def test_what_is_no_passphrase(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match=said):
        keys.passphrase(phrase(tmp_path, content))


def test_a_passphrase_file_that_is_not_there(tmp_path: Path) -> None:
    assert keys.passphrase(None) is None
    with pytest.raises(IdentityError, match="phrase: no such file"):
        keys.passphrase(tmp_path / "phrase")
    with pytest.raises(IdentityError, match=r"others may read|cannot be read"):
        keys.passphrase(tmp_path)


def test_what_is_kept_outlives_the_key_and_the_rest_does_not(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    first = Secrets(path, key_of("north"), None)
    digest = first.keep()
    second = Secrets(path, key_of("new"), digest)
    for label in keys.LASTING:
        assert second.derive(label) == first.derive(label) == key_of("north").derive(label)
    assert second.derive("another") == key_of("new").derive("another")
    assert second.keep() == digest

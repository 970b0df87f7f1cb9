"""The proxy's configuration, as the real nginx reads it; what passes it is tested in tests/e2e."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fedward_server import coordinator, proxy
from fedward_server.coordinator import Home
from fedward_shared.errors import MissingExtra

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (make system)")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return coordinator.create(tmp_path / "home", "university", "fl.example:8443", 9091, None)


@needs_nginx
@pytest.mark.parametrize("listen", ["", "9443", "127.0.0.1:9443", "[::1]:9443"])
def test_nginx_accepts_it_whole(home: Home, listen: str) -> None:
    path = home.folder / "coordinator.toml"
    path.write_text(path.read_text() + f'listen = "{listen}"\n' * bool(listen))
    again = Home(home.folder)
    proxy.write_configuration(again)
    told = subprocess.run(
        [*proxy.command(again), "-t"], capture_output=True, text=True, check=False
    )
    assert "test is successful" in told.stderr, told.stderr
    assert "[warn]" not in told.stderr
    assert f"listen {listen or '8443'} ssl http2;" in (home.proxy / "nginx.conf").read_text()


def test_nothing_of_it_is_outside_the_home(home: Home) -> None:
    text = proxy.write_configuration(home).read_text()
    for line in text.splitlines():
        words = line.split("#")[0].split()
        paths = [word for word in words if word.startswith("/") and not word.startswith("/v1")]
        paths = [path for path in paths if words[0] != "location"]
        assert all(path.startswith(str(home.folder)) for path in paths), line


def test_no_proxy_is_reloaded_where_none_runs(home: Home) -> None:
    proxy.write_configuration(home)
    assert not proxy.reload(home)
    (home.proxy / "nginx.pid").write_text(f"{os.getpid()}\n")  # left behind, and the id used again
    assert not proxy.is_running(home)
    (home.proxy / "nginx.pid").write_text("no number")
    assert not proxy.is_running(home)


def test_a_machine_without_nginx_says_what_to_install(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(MissingExtra, match="apt install nginx-light"):
        proxy.command(home)

"""What a site logs arrives at a syslog, over real sockets: one line of JSON an event, and no key."""

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from conftest import key_of
from patience import PATIENCE

from fedward_client import logs
from fedward_shared.errors import UsageError

DAEMON_INFO, DAEMON_ERROR = (
    "<30>fedward: ",
    "<27>fedward: ",
)  # RFC 3164: facility 3, severities 6 and 3


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def received(syslog: socket.socket, begins: str) -> dict[str, object]:
    """The next datagram's JSON."""
    text = syslog.recv(65_536).decode("utf-8")
    assert text.startswith(begins)
    assert text.endswith("\0")  # as the C library ends it; every syslog takes it off
    line = text.removeprefix(begins).removesuffix("\0")
    assert "\n" not in line
    event = json.loads(line)
    assert isinstance(event, dict)
    return event


@pytest.fixture(params=["udp", "unix"])
def syslog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listening syslog, and what `site.toml` calls it."""
    if request.param == "udp":
        listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listening.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{listening.getsockname()[1]}"
    else:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        place = str(tmp_path / "log")
        listening.bind(place)
    listening.settimeout(PATIENCE)
    with listening:
        yield listening, place


def test_each_event_is_one_line_of_json(syslog: tuple[socket.socket, str]) -> None:
    listening, place = syslog
    logs.configure(place)
    log = structlog.get_logger()
    log.info("reserved", study="Brüche", round=3)
    event = received(listening, DAEMON_INFO)
    assert event.pop("timestamp")
    assert event == {"event": "reserved", "study": "Brüche", "round": 3, "level": "info"}

    try:
        raise RuntimeError("first line\nsecond line")
    except RuntimeError:
        log.exception("call failed")
    event = received(listening, DAEMON_ERROR)
    assert "first line\nsecond line" in str(event["exception"])


def test_of_a_key_its_public_part_alone_is_written(syslog: tuple[socket.socket, str]) -> None:
    listening, place = syslog
    logs.configure(place)
    key = key_of("north")
    structlog.get_logger().info("key", key=key, of={"site": key})
    event = received(listening, DAEMON_INFO)
    assert key.public.text in str(event["key"])
    secret = key._key.private_bytes_raw().hex()
    assert secret not in json.dumps(event)


def test_other_libraries_are_quiet(syslog: tuple[socket.socket, str]) -> None:
    """httpx would log each address, uvicorn each request."""
    listening, place = syslog
    logs.configure(place)
    logging.getLogger("httpx").info("HTTP Request: POST https://coordinator")
    logging.getLogger("uvicorn.error").info("started")
    structlog.get_logger().info("last")
    assert received(listening, DAEMON_INFO)["event"] == "last"


def test_stderr_has_the_same_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("")
    structlog.get_logger().warning("worker gone", reason="x")
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "worker gone"


def test_a_syslog_that_is_not_there(tmp_path: Path) -> None:
    for place in (str(tmp_path / "none"), str(tmp_path), "syslog.clinic.test", "nowhere.test:514"):
        with pytest.raises(UsageError, match=rf"^site\.toml: syslog: {place}: "):
            logs.configure(place)

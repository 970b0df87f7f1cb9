"""Site and coordinator of different releases: who refuses, and with which words (versions.md)."""

import shutil
from pathlib import Path

import pytest
from conftest import key_of
from flwr.app import ConfigRecord, RecordDict

from fedward_client.gate import bundle
from fedward_server.superlink import build_bundle
from fedward_shared import messages, statements
from fedward_shared.errors import BundleRefused, RefusalCode, StatementError
from fedward_shared.messages import Hello, MessageError, Noted, answer_from_record, question

BUNDLE = Path(__file__).parents[2] / "deploy" / "flower-app"
CHARTER = "sha256:" + "0" * 64


def of_protocol(record: RecordDict, protocol: object) -> RecordDict:
    fields = {**record.config_records["fedward"], "protocol": protocol}
    return RecordDict({"fedward": ConfigRecord(fields)})  # type: ignore[arg-type]


def test_a_message_of_another_protocol_is_named() -> None:
    hello = of_protocol(Hello(CHARTER, "ab" * 32).to_record(), messages.PROTOCOL + 1)
    with pytest.raises(
        messages.ForeignProtocol, match="of protocol 2, and this release speaks"
    ) as told:
        Hello.from_record(hello)
    assert told.value.refusal is RefusalCode.PROTOCOL
    assert question(hello) == ("", "")  # a refusal of it cannot say what it refuses
    with pytest.raises(messages.ForeignProtocol, match="site and coordinator need releases"):
        answer_from_record(of_protocol(Noted("north").to_record(), 2))


def test_what_is_no_message_is_of_no_protocol() -> None:
    for record in (RecordDict(), of_protocol(Noted("north").to_record(), "2")):
        with pytest.raises(MessageError, match="not a message of protocol 1") as told:
            Hello.from_record(record)
        assert not isinstance(told.value, messages.ForeignProtocol)


def test_a_statement_of_another_version_is_named() -> None:
    key = key_of("university")
    newer = statements.sign("fedward/charter/2", {"study": "x"}, key).encode()
    with pytest.raises(StatementError) as told:
        statements.decode(newer, "fedward/charter/1", "charter.json")
    assert str(told.value) == (
        "charter.json: it is 'fedward/charter/2', and this release reads 'fedward/charter/1': who "
        "signed it has another release of fedward"
    )
    with pytest.raises(StatementError, match="expected 'fedward/receipt/1'"):
        statements.decode(newer, "fedward/receipt/1", "charter.json")


def test_the_bundle_of_another_release_is_refused_and_named(tmp_path: Path) -> None:
    shutil.copytree(BUNDLE, tmp_path / "app")
    page = tmp_path / "app" / "pyproject.toml"
    page.write_text(page.read_text("utf-8").replace('version = "0.1.0"', 'version = "9.9.9"'))
    with pytest.raises(BundleRefused) as told:
        bundle.check(build_bundle(tmp_path / "app"))
    assert "it holds no code, but is of another release or was changed" in str(told.value)
    assert "Ask the coordinator for its release" in str(told.value)


def test_this_release_lets_its_own_bundle_in() -> None:
    from importlib.metadata import version

    bundle.check(build_bundle(BUNDLE))
    assert version("fedward-client") in bundle.released()

"""Coverage-guided fuzzing of every decoder of foreign bytes: `make fuzz`, with atheris (libFuzzer).

    python tests/fuzz/decoders.py TARGET CORPUS -runs=200000

A decoder may return or raise a FedwardError. Anything else, a hang of 10 s, or more than 2 GiB is a
finding: libFuzzer stops and writes the input beside it.
"""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fedward_shared", "fedward_client"]):
    from fedward_client import reconciliation
    from fedward_shared import (
        assurances,
        audit,
        charter,
        enrolment,
        key_change,
        statements,
        tensors,
    )
    from fedward_shared.errors import FedwardError
    from fedward_shared.identity import SigningKey
    from fedward_shared.privacy.plan import Event

VECTORS = Path(__file__).parents[1] / "vectors"
KEY = SigningKey.from_seed(hashlib.sha256(b"university").digest())
DIGEST = "sha256:" + "0" * 64
SCHEMA = {"head.weight": (2, 3)}
WITNESS = Path("witness.json")
PEM = {path.stem: path.read_text("ascii") for path in (VECTORS / "enrolment").glob("*.pem")}


def signed(kind: str) -> Callable[[bytes], object]:
    """As if the bytes were the body of a statement that is rightly signed: what is behind that check."""

    def run(data: bytes) -> object:
        body = statements.canonical.decode(data)
        if not isinstance(body, dict):
            return None
        try:
            made = statements.sign(kind, body, KEY).encode()
        except (ValueError, RecursionError):
            return None
        return TARGETS_BY_KIND[kind](made)

    return run


def read_charter(data: bytes) -> object:
    said = statements.decode(data, charter.CHARTER_KIND, "fuzz")
    return charter.parse(said.body, "fuzz").body


def read_delivery(data: bytes) -> object:
    said = assurances.Delivery.read(data, DIGEST, KEY.public, "university", "fuzz")
    return said.spent


def read_decision(data: bytes) -> object:
    return assurances.Decision.read(data, DIGEST, KEY.public, "university", "fuzz")


def read_invitation(data: bytes) -> object:
    return enrolment.Invitation.read(data, "fuzz")


def read_enrolment(data: bytes) -> object:
    said = enrolment.Enrolment.read(data, "fuzz")
    return (
        enrolment.requested_key(said.request, "fuzz"),
        enrolment.public_key(said.node_key, enrolment.NODE_CURVE, "fuzz"),
    )


def read_admission(data: bytes) -> object:
    said = enrolment.Admission.read(data, "fuzz")
    return enrolment.certificate(said.certificate, "fuzz")


def read_key_change(data: bytes) -> object:
    return key_change.read(data, KEY.public, "fuzz")


def read_tensors(data: bytes) -> object:
    found = tensors.decode(data, "fuzz")
    tensors.check(found, SCHEMA, "fuzz")
    return tensors.norm(found)


def read_audit_line(data: bytes) -> object:
    return audit._entry(data, 1, audit.START, KEY.public, "fuzz")


def read_witness(data: bytes) -> object:
    return reconciliation.Witness.parse(data, WITNESS)


def read_event(data: bytes) -> object:
    return Event.from_text(data.decode("utf-8", "replace")).as_text()


TARGETS_BY_KIND: dict[str, Callable[[bytes], object]] = {
    charter.CHARTER_KIND: read_charter,
    assurances.Delivery.KIND: read_delivery,
    assurances.Decision.KIND: read_decision,
    enrolment.Invitation.KIND: read_invitation,
    enrolment.Enrolment.KIND: read_enrolment,
    enrolment.Admission.KIND: read_admission,
    key_change.KIND: read_key_change,
    audit.KIND: lambda data: read_audit_line(data + b"\n"),
}
TARGETS: dict[str, Callable[[bytes], object]] = {
    "charter": read_charter,
    "delivery": read_delivery,
    "tensors": read_tensors,
    "audit-line": read_audit_line,
    "witness": read_witness,
    "event": read_event,
    "signed-charter": signed(charter.CHARTER_KIND),
    "signed-delivery": signed(assurances.Delivery.KIND),
    "signed-decision": signed(assurances.Decision.KIND),
    "invitation": read_invitation,
    "enrolment": read_enrolment,
    "admission": read_admission,
    "signed-invitation": signed(enrolment.Invitation.KIND),
    "signed-enrolment": signed(enrolment.Enrolment.KIND),
    "signed-admission": signed(enrolment.Admission.KIND),
    "signed-key-change": signed(key_change.KIND),
    "signed-audit-line": signed(audit.KIND),
}


def seeds() -> list[bytes]:
    """Good inputs to start from."""
    good = [
        path.read_bytes() for path in VECTORS.rglob("*") if path.suffix in (".json", ".safetensors")
    ]
    bodies = [statements.canonical.encode(charter.load(VECTORS / "study")[0].body)]
    delivery = {
        "charter": DIGEST,
        "site": "north",
        "round": 1,
        "adapter": DIGEST,
        "update": DIGEST,
        "epsilon": "0.5",
        "delta": "1e-05",
        "head": "0" * 64,
    }
    entry = {"number": 1, "at": "", "previous": audit.START, "event": "cleared", "details": {}}
    change = {"site": "north", "old": KEY.public.text, "new": KEY.public.text, "at": ""}
    bodies += [statements.canonical.encode(body) for body in (delivery, entry, change)]
    lines = [statements.sign(audit.KIND, entry, KEY).encode() + b"\n"]
    witness = [statements.canonical.encode({"number": 3, "digest": DIGEST})]
    event = Event("poisson-gaussian", 0.1, 1.5, 10, "patient").as_text().encode()
    return [*good, *bodies, *lines, *witness, event, *letters()]


def letters() -> list[bytes]:
    """An enrolment's three letters, and their bodies."""
    key = {"key": KEY.public.text, "coordinator": "university", "site": "north"}
    bodies: dict[str, dict[str, object]] = {
        enrolment.Invitation.KIND: {
            "address": "fl.example:8443",
            "ca": PEM["certificate"],
            "token": "0" * 64,
            "expires": "2026-12-01T00:00:00Z",
        },
        enrolment.Enrolment.KIND: {
            "token": "0" * 64,
            "request": PEM["request"],
            "node_key": PEM["node_key"],
        },
        enrolment.Admission.KIND: {"certificate": PEM["certificate"]},
    }
    made = [statements.sign(kind, body | key, KEY) for kind, body in bodies.items()]
    return [part for one in made for part in (one.encode(), statements.canonical.encode(one.body))]


def main() -> None:
    """Runs libFuzzer on the target that the command line names."""
    name, corpus, *options = sys.argv[1:]
    target = TARGETS[name]
    folder = Path(corpus)
    folder.mkdir(parents=True, exist_ok=True)
    for data in seeds():
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)

    def one(data: bytes) -> None:
        try:
            target(data)
        except FedwardError:
            return
        except ValueError:
            if not name.startswith("signed-"):
                raise

    limits = ["-rss_limit_mb=2048", "-timeout=10", "-print_final_stats=1", "-verbosity=0"]
    atheris.Setup([sys.argv[0], str(folder), *limits, *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

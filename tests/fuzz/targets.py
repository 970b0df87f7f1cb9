"""Every decoder of foreign bytes, as a function of the bytes, and good inputs to start from.

A decoder may return or raise a FedwardError. Where the bytes are the body of a statement that is signed
for them, a body that cannot be signed is nobody's fault.
"""

import base64
import hashlib
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from flwr.proto.fab_pb2 import Fab, GetFabResponse
from flwr.proto.fleet_pb2 import PullMessagesResponse, PushMessagesRequest
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import Metadata, ObjectTree, PushObjectRequest
from flwr.proto.run_pb2 import GetRunResponse, Run
from flwr.proto.transport_pb2 import Scalar
from PIL import Image

from fedward_client import reconciliation
from fedward_client.boundary import wire
from fedward_client.core import Grant
from fedward_client.gate import bundle
from fedward_client.gate.rules import ENDPOINTS, FLEET, Gate
from fedward_client.preparation import documents
from fedward_shared import (
    agreement,
    assurances,
    audit,
    charter,
    enrolment,
    key_change,
    statements,
    tensors,
)
from fedward_shared.annotation import brat, label_studio
from fedward_shared.annotation import documents as marked_texts
from fedward_shared.errors import FedwardError
from fedward_shared.exchange import channel, hops
from fedward_shared.exchange.envelopes import Attendance, Opening
from fedward_shared.identity import SigningKey
from fedward_shared.privacy import clipping
from fedward_shared.privacy.plan import Event
from fedward_shared.secagg import parcels
from fedward_shared.secagg import signed as secagg_signed
from fedward_shared.secagg.aggregator import Aggregator
from fedward_shared.secagg.party import Party
from fedward_shared.secagg.ring import WIDTHS, Ring
from fedward_shared.secagg.session import Session
from fedward_shared.statistics.charter import StatisticsCharter
from fedward_shared.statistics.tally import Tally
from fedward_shared.vertical.columns import ImageColumn, TableTerms
from fedward_shared.vertical.encoding import encode

VECTORS = Path(__file__).parents[1] / "vectors"
KEY = SigningKey.from_seed(hashlib.sha256(b"university").digest())
DIGEST = "sha256:" + "0" * 64
SCHEMA = {"head.weight": (2, 3)}
WITNESS = Path("witness.json")
SCANS = TableTerms(columns=(ImageColumn(name="scan", height=8, width=8),))
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
    said = statements.decode(data, charter.Charter.KIND, "fuzz")
    return charter.parse(said.body, "fuzz").body


def read_delivery(data: bytes) -> object:
    said = assurances.Delivery.read(data, DIGEST, KEY.public, "university", "fuzz")
    return said.spent


def read_decision(data: bytes) -> object:
    return assurances.Decision.read(data, DIGEST, KEY.public, "university", "fuzz")


def read_tally(data: bytes) -> object:
    said = Tally.read(data, DIGEST, KEY.public, "university", "fuzz")
    return said.spent


def read_statistics_charter(data: bytes) -> object:
    said = statements.decode(data, StatisticsCharter.KIND, "fuzz")
    return agreement.parse(said.body, StatisticsCharter, "fuzz").body


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


def read_clipping_norms(data: bytes) -> object:
    return clipping.norms_text(clipping.read_norms(data.decode("utf-8", "replace")))


def read_frame(data: bytes) -> object:
    kind, fields = wire.parse(data)
    return wire.answer_of(wire.Frame(kind, fields, data))


def read_exchange_frame(data: bytes) -> object:
    found = channel.Frame.decode(data)
    assert found.encode() == data
    return found


def read_hop(data: bytes) -> object:
    found = hops.Hop.decode(data)
    assert found.encode() == data
    return found


def read_opening(data: bytes) -> object:
    return Opening.read(data, DIGEST, KEY.public, "university", "fuzz")


def read_attendance(data: bytes) -> object:
    return Attendance.read(data, DIGEST, KEY.public, "university", "fuzz")


def read_mask_keys(data: bytes) -> object:
    return secagg_signed.Advertisement.read(data, DIGEST, KEY.public, "university", "fuzz")


def read_survivors(data: bytes) -> object:
    return secagg_signed.Agreement.read(data, DIGEST, KEY.public, "university", "fuzz")


def read_numbers(data: bytes) -> object:
    """The first byte chooses the ring."""
    ring = Ring(WIDTHS[data[0] % len(WIDTHS)] if data else WIDTHS[0])
    numbers = ring.unpack(data[1:], max(0, 8 * (len(data) - 1) // ring.bits), "fuzz")
    assert ring.pack(numbers) == data[1:]
    return ring.to_signed(numbers)


SITES = {name: SigningKey.from_seed(hashlib.sha256(name.encode()).digest()) for name in "abc"}
SESSION = Session(DIGEST, 1, 1, {name: k.public for name, k in SITES.items()}, 3, 1, Ring(12), 5)


def begun() -> tuple[Aggregator, dict[str, Party], dict[str, bytes]]:
    """A masked round of three sites, whose envelopes are still to come."""
    coordinator, parties = Aggregator(SESSION), {}
    for name, key in SITES.items():
        parties[name], said = Party.begin(SESSION, name, key)
        coordinator.add_advertisement(name, said)
    advertisements = coordinator.close_advertisements()
    answers = {name: party.share(advertisements) for name, party in parties.items()}
    return (
        coordinator,
        {name: party for name, (party, _) in answers.items()},
        {name: said for name, (_, said) in answers.items()},
    )


COORDINATOR, PARTIES, ENVELOPES = begun()


def at_the_aggregator(data: bytes) -> object:
    """As envelopes for the coordinator, and as envelopes for a site that is to mask."""
    with suppress(FedwardError):
        COORDINATOR.add_envelopes("a", data)
    return PARTIES["a"].mask("abc", data, Ring(12).zeros(5))


def read_party(data: bytes) -> object:
    return Party.from_bytes(data, SESSION).to_bytes()


def read_image(data: bytes) -> object:
    """As it stands in a party's file of records."""
    return encode(SCANS, [[base64.b64encode(data).decode()]])


def read_brat(data: bytes) -> object:
    """What is before the first zero byte is the text, the rest its annotation."""
    text, _, marks = data.decode("utf-8", "replace").partition("\0")
    return brat.decode(text, marks, "fuzz")


def at_the_gate(data: bytes) -> object:
    """The first byte chooses the endpoint; the rest goes through it both ways."""
    names = sorted(ENDPOINTS)
    path, gate = FLEET + names[data[0] % len(names)] if data else "", Gate()
    answers: list[object] = []
    for check in (gate.request, gate.response):
        try:
            answers.append(check(path, data[1:]))
        except FedwardError as error:
            answers.append(error)
    return answers


TARGETS_BY_KIND: dict[str, Callable[[bytes], object]] = {
    charter.Charter.KIND: read_charter,
    assurances.Delivery.KIND: read_delivery,
    assurances.Decision.KIND: read_decision,
    Tally.KIND: read_tally,
    StatisticsCharter.KIND: read_statistics_charter,
    enrolment.Invitation.KIND: read_invitation,
    enrolment.Enrolment.KIND: read_enrolment,
    enrolment.Admission.KIND: read_admission,
    key_change.KIND: read_key_change,
    secagg_signed.Advertisement.KIND: read_mask_keys,
    secagg_signed.Agreement.KIND: read_survivors,
    Opening.KIND: read_opening,
    Attendance.KIND: read_attendance,
    audit.KIND: lambda data: read_audit_line(data + b"\n"),
}
TARGETS: dict[str, Callable[[bytes], object]] = {
    "charter": read_charter,
    "delivery": read_delivery,
    "tensors": read_tensors,
    "audit-line": read_audit_line,
    "witness": read_witness,
    "event": read_event,
    "clipping-norms": read_clipping_norms,
    "frame": read_frame,
    "exchange-frame": read_exchange_frame,
    "hop": read_hop,
    "signed-opening": signed(Opening.KIND),
    "signed-attendance": signed(Attendance.KIND),
    "image": read_image,
    "document": documents.decode,
    "annotation": lambda data: marked_texts.decode(data, "fuzz"),
    "brat": read_brat,
    "label-studio": lambda data: label_studio.decode(data.decode("utf-8", "replace"), "fuzz"),
    "gate": at_the_gate,
    "bundle": bundle.check,
    "parcel": lambda data: parcels.decode(data, "fuzz"),
    "masked-numbers": read_numbers,
    "envelopes": at_the_aggregator,
    "party": read_party,
    "signed-mask-keys": signed(secagg_signed.Advertisement.KIND),
    "signed-survivors": signed(secagg_signed.Agreement.KIND),
    "signed-charter": signed(charter.Charter.KIND),
    "signed-delivery": signed(assurances.Delivery.KIND),
    "signed-decision": signed(assurances.Decision.KIND),
    "signed-tally": signed(Tally.KIND),
    "signed-statistics-charter": signed(StatisticsCharter.KIND),
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
    told = {name: delivery[name] for name in ("charter", "site", "epsilon", "delta", "head")}
    tally = {**told, "found": ["text", "absent"], "numbers": [17, -3, 2**40]}
    bodies += [
        statements.canonical.encode(body) for body in (delivery, tally, asked(), entry, change)
    ]
    lines = [statements.sign(audit.KIND, entry, KEY).encode() + b"\n"]
    witness = [statements.canonical.encode({"number": 3, "digest": DIGEST})]
    event = Event("poisson-gaussian", 0.1, 1.5, 10, "patient").as_text().encode()
    norms = clipping.norms_text({"head": 0.5, "adapter": 0.25}).encode()
    return [
        *(good + bodies + lines + witness + [event, norms]),
        documents.encode(
            documents.Origin("a.txt", "plain/1").document("line 1", "Cough.", unit="7")
        ),
        documents.encode(
            documents.Origin("a.dcm", "dicom/3").picture("frame 1", np.eye(3, dtype=np.uint8))
        ),
        *map(documents.encode, documents.Origin("a", "hl7/2").person("1", "7", [("name", "Doe")])),
        *(letters() + at_the_socket() + requests() + masked() + exchanged() + drawn() + marked()),
    ]


def asked() -> dict[str, object]:
    """A charter for statistics."""
    columns = [
        {"kind": "number", "name": "age", "low": "0.0", "high": "120.0", "bins": 24},
        {"kind": "category", "name": "ward", "values": ["heart", "bone"]},
    ]
    return {
        "version": 1,
        "study": "before",
        "purpose": "test",
        "use": "research",
        "legal_basis": "test",
        "expires": "2099-01-01",
        "coordinator": {"name": "university", "key": KEY.public.text},
        "dataset": "records",
        "participants": [
            {
                "name": "north",
                "key": SigningKey.from_seed(hashlib.sha256(b"north").digest()).public.text,
                "records": 100,
                "rank": None,
            }
        ],
        "statistics": {
            "columns": columns,
            "label": "ward",
            "epsilon": "1.0",
            "delta": "1e-05",
            "unit": "record",
            "most_records": 1,
            "noise_multiplier": "3.8",
        },
        "deadline_seconds": "3600.0",
    }


def drawn() -> list[bytes]:
    """Images of both kinds."""
    image = Image.linear_gradient("L").resize((12, 9))
    found = []
    for kind in ("PNG", "JPEG"):
        file = io.BytesIO()
        image.convert("RGB").save(file, kind)
        found.append(file.getvalue())
    return found


def marked() -> list[bytes]:
    """A text with two entities and a relation in the three formats that are read."""
    entities = ({"start": 0, "end": 1, "label": "drug"}, {"start": 2, "end": 6, "label": "sign"})
    relations = ({"label": "treats", "head": 0, "tail": 1},)
    content = {"text": "🚀 pain", "entities": entities, "relations": relations}
    document = marked_texts.Document.model_validate(content)
    return [
        marked_texts.encode([document]),
        f"{document.text}\0{brat.encode(document, 'fuzz')}".encode(),
        label_studio.encode([document], "fuzz").encode(),
    ]


def exchanged() -> list[bytes]:
    """What a party and the relay say to each other."""
    about = {"charter": DIGEST, "site": "bank", "session": "0" * 64}
    bodies = [about | {"challenge": "1" * 64}, about | {"peer": "bureau", "key": "2" * 64}]
    frames = [channel.Frame("data", 1, bytes(20)).encode(), channel.Frame("confirm", 7).encode()]
    said = [
        hops.Hop("challenge", payload=bytes(hops.CHALLENGE_BYTES)),
        hops.Hop("frame", "bureau", frames[0]),
        hops.Hop("here", "bureau"),
        hops.Hop.refusal(hops.Refusal.SILENT, "bureau"),
    ]
    return [
        *(statements.canonical.encode(body) for body in bodies),
        *frames,
        *(hop.encode() for hop in said),
    ]


def masked() -> list[bytes]:
    """What crosses in a masked round, and a site's state in it."""
    attempt = {"charter": DIGEST, "site": "a", "round": 1, "attempt": 1}
    names = ("mask_key", "envelope_key", "commitment")
    keys = attempt | {name: str(number) * 64 for number, name in enumerate(names)}
    bodies = [keys, attempt | {"cohort": DIGEST, "survivors": DIGEST}]
    box = parcels.encode(
        {
            sender: parcels.decode(said, "fuzz")["a"]
            for sender, said in ENVELOPES.items()
            if sender != "a"
        }
    )
    return [
        *(statements.canonical.encode(body) for body in bodies),
        *(box, ENVELOPES["a"], b"\x00" + bytes(3), b"\x01" + bytes(4)),
        PARTIES["a"].to_bytes(),
    ]


def at_the_socket() -> list[bytes]:
    """Headers of the frames between worker and trusted side."""
    frames = (
        wire.Frame("reserve", {"charter": DIGEST, "request": b"request", "adapter": DIGEST}),
        wire.answer_frame(Grant(7, 3, DIGEST)),
        wire.Frame("Error", {"code": "budget"}),
    )
    return [wire.encode(frame)[4:-8] for frame in frames]


def requests() -> list[bytes]:
    """Requests and answers of Flower's fleet, each after the number of its endpoint."""
    metadata = Metadata(run_id=7, message_id="ab", group_id="1", reply_to_message_id="cd")
    message, tree = MessageProto(metadata=metadata), ObjectTree(object_id="ab")
    bodies = {
        "push-messages": PushMessagesRequest(
            messages_list=[message], message_object_trees=[tree], clientapp_runtime_list=[1.0]
        ),
        "pull-messages": PullMessagesResponse(messages_list=[message], message_object_trees=[tree]),
        "push-object": PushObjectRequest(object_id="ab", object_content=b"Message  0\x00"),
        "get-run": GetRunResponse(run=Run(override_config={"study": Scalar(string=DIGEST)})),
        "get-fab": GetFabResponse(fab=Fab(content=b"PK\x05\x06" + bytes(18))),
    }
    names = sorted(ENDPOINTS)
    return [bytes([names.index(n)]) + body.SerializeToString() for n, body in bodies.items()]


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


def run(name: str, data: bytes) -> None:
    """Decodes `data`; raises for a finding, and for nothing else."""
    try:
        TARGETS[name](data)
    except FedwardError:
        return
    except ValueError:
        if not name.startswith("signed-"):
            raise

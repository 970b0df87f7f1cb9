"""HL7 version 2: admissions with their diagnoses, and reports as text; alone, framed, and in batches."""

import random
from collections.abc import Sequence

from fedward_simulations.raw.items import Item, Patient
from fedward_simulations.raw.ward import Expected, Ward, place

BATCH = 8
FRAME = (b"\x0b", b"\x1c\r")
DIAGNOSES_NAME = "DG1"
REPORT = "ORU"


def admissions(ward: Ward, draw: random.Random, people: Sequence[Sequence[Item]]) -> None:
    """A file for each patient; every tenth file is a batch of several patients' messages."""
    rest = list(people)
    while rest:
        taken = rest[: BATCH if draw.random() < 0.1 else 1]
        del rest[: len(taken)]
        lines: list[str] = ["FHS|^~\\&|ADT|NORTH", "BHS|^~\\&"] if len(taken) > 1 else []
        expected = []
        for number, diagnoses in enumerate(taken, start=1):
            begin = len(lines) + 1
            lines += _message(diagnoses[0].patient, diagnoses[0].day.strftime("%Y%m%d"), "ADT^A01")
            for at, one in enumerate(diagnoses, start=1):
                day = one.day.strftime("%Y%m%d")
                lines.append(f"DG1|{at}||{one.code}^{_escaped(one.text)}^I10||{day}|F")
                where = f"message {number} (line {begin}), DG1-{at}"
                expected.append(Expected.of(one, where, day, DIAGNOSES_NAME))
        lines += [f"BTS|{len(taken)}", "FTS|1"] if len(taken) > 1 else []
        first = taken[0][0]
        name = f"{place(draw, first.day)}/ADT-{first.patient.number}.hl7"
        ward.put("hl7", name, _bytes(draw, lines), expected)


def reports(ward: Ward, draw: random.Random, notes: Sequence[Item]) -> None:
    """A file for each note: its first half as an observation, its last line as a remark upon it."""
    for number, one in enumerate(notes):
        day = one.day.strftime("%Y%m%d")
        lines = _message(one.patient, day, "ORU^R01")
        body, _, last = one.text.rpartition("\n")
        lines.append(f"OBR|1|||NOTE^{_escaped(one.kind)}")
        if body.strip():
            lines.append(f"OBX|1|TX|NOTE^Note||{_escaped(body)}||||||F|||{day}")
        lines += ["OBX|2|NM|8867-4^Heart rate^LN||72|/min", f"NTE|1||{_escaped(last)}"]
        name = f"{place(draw, one.day)}/ORU-{one.patient.number}-{number}.hl7"
        expected = Expected.of(one, "message 1 (line 1)", day, REPORT)
        ward.put("hl7", name, _bytes(draw, lines), [expected])


def _message(patient: Patient, day: str, kind: str) -> list[str]:
    return [
        f"MSH|^~\\&|EHR|NORTH|DATA|NORTH|{day}||{kind}|{patient.number}|P|2.5|||||||UNICODE UTF-8",
        f"PID|1||{patient.number}^^^NORTH^MR||{patient.family}^{patient.given}||{patient.born:%Y%m%d}",
    ]


def _escaped(text: str) -> str:
    for one, said in (("\\", "E"), ("|", "F"), ("^", "S"), ("&", "T"), ("~", "R")):
        text = text.replace(one, f"\\{said}\\" if one == "\\" else f"\0{said}\0")
    return text.replace("\n", "\0.br\0").replace("\0", "\\")


def _bytes(draw: random.Random, lines: Sequence[str]) -> bytes:
    data = draw.choice(("\r", "\r\n", "\n")).join(lines).encode() + b"\r"
    return FRAME[0] + data + FRAME[1] if draw.random() < 0.3 else data

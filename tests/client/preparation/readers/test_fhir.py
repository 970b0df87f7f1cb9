"""FHIR: notes and diagnoses, in bundles of any size, and what is no FHIR."""

import contextlib
import io
import json
from pathlib import Path

import pytest
from client.preparation.made import CONDITION, NOTE, documents, fhir, note, remarks

from fedward_client.preparation import readers
from fedward_client.preparation.documents import Document
from fedward_client.preparation.readers import bounded
from fedward_shared.errors import Unreadable

COMPOSITION: dict[str, object] = {
    "resourceType": "Composition",
    "id": "s",
    "type": {"coding": [{"display": "Discharge summary"}]},
    "subject": {"reference": "Patient/4711"},
    "section": [
        {
            "title": "Course",
            "text": {"div": "<div><p>Better &amp; well.</p><script>x</script></div>"},
            "section": [{"text": {"div": "<table><tr><td>Hb</td><td>12</td></tr></table>"}}],
        }
    ],
}
REPORT: dict[str, object] = {
    "resourceType": "DiagnosticReport",
    "code": {"text": "Chest X-ray"},
    "conclusion": "No infiltrate.",
    "conclusionCode": [{"coding": [{"code": "17621005"}]}],
}
OBSERVATION: dict[str, object] = {
    "resourceType": "Observation",
    "code": {"coding": [{"code": "8653-8", "display": "Hospital discharge"}]},
    "valueString": "Walks.",
    "note": [{"text": "With help."}],
}


def test_a_note_and_a_diagnosis(tmp_path: Path) -> None:
    first, second = documents(tmp_path, "b.json", fhir(note(), CONDITION))
    assert first.text == NOTE
    assert first.provenance.place == "entry 1: DocumentReference/d1, attachment 1"
    assert first.provenance.reader == "fhir/2"
    assert first.fields == {"unit": "4711", "date": "2026-01-02", "kind": "Progress note"}
    assert second.text == "Acute bronchitis"
    assert second.fields == {
        "unit": "4711",
        "date": "2026-01-01",
        "kind": "Condition",
        "code": "J20.9",
    }


@pytest.mark.parametrize(
    ("resource", "text", "code"),
    [
        (COMPOSITION, "Course\nBetter & well.\n\nHb\t12", None),
        (REPORT, "No infiltrate.", "17621005"),
        (OBSERVATION, "Walks.\nWith help.", "8653-8"),
        (note("<p>One</p><p>Two</p>", kind="text/html"), "One\nTwo", None),
    ],
)
def test_other_resources(
    tmp_path: Path, resource: dict[str, object], text: str, code: str | None
) -> None:
    [found] = documents(tmp_path, "one.json", json.dumps(resource).encode())
    assert found.text == text
    assert found.fields.get("code") == code


def test_the_same_in_all_three_forms(tmp_path: Path) -> None:
    resources = [note(number=number) for number in range(3)]
    texts = [
        [(one.text, one.fields) for one in documents(tmp_path, name, data)]
        for name, data in {
            "bundle.json": fhir(*resources),
            "line.json": json.dumps(json.loads(fhir(*resources))).encode(),
            "a.ndjson": "\r\n".join(map(json.dumps, resources)).encode(),
            "mark.json": b"\xef\xbb\xbf" + fhir(*resources),
        }.items()
    ]
    assert len(texts[0]) == 3
    assert all(found == texts[0] for found in texts)


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    elsewhere = note() | {"content": [{"attachment": {"url": "Binary/1"}}]}
    number = {"resourceType": "Observation", "valueQuantity": {"value": 1}}
    said = remarks(
        tmp_path,
        "b.json",
        fhir({"resourceType": "Device"}, elsewhere, note(kind="application/pdf"), number),
    )
    assert said == [
        "its text lies elsewhere, and is not fetched",
        "an attachment of application/pdf is not read",
        "1 resources Observation have no words",
        "1 resources Device are not read",
    ]


@pytest.mark.parametrize(
    "data",
    [
        fhir(note())[:-30],
        fhir({"resourceType": 7}),
        b'{"resourceType": "Bundle", "entry": [7]}',
        b'{"resourceType": "Bundle",\n "entry": [{"resource": ' + b"[" * 10**5,
        b'{"resourceType": "Condition", "code": ' + b'{"a":' * 10**5,
        json.dumps(
            note() | {"content": [{"attachment": {"contentType": "text/plain", "data": "="}}]}
        ).encode(),
        fhir(note() | {"content": [{"attachment": {"contentType": "text/plain", "data": "/w=="}}]}),
        b'{"resourceType": "Condition"}\n{"resourceType"',
    ],
)
def test_what_is_no_fhir(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Unreadable):
        documents(tmp_path, "b.json", data)


def test_sections_without_end(tmp_path: Path) -> None:
    section: dict[str, object] = {"title": "x"}
    for _ in range(20):
        section = {"section": [section]}
    with pytest.raises(Unreadable, match="more than 16 sections"):
        documents(tmp_path, "b.json", fhir(COMPOSITION | {"section": [section]}))


def test_a_bundle_may_be_larger_than_its_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = fhir(*(note(number=number) for number in range(2000)))
    monkeypatch.setattr(bounded, "LONGEST_LINE", 1000)
    monkeypatch.setattr(bounded, "LARGEST_SPAN", len(bundle) // 4)
    assert len(documents(tmp_path, "b.json", bundle)) == 2000
    with pytest.raises(Unreadable, match="an entry is larger than"):
        documents(tmp_path, "b.json", fhir(note("x" * len(bundle))))


def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LONGEST_LINE", 1000)
    lines = json.dumps(note()) + "\n" + json.dumps(note("x" * 2000))
    with pytest.raises(Unreadable, match="line 2 is longer than 1,000"):
        documents(tmp_path, "b.ndjson", lines.encode())


def test_what_a_simulated_hospital_exports(tmp_path: Path) -> None:
    pytest.importorskip("clinosim")
    from clinosim.api import SimulatorConfig, run_beta
    from clinosim.modules.document.narrative.passes import TemplateNarrativePass
    from clinosim.modules.output.cif_writer import write_cif
    from clinosim.modules.output.fhir_r4_adapter import convert_cif_to_fhir

    quarter = ("2024-01-01", "2024-03-31")
    config = SimulatorConfig(
        country="US",
        catchment_population=30,
        random_seed=1,
        time_range=quarter,
        snapshot_date=quarter[1],
    )
    cif, out = str(tmp_path / "cif"), tmp_path / "fhir"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        write_cif(run_beta(config), cif)
        TemplateNarrativePass(cif, country="US").run()
        convert_cif_to_fhir(cif, str(out), country="US")

    def lines(name: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in (out / name).read_bytes().splitlines()]

    def found(name: str) -> list[Document]:
        every = readers.read(out / name, name)
        return [one for one in every if isinstance(one, Document)]

    patients = {patient["id"] for patient in lines("Patient.ndjson")}
    notes, conditions = found("Composition.ndjson"), found("Condition.ndjson")
    assert len(notes) == len(lines("Composition.ndjson")) > 0
    assert len(conditions) == len(lines("Condition.ndjson")) > 0
    assert {one.fields["unit"] for one in notes + conditions} <= patients
    assert not any("<div" in one.text or "<p" in one.text for one in notes)
    assert all(one.fields["code"] for one in conditions)

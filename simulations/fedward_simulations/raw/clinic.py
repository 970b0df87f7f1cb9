"""Visits of synthetic people as FHIR resources, with the notes that clinosim writes about them."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedward_simulations.data import town

PERSONS_A_PATIENT = 2.8
"""How many persons a town needs for one of them to be seen in a quarter (2.5 measured)."""

Resource = Mapping[str, Any]
ABOUT_A_VISIT = (
    "Encounter",
    "MedicationRequest",
    "Observation",
    "DocumentReference",
    "Composition",
)


def visits(seed: int, patients: int) -> list[list[list[Resource]]]:
    """For each of about `patients` people their visits, for each visit its resources, Patient first.

    Left out is what names a code or holds words beside the notes. Raises MissingExtra.
    """
    if not patients:
        return []
    found = town.simulated(seed, 20 + int(PERSONS_A_PATIENT * patients))
    with tempfile.TemporaryDirectory(prefix="fedward-visits-") as folder:
        written = _written(found, Path(folder))
        people = {str(one["id"]): one for one in _resources(written, "Patient")}
        by_visit: dict[str, list[Resource]] = defaultdict(list)
        for kind in ABOUT_A_VISIT:
            for resource in _resources(written, kind):
                if (visit := _visit(resource)) and not _speaks(resource):
                    by_visit[visit].append(resource)
    by_person: dict[str, list[list[Resource]]] = defaultdict(list)
    for resources in by_visit.values():
        person = str(resources[0]["subject"]["reference"]).removeprefix("Patient/")
        by_person[person].append([people[person], *resources])
    return list(by_person.values())[:patients]


def _written(found: list[Any], folder: Path) -> Path:
    from clinosim.api import convert_cif_to_fhir
    from clinosim.modules.document.narrative.passes import TemplateNarrativePass
    from clinosim.modules.output.cif_writer import write_cif
    from clinosim.types.output import CIFDataset

    cif, out = folder / "cif", folder / "fhir"
    with town.quiet():
        write_cif(CIFDataset(patients=found), str(cif))
        TemplateNarrativePass(str(cif), country="US").run()
        convert_cif_to_fhir(str(cif), str(out), country="US", narrative_version="template")
    return out


def _resources(folder: Path, kind: str) -> list[Resource]:
    path = folder / f"{kind}.ndjson"
    if not path.exists():  # nobody had one
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _visit(resource: Resource) -> str:
    if resource["resourceType"] == "Encounter":
        return f"Encounter/{resource['id']}"
    context = resource.get("context", {}).get("encounter") or [resource.get("encounter") or {}]
    return str(context[0].get("reference", ""))


def _speaks(resource: Resource) -> bool:
    """Whether an Observation is more than a number."""
    return resource["resourceType"] == "Observation" and (
        "valueQuantity" not in resource or "component" in resource or "note" in resource
    )

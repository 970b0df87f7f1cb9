"""The hospitals of the scenario, each with its part of the training records in raw files."""

import csv
import io
from pathlib import Path

from fedward_shared.errors import UsageError
from fedward_shared.files import write_atomically
from fedward_simulations.data import icd10
from fedward_simulations.raw import hospital
from fedward_simulations.raw.hospital import Size
from fedward_simulations.raw.items import Diagnosis
from fedward_simulations.scenarios import hospitals

LABELS = "labels.csv"


def write(options: hospitals.Options, size: Size) -> dict[str, Path]:
    """The folder of each site below `options.out`, which is not there yet, and labels for their codes.

    Sites have the records that the scenario deals them. Raises UsageError for a folder that is there,
    and as the scenario does; MissingExtra.
    """
    if options.out.exists():
        raise UsageError(f"--out {options.out}: is there already; name another folder")
    split = icd10.load(options.seed)
    dealt = hospitals.dealt(options, hospitals.corpus_of(options))
    written = {}
    for name, part in dealt.items():
        rows = [split.train[number] for number in part]
        diagnoses = [Diagnosis(row.text, row.code, row.label) for row in rows]
        written[name] = options.out / name
        hospital.write(written[name], diagnoses, options.seed, size)
    write_atomically(options.out / LABELS, _labels(split))
    return written


def _labels(split: icd10.IcdSplit) -> bytes:
    everything = [*split.train, *split.tuning, *split.test]
    chapters = {record.category: record.label for record in everything}
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["code", "label"])
    rows.writerows(sorted(chapters.items()))
    return out.getvalue().encode()

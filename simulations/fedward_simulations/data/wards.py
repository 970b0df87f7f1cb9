"""Made sentences of a ward's notes with marked entities: symptoms, drugs, doses and durations.

Numbers are of a dose or of a duration, and only what stands beside them says which.
"""

import random
from collections.abc import Sequence

from fedward_shared.annotation.documents import Document, Entity, entities_json
from fedward_shared.tasks.base import Columns

LABELS = ("symptom", "drug", "dose", "duration")

SYMPTOMS = (
    "chest pain", "shortness of breath", "headache", "fever", "dry cough", "nausea", "dizziness",
    "abdominal pain", "palpitations", "night sweats", "back pain", "fatigue", "blurred vision",
    "joint stiffness", "vomiting", "leg swelling", "sore throat", "loss of appetite",
)  # fmt: skip
DRUGS = (
    "aspirin", "metformin", "ramipril", "ibuprofen", "paracetamol", "amoxicillin", "bisoprolol",
    "simvastatin", "omeprazole", "furosemide", "warfarin", "prednisolone", "amlodipine",
    "levothyroxine", "tramadol", "citalopram",
)  # fmt: skip
NUMBERS = ("2", "3", "4", "5", "6", "8", "10", "12", "20", "40")
UNITS = ("mg", "ml", "tablets")
SPANS = ("hours", "days", "weeks")
SENTENCES = (
    "the patient reports {symptom} for {duration} .",
    "{symptom} since {duration} , no fever measured .",
    "admitted with {symptom} and {symptom} .",
    "{drug} {dose} was started for {symptom} .",
    "gave {dose} of {drug} , well tolerated .",
    "takes {drug} for {duration} .",
    "continue {drug} {dose} in the morning .",
    "denies {symptom} , slept {duration} .",
    "walked in the garden with his family today .",
    "the daughter was informed by telephone .",
)


def drawn(seed: int, count: int, part: Sequence[int] = (0, 1)) -> list[Document]:
    """`count` sentences. Every second symptom and drug is of part 0, the others of part 1: a model that
    has read one part alone has never seen the names of the other.
    """
    chosen = random.Random(seed)  # noqa: S311  (made texts)
    forms = {
        "symptom": [form for place, form in enumerate(SYMPTOMS) if place % 2 in part],
        "drug": [form for place, form in enumerate(DRUGS) if place % 2 in part],
    }
    return [_document(chosen, forms) for _ in range(count)]


def columns(documents: Sequence[Document]) -> Columns:
    """The documents as records of a `token-classification`."""
    return {
        "text": [document.text for document in documents],
        "entities": [entities_json(document.entities) for document in documents],
    }


def _document(chosen: random.Random, forms: dict[str, list[str]]) -> Document:
    text = ""
    entities = []
    for piece in chosen.choice(SENTENCES).replace("{", "\0{").replace("}", "}\0").split("\0"):
        label = piece[1:-1] if piece.startswith("{") else ""
        form = _form(chosen, forms, label) if label else piece
        if label:
            entities.append(Entity(start=len(text), end=len(text) + len(form), label=label))
        text += form
    return Document(text=text, entities=tuple(entities))


def _form(chosen: random.Random, forms: dict[str, list[str]], label: str) -> str:
    if label in forms:
        return chosen.choice(forms[label])
    return f"{chosen.choice(NUMBERS)} {chosen.choice(UNITS if label == 'dose' else SPANS)}"

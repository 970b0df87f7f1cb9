"""A whole training small enough for a test, from a file of TOML and two files of texts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
from server.pretraining.bilingual import reviews, titles

CONFIGURATION: dict[str, Any] = {
    "preset": "tiny-llama",
    "model": {"hidden": 32, "heads": 2, "kv_heads": 1, "intermediate": 64, "context": 32},
    "tokenizer": {"merges": 60, "languages": ["en", "zh"], "multiple": 8},
    "sources": [
        {"name": "titles", "paths": ["titles.jsonl"], "format": "jsonl", "language": "en"},
        {"name": "reviews", "paths": ["reviews.jsonl"], "format": "jsonl", "language": "zh"},
    ],
    "filters": {"duplicates": 0.85},
    "schedule": {
        "steps": 6,
        "batch": 4,
        "micro_batch": 4,
        "rate": 0.01,
        "warm_up": 2,
        "save_every": 2,
        "evaluate_every": 3,
    },
    "parallel": {"precision": "fp32"},
}


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes`, section by section."""
    found = dict(base)
    for key, value in changes.items():
        inner = found.get(key)
        nested = isinstance(value, Mapping) and isinstance(inner, Mapping)
        found[key] = merged(inner, value) if nested else value  # type: ignore[arg-type]
    return found


def configuration(folder: Path, texts: int = 120, **changes: Any) -> Path:
    """The file, with its texts beside it."""
    for name, lines in (("titles", titles()), ("reviews", reviews())):
        content = "".join(json.dumps({"text": text}) + "\n" for text, _ in lines[:texts])
        (folder / f"{name}.jsonl").write_text(content, "utf-8")
    path = folder / "tiny.toml"
    path.write_text(tomli_w.dumps(merged(CONFIGURATION, changes)), "utf-8")
    return path

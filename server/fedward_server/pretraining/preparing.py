"""What a training stands on: tokenizer and corpus, made once in its folder by the first worker."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from fedward_server.pretraining import tokenizers
from fedward_server.pretraining.configuration import Pretraining
from fedward_server.pretraining.corpus import making, sources
from fedward_server.pretraining.corpus.arranging import Arrangement
from fedward_server.pretraining.corpus.encoding import Encoding
from fedward_server.pretraining.corpus.making import Recipe
from fedward_server.pretraining.corpus.store import MANIFEST, Store
from fedward_server.pretraining.training.launched import own_rank

TOKENIZER, CORPUS = "tokenizer", "corpus"


class Prepared(NamedTuple):
    """What a training stands on; paths of its configuration are from `root` on."""

    tokenizer: Any
    encoding: Encoding
    store: Store
    root: Path


def prepare(terms: Pretraining, root: Path, folder: Path, console: Console) -> Prepared:
    """Makes the tokenizer and the corpus, or takes those that are there.

    The first worker makes them; the others wait, and end with it should it fail.
    """
    place = folder / TOKENIZER
    if own_rank():
        while not (folder / CORPUS / MANIFEST).is_file():
            time.sleep(1)
    elif not place.is_dir():
        console.print("making the tokenizer")
        objective = terms.model.objective
        own = terms.tokenizer
        if own.folder is not None:
            own = own.model_copy(update={"folder": root / own.folder})
        made = tokenizers.make(own, objective, _texts(terms, root), terms.seed)
        tokenizers.save(made, place)
    tokenizer = tokenizers.load(place)
    encoding = Encoding(tokenizer)
    if own_rank():
        return Prepared(tokenizer, encoding, Store(folder / CORPUS), root)
    if not (folder / CORPUS / MANIFEST).is_file():
        console.print("making the corpus")
    arrangement = Arrangement(terms.sources, terms.augmentation, root, terms.seed)
    recipe = Recipe(terms.sources, encoding, terms.filters, arrangement, arrangement.decided)
    return Prepared(tokenizer, encoding, making.make(folder / CORPUS, recipe, root), root)


def _texts(terms: Pretraining, root: Path) -> Iterator[tuple[str, str]]:
    """All texts that are trained on, with their language."""
    for source in terms.sources:
        if source.evaluation:
            continue
        for record in sources.records(source, sources.files(source, root)):
            if isinstance(record, sources.Document):
                yield record.text, source.language
                if record.other is not None and source.other_language is not None:
                    yield record.other, source.other_language

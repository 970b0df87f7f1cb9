"""The stage that makes a corpus: sources → what is left out → tokens in shards → the manifest.

    survey   every record is read once: what cannot be read is counted, passages of evaluation sets and
             near-duplicates are found
    write    what stays is tokenised, source by source; each shard says where the next begins
    finish   the manifest, and nothing is left of what was kept on the way

Killed at any moment and begun again, it comes to the same bytes: it goes on behind the last whole shard.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from fedward_server.pretraining.corpus import progress, sources, store
from fedward_server.pretraining.corpus.filtering import (
    NEAR_DUPLICATE,
    Filters,
    FilterTerms,
    Passages,
)
from fedward_server.pretraining.corpus.progress import Reached, Survey, Surveyed
from fedward_server.pretraining.corpus.sources import Document, Segment, SourceTerms, Tally
from fedward_server.pretraining.corpus.store import Manifest, SourceEntry, Store
from fedward_shared.errors import DataError, StateError, UsageError
from fedward_shared.text import duplicates
from fedward_shared.text.signatures import sketches

SHARD = 2**26
"""Tokens after which a shard is closed: 128 MiB, or 256."""

FEWEST = 2
"""Documents of a corpus: of one alone none could be held out."""

Arrange = Callable[[SourceTerms, Document, int], Sequence[Segment]]
"""A document as segments; the number is that of the document in the corpus."""


class Encoder(Protocol):
    """What makes tokens of documents; `digest` stands for all that decides them."""

    digest: str
    vocabulary: int

    def encode(self, documents: Sequence[Sequence[Segment]]) -> list[list[int]]:
        """The tokens of each document."""


def as_it_is(source: SourceTerms, document: Document, _number: int) -> Sequence[Segment]:
    """The text, and the same in the other language after it where the source has that."""
    if document.other is None or source.other_language is None:
        return ((document.text, source.language),)
    return ((document.text, source.language), (document.other, source.other_language))


@dataclass(frozen=True)
class Recipe:
    """What a corpus is made of. `arranged` is all that decides what `arrange` does, as JSON."""

    sources: Sequence[SourceTerms]
    encoder: Encoder
    filters: FilterTerms = field(default_factory=FilterTerms)
    arrange: Arrange = as_it_is
    arranged: Mapping[str, Any] = field(default_factory=dict)


class _Kept(NamedTuple):
    document: Document
    number: int
    tokens: list[int]


def make(folder: Path, recipe: Recipe, root: Path) -> Store:
    """The corpus of `recipe` in `folder`; paths of its sources are from `root` on.

    What is finished is taken as it is. Raises DataError for sources that cannot be used or give fewer
    than `FEWEST` documents; StateError if the folder was begun with something else (it says what), is
    in use, or the disk is full: what is needed is said, and what is finished stays.
    """
    making = _Making(folder, recipe, root)
    inputs = making.inputs()
    try:
        digest = store.begin(folder, inputs)
        with progress.locked(folder):
            if not (folder / store.MANIFEST).exists():
                making.make(digest)
            making.clear()
    except OSError as error:
        raise StateError(
            f"{folder}: the corpus cannot be written: {error.strerror}; {making.needed()}; set "
            "that right and begin again, what is finished stays"
        ) from error
    return Store(folder)


class _Making:
    def __init__(self, folder: Path, recipe: Recipe, root: Path) -> None:
        names = [terms.name for terms in recipe.sources]
        if repeated := sorted(name for name, count in Counter(names).items() if count > 1):
            raise UsageError(f"sources {repeated}: each needs a name of its own")
        self._folder, self._recipe = folder, recipe
        self._training = [terms for terms in recipe.sources if not terms.evaluation]
        self._evaluation = [terms for terms in recipe.sources if terms.evaluation]
        self._files = {terms.name: sources.files(terms, root) for terms in recipe.sources}
        self._passages = Passages()
        self._filters = Filters(recipe.filters, self._passages)
        self._dtype = store.token_dtype(recipe.encoder.vocabulary)
        self._shard_states: dict[str, list[Reached]] = {}

    def inputs(self) -> dict[str, Any]:
        """All that decides the corpus, as JSON."""
        deciding = {
            terms.name: {
                "terms": terms.model_dump(
                    mode="json", exclude={"name", "paths", "weight", "refused"}
                ),
                "content": sources.content_digest(self._files[terms.name]),
            }
            for terms in self._recipe.sources
        }
        return {
            "order": list(deciding),
            "sources": deciding,
            "tokenizer": self._recipe.encoder.digest,
            "duplicates": repr(self._recipe.filters.duplicates),
            "filters": self._filters.inputs,
            "arranged": dict(self._recipe.arranged),
            "shard": SHARD,
        }

    def make(self, inputs: str) -> None:
        """From where it was left to the manifest."""
        progress.sweep(self._folder)
        for name in self._files:
            self._shard_states[name] = progress.reached(self._folder, name)
        survey = self._survey()
        stays = self._stays()
        first = 0
        for terms in self._evaluation:
            self._write(terms, 0, None)
        for terms in self._training:
            self._write(terms, first, stays)
            first += survey.sources[terms.name].documents
        entries = {terms.name: self._entry(terms, survey) for terms in self._recipe.sources}
        _check(entries)
        manifest = Manifest(
            inputs=inputs,
            tokenizer=self._recipe.encoder.digest,
            vocabulary=self._recipe.encoder.vocabulary,
            sources=entries,
        )
        store.write_manifest(self._folder, manifest)

    def clear(self) -> None:
        """Deletes what was kept on the way to a manifest."""
        shutil.rmtree(self._index, ignore_errors=True)
        progress.clear(self._folder)

    def needed(self) -> str:
        """What is free, and about how much the rest of the corpus takes."""
        there = next(path for path in self._folder.absolute().parents if path.exists())
        free = shutil.disk_usage(there).free
        survey = progress.survey_in(self._folder)
        states = [state for states in self._shard_states.values() for state in states]
        if survey is None or not states:
            return f"{free} bytes are free, and a shard takes up to {SHARD * self._dtype.itemsize}"
        kept = sum(state.shard.documents for state in states)
        mean = sum(state.shard.tokens for state in states) * self._dtype.itemsize / kept
        rest = sum(source.documents for source in survey.sources.values()) - kept
        return f"{free} bytes are free, and the rest takes up to about {int(mean * rest)}"

    def _survey(self) -> Survey:
        """Reads the evaluation sets, and once all else."""
        found = {}
        for terms in self._evaluation:
            tally = Tally()
            parts = sources.parts(tally.documents(terms, self._records(terms)))
            self._passages.add(terms.name, ([d.text for d in part] for part in parts))
            found[terms.name] = _surveyed(tally)
        if (survey := progress.survey_in(self._folder)) is not None:
            return survey
        tallies = {terms.name: Tally() for terms in self._training}
        texts = (
            document.text
            for terms in self._training
            for document in tallies[terms.name].documents(terms, self._records(terms))
        )
        self._compare(texts)
        found |= {name: _surveyed(tally) for name, tally in tallies.items()}
        documents = sum(found[terms.name].documents for terms in self._training)
        if documents < FEWEST:
            raise DataError(
                f"the sources that are trained on ({', '.join(tallies) or 'none'}) have {documents} "
                f"documents: a corpus needs {FEWEST} or more; give more files, or cut what is one "
                "text into several documents"
            )
        survey = Survey(sources=found)
        progress.keep_survey(self._folder, survey)
        return survey

    def _compare(self, texts: Iterable[str]) -> None:
        """Takes the texts to the index of near-duplicates; reads them all the same without one."""
        threshold = self._recipe.filters.duplicates
        if threshold is None:
            for _ in texts:
                pass
            return
        with duplicates.Index(self._index, duplicates.Terms(threshold)) as index:
            rest = islice(texts, len(index), None)
            parts = sketches(rest, index.terms.seed)
            index.add_sketches((part, [""] * len(part)) for part in parts)

    def _stays(self) -> np.ndarray | None:
        """Of each document that is trained on, in the order of the sources, whether it stays."""
        threshold = self._recipe.filters.duplicates
        if threshold is None:
            return None
        with duplicates.Index(self._index, duplicates.Terms(threshold)) as index:
            instead = index.instead()
        stays: np.ndarray = instead == np.arange(len(instead))
        return stays

    def _write(self, terms: SourceTerms, first: int, stays: np.ndarray | None) -> None:
        """Writes the shards of a source that are not there; `first` is its first document's number."""
        states = self._shard_states[terms.name]
        if states and states[-1].last:
            return
        left_out = Counter(states[-1].left_out if states else {})
        kept = states[-1].kept if states else 0
        waiting = self._kept(terms, states[-1] if states else None, first, stays, left_out)
        upcoming = next(waiting, None)
        while upcoming is not None:
            number = len(states)
            with store.shard_written(self._folder, terms.name, number, self._dtype) as shard:
                while upcoming is not None and shard.tokens < SHARD:
                    shard.add(upcoming.tokens)
                    kept += 1
                    upcoming = next(waiting, None)
                written = shard.finish()
            state = Reached(
                shard=written,
                file=upcoming.document.file if upcoming else 0,
                record=upcoming.document.record if upcoming else 0,
                number=upcoming.number if upcoming else 0,
                kept=kept,
                left_out=dict(left_out),
                last=upcoming is None,
            )
            progress.keep_reached(self._folder, terms.name, number, state)
            states.append(state)
        if not states:
            raise DataError(
                f"source {terms.name!r}: none of its documents stays: "
                f"{dict(left_out) or 'it has none'}; give other files, or leave the source out"
            )

    def _kept(
        self,
        terms: SourceTerms,
        since: Reached | None,
        first: int,
        stays: np.ndarray | None,
        left_out: Counter[str],
    ) -> Iterator[_Kept]:
        """The documents of a source that stay; those before each that do not are in `left_out`."""
        file, record, number = (since.file, since.record, since.number) if since else (0, 0, first)
        found = self._records(terms, file, record)
        for part in sources.parts(one for one in found if isinstance(one, Document)):
            numbers = range(number, number := number + len(part))
            stay = [stays is None or bool(stays[place]) for place in numbers]
            encoded = iter(self._encoded(terms, part, numbers, stay))
            for document, place, whether in zip(part, numbers, stay, strict=True):
                reason, tokens = next(encoded) if whether else (NEAR_DUPLICATE, [])
                if reason is None:
                    yield _Kept(document, place, tokens)
                else:
                    left_out[reason] += 1

    def _encoded(
        self, terms: SourceTerms, part: list[Document], numbers: range, stay: list[bool]
    ) -> list[tuple[str | None, list[int]]]:
        """Of those that stay so far why they are left out all the same, or their tokens."""
        staying = [
            pair
            for pair, whether in zip(zip(part, numbers, strict=True), stay, strict=True)
            if whether
        ]
        texts = [document.text for document, _ in staying]
        reasons = [None] * len(texts) if terms.evaluation else list(self._filters.reasons(texts))
        arranged = [
            self._recipe.arrange(terms, document, number)
            for (document, number), reason in zip(staying, reasons, strict=True)
            if reason is None
        ]
        tokens = iter(self._recipe.encoder.encode(arranged))
        return [(reason, [] if reason else next(tokens)) for reason in reasons]

    def _entry(self, terms: SourceTerms, survey: Survey) -> SourceEntry:
        states, surveyed = self._shard_states[terms.name], survey.sources[terms.name]
        last = states[-1]
        if last.kept + sum(last.left_out.values()) != surveyed.documents:
            raise StateError(
                f"source {terms.name!r}: its files changed while the corpus was made; delete "
                f"{self._folder} and make it again"
            )
        return SourceEntry(
            language=terms.language,
            evaluation=terms.evaluation,
            read=surveyed.read,
            kept=last.kept,
            left_out=last.left_out,
            refused=surveyed.refused,
            places=surveyed.places,
            shards=tuple(state.shard for state in states),
        )

    def _records(
        self, terms: SourceTerms, file: int = 0, record: int = 0
    ) -> Iterator[Document | sources.Refused]:
        return sources.records(terms, self._files[terms.name], file, record)

    @property
    def _index(self) -> Path:
        return self._folder / "near-duplicates"


def _surveyed(tally: Tally) -> Surveyed:
    return Surveyed(
        read=tally.read,
        documents=tally.read - tally.refused.total(),
        refused=dict(tally.refused),
        places=tuple(tally.places),
    )


def _check(entries: Mapping[str, SourceEntry]) -> None:
    kept = sum(entry.kept for entry in entries.values() if not entry.evaluation)
    if kept < FEWEST:
        raise DataError(
            f"{kept} document stays of all sources that are trained on, and a corpus needs {FEWEST} "
            f"or more: { {name: entry.left_out for name, entry in entries.items()} }"
        )

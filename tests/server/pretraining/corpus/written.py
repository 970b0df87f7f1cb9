"""Corpora written by hand, token by token."""

from pathlib import Path

from fedward_server.pretraining.corpus import store
from fedward_server.pretraining.corpus.store import Manifest, SourceEntry, Store
from fedward_shared import canonical


def write_corpus(
    folder: Path,
    sources: dict[str, list[list[list[int]]]],
    vocabulary: int = 70_001,
    evaluation: tuple[str, ...] = (),
) -> Store:
    """A corpus of these documents, by source and shard; some sources are for evaluation."""
    inputs = store.begin(folder, {"made": "by hand"})
    entries = {}
    for name, shards in sources.items():
        written = []
        for number, documents in enumerate(shards):
            with store.shard_written(folder, name, number, store.token_dtype(vocabulary)) as shard:
                for document in documents:
                    shard.add(document)
                written.append(shard.finish())
        count = sum(map(len, shards))
        entries[name] = SourceEntry(
            language="en",
            evaluation=name in evaluation,
            read=count,
            kept=count,
            left_out={},
            refused={},
            places=(),
            shards=tuple(written),
        )
    manifest = Manifest(
        inputs=inputs, tokenizer=canonical.digest(b""), vocabulary=vocabulary, sources=entries
    )
    store.write_manifest(folder, manifest)
    return Store(folder)

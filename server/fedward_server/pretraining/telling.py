"""What a training would take, as tables for people."""

from collections.abc import Sequence

from rich.console import Console

from fedward_server.pretraining import planning
from fedward_server.pretraining.configuration import Pretraining
from fedward_server.pretraining.fitting import run_of
from fedward_server.pretraining.hardware import CLUSTERS, cluster
from fedward_server.pretraining.memory import Run
from fedward_server.pretraining.presets import PRESETS, TINY_VOCABULARY


def plans(terms: Pretraining, clusters: Sequence[str], console: Console) -> None:
    """The training of `terms` on each cluster: size, memory, days; and what would fit where it does not.

    The vocabulary is taken to be as large as the configuration lets it become.
    """
    vocabulary = terms.tokenizer.merges + TINY_VOCABULARY // 8
    tokens = terms.schedule.steps * terms.schedule.batch * terms.model.context
    on_each = {name: cluster(name) for name in clusters or (*CLUSTERS, "cpu")}
    if terms.cluster is not None:
        on_each["[cluster]"] = terms.cluster
    found = []
    for name, on in on_each.items():
        run = run_of(terms, on.devices)
        found.append(planning.plan(name, terms.model, vocabulary, on, run, tokens))
    console.print(planning.sideways(found, f"{tokens:,} tokens in {terms.schedule.steps:,} steps"))
    for planned in found:
        if (said := planning.told(planned)) is not None:
            console.print(said, soft_wrap=True)


def presets(clusters: Sequence[str], console: Console) -> None:
    """All presets on each cluster, with the tokens that their size is worth; in lines too long for a
    narrow terminal rather than cut off."""
    console.width = max(console.width, planning.WIDE)
    for name in clusters or CLUSTERS:
        found = [
            planning.plan(each, own.model, own.vocabulary, cluster(name), Run())
            for each, own in PRESETS.items()
        ]
        console.print(planning.table(found, name))

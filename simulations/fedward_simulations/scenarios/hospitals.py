"""Four hospitals code diagnoses: text classification over ICD-10-CM, or over a file of one's own."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from rich.console import Console

from fedward_shared import release, report
from fedward_shared.charter_terms import (
    AdapterTerms,
    SecureAggregationTerms,
    TaskTerms,
    TrainingTerms,
)
from fedward_shared.errors import CharterError, UsageError
from fedward_shared.pretrained import attention, depth
from fedward_shared.report import Result, Row
from fedward_shared.secagg.graph import check_terms
from fedward_shared.tasks.base import Columns
from fedward_shared.tasks.classification import macro_f1
from fedward_simulations import runs
from fedward_simulations.agreement import Agreement
from fedward_simulations.comparison import CLASSIFICATION, Comparison, Entry, Report, jobs, now
from fedward_simulations.consortium import Recipe, World, size
from fedward_simulations.data import base_models, icd10, own
from fedward_simulations.data.own import Corpus
from fedward_simulations.engines import Engine
from fedward_simulations.partition import Indices, Scheme, partition
from fedward_simulations.view import LiveView

NAMES = ("north", "east", "south", "west")
MAX_TOKENS = 64
DELTA = 1e-5
UNMASKED = "unmasked-dp"
COLLUDING = 1
"""Of a masked study's hospitals, so many may work together with the coordinator."""

PUBLIC_TEXTS = 1000
"""At least so many: enough for the statistics, and each has to be encoded."""

# How these were chosen, and what did not work, is in docs/explanation/recipe.md.
LORA = Recipe(
    adapter=AdapterTerms(
        method="lora-xs", rank=32, alpha=64.0, target_modules=("query", "key"), layers=(5,)
    ),
    training=TrainingTerms(
        rounds=24, local_steps=2, head_rounds=16, learning_rate=8.0, head_learning_rate=20.0
    ),
    sampling_rate=0.3,
    server_optimizer="fedavgm",
    server_momentum=0.6,
    name_length=12.0,
    aimed=True,
)
PROBE = replace(LORA, adapter=AdapterTerms(method="head-only"), aimed=False)
RECIPE_RECORDS = 5000
RECIPE_EPSILON = 1.0
RATE_EXPONENT = 0.4
NOISELESS_EPSILON = 8.0
"""Without noise the rates of this ε serve: larger ones overshoot."""


@dataclass(frozen=True)
class Options:
    """What a person may choose on the command line."""

    out: Path
    records: int = 3000
    evaluation: int = 2000
    sites: int | None = None
    rounds: int | None = None
    epsilon: float = 1.0
    partition: str = "dirichlet:0.5"
    seed: int = 0
    model: Path | None = None
    data: Path | None = None
    text_column: str = "text"
    label_column: str = "label"
    engine: Engine = "in-process"
    threads: int = 2
    whole_table: bool = False
    secure_aggregation: bool = False
    threshold: int | None = None
    drop: int = 0
    from_raw: bool = False


def run(
    options: Options,
    console: Console,
    sites: Mapping[str, Columns] = MappingProxyType({}),
    notes: Sequence[str] = (),
) -> Result:
    """Runs the scenario into `options.out`, or goes on where an interrupted run of it stopped.

    `sites` are the records that each was dealt, if they come from elsewhere, and `notes` what is to be
    said of them.
    """
    started, clock = now()
    corpus = corpus_of(options)
    world = world_of(options, corpus)
    if sites:
        world = replace(world, sites=dict(sites))
    entries = entries_of(options, world)
    # Last of what can refuse the options: claiming the folder removes a finished run from it.
    resumed = runs.claim(options.out, _command(options))
    title = f"{len(world.sites)} hospitals, one model" if options.data is None else "One model"
    with LiveView(console, jobs(entries), title, options.epsilon) as view:
        if resumed:
            console.print("going on where the interrupted run stopped")
        comparison = Comparison(world, entries, view)
        comparison.run()
    alone = {
        site: study
        for study in comparison.outcomes
        for site in world.sites
        if study == f"alone-{site}"
    }
    said = Report(
        scenario="hospitals",
        title=title,
        question="What does federation under differential privacy buy each hospital?",
        command=_command(options),
        settings=_settings(options, world),
        notes=[*corpus.notes, *notes, *_notes(world, alone), *_agreement(comparison)],
    )
    result = comparison.result(
        said,
        CLASSIFICATION,
        [_majority(world)],
        "federated-dp",
        alone,
        started,
        now()[1] - clock,
    )
    federated = comparison.outcomes["federated-dp"]
    release.write(
        comparison.consortium.model(federated),
        federated.study.charter,
        federated.epsilon,
        options.out / runs.ADAPTER_FOLDER,
    )
    report.write(result, options.out)
    return result


def _agreement(comparison: Comparison) -> list[str]:
    unmasked = comparison.outcomes.get(UNMASKED)
    if unmasked is None:
        return []
    sites = len(unmasked.study.charter.participants)
    return [Agreement.of(comparison.outcomes["federated-dp"], unmasked).note(sites)]


def corpus_of(options: Options) -> Corpus:
    """The texts: ICD-10-CM, or the file of `options`. Raises DataError or UsageError."""
    scheme = _scheme(options)
    if options.data is not None:
        columns = {"text": options.text_column, "label": options.label_column}
        if scheme.kind == "column":
            columns[own.GROUP] = scheme.column
        return own.load(options.data, columns, options.evaluation, options.seed)
    if scheme.kind == "column":
        raise UsageError("--partition column:NAME: ICD-10-CM has no such column; give --data FILE")
    split = icd10.load(options.seed)
    chosen = np.random.default_rng(options.seed).permutation(len(split.test))[: options.evaluation]
    return Corpus(
        train=_columns(split.train),
        groups=[],
        evaluation=_columns([split.test[i] for i in sorted(chosen)]),
        public=_columns(split.tuning[:: len(split.tuning) // PUBLIC_TEXTS]),
        labels=tuple(split.labels),
        notes=(
            "Texts are the leaf descriptions of ICD-10-CM, labels its 22 chapters. Whole "
            "three-character categories are held out, so that no sibling of a test text was "
            "trained on.",
            "The tuning texts are public here: the head's feature statistics and the adapters' A "
            "come from them. The head starts at the titles of the chapters.",
        ),
    )


def _scheme(options: Options) -> Scheme:
    try:
        return Scheme.parse(options.partition)
    except ValueError as error:
        raise UsageError(f"--partition: {error}") from error


def _columns(rows: list[icd10.Record]) -> Columns:
    return {"text": [row.text for row in rows], "label": [row.label for row in rows]}


def dealt(options: Options, corpus: Corpus) -> dict[str, Indices]:
    """For each site, which of the training records are its own. Raises UsageError as `world_of`."""
    scheme = _scheme(options)
    groups = corpus.groups if scheme.kind == "column" else corpus.train["label"]
    count = options.sites or (len(set(groups)) if scheme.kind == "column" else len(NAMES))
    available = size(corpus.train) // count
    per_site = min(options.records, available) if options.data else options.records
    try:
        parts = partition(
            groups, count, None if scheme.kind == "column" else per_site, scheme, options.seed
        )
    except ValueError as error:
        raise UsageError(f"--partition, --sites, --records: {error}") from error
    names = NAMES if count <= len(NAMES) else [f"site-{n:03d}" for n in range(1, count + 1)]
    return dict(zip(names, parts, strict=False))


def holders(options: Options, corpus: Corpus) -> dict[str, Columns]:
    """Who holds which of them. Raises UsageError for a partition that they do not allow."""
    return {
        name: {role: [values[i] for i in part] for role, values in corpus.train.items()}
        for name, part in dealt(options, corpus).items()
    }


def world_of(options: Options, corpus: Corpus) -> World:
    """What all studies of the scenario share. Raises UsageError as `holders` does."""
    return World(
        folder=options.out / runs.STUDIES_FOLDER,
        base_model=options.model or base_models.minilm(),
        task=TaskTerms(kind="text-classification", labels=corpus.labels, max_tokens=MAX_TOKENS),
        sites=holders(options, corpus),
        evaluation=corpus.evaluation,
        public=corpus.public,
        purpose="Suggest the ICD-10-CM chapter of a diagnosis to the people who code it",
        delta=DELTA,
        seed=options.seed,
        threads=options.threads,
        engine=options.engine,
        dropping=options.drop,
    )


def masked(recipe: Recipe, options: Options, world: World) -> Recipe:
    """The recipe with masks, if they are wanted. Raises UsageError where they cannot work."""
    if not options.secure_aggregation:
        if options.drop:
            raise UsageError("--drop: sites drop out of masked rounds; give --secure-aggregation")
        return _closing_with(recipe, options.threshold) if options.threshold else recipe
    if options.drop and options.engine != "in-process":
        raise UsageError(f"--drop: not with the engine {options.engine}")
    threshold = options.threshold or len(world.sites) - options.drop
    try:
        check_terms(len(world.sites), threshold, COLLUDING)
    except CharterError as error:
        raise UsageError(f"--threshold, --sites: {error}") from error
    if len(world.sites) - options.drop < threshold:
        raise UsageError(f"--drop: with {options.drop} sites gone, {threshold} are not left")
    masks = SecureAggregationTerms(colluding=COLLUDING)
    return replace(_closing_with(recipe, threshold), masks=masks)


def _closing_with(recipe: Recipe, threshold: int) -> Recipe:
    """The recipe with so many sites as the fewest of a round."""
    return replace(recipe, aggregation={**recipe.aggregation, "minimum_cohort": threshold})


def entries_of(options: Options, world: World) -> list[Entry]:
    """The rows that are trained, the main one first. Raises ModelError for no base model."""
    lora, probe = (_fitted(recipe, options, world, options.epsilon) for recipe in (LORA, PROBE))
    together, probing = (masked(recipe, options, world) for recipe in (lora, probe))
    everyone, budget = dict(world.sites), options.epsilon
    alone = dict(list(everyone.items())[: None if options.whole_table else 1])
    entries = [
        Entry("federated-dp", "Federated with DP", together, budget, {"federated-dp": everyone}),
        Entry(
            "probe-dp",
            "Federated linear probe with DP",
            probing,
            budget,
            {"probe-dp": everyone},
            cost=0.2,
        ),
        Entry(
            "alone",
            "One site alone with DP",
            lora,
            budget,
            {f"alone-{name}": {name: columns} for name, columns in alone.items()},
        ),
    ]
    if options.secure_aggregation:
        stay = dict(list(everyone.items())[: len(everyone) - options.drop])
        label = "Federated with DP, unmasked, of the sites that stay"
        entries.append(Entry(UNMASKED, label, lora, budget, {UNMASKED: stay}))
    if options.whole_table:
        pooled = {
            role: [value for columns in everyone.values() for value in columns[role]]
            for role in ("text", "label")
        }
        plain = _fitted(LORA, options, world, NOISELESS_EPSILON)
        entries += [
            Entry("federated", "Federated without DP", plain, None, {"federated": everyone}),
            Entry(
                "pooled",
                "All data pooled, without DP",
                plain,
                None,
                {"pooled": {"pooled": pooled}},
                cost=float(len(everyone)),
            ),
        ]
    return entries


def _fitted(recipe: Recipe, options: Options, world: World, epsilon: float) -> Recipe:
    """`recipe` for this many rounds and records, this ε, and the last layer of the base model.

    A step's noise is σ·C / (q·N): where it is larger than in the study that the recipe was chosen
    on, steps are smaller.
    """
    records = min(size(columns) for columns in world.sites.values())
    fewer = min(1.0, records / RECIPE_RECORDS)
    scale = fewer * (epsilon / RECIPE_EPSILON) ** RATE_EXPONENT
    training, adapter = recipe.training, recipe.adapter
    rounds = options.rounds or training.rounds
    if adapter.layers:
        own = {"layers": (depth(world.base_model) - 1,)}
        adapter = adapter.model_copy(update={**own, "target_modules": attention(world.base_model)})
    head_rate = training.head_learning_rate or training.learning_rate
    return replace(
        recipe,
        adapter=adapter,
        training=training.model_copy(
            update={
                "rounds": rounds,
                "head_rounds": training.head_rounds * rounds // training.rounds,
                "learning_rate": training.learning_rate * scale,
                "head_learning_rate": head_rate * scale,
            }
        ),
    )


def _majority(world: World) -> Row:
    """Always the label that is commonest at the sites."""
    counts = Counter(label for columns in world.sites.values() for label in columns["label"])
    labels = list(world.task.labels)
    true = np.array([labels.index(label) for label in world.evaluation["label"]])
    guess = np.full_like(true, labels.index(counts.most_common(1)[0][0]))
    return Row.of(
        "majority",
        "Always the commonest label",
        {"accuracy": float((true == guess).mean()), "macro_f1": macro_f1(true, guess)},
        private=False,
    )


def _notes(world: World, alone: Mapping[str, str]) -> list[str]:
    return [
        "Each row is a study of its own with ledgers of its own: the rows' ε are alternatives, "
        "they do not add up.",
        f"The row of one site alone is the mean of {len(alone)} of {len(world.sites)} sites.",
        f"Scored on {size(world.evaluation)} held-out texts; macro-F1 is over the labels that "
        "occur in them.",
    ]


def _settings(options: Options, world: World) -> dict[str, str | int | float | bool | None]:
    return {
        "sites": len(world.sites),
        "records a site": max(size(columns) for columns in world.sites.values()),
        "partition": options.partition,
        "ε": options.epsilon,
        "δ": world.delta,
        "rounds": options.rounds or LORA.training.rounds,
        "local steps a round": LORA.training.local_steps,
        "sampling rate": LORA.sampling_rate,
        "adapter": f"{LORA.adapter.method}, rank {LORA.adapter.rank}",
        "base model": world.base_model.parent.name if options.model is None else options.model.name,
        "secure aggregation": options.secure_aggregation,
        "sites that drop out of each round": options.drop,
        "engine": options.engine,
        "threads": options.threads,
    }


def _command(options: Options) -> str:
    given = ["fedward simulate hospitals"]
    default = Options(out=options.out)
    for name in (
        "records",
        "evaluation",
        "sites",
        "rounds",
        "epsilon",
        "partition",
        "seed",
        "model",
        "data",
        "text_column",
        "label_column",
        "engine",
        "threads",
        "threshold",
        "drop",
    ):
        value = getattr(options, name)
        if value != getattr(default, name):
            given.append(f"--{name.replace('_', '-')} {value}")
    if options.whole_table:
        given.append("--full")
    if options.secure_aggregation:
        given.append("--secure-aggregation")
    if options.from_raw:
        given.append("--from-raw")
    return " ".join(given)

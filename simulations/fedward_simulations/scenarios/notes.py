"""Three clinics teach a language model to assess a visit: causal language modelling."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from fedward_shared import release, report, tasks
from fedward_shared.charter_terms import AdapterTerms, TaskTerms, TrainingTerms
from fedward_shared.report import Result, Row, Sample
from fedward_shared.tasks.base import Columns
from fedward_shared.tasks.causal_lm import CausalLanguageModel
from fedward_simulations import runs
from fedward_simulations.comparison import LANGUAGE, Comparison, Entry, Report, jobs, now
from fedward_simulations.consortium import Recipe, World, size
from fedward_simulations.data import base_models
from fedward_simulations.data import notes as clinical_notes
from fedward_simulations.engines import Engine
from fedward_simulations.view import LiveView

NAMES = ("hill", "lake", "mill")
MAX_TOKENS = 256
DELTA = 1e-5
SAMPLE_TOKENS = 60
SAMPLES = 2

RECIPE = Recipe(
    adapter=AdapterTerms(
        method="ffa-lora",
        rank=8,
        alpha=16.0,
        target_modules=("q_proj", "v_proj"),
        layers=(26, 27, 28, 29),
    ),
    training=TrainingTerms(rounds=3, local_steps=4, optimizer="adam", learning_rate=2e-3),
    sampling_rate=0.125,
)
TINY = replace(RECIPE, adapter=RECIPE.adapter.model_copy(update={"layers": (1,)}))


@dataclass(frozen=True)
class Options:
    """What a person may choose on the command line."""

    out: Path
    records: int = 256
    evaluation: int = 64
    rounds: int | None = None
    epsilon: float = 8.0
    seed: int = 0
    tiny: bool = False
    engine: Engine = "in-process"
    threads: int = 2


def run(options: Options, console: Console) -> Result:
    """Runs the scenario into `options.out`, or goes on where an interrupted run of it stopped."""
    started, clock = now()
    split = clinical_notes.load(options.seed, len(NAMES), options.records, options.evaluation)
    cache = options.out / "base-model"
    world = World(
        folder=options.out / runs.STUDIES_FOLDER,
        base_model=base_models.tiny_llama(cache, options.seed)
        if options.tiny
        else base_models.smollm2(cache),
        task=TaskTerms(kind="causal-lm", max_tokens=MAX_TOKENS),
        sites={name: _columns(notes) for name, notes in zip(NAMES, split.sites, strict=True)},
        evaluation=_columns(split.held_out),
        public=None,
        purpose="Draft the assessment of a visit for the physician who signs it",
        delta=DELTA,
        seed=options.seed,
        threads=options.threads,
        engine=options.engine,
    )
    resumed = runs.claim(options.out, _command(options))
    recipe = TINY if options.tiny else RECIPE
    if options.rounds is not None:
        training = recipe.training.model_copy(update={"rounds": options.rounds})
        recipe = replace(recipe, training=training)
    sites = dict(world.sites)
    entries = [
        Entry(
            "federated-dp", "Federated with DP", recipe, options.epsilon, {"federated-dp": sites}
        ),
        Entry("federated", "Federated without DP", recipe, None, {"federated": sites}),
    ]
    with LiveView(console, jobs(entries), "Three clinics, one model", options.epsilon) as view:
        if resumed:
            console.print("going on where the interrupted run stopped")
        comparison = Comparison(world, entries, view)
        comparison.run()
    before = tasks.build(world.base_model, world.task, recipe.adapter)
    after = comparison.consortium.model(comparison.outcomes["federated-dp"])
    assert isinstance(before, CausalLanguageModel)
    assert isinstance(after, CausalLanguageModel)
    scores = before.evaluate(before.prepare(world.evaluation))
    untrained = Row.of(
        "before", "Before training", {"perplexity": scores["perplexity"]}, private=False
    )
    result = comparison.result(
        Report(
            scenario="notes",
            title="Three clinics, one language model",
            question="How much better does a model assess a visit after federated training?",
            command=_command(options),
            settings=_settings(options, world, recipe),
            notes=_notes(world),
        ),
        LANGUAGE,
        [untrained],
        "federated-dp",
        {},
        started,
        now()[1] - clock,
        _samples(before, after, world.evaluation),
    )
    federated = comparison.outcomes["federated-dp"]
    release.write(
        after, federated.study.charter, federated.epsilon, options.out / runs.ADAPTER_FOLDER
    )
    report.write(result, options.out)
    return result


def _columns(notes: Sequence[clinical_notes.Note]) -> Columns:
    return {
        "prompt": [note.prompt for note in notes],
        "completion": [note.completion for note in notes],
    }


def _samples(
    before: CausalLanguageModel, after: CausalLanguageModel, held_out: Columns
) -> list[Sample]:
    return [
        Sample(
            prompt=prompt,
            reference=reference,
            before=before.complete(prompt, SAMPLE_TOKENS),
            after=after.complete(prompt, SAMPLE_TOKENS),
        )
        for prompt, reference in zip(
            held_out["prompt"][:SAMPLES], held_out["completion"][:SAMPLES], strict=True
        )
    ]


def _notes(world: World) -> list[str]:
    return [
        "The visits are synthetic (clinosim). A patient gives one record, so the privacy unit "
        "“record” is the patient here.",
        "Each row is a study of its own with ledgers of its own: the rows' ε are alternatives, they "
        "do not add up.",
        f"Perplexity is per token of the completion, over {size(world.evaluation)} held-out visits. "
        "The completion samples are of the model trained with DP.",
    ]


def _settings(
    options: Options, world: World, recipe: Recipe
) -> dict[str, str | int | float | bool | None]:
    return {
        "sites": len(world.sites),
        "records a site": options.records,
        "ε": options.epsilon,
        "δ": world.delta,
        "rounds": recipe.training.rounds,
        "local steps a round": recipe.training.local_steps,
        "sampling rate": recipe.sampling_rate,
        "adapter": f"{recipe.adapter.method}, rank {recipe.adapter.rank}",
        "base model": "tiny Llama, random weights" if options.tiny else "SmolLM2-135M-Instruct",
        "engine": options.engine,
        "threads": options.threads,
    }


def _command(options: Options) -> str:
    given = ["fedward simulate notes"]
    default = Options(out=options.out)
    for name in ("records", "evaluation", "rounds", "epsilon", "seed", "engine", "threads"):
        value = getattr(options, name)
        if value != getattr(default, name):
            given.append(f"--{name} {value}")
    if options.tiny:
        given.append("--tiny")
    return " ".join(given)

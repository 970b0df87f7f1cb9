"""The two tasks on which adapter methods are compared: worlds by seed, and a recipe for each method.

Both are sized for many runs on one core: smaller than the scenarios that they come from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedward_shared.charter_terms import AdapterTerms, TaskTerms, TrainingTerms
from fedward_shared.names import METHODS
from fedward_shared.tasks.base import Columns
from fedward_simulations.consortium import Recipe, World
from fedward_simulations.data import base_models
from fedward_simulations.data import notes as clinical_notes
from fedward_simulations.scenarios import hospitals, notes

NOISELESS_EPSILON = hospitals.NOISELESS_EPSILON
ICD_RECORDS, ICD_EVALUATION, ICD_ROUNDS, ICD_HEAD_ROUNDS = 1500, 1500, 12, 6
LM_RECORDS, LM_EVALUATION, LM_TOKENS = 256, 96, 64


@dataclass(frozen=True, eq=False)
class Task:
    """`rates`: the learning rates that are tried on the tuning seed, for each method of which others
    take theirs (`RATE_OF`). `recipe` makes the one for a method, a rate and an ε, None without DP."""

    name: str
    title: str
    score: str
    higher_is_better: bool
    methods: Sequence[str]
    rates: Mapping[str, Sequence[float]]
    world: Callable[[int, Path], World]
    recipe: Callable[[str, float, float | None], Recipe]


def _icd_world(seed: int, folder: Path) -> World:
    options = hospitals.Options(
        out=folder, records=ICD_RECORDS, evaluation=ICD_EVALUATION, seed=seed, threads=1
    )
    return replace(
        hospitals.world_of(options, hospitals.corpus_of(options)), folder=folder / "studies"
    )


def _icd_recipe(method: str, rate: float, epsilon: float | None) -> Recipe:
    """The hospitals' recipe with another method; rates follow noise and records as theirs do."""
    epsilon = NOISELESS_EPSILON if epsilon is None else epsilon
    scale = ICD_RECORDS / hospitals.RECIPE_RECORDS
    scale *= (epsilon / hospitals.RECIPE_EPSILON) ** hospitals.RATE_EXPONENT
    training = hospitals.LORA.training
    assert training.head_learning_rate is not None
    return replace(
        hospitals.LORA,
        adapter=_adapter(method, ("query", "key"), (5,), 16, 6),
        ranks=_ranks(method, {"east": 8, "south": 8, "west": 4}),
        aimed=method not in ("head-only", "prefix-tuning"),
        training=training.model_copy(
            update={
                "rounds": ICD_ROUNDS,
                "head_rounds": ICD_HEAD_ROUNDS,
                "learning_rate": rate * scale,
                "head_learning_rate": training.head_learning_rate * scale,
            }
        ),
    )


def _lm_world(seed: int, folder: Path) -> World:
    spare = 1.4  # of the visits, those with a value to judge are kept
    split = clinical_notes.load(
        seed, len(notes.NAMES), int(spare * LM_RECORDS), int(spare * LM_EVALUATION)
    )
    return World(
        folder=folder / "studies",
        base_model=base_models.smollm2(folder.parent / "base-model"),
        task=TaskTerms(kind="causal-lm", max_tokens=LM_TOKENS),
        sites={
            name: judgements(part, LM_RECORDS)
            for name, part in zip(notes.NAMES, split.sites, strict=True)
        },
        evaluation=judgements(split.held_out, LM_EVALUATION),
        public=None,
        purpose="Draft the judgement of a value for the physician who signs it",
        delta=notes.DELTA,
        seed=seed,
        threads=1,
        engine="in-process",
    )


def judgements(visits: Sequence[clinical_notes.Note], count: int) -> Columns:
    """Of each note the first line, cut before its last dash: a value and its target, then what the
    physician makes of them. Short enough for a language model on one core."""
    lines = [visit.completion.partition("\n")[0].rpartition(" — ") for visit in visits]
    usable = [(before + dash, after) for before, dash, after in lines if dash][:count]
    return {"prompt": [p for p, _ in usable], "completion": [c for _, c in usable]}


def _lm_recipe(method: str, rate: float, epsilon: float | None) -> Recipe:
    """Adam takes the scale of the gradients out, so one rate serves every ε; without noise each of its
    steps counts, and a quarter of the rate does."""
    rate = rate / 4 if epsilon is None else rate
    return Recipe(
        adapter=_adapter(method, ("q_proj", "v_proj"), (28, 29), 8, 30),
        ranks=_ranks(method, {"lake": 4, "mill": 2}),
        training=TrainingTerms(rounds=5, local_steps=2, optimizer="adam", learning_rate=rate),
        sampling_rate=0.125,
    )


def _adapter(
    method: str, modules: tuple[str, ...], layers: tuple[int, ...], rank: int, depth: int
) -> AdapterTerms:
    if method == "head-only":
        return AdapterTerms(method="head-only")
    if method == "prefix-tuning":
        return AdapterTerms(method="prefix-tuning", rank=8, layers=tuple(range(depth)))
    rank = 2 * rank if method == "lora-xs" else rank
    fields = {"method": method, "rank": rank, "alpha": 2.0 * rank}
    return AdapterTerms.model_validate({**fields, "target_modules": modules, "layers": layers})


def _ranks(method: str, ranks: Mapping[str, int]) -> Mapping[str, int]:
    return ranks if METHODS[method].mixed_ranks else {}


RATE_OF = {
    "fedsvd": "ffa-lora",
    "rolora": "ffa-lora",
    "fedex-lora": "lora",
    "flora": "lora",
    "hetlora": "lora",
}
"""The method whose learning rate another takes that has none of its own: that of whoever trains as many
tensors at a time."""

_ICD_RATES = {
    "head-only": (8.0,),
    "lora-xs": (8.0,),
    "ffa-lora": (2.0,),
    "lora": (1.0, 2.0, 4.0),
    "prefix-tuning": (0.1, 1.0, 10.0),
}
"""Where there is one, docs/explanation/recipe.md has how it was chosen."""

_LM_RATES = {
    "lora-xs": (2.56e-1, 1.0, 4.0),
    "ffa-lora": (2.56e-1, 1.0, 4.0),
    "lora": (1.6e-2, 6.4e-2, 2.56e-1),
    "rolora": (1.6e-2, 6.4e-2, 2.56e-1),
    "flora": (1.6e-2, 6.4e-2, 2.56e-1),
    "hetlora": (4e-3, 1.6e-2, 6.4e-2),
    "prefix-tuning": (1.6e-2, 6.4e-2, 2.56e-1),
}
"""For ten steps of Adam in all: at smaller rates nothing has moved far when they are over."""

TASKS = (
    Task(
        name="icd",
        title="ICD-10-CM chapters, MiniLM: macro-F1",
        score="macro_f1",
        higher_is_better=True,
        methods=tuple(METHODS),
        rates=_ICD_RATES,
        world=_icd_world,
        recipe=_icd_recipe,
    ),
    Task(
        name="notes",
        title="Judgements of visits, SmolLM2-135M: perplexity",
        score="perplexity",
        higher_is_better=False,
        methods=tuple(method for method in METHODS if method != "head-only"),
        rates=_LM_RATES,
        world=_lm_world,
        recipe=_lm_recipe,
    ),
)

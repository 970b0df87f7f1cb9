"""A training from its configuration to its last step, in a folder of its own.

    RUN/configuration.json     what it was begun with; it goes on with nothing else
        tokenizer/ corpus/     made once, by the first worker
        checkpoints/           the newest few
        diary.jsonl            all that happened, and curves.html of it

The same call begins, goes on after a kill, and returns at once when all is done.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from fedward_server.pretraining import hardware, initial, planning, tokenizers
from fedward_server.pretraining.architectures import Architecture, build
from fedward_server.pretraining.balancing import balancer
from fedward_server.pretraining.configuration import Pretraining
from fedward_server.pretraining.corpus import making, sources
from fedward_server.pretraining.corpus.arranging import Arrangement
from fedward_server.pretraining.corpus.data import Data
from fedward_server.pretraining.corpus.encoding import Encoding
from fedward_server.pretraining.corpus.making import Recipe
from fedward_server.pretraining.corpus.objectives import Objective, ObjectiveTerms
from fedward_server.pretraining.corpus.store import MANIFEST, Store
from fedward_server.pretraining.counting import flops_per_token
from fedward_server.pretraining.doctor import Doctor
from fedward_server.pretraining.families import Specials
from fedward_server.pretraining.forward import Forward
from fedward_server.pretraining.memory import Run
from fedward_server.pretraining.monitoring.figures import Machine
from fedward_server.pretraining.monitoring.watchers import Watchers
from fedward_server.pretraining.monitoring.watching import watching
from fedward_server.pretraining.reports import EvaluationReport
from fedward_server.pretraining.training.checkpoints import Checkpoints
from fedward_server.pretraining.training.loop import Training
from fedward_server.pretraining.training.parallel import Workers, workers
from fedward_shared.errors import ModelError, StateError, UsageError
from fedward_shared.files import write_atomically

CONFIGURATION, TOKENIZER, CORPUS, CHECKPOINTS = (
    "configuration.json",
    "tokenizer",
    "corpus",
    "checkpoints",
)
FREE = (
    "monitoring",
    "cluster",
    "doctor",
    "parallel",
    "schedule.keep",
    "schedule.save_every",
    "search",
)
"""What may be another when a training goes on: nothing of it changes what is learned."""


UNKNOWN = 0.001
"""TFLOP/s of a device that is in no table: no utilisation is told of it."""


class Prepared(NamedTuple):
    """What a training stands on; paths of its configuration are from `root` on."""

    tokenizer: Any
    encoding: Encoding
    store: Store
    root: Path


def run(terms: Pretraining, root: Path, folder: Path, console: Console) -> None:
    """Trains in `folder`, or goes on; paths of `terms` are from `root` on.

    Raises what a wrong configuration, corpus or model is refused with, before anything is trained;
    StateError if the doctor gives up or the disk is full; Interrupted at SIGINT or SIGTERM.
    """
    begin(terms, root, folder)
    with ready(terms, folder, prepare(terms, root, folder, console), console) as training:
        training.run()


@contextmanager
def ready(
    terms: Pretraining,
    folder: Path,
    prepared: Prepared,
    console: Console,
    after_evaluation: Callable[[EvaluationReport], object] = lambda _: None,
) -> Iterator[Training]:
    """The training in `folder`, watched, and stopped by signals. Raises ModelError where it does not fit
    this machine."""
    check_size(terms, len(prepared.tokenizer))
    layers = _layers(terms.model, prepared)
    crew = workers(terms.parallel, layers, terms.schedule.clipping)
    try:
        with _watched(terms, folder, crew, prepared, console) as watcher:
            training = assembled(terms, folder, prepared, crew, watcher, after_evaluation)
            with _stopped_by_signals(training.stop):
                yield training
    finally:
        crew.end()


def begin(terms: Pretraining, root: Path, folder: Path) -> None:
    """Says in `folder` what is trained there.

    Raises UsageError that names the keys in which another training was begun there.
    """
    path = folder / CONFIGURATION
    content = terms.model_dump(mode="json")
    if terms.initial is not None:
        content["initial"] = str((root / terms.initial).resolve())
    if path.is_file():
        before = _flat(json.loads(path.read_text("utf-8"))["terms"])
        now = _flat(content)
        changed = sorted(
            key
            for key in before.keys() | now.keys()
            if before.get(key) != now.get(key) and not key.startswith(FREE)
        )
        if changed:
            raise UsageError(
                f"{folder}: the training there was begun with other {', '.join(changed)}; go on with "
                "its own configuration, or name another folder"
            )
    kept = {"root": str(root.resolve()), "terms": content}
    if _own_rank() == 0:
        write_atomically(path, (json.dumps(kept, indent=2, ensure_ascii=False) + "\n").encode())


def begun(folder: Path) -> tuple[Pretraining, Path]:
    """The configuration of the training in `folder`, and where its paths are from. Raises UsageError."""
    path = folder / CONFIGURATION
    try:
        content = json.loads(path.read_text("utf-8"))
        return Pretraining.model_validate(content["terms"]), Path(content["root"])
    except FileNotFoundError as error:
        raise UsageError(f"{folder}: no training was begun there") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: damaged: {error}") from error


def prepare(terms: Pretraining, root: Path, folder: Path, console: Console) -> Prepared:
    """Makes the tokenizer and the corpus, or takes those that are there.

    The first worker makes them; the others wait, and end with it should it fail.
    """
    place = folder / TOKENIZER
    if _own_rank():
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
    if _own_rank():
        return Prepared(tokenizer, encoding, Store(folder / CORPUS), root)
    if not (folder / CORPUS / MANIFEST).is_file():
        console.print("making the corpus")
    arrangement = Arrangement(terms.sources, terms.augmentation, root, terms.seed)
    recipe = Recipe(terms.sources, encoding, terms.filters, arrangement, arrangement.decided)
    return Prepared(tokenizer, encoding, making.make(folder / CORPUS, recipe, root), root)


def assembled(
    terms: Pretraining,
    folder: Path,
    prepared: Prepared,
    crew: Workers,
    watcher: Watchers,
    after_evaluation: Callable[[EvaluationReport], object] = lambda _: None,
) -> Training:
    """The training that `run` runs."""
    forward = Forward(terms.model, crew.device)
    model = forward.attached(first_model(terms, prepared))
    balance = balancer(terms.model, model)
    return Training(
        terms.schedule,
        model,
        forward,
        data(terms, prepared, crew),
        crew,
        Checkpoints(folder / CHECKPOINTS, terms.schedule.keep, watcher.notice),
        Doctor(terms.doctor),
        watcher,
        seed=terms.seed,
        recompute=terms.parallel.recompute,
        after_step=balance.step if balance is not None else lambda: None,
        after_evaluation=after_evaluation,
    )


def first_model(terms: Pretraining, prepared: Prepared) -> Any:
    """The model before its first step. Raises ModelError for an initial one that is another."""
    if terms.initial is None:
        return new_model(terms, prepared)
    folder, own = prepared.root / terms.initial, specials(prepared)
    model = build(terms.model, initial.vocabulary(folder), own, seed=terms.seed)
    initial.load(model, folder, prepared.tokenizer, terms.tokenizer.multiple)
    return model


def new_model(terms: Pretraining, prepared: Prepared) -> Any:
    """A model of these sizes that nothing has trained."""
    vocabulary = tokenizers.rows(prepared.tokenizer, terms.tokenizer.multiple)
    return build(terms.model, vocabulary, specials(prepared), seed=terms.seed)


def specials(prepared: Prepared) -> Specials:
    """The numbers of its special tokens, as a model's configuration names them."""
    own = prepared.tokenizer
    end = own.sep_token_id if own.sep_token_id is not None else own.eos_token_id
    begin = own.cls_token_id if own.cls_token_id is not None else own.bos_token_id
    pad = prepared.encoding.symbols.padding
    return Specials(
        pad=pad,
        begin=pad if begin is None else begin,
        end=pad if end is None else end,
        mask=pad if own.mask_token_id is None else own.mask_token_id,
    )


def data(terms: Pretraining, prepared: Prepared, crew: Workers) -> Data:
    """The rows of this worker."""
    predicted = ObjectiveTerms(kind=terms.model.objective, **terms.objective.model_dump())
    objective = Objective(
        predicted,
        prepared.encoding.symbols,
        terms.model.context,
        terms.seed,
        packed=terms.model.row.packed,
    )
    return Data(
        prepared.store,
        {source.name: source.weight for source in terms.sources if not source.evaluation},
        objective,
        terms.schedule.batch,
        terms.seed,
        crew.rank,
        crew.count,
        patience=terms.doctor.stalled_seconds,
    )


def check_size(terms: Pretraining, vocabulary: int) -> None:
    """Raises ModelError for a model that does not fit this machine, and says what would."""
    planned = planning.plan(
        "the model", terms.model, vocabulary, here(worker_count()), run_of(terms, worker_count())
    )
    own = run_of(terms, worker_count())
    sparing = own.model_copy(update={"micro_batch": 1, "checkpointing": True})
    if terms.schedule.micro_batch == "most" and terms.parallel.strategy == "fsdp2":
        planned = planning.plan("the model", terms.model, vocabulary, planned.cluster, sparing)
    if (said := planning.told(planned)) is not None:
        raise ModelError(said)


def here(count: int) -> hardware.Cluster:
    """What this training runs on, with so many workers; a peak of 0.001 TFLOP/s is an unknown one."""
    import torch

    if not torch.cuda.is_available():
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        own = hardware.this_machine()
        return own.model_copy(
            update={"devices": count, "memory": own.memory / local, "peak": own.peak / local}
        )
    held = torch.cuda.get_device_properties(0)
    known = [
        peak for name, (_, peak) in hardware.DEVICES.items() if name.split("-")[0] in held.name
    ]
    return hardware.Cluster(
        devices=count, memory=held.total_memory / 1e9, peak=known[0] if known else UNKNOWN
    )


def run_of(terms: Pretraining, devices: int) -> Run:
    """How the training runs on so many devices, as the plan takes it."""
    asked = terms.schedule.micro_batch
    return Run(
        strategy=_planned_strategy(terms, devices),
        precision=terms.parallel.precision,
        checkpointing=terms.parallel.recompute,
        micro_batch=1 if asked == "most" else asked,
    )


def _planned_strategy(terms: Pretraining, devices: int) -> Any:
    if devices == 1:
        return "ddp"
    if terms.parallel.strategy == "deepspeed":
        return f"zero{terms.parallel.zero_stage}"
    return terms.parallel.strategy


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


def _layers(architecture: Architecture, prepared: Prepared) -> list[str]:
    """The class names of the model's layers."""
    model = build(architecture, 256, specials(prepared), seed=0, device="meta")
    return sorted(model._no_split_modules or [])


@contextmanager
def _watched(
    terms: Pretraining, folder: Path, crew: Workers, prepared: Prepared, console: Console
) -> Iterator[Watchers]:
    vocabulary = tokenizers.rows(prepared.tokenizer, terms.tokenizer.multiple)
    peak = here(crew.count).peak
    machine = Machine(
        crew.count,
        str(crew.device),
        flops_per_token(terms.model, vocabulary),
        None if peak == UNKNOWN else peak * 1e12 * crew.count,
    )
    if crew.first:
        with watching(terms.monitoring, folder, machine, console) as watchers:
            yield watchers
    else:
        yield Watchers([])


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM end the training after the step that it is in."""
    if threading.current_thread() is not threading.main_thread():
        with nullcontext():
            yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda *_: stop())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _flat(value: Any, at: str = "") -> Mapping[str, Any]:
    """The leaves of JSON by their keys, `schedule.rate`."""
    if not isinstance(value, dict):
        return {at: value}
    parts = [_flat(part, f"{at}.{key}" if at else key) for key, part in value.items()]
    return {key: leaf for part in parts for key, leaf in part.items()}


def _own_rank() -> int:
    return int(os.environ.get("RANK", "0"))


def worker_count() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def export(folder: Path, out: Path) -> str:
    """The hand-over of the training in `folder` as it is after its newest checkpoint; its digest."""
    from fedward_server.pretraining import handover
    from fedward_server.pretraining.monitoring import diary
    from fedward_server.pretraining.training.kept import Live

    terms, root = begun(folder)
    tokenizer = tokenizers.load(folder / TOKENIZER)
    prepared = Prepared(tokenizer, Encoding(tokenizer), Store(folder / CORPUS), root)
    model = new_model(terms, prepared)
    tokenizers.check_fits(tokenizer, model.config)
    tensors = Live.weights(model)
    notices: list[str] = []
    found = Checkpoints(folder / CHECKPOINTS, terms.schedule.keep, notices.append).read(tensors)
    if found is None or found[0] == 0:
        raise StateError(f"{folder}: no step was kept there yet; train first")
    record = diary.read(folder / diary.FILE)
    return handover.write(model, tokenizer, out, terms, prepared.store.manifest, record, found[0])

"""A training from its configuration to its last step, in a folder of its own.

    RUN/configuration.json     what it was begun with; it goes on with nothing else
        tokenizer/ corpus/     made once, by the first worker
        checkpoints/           the newest few
        diary.jsonl            all that happened, and curves.html of it

The same call begins, goes on after a kill, and returns at once when all is done.
"""

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console

from fedward_server.pretraining import tokenizers
from fedward_server.pretraining.assembling import CHECKPOINTS, assembled, layers, new_model
from fedward_server.pretraining.configuration import Pretraining
from fedward_server.pretraining.corpus.encoding import Encoding
from fedward_server.pretraining.corpus.store import Store
from fedward_server.pretraining.counting import flops_per_token
from fedward_server.pretraining.fitting import UNKNOWN, check_size, here
from fedward_server.pretraining.monitoring.figures import Machine
from fedward_server.pretraining.monitoring.watchers import Watchers
from fedward_server.pretraining.monitoring.watching import watching
from fedward_server.pretraining.preparing import CORPUS, TOKENIZER, Prepared, prepare
from fedward_server.pretraining.reports import EvaluationReport
from fedward_server.pretraining.training.checkpoints import Checkpoints
from fedward_server.pretraining.training.launched import own_rank
from fedward_server.pretraining.training.loop import Training
from fedward_server.pretraining.training.parallel import Workers, workers
from fedward_shared.errors import StateError, UsageError
from fedward_shared.files import write_atomically

CONFIGURATION = "configuration.json"
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
    crew = workers(terms.parallel, layers(terms.model, prepared), terms.schedule.clipping)
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
    if own_rank() == 0:
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

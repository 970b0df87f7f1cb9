"""A training put together of what its configuration says: model, rows, checkpoints and doctor."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedward_server.pretraining import initial, tokenizers
from fedward_server.pretraining.architectures import Architecture, build
from fedward_server.pretraining.balancing import balancer
from fedward_server.pretraining.configuration import Pretraining
from fedward_server.pretraining.corpus.data import Data
from fedward_server.pretraining.corpus.objectives import Objective, ObjectiveTerms
from fedward_server.pretraining.doctor import Doctor
from fedward_server.pretraining.families import Specials
from fedward_server.pretraining.forward import Forward
from fedward_server.pretraining.monitoring.watchers import Watchers
from fedward_server.pretraining.preparing import Prepared
from fedward_server.pretraining.reports import EvaluationReport
from fedward_server.pretraining.training.checkpoints import Checkpoints
from fedward_server.pretraining.training.loop import Training
from fedward_server.pretraining.training.parallel import Workers

CHECKPOINTS = "checkpoints"


def assembled(
    terms: Pretraining,
    folder: Path,
    prepared: Prepared,
    crew: Workers,
    watcher: Watchers,
    after_evaluation: Callable[[EvaluationReport], object] = lambda _: None,
) -> Training:
    """The training in `folder`."""
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


def layers(architecture: Architecture, prepared: Prepared) -> list[str]:
    """The class names of the model's layers."""
    model = build(architecture, 256, specials(prepared), seed=0, device="meta")
    return sorted(model._no_split_modules or [])

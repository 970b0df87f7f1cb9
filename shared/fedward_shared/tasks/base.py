"""What the trainer and the evaluation know of a study's model."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from fedward_shared import adapters, names, tensors
from fedward_shared.charter_terms import AdapterTerms, TaskTerms, TrainingTerms
from fedward_shared.errors import DataError, ModelError
from fedward_shared.tasks.examples import Batch, Examples
from fedward_shared.tensors import Tensors

Columns = Mapping[str, list[str]]
"""Role → one string per record."""

PREPARE_TOKENS = 8192
PROBE_TOKENS = 16
PROBE_TOLERANCE = 1e-3


class StudyModel(nn.Module, ABC):
    """Base model, adapter and head, with the frozen lower layers run once per record.

    Adapters sit in the layers from `first_layer` on and there is no dropout, so the hidden states
    that enter that layer are constants of a record: `prepare` computes them, and training starts
    there. That is exact; a base model with which it would not be is refused.
    """

    roles: ClassVar[tuple[str, ...]]
    """The fields of a record that the task reads."""
    outputs: tuple[str, ...] = ()
    """What the head's rows stand for; empty without a head."""

    def __init__(
        self, base: PreTrainedModel, tokenizer: Any, task: TaskTerms, adapter: AdapterTerms
    ) -> None:
        super().__init__()
        self.task = task
        self.method = adapter.method
        self.has_adapter = adapter.method != "head-only"
        self.head_only = not self.has_adapter
        """Whether the whole body is frozen, so that `prepare` runs all of it."""
        self.tokenizer = tokenizer
        self.body = adapters.attach(base, adapter)
        _make_skippable(base)
        self.first_layer = min(adapter.layers) if adapter.layers else len(self.layers)
        self.eval()
        if not self.head_only:
            self._check_entry(base)

    @torch.no_grad()
    def _check_entry(self, base: PreTrainedModel) -> None:
        """Raises ModelError unless the body computes the same when entered at `first_layer`.

        GPT-2 adds positions to whatever enters; where kinds of layers alternate, leaving out the
        lower ones gives those above another kind.
        """
        name = type(base).__name__
        if self.first_layer and len(set(getattr(base.config, "layer_types", None) or [])) > 1:
            raise ModelError(f"{name}: layers of several kinds; adapter.layers has to begin at 0")
        ids_BT = self._probe_ids()
        mask_BT = torch.ones_like(ids_BT, dtype=torch.bool)
        try:
            entered = self.upper(StudyModel.lower(self, ids_BT, mask_BT), mask_BT)[0]
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"{name}: its layers cannot be entered from outside") from error
        if not torch.allclose(entered, self.probe(), atol=PROBE_TOLERANCE, rtol=PROBE_TOLERANCE):
            raise ModelError(
                f"{name}: entered at layer {self.first_layer} it computes other values"
            )

    def _probe_ids(self) -> torch.Tensor:
        config: Any = self.body.config
        ids_BT: torch.Tensor = torch.arange(PROBE_TOKENS)[None, :] % config.vocab_size
        return ids_BT

    @torch.no_grad()
    def probe(self) -> torch.Tensor:
        """What the whole body makes of a text that is nobody's, [1, T, D] or [1, T, V]."""
        ids_BT = self._probe_ids()
        output: torch.Tensor = self.body(
            input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT), use_cache=False
        )[0]
        return output

    @property
    def layers(self) -> "_Layers":
        """The body's transformer layers.

        Looked up and not kept: a second path to them would give each of their tensors two names.
        """
        return next(module for module in self.body.modules() if isinstance(module, _Layers))

    def enter_round(self, number: int, training: TrainingTerms) -> None:
        """Lets the tensors train that do so in round `number`. In the first `head_rounds` the adapter is
        as frozen as the base model."""
        turn = training.turn(number)
        self.head_only = not self.has_adapter or not turn
        adapters.train(self.body, self.method, turn or 1)

    def frozen_digest(self) -> str:
        """Digest of what `prepare` runs over besides the base model; empty if that changes nothing.

        A prefix shifts the positions of the text even where it trains, so its length is told.
        """
        own = {n: t for n, t in self.named_tensors().items() if names.part_of(n) != "head"}
        if not self.head_only:
            lengths = [len(t) for n, t in own.items() if names.part_of(n) == "prefix"]
            return f"after {lengths[0]}" if lengths else ""
        acting = [t for n, t in own.items() if names.part_of(n) in ("B", "prefix", "moved")]
        if not any(bool(tensor.any()) for tensor in acting):
            return ""
        return tensors.digest({name: tensor.detach() for name, tensor in own.items()})

    @torch.no_grad()
    def aim(self, examples: Examples) -> None:
        """Sets the adapter's fixed directions by `examples`, which have to be public.

        Each A gets principal directions of what its module reads. The first, close to the mean of all
        inputs, comes last: a step along it shifts all positions alike (docs/explanation/recipe.md has
        what that did). Where output directions are fixed too, they are those of what the output meets.
        """
        moments = adapters.Moments(self.body)
        for _, batch in self.all_batches(examples):
            with moments.over(batch.mask_BT):
                self(batch)
        own = self.named_tensors()
        for name, moment_II in moments.inputs.items():
            directions_II = _principal(moment_II).roll(-1, dims=0)
            own[name].copy_(directions_II[: len(own[name])])
        for name, moment_OO in moments.outputs.items():
            own[name].copy_(_principal(moment_OO)[: own[name].shape[1]].T)

    # What crosses the wire

    def named_tensors(self) -> dict[str, torch.Tensor]:
        """Every tensor that belongs to the study and not to the base model."""
        return {**adapters.adapter_tensors(self.body), **self.head_tensors()}

    def head_tensors(self) -> dict[str, torch.Tensor]:
        """The head's tensors; none where the base model has all that the task needs."""
        return {}

    def exchanged(self) -> Tensors:
        """A copy of the tensors that train in this round: a site sends what it has changed of them."""
        return {
            name: tensor.detach().clone()
            for name, tensor in self.named_tensors().items()
            if tensor.requires_grad and (names.part_of(name) == "head" or not self.head_only)
        }

    def load(self, values: Tensors, origin: str) -> None:
        """Sets some or all of the study's tensors. Raises AdapterError for one that does not fit."""
        own = self.named_tensors()
        expected = {name: tuple(own[name].shape) for name in values if name in own}
        tensors.check(values, expected, origin)
        with torch.no_grad():
            for name, value in values.items():
                own[name].copy_(value)
        adapters.settle(self.body)

    # Records

    @abstractmethod
    def tokenise(self, columns: Columns) -> tuple[list[list[int]], list[Any]]:
        """Token ids of each record, and its target (an int, or a list with one int per token).

        Raises DataError for a record that the task cannot take.
        """

    @torch.no_grad()
    def prepare(self, columns: Columns) -> Examples:
        """Runs the frozen layers over all records, longest together. Raises DataError."""
        if not columns[self.roles[0]]:
            raise DataError("no records")
        tokens, targets = self.tokenise(columns)
        lengths = np.array([len(ids) for ids in tokens])
        pieces: dict[int, torch.Tensor] = {}
        for chunk in _chunks(np.argsort(lengths, kind="stable"), lengths):
            longest = int(lengths[chunk].max())
            ids_BT = torch.tensor([tokens[i] + [0] * (longest - lengths[i]) for i in chunk])
            mask_BT = torch.arange(longest)[None, :] < torch.from_numpy(lengths[chunk])[:, None]
            hidden_BTD = self.lower(ids_BT, mask_BT)
            for row, i in enumerate(chunk):
                pieces[int(i)] = hidden_BTD[row, : self.positions(int(lengths[i]))].clone()
        counts = [len(pieces[i]) for i in range(len(tokens))]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        flat = [t for target in targets for t in (target if isinstance(target, list) else [target])]
        return Examples(
            torch.cat([pieces[i] for i in range(len(tokens))]), offsets, torch.tensor(flat)
        )

    def positions(self, length: int) -> int:
        """How many positions of a record of `length` tokens `lower` keeps."""
        return length

    def lower(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """Hidden states that enter `first_layer`, [B, T, D]."""
        stop = self.layers[self.first_layer].register_forward_pre_hook(_catch, with_kwargs=True)
        try:
            self.body(input_ids=ids_BT, attention_mask=mask_BT.long(), use_cache=False)
        except _Caught as caught:
            return caught.hidden_BTD
        finally:
            stop.remove()
        raise AssertionError("the model never reached its first adapted layer")

    def upper(self, hidden_BTD: torch.Tensor, mask_BT: torch.Tensor) -> Any:
        """The body's output from the hidden states that enter `first_layer`."""
        with _starting_at(self.body, self.layers, self.first_layer):
            return self.body(
                inputs_embeds=hidden_BTD, attention_mask=mask_BT.long(), use_cache=False
            )

    # Learning and scoring

    @abstractmethod
    def forward(self, batch: Batch) -> torch.Tensor:
        """Loss of each record, [B]."""

    @abstractmethod
    def evaluate(self, examples: Examples) -> dict[str, float]:
        """Scores over all `examples`, by the names that reports use."""

    def all_batches(self, examples: Examples) -> Iterator[tuple[np.ndarray, Batch]]:
        """All examples in micro-batches, for evaluation."""
        for indices in examples.micro_batches(np.arange(len(examples))):
            yield indices, examples.batch(indices)


def _principal(moment_DD: torch.Tensor) -> torch.Tensor:
    """Eigenvectors as rows, the one of the largest eigenvalue first."""
    directions_DD: torch.Tensor = torch.linalg.eigh(moment_DD).eigenvectors.T.flip(0)
    return directions_DD


class _Caught(Exception):
    def __init__(self, hidden_BTD: torch.Tensor) -> None:
        self.hidden_BTD = hidden_BTD


def _catch(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    raise _Caught(args[0] if args else kwargs["hidden_states"])


class _Layers(nn.ModuleList):
    """A transformer's layers, of which the first `start` can be left out of an iteration.

    Names and indices of the parameters stay as they are, so adapters keep the names that plain peft
    expects.
    """

    start = 0

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(list(self._modules.values())[self.start :])

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return list(self._modules.values())[index][self.start :]
        return super().__getitem__(index)


class _Embeddings(nn.Module):
    """A BERT-type embedding block that lets given hidden states through while `given` is set."""

    given = False

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return kwargs["inputs_embeds"] if self.given else self.block(*args, **kwargs)


def _make_skippable(base: PreTrainedModel) -> None:
    """Replaces the model's list of layers (and BERT-type embeddings) by ones that can be skipped."""
    depth = base.config.num_hidden_layers
    for module in list(base.modules()):
        for name, child in list(module.named_children()):
            if name == "embeddings" and not isinstance(child, _Embeddings):
                setattr(module, name, _Embeddings(child))
    for module in list(base.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.ModuleList) and len(child) == depth:
                setattr(module, name, _Layers(child))
                return
    raise ModelError(f"{type(base).__name__}: no list of {depth} layers found in it")


@contextmanager
def _starting_at(body: nn.Module, layers: _Layers, start: int) -> Iterator[None]:
    embeddings = [module for module in body.modules() if isinstance(module, _Embeddings)]
    layers.start = start
    for block in embeddings:
        block.given = True
    try:
        yield
    finally:
        layers.start = 0
        for block in embeddings:
            block.given = False


def _chunks(order: np.ndarray, lengths: np.ndarray) -> Iterator[np.ndarray]:
    start = 0
    while start < len(order):
        size = max(1, PREPARE_TOKENS // int(lengths[order[min(start + 255, len(order) - 1)]]))
        yield order[start : start + min(size, 256)]
        start += min(size, 256)

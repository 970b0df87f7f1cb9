"""The configuration of a training: one file of TOML, read once and strictly.

    preset = "tiny-llama"            a model by its name, or [model] with its sizes, or both
    seed = 0

    [model] [tokenizer] [[sources]] [[augmentation]] [filters] [objective] [schedule] [parallel]
    [doctor] [monitoring] [search]

Each section is a class in the module that uses it; here they are put together. A key that nobody knows
is refused with its name. Paths are read from the folder of the file on.
"""

import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from fedward_server.pretraining.architectures import Architecture
from fedward_server.pretraining.corpus.augmenting import CodeSwitching
from fedward_server.pretraining.corpus.filtering import FilterTerms
from fedward_server.pretraining.corpus.sources import SourceTerms
from fedward_server.pretraining.doctor import DoctorTerms
from fedward_server.pretraining.hardware import Cluster
from fedward_server.pretraining.monitoring.watching import MonitoringTerms
from fedward_server.pretraining.presets import preset
from fedward_server.pretraining.tokenizers import TokenizerTerms
from fedward_server.pretraining.training.parallel import ParallelTerms
from fedward_server.pretraining.training.schedule import ScheduleTerms
from fedward_shared.errors import UsageError
from fedward_shared.searching.search import Choice, Range, SearchTerms, Value
from fedward_shared.terms import Terms, describe

SEARCHED = ("model.", "schedule.")
FIXED = ("model.family", "model.context")
"""Of these no search tries others: the tokens or the held-out rows would be others, and no loss of them
is better or worse."""


class PredictionTerms(Terms):
    """The section `[objective]`: what share of the tokens is predicted, and in spans of what length.

    For masked models and those of spans; a causal model predicts every token.
    """

    share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    span: Annotated[float, Field(ge=1)] = 3.0


class Pretraining(Terms):
    """All of a training.

    `initial` is the folder of a model to go on from, of the family and sizes of `[model]`; `[tokenizer]`
    names its tokenizer's, and what that learns gets rows of embeddings.
    `cluster` is one's own, for `--dry-run`.
    """

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    initial: Path | None = None
    cluster: Cluster | None = None
    model: Architecture
    tokenizer: TokenizerTerms = TokenizerTerms()
    sources: Annotated[tuple[SourceTerms, ...], Field(min_length=1)]
    augmentation: tuple[CodeSwitching, ...] = ()
    filters: FilterTerms = FilterTerms()
    objective: PredictionTerms = PredictionTerms()
    schedule: ScheduleTerms
    parallel: ParallelTerms = ParallelTerms()
    doctor: DoctorTerms = DoctorTerms()
    monitoring: MonitoringTerms = MonitoringTerms()
    search: SearchTerms | None = None

    @model_validator(mode="after")
    def _each_once(self) -> "Pretraining":
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError(f"sources: two have the same name: {sorted(names)}")
        if all(source.evaluation for source in self.sources):
            raise ValueError("sources: all are for evaluation; nothing is left to train on")
        if self.initial is not None and self.tokenizer.folder is None:
            raise ValueError(
                f'initial: [tokenizer] has to take its tokenizer: folder = "{self.initial}"'
            )
        languages = [switching.language for switching in self.augmentation]
        if len(set(languages)) < len(languages):
            raise ValueError(f"augmentation: two are for one language: {sorted(languages)}")
        return self

    @model_validator(mode="after")
    def _searched(self) -> "Pretraining":
        for name, asked in self.search.parameters.items() if self.search else ():
            if not _is_setting(self.model_dump(), name):
                raise ValueError(f"search.parameters: {name!r} is no setting of this configuration")
            if not name.startswith(SEARCHED) or name in FIXED:
                raise ValueError(
                    f"search.parameters: {name!r}: only sizes of [model], but for its context, and what "
                    "[schedule] has can be searched: all trials have the same tokens and held-out rows"
                )
            for value in _some(asked):
                self._may_be(name, value)
        return self

    def _may_be(self, name: str, value: Value) -> None:
        """Whether one setting alone can be so. With others it may not: a trial shows that."""
        try:
            self.having({name: value})
        except ValidationError as error:
            place = tuple(name.split("."))
            for item in error.errors(include_url=False):
                if item["loc"][: len(place)] == place:
                    raise ValueError(
                        f"search.parameters: {name!r} cannot be {value!r}: {item['msg']}"
                    ) from error

    def having(self, values: Mapping[str, Value]) -> "Pretraining":
        """This configuration with other settings, by their dotted names, and without `[search]`.

        Raises ValidationError for those that cannot be, together.
        """
        content = self.model_dump(mode="json", exclude={"search"})
        for name, value in values.items():
            *sections, last = name.split(".")
            section = content
            for part in sections:
                section = section[part]
            section[last] = value
        return Pretraining.model_validate(content)


def read(path: Path) -> Pretraining:
    """The configuration in `path`. Raises UsageError that names each key that is wrong."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"{path}: no such file; `fedward pretrain init` writes one to begin with"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as TOML: {error}") from error
    try:
        return Pretraining.model_validate(_filled(content))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except ValidationError as error:
        raise UsageError(f"{path}: {describe(error)}") from error


def written(terms: Pretraining) -> str:
    """The configuration as TOML, without what is as by default. `read` gives the same."""
    import tomli_w

    return tomli_w.dumps(terms.model_dump(mode="json", exclude_none=True, exclude_defaults=True))


def _is_setting(content: Any, name: str) -> bool:
    for part in name.split("."):
        if not isinstance(content, dict) or part not in content:
            return False
        content = content[part]
    return not isinstance(content, dict)


def _some(asked: Range | Choice) -> Iterator[Value]:
    """All choices; of a range its ends, and one between them that is not whole where none has to be."""
    if isinstance(asked, Choice):
        yield from asked.values
        return
    kind = int if asked.whole else float
    yield from (kind(asked.low), kind(asked.high))
    if not asked.whole:
        yield asked.low + (asked.high - asked.low) / math.pi


def _filled(content: dict[str, Any]) -> dict[str, Any]:
    """With the model of its preset, but for the sizes that it gives itself."""
    if "preset" not in content:
        return content
    named = preset(str(content.pop("preset")))
    own = content.get("model", {})
    return content | {"model": named.model.model_dump(exclude_none=True) | own}

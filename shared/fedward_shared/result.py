"""What a study found: the shape of `result.json`, one for every scenario and for deployed studies.

JSON knows no infinity, so whatever has no differential privacy has `epsilon: null, delta: null`.
A metric is a key of its own in a row (`"macro_f1": 0.613`); a :class:`MetricSpec` says how to read
it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from fedward_shared.errors import DataError
from fedward_shared.formats import Style

SCHEMA: Literal["fedward-result/1"] = "fedward-result/1"

Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Amount = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)]
Count = Annotated[int, Field(strict=True, ge=0)]
Delta = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=1)]


class Part(BaseModel):
    """A part of a result: nothing may be added to it, and nothing changes once it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MetricSpec(Part):
    """How a metric is read: its key in the rows, its name for people, and which way is better.

    `format` is `percent` for a share from 0 to 1 shown as 0–100 %, `number` for anything else. The
    answer at the head of the report speaks of the `primary` metric; without one, of the first.
    """

    name: str
    label: str
    higher_is_better: bool = True
    format: Style = "number"
    primary: bool = False


class Row(Part):
    """One line of the comparison table; every further key is a metric (a finite number or null).

    `epsilon` (no unit) and `delta` (a probability) are per privacy unit and for the whole study,
    null without DP. `spread` is the standard deviation of a metric over sites or seeds, in the
    metric's own unit.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, Finite | None] = Field(init=False)

    name: str
    label: str
    epsilon: Amount | None = None
    delta: Delta | None = None
    private: bool
    spread: dict[str, Amount] = {}

    @model_validator(mode="after")
    def _private_or_without_epsilon(self) -> Self:
        if not self.private and (self.epsilon is not None or self.delta is not None):
            raise ValueError(f"row {self.name}: an ε or δ, though it is not private")
        return self

    @classmethod
    def of(
        cls,
        name: str,
        label: str,
        metrics: Mapping[str, float | None],
        *,
        epsilon: float | None = None,
        delta: float | None = None,
        private: bool | None = None,
        spread: Mapping[str, float] | None = None,
    ) -> Self:
        """A row with these metrics, private where it has an ε unless `private` says otherwise."""
        clash = set(metrics) & set(cls.model_fields)
        if clash:
            raise ValueError(f"row {name}: no metric can be called {', '.join(sorted(clash))}")
        return cls.model_validate(
            {
                **metrics,
                "name": name,
                "label": label,
                "epsilon": epsilon,
                "delta": delta,
                "private": epsilon is not None if private is None else private,
                "spread": dict(spread or {}),
            }
        )

    @property
    def metrics(self) -> dict[str, float | None]:
        """Every metric of the row, by name."""
        return dict(self.__pydantic_extra__ or {})


class RoundRecord(Part):
    """One round of the study called `study`, which is the name of its row.

    `missing` names each site that did not report, and why; `dropped`, in a masked round, each site that
    was lost, and in which stage. A round that was `abandoned`, for that reason, changed nothing.
    `epsilon` is what each site has spent so far (no unit; null without DP), `bytes_up` what the sites
    sent, `bytes_down` what they received.
    """

    study: str
    round: Count
    cohort: list[str] = []
    missing: dict[str, str] = {}
    dropped: dict[str, str] = {}
    abandoned: str = ""
    metrics: dict[str, Finite] = {}
    epsilon: dict[str, Amount | None] = {}
    bytes_up: Count = 0
    bytes_down: Count = 0
    seconds: Amount = 0.0


class SiteSummary(Part):
    """One site over the whole study.

    `records` counts privacy units; `epsilon`, `delta` and `epsilon_limit` are those of its ledger;
    bytes are as the site sees them (up: sent). `alone` holds its metrics when it trains by itself,
    `labels` the records of each label, for simulations: a deployed site's stay with the site.
    """

    name: str
    records: Count | None = None
    epsilon: Amount | None = None
    delta: Delta | None = None
    epsilon_limit: Amount | None = None
    bytes_up: Count = 0
    bytes_down: Count = 0
    alone: dict[str, Finite] = {}
    labels: dict[str, Count] = {}
    rounds_joined: Count = 0


class Sample(Part):
    """A prompt, what a person wrote next, and what the model wrote before and after training."""

    prompt: str
    reference: str
    before: str
    after: str


class Result(Part):
    """All that is known of a finished study; `seconds` is wall-clock time, bytes are totals.

    `question` is one sentence that says what the study asks. `notes` are sentences shown under the
    comparison table: what was cut down, what the figures mean. `command` runs the study again.
    A deployed study has no `seed`: its sites draw from the operating system.
    """

    schema_version: Literal["fedward-result/1"] = Field(default=SCHEMA, alias="schema")
    scenario: str
    title: str
    question: str
    started: AwareDatetime
    seconds: Amount
    seed: Annotated[int, Field(strict=True)] | None
    command: str = ""
    versions: dict[str, str] = {}
    settings: dict[str, StrictBool | StrictInt | Finite | StrictStr | None] = {}
    metrics: list[MetricSpec]
    rows: list[Row]
    rounds: list[RoundRecord] = []
    sites: list[SiteSummary] = []
    bytes_up: Count = 0
    bytes_down: Count = 0
    samples: list[Sample] = []
    notes: list[str] = []

    @model_validator(mode="after")
    def _each_name_once(self) -> Self:
        for field, names in (
            ("rows", [row.name for row in self.rows]),
            ("sites", [site.name for site in self.sites]),
            ("metrics", [metric.name for metric in self.metrics]),
            ("rounds", [(record.study, record.round) for record in self.rounds]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"{field}: one occurs twice")
        if sum(metric.primary for metric in self.metrics) > 1:
            raise ValueError("metrics: more than one is primary")
        return self

    def row(self, name: str) -> Row | None:
        """The row called `name`, if there is one."""
        return next((row for row in self.rows if row.name == name), None)

    @property
    def primary(self) -> MetricSpec | None:
        """The metric that the answer speaks of."""
        chosen = [metric for metric in self.metrics if metric.primary] or self.metrics
        return chosen[0] if chosen else None


def encode(result: Result) -> bytes:
    """The bytes of `result.json`: sorted keys, two spaces, a line feed at the end."""
    content = result.model_dump(mode="json", by_alias=True)
    text = json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def load(path: Path) -> Result:
    """The result in the file `path`. Raises DataError, naming the file and each wrong field."""
    try:
        content = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except ValueError as error:  # not UTF-8, or not JSON
        raise DataError(f"{path}: not a JSON file: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise DataError(f'{path}: schema: not a result of fedward ("{SCHEMA}")')
    try:
        return Result.model_validate(content)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'file'}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        )
        raise DataError(f"{path}: {wrong}") from error

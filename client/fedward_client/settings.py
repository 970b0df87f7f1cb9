"""`site.toml`: what an institution decides about itself. Only people at the site write it."""

import tomllib
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from fedward_shared.errors import UsageError
from fedward_shared.identity import KeyText, PublicKey
from fedward_shared.terms import Name, describe

SETTINGS_FILE = "site.toml"


class Section(BaseModel):
    """A section of `site.toml`: unknown keys are refused, so that a typing error is no silent no."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AlignmentSettings(Section):
    """With what a dataset may take part in vertical studies: `identifier` are the columns that say who a
    record is of. A peer that shows more records than `most` is refused, since it learns who of them is
    here; the number of one's own is shown as a multiple of `step` or more."""

    identifier: Annotated[tuple[str, ...], Field(min_length=1, max_length=16)]
    most: Annotated[int, Field(ge=1, le=10**8)]
    step: Annotated[int, Field(ge=1, le=10**6)] = 1


class DuplicatesSettings(Section):
    """How far a dataset may be compared with those of others in studies of duplicates.

    A peer that shows more documents than `most` in a session, or a charter with more `sessions`, is
    refused: each document that is shown asks whether it is here. The number of one's own is shown as a
    multiple of `step` or more."""

    most: Annotated[int, Field(ge=1, le=10**8)]
    step: Annotated[int, Field(ge=1, le=10**6)] = 1
    sessions: Annotated[int, Field(ge=1, le=1000)] = 1


class DatasetSettings(Section):
    """A data file, which of its columns plays which role, and its lifetime privacy budget.

    `columns` maps a task's role (text, label, prompt, completion) to a column; a role that is not
    named has the column of its own name. `owner` is the column that says whose record it is;
    `objections` a file of those owners, one a line, whose records are left out. Datasets of the same
    `account` share one budget, and state the same `epsilon` and `delta`. `uses` are those a charter
    may name; `coordinators` those whose charters may name the dataset, all by default. In vertical
    studies it takes part where it has an `alignment`, in those of duplicates where it has `duplicates`;
    it answers charters that ask for statistics where `statistics` are accepted.
    """

    path: Path
    columns: dict[str, str] = {}
    owner: Annotated[str, Field(min_length=1)] | None = None
    objections: Path | None = None
    account: Name
    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    uses: tuple[Name, ...] = ("research",)
    coordinators: tuple[Name, ...] | None = None
    alignment: AlignmentSettings | None = None
    statistics: Literal["refused", "accepted"] = "refused"
    duplicates: DuplicatesSettings | None = None

    @field_validator("objections")
    @classmethod
    def _whose(cls, objections: Path | None, info: ValidationInfo) -> Path | None:
        if objections is not None and info.data.get("owner") is None:
            raise ValueError("owner has to name the column of the ids in that file")
        return objections


class ApprovalSettings(Section):
    """How many of which people have to assent before the site approves a charter; nobody by default."""

    people: dict[Name, KeyText] = {}
    required: Annotated[int, Field(ge=1, le=16)] = 1

    @model_validator(mode="after")
    def _enough_people(self) -> "ApprovalSettings":
        if self.people and self.required > len(self.people):
            raise ValueError(f"required is {self.required}, people are {len(self.people)}")
        if len(set(self.people.values())) != len(self.people):
            raise ValueError("people: two have the same key")
        return self

    @property
    def keys(self) -> dict[str, PublicKey]:
        """The key of each person."""
        return {name: PublicKey(text) for name, text in self.people.items()}


Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class WindowSettings(Section):
    """When a round may begin, by local time; after midnight still as of the day before."""

    days: Annotated[tuple[Day, ...], Field(min_length=1)] = DAYS
    begin: Annotated[Clock, Field(alias="from")]
    end: Annotated[Clock, Field(alias="until")]

    @field_validator("end")
    @classmethod
    def _some_time(cls, end: str, info: ValidationInfo) -> str:
        if end == info.data.get("begin"):
            raise ValueError("from and until are the same")
        return end

    def contains(self, moment: datetime) -> bool:
        """Whether `moment`, in whatever time zone, is within."""
        local = moment.astimezone()
        clock, today = local.strftime("%H:%M"), local.weekday()
        if self.begin < self.end:
            return DAYS[today] in self.days and self.begin <= clock < self.end
        yesterday = DAYS[today - 1]
        return (DAYS[today] in self.days and clock >= self.begin) or (
            yesterday in self.days and clock < self.end
        )


class LimitSettings(Section):
    """What studies may take of the machine.

    `memory_gib`: of the process that trains, in GiB. `rounds_per_day`: begun in any 24 hours, over all
    studies.
    """

    memory_gib: Annotated[float, Field(gt=0, le=2**20)] | None = None
    rounds_per_day: Annotated[int, Field(ge=1)] | None = None


class SiteSettings(Section):
    """All of `site.toml`, with paths made absolute.

    `witness` is a file at a second place, on another disk or machine, that holds the audit log's head.
    `key` is the file of the site's signing key, `key_passphrase` a file with its passphrase.
    `coordinators` are the only ones whose charters the site considers, each with the key that its
    people have compared; what one of the `revoked` keys has signed counts no more. Where there are
    `peers`, every other participant of a charter is one of them; `collusion` of them may work
    together with the coordinator. `without_dp` has to hold the charter's plain words before the site
    joins a study without differential privacy. `keep_prepared` keeps encoded records in the folder
    `cache` between rounds: each message starts a process that would encode them again. That folder is
    the worker's; all else is not. The daemon keeps sockets in `runtime`, starts the worker as
    `worker_user` (itself by default), shows metrics on `metrics_port` of loopback (0: one that is
    free), and logs to `syslog` too: /dev/log or HOST:PORT.
    """

    name: Name
    key: Path = Path("site.key")
    key_passphrase: Path | None = None
    coordinators: dict[Name, KeyText]
    revoked: tuple[KeyText, ...] = ()
    peers: dict[Name, KeyText] | None = None
    collusion: Annotated[int, Field(ge=0, le=10**6)] = 0
    minimum_cohort: Annotated[int, Field(ge=1)] = 2
    secure_aggregation: Literal["required", "optional"] = "optional"
    distributed_noise: Literal["refused", "accepted"] = "refused"
    without_dp: str = ""
    approval: ApprovalSettings = ApprovalSettings()
    state: Path = Path("state")
    cache: Path = Path("cache")
    runtime: Path = Path("run")
    worker_user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$|^$", max_length=32)] = ""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    syslog: str = ""
    witness: Path | None = None
    base_models: tuple[Path, ...]
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    keep_prepared: bool = True
    window: WindowSettings | None = None
    limits: LimitSettings = LimitSettings()
    datasets: dict[Name, DatasetSettings]

    @property
    def health_address(self) -> Path:
        """The file in which the daemon says where on loopback it tells how it is."""
        return self.runtime / "daemon.json"

    @field_validator("collusion")
    @classmethod
    def _known_peers(cls, collusion: int, info: ValidationInfo) -> int:
        if collusion and info.data.get("peers") is None:
            raise ValueError(
                "a bound on peers whom anybody may invent is none: name them in [peers]"
            )
        return collusion

    @field_validator("datasets")
    @classmethod
    def _one_budget_an_account(
        cls, datasets: dict[str, DatasetSettings]
    ) -> dict[str, DatasetSettings]:
        for (one, this), (another, that) in combinations(datasets.items(), 2):
            same = (this.epsilon, this.delta) == (that.epsilon, that.delta)
            if this.account == that.account and not same:
                raise ValueError(
                    f"{one} and {another} share the account {this.account} and have to state the "
                    "same epsilon and delta"
                )
        return datasets

    @field_validator("datasets")
    @classmethod
    def _known_coordinators(
        cls, datasets: dict[str, DatasetSettings], info: ValidationInfo
    ) -> dict[str, DatasetSettings]:
        known = info.data.get("coordinators", {})
        for name, dataset in datasets.items():
            if unknown := set(dataset.coordinators or ()) - known.keys():
                raise ValueError(
                    f"{name}.coordinators: [coordinators] has no {', '.join(sorted(unknown))}"
                )
        return datasets


def load(path: Path) -> SiteSettings:
    """The settings in `path`; relative paths in it are relative to its folder.

    Raises UsageError that names the file and each wrong field.
    """
    try:
        content = tomllib.loads(path.read_bytes().decode("utf-8"))
        settings = SiteSettings.model_validate(content)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; `fedward site init` makes one") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from error
    except ValidationError as error:
        raise UsageError(f"{path}: {describe(error)}") from error
    folder = path.resolve().parent
    return settings.model_copy(
        update={
            "key": folder / settings.key,
            "key_passphrase": settings.key_passphrase and folder / settings.key_passphrase,
            "state": folder / settings.state,
            "cache": folder / settings.cache,
            "runtime": folder / settings.runtime,
            "witness": settings.witness and folder / settings.witness,
            "base_models": tuple(folder / model for model in settings.base_models),
            "datasets": {
                name: dataset.model_copy(
                    update={
                        "path": folder / dataset.path,
                        "objections": dataset.objections and folder / dataset.objections,
                    }
                )
                for name, dataset in settings.datasets.items()
            },
        }
    )

"""`site.toml`: what an institution decides about itself. Only people at the site write it."""

import tomllib
from itertools import combinations
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fedward_shared.charter import Name, describe
from fedward_shared.errors import UsageError
from fedward_shared.identity import KeyText, PublicKey

SETTINGS_FILE = "site.toml"


class Section(BaseModel):
    """A section of `site.toml`: unknown keys are refused, so that a typing error is no silent no."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DatasetSettings(Section):
    """A data file, which of its columns plays which role, and its lifetime privacy budget.

    `columns` maps a task's role (text, label, prompt, completion) to a column; a role that is not
    named has the column of its own name. Datasets of the same `account` share one budget, and state
    the same `epsilon` and `delta`. `uses` are those a charter may name.
    """

    path: Path
    columns: dict[str, str] = {}
    account: Name
    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    uses: tuple[Name, ...] = ("research",)


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


class SiteSettings(Section):
    """All of `site.toml`, with paths made absolute.

    `witness` is a file at a second place, on another disk or machine, that holds the audit log's head.
    `key` is the file of the site's signing key. `coordinators` are the only ones whose charters the
    site considers, each with the key that its people have compared.
    `keep_prepared` keeps encoded records in the folder `cache` between rounds: each message starts a
    process that would encode them again. That folder is the worker's; all else is not. The daemon keeps
    sockets in `runtime`, starts the worker as `worker_user` (itself by default), shows metrics on
    `metrics_port` of loopback (0: one that is free), and logs to `syslog` too: /dev/log or HOST:PORT.
    `without_dp` has to hold the charter's plain words before the site joins a study without
    differential privacy.
    """

    name: Name
    key: Path = Path("site.key")
    coordinators: dict[Name, KeyText]
    state: Path = Path("state")
    cache: Path = Path("cache")
    runtime: Path = Path("run")
    worker_user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$|^$", max_length=32)] = ""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    syslog: str = ""
    witness: Path | None = None
    base_models: tuple[Path, ...]
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    minimum_cohort: Annotated[int, Field(ge=1)] = 2
    without_dp: str = ""
    approval: ApprovalSettings = ApprovalSettings()
    keep_prepared: bool = True
    datasets: dict[Name, DatasetSettings]

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
            "state": folder / settings.state,
            "cache": folder / settings.cache,
            "runtime": folder / settings.runtime,
            "witness": settings.witness and folder / settings.witness,
            "base_models": tuple(folder / model for model in settings.base_models),
            "datasets": {
                name: dataset.model_copy(update={"path": folder / dataset.path})
                for name, dataset in settings.datasets.items()
            },
        }
    )

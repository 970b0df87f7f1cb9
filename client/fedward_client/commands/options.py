"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

SettingsPath = Annotated[Path, typer.Option("--site", help="The site's settings.")]
CharterFolder = Annotated[Path, typer.Argument(help="Folder with charter.json.")]
DEFAULT_SETTINGS = Path("site.toml")

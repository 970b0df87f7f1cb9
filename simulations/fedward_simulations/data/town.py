"""A town of synthetic people and their visits to a hospital, as `clinosim` simulates them."""

import contextlib
import io
from typing import Any

from fedward_shared.errors import MissingExtra

QUARTER = ("2024-01-01", "2024-03-31")
"""The simulated time: most patients with a chronic condition are seen once in a quarter."""


def simulated(seed: int, persons: int) -> list[Any]:
    """The visits (CIFPatientRecord) of a town of `persons` in a quarter.

    The engine's reports are kept from the terminal. Raises MissingExtra without `clinosim`.
    """
    try:
        from clinosim.api import SimulatorConfig, run_beta
    except ImportError as error:
        raise MissingExtra(
            "clinosim is not installed: pip install 'fedward-simulations[data]'"
        ) from error
    config = SimulatorConfig(
        country="US",
        catchment_population=persons,
        random_seed=seed,
        time_range=QUARTER,
        snapshot_date=QUARTER[1],
    )
    with quiet():
        visits: list[Any] = run_beta(config).patients
    return visits


@contextlib.contextmanager
def quiet() -> Any:
    """Keeps what is printed from the terminal."""
    silence = io.StringIO()
    with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        yield

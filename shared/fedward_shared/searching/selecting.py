"""The best of a random number of random trials on private data, for little more than one costs.

The bound (`fedward_shared.privacy.selection`) holds if settings are drawn without regard to any
outcome, if how many trials there are is random and stays secret, and if nothing but the winner is
released: neither the other trials nor this folder may leave the machine. Booked once, as a whole.
"""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fedward_shared.errors import StateError, UsageError
from fedward_shared.files import write_atomically
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.privacy.selection import Selection
from fedward_shared.searching.search import SearchTerms, Train, Value, found, opened, run

DRAWN = "drawn.json"


@dataclass(frozen=True)
class Winner:
    """The settings and loss that may be released. `number` finds what the training has kept of the
    trial; it hints at how many there were, and stays here."""

    parameters: dict[str, Value]
    loss: float
    number: int


def select(
    folder: Path,
    terms: SearchTerms,
    train: Train,
    selection: Selection,
    book: Callable[[Selection], None],
    randomness: Randomness | None = None,
) -> Winner | None:
    """Runs as many trials as `selection` draws; each has to be its event, whatever its settings.

    `terms.trials` is not used. `randomness` is the operating system's, but in a simulation. `book` is
    called before the first trial, and not again when a search that was stopped goes on; what it raises
    (BudgetExceeded) passes, and nothing has begun. None where no trial was drawn (Poisson), or none
    came to a finite loss. Raises UsageError for a sampler or pruner that looks at outcomes, StateError
    where a trial was lost: the best of the others has no bound.
    """
    if terms.sampler != "random" or terms.pruner != "none":
        raise UsageError(
            f"sampler = {terms.sampler!r}, pruner = {terms.pruner!r}: trials that are chosen by the "
            "outcomes of others cost what all cost together; for one selection take 'random' and 'none'"
        )
    folder.mkdir(parents=True, exist_ok=True)
    count, seed = _drawn(folder / DRAWN, selection, book, randomness)
    with closing(opened(folder, terms, seed)) as trials:
        while (trial := trials.next(count)) is not None:
            with trial:
                run(trial, train, prune=False)
        result = found(trials)
    if result.lost:
        raise StateError(
            f"{folder}: {result.lost} trials were begun three times and not finished; the best of "
            "the others must not be released"
        )
    if result.parameters is None or result.loss is None or result.number is None:
        return None
    return Winner(result.parameters, result.loss, result.number)


def _drawn(
    path: Path,
    selection: Selection,
    book: Callable[[Selection], None],
    randomness: Randomness | None,
) -> tuple[int, int]:
    """How many trials, and their seed. Booked before it is written, and anew if cut off between."""
    try:
        drawn = json.loads(path.read_text("utf-8"))
        return drawn["trials"], drawn["seed"]
    except FileNotFoundError:
        pass
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StateError(f"{path}: not what was drawn for this selection: {error}") from error
    book(selection)
    source = randomness or Randomness.from_os()
    count, seed = selection.repetitions.draw(source), int(source.words32(1)[0])
    write_atomically(path, json.dumps({"trials": count, "seed": seed}).encode(), mode=0o600)
    return count, seed

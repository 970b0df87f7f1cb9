"""The best of a random number of random trials on private data, for little more than one costs.

The bound (`fedward_shared.privacy.selection`) holds if settings are drawn without regard to any
outcome, if how many trials there are is random and stays secret, and if nothing but the winner is
released: neither the other trials nor this folder may leave the machine. Booked once, as a whole.
"""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from fedward_server.pretraining.search import Found, SearchTerms, Train, found, opened, run
from fedward_shared.errors import BudgetExceeded, StateError, UsageError
from fedward_shared.files import write_atomically
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.privacy.selection import Selection

DRAWN = "drawn.json"


def select(
    folder: Path,
    terms: SearchTerms,
    train: Train,
    selection: Selection,
    book: Callable[[Selection], None],
    randomness: Randomness | None = None,
) -> Found:
    """Runs as many trials as `selection` draws; each has to be its event, whatever its settings.

    `terms.trials` is not used. `randomness` is the operating system's, but in a simulation. `book` is
    called before the first trial, and not again when a search that was stopped goes on; it raises
    BudgetExceeded where none may begin. With no trial drawn (Poisson) nothing is found. Raises
    UsageError for a sampler or pruner that looks at outcomes, StateError where a trial was lost: the
    best of the others has no bound.
    """
    if terms.sampler != "random" or terms.pruner != "none":
        raise UsageError(
            f"sampler = {terms.sampler!r}, pruner = {terms.pruner!r}: trials that are chosen by the "
            "outcomes of others cost what all cost together; for one selection take 'random' and 'none'"
        )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        count, seed = _drawn(folder / DRAWN, selection, book, randomness)
    except BudgetExceeded as error:
        return Found(None, None, None, 0, 0, 0, str(error))
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
    return result


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

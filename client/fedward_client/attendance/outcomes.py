"""What a site keeps of a session that is over, and nobody else gets.

In STATE/KIND/CHARTER/SESSION, where KIND is `vertical` or `duplicates`:

model.safetensors    its part of the model, where one was fitted
result.json          how many records were common; at the active party, how well the model does on those
                     that were held out or, after a prediction, the scores of those that were asked
                     about; of a study of duplicates, which records are nearly whose
completion.json      what the coordinator was told; written last
"""

from pathlib import Path

from fedward_client.core import Outcome
from fedward_shared import canonical, tensors
from fedward_shared.assurances import Purpose
from fedward_shared.errors import ModelError, StateError
from fedward_shared.exchange.charter import SessionCharter
from fedward_shared.files import write_atomically

MODEL_FILE = "model.safetensors"
RESULT_FILE = "result.json"
COMPLETION_FILE = "completion.json"


class Kept:
    """Of one session of the charter, below the folder `state`."""

    def __init__(self, state: Path, charter: SessionCharter, session: str) -> None:
        digest = charter.digest.removeprefix(canonical.DIGEST_PREFIX)
        self.folder = state / charter.FOLDER / digest / session

    @property
    def completion(self) -> bytes | None:
        """What was told when the site was done; None before."""
        path = self.folder / COMPLETION_FILE
        return path.read_bytes() if path.is_file() else None

    @property
    def model(self) -> bytes:
        """What was fitted. Raises ModelError unless that was done to its end here."""
        path = self.folder / MODEL_FILE
        if self.completion is None or not path.is_file():
            raise ModelError(
                f"{path}: a prediction asks the model of a session that has fitted one and is over here"
            )
        return path.read_bytes()

    def write(self, outcome: Outcome, purpose: Purpose) -> None:
        """Keeps the outcome. Raises AdapterError for a model that is none, StateError."""
        try:
            result = canonical.encode(canonical.decode(outcome.result))
        except (ValueError, TypeError, RecursionError) as error:
            raise StateError(f"{self.folder}: the worker's result is no canonical JSON") from error
        if purpose == "fit":
            tensors.arrays(outcome.model, "the model of a session")
            self._write(MODEL_FILE, outcome.model)
        self._write(RESULT_FILE, result)

    def complete(self, completion: bytes) -> None:
        """From now on the session is over. Raises StateError."""
        self._write(COMPLETION_FILE, completion)

    def _write(self, name: str, data: bytes) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self.folder / name, data, mode=0o600)
        except OSError as error:
            raise StateError(
                f"{self.folder / name}: cannot be written: {error.strerror}"
            ) from error

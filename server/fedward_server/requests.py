"""What a coordinator signs and sends for a round, from the study as it stands."""

from collections.abc import Callable

from flwr.app import RecordDict

from fedward_server.studies import Study
from fedward_shared import tensors
from fedward_shared.assurances import Receipt, RoundRequest
from fedward_shared.identity import SigningKey
from fedward_shared.messages import Sharing, TrainRequest

TrainRecord = Callable[[str, Sharing], RecordDict]
"""The request to a site to train, with what it gets of the others' secrets."""


class Requests:
    """Those of one study, signed with the key that its settings name."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._key = SigningKey.load(study.settings.key)

    def round(self, number: int, attempt: int = 1) -> bytes:
        """The signed request for a round that starts from the study's adapter."""
        return RoundRequest(
            charter=self._study.charter.digest,
            round=number,
            adapter=tensors.digest(self._study.adapter),
            attempt=attempt,
        ).signed(self._key)

    def training(self, request: bytes) -> TrainRecord:
        """The requests to train that carry the signed `request`, and each site's receipt."""
        charter = self._study.charter.digest
        receipts, adapter = self.receipts(), tensors.encode(self._study.adapter)

        def record(site: str, sharing: Sharing) -> RecordDict:
            receipt = receipts.get(site, b"")
            return TrainRequest(charter, request, receipt, adapter, sharing).to_record()

        return record

    def receipts(self) -> dict[str, bytes]:
        """For each site whose update is in the last checkpoint, a receipt for it."""
        kept = self._study.history[-1]
        return {
            site: Receipt(
                charter=self._study.charter.digest,
                site=site,
                round=self._study.rounds_done,
                update=update,
                head=kept.heads[site],
            ).signed(self._key)
            for site, update in kept.updates.items()
        }

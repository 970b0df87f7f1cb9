"""What a coordinator signs and sends for a round, from the study as it stands."""

from collections.abc import Callable, Collection

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
        """The signed request for round `number`, from the adapter that it starts with."""
        return RoundRequest(
            charter=self._study.charter.digest,
            round=number,
            adapter=tensors.digest(self._study.adapter_before(number)),
            attempt=attempt,
        ).signed(self._key)

    def training(self, number: int, request: bytes, sites: Collection[str]) -> TrainRecord:
        """The requests to train in round `number`, with the signed `request` and `sites`' receipts."""
        charter, receipts = self._study.charter.digest, self.receipts(sites)
        adapter = tensors.encode(self._study.adapter_before(number))

        def record(site: str, sharing: Sharing) -> RecordDict:
            receipt = receipts.get(site, b"")
            return TrainRequest(charter, request, receipt, adapter, sharing).to_record()

        return record

    def receipts(self, sites: Collection[str]) -> dict[str, bytes]:
        """For each of `sites` of which a checkpoint has an update, a receipt for the last one."""
        history = self._study.history
        newest: dict[str, int] = {}
        for number in reversed(range(len(history))):
            newest = dict.fromkeys(history[number].updates.keys() & set(sites), number) | newest
            if len(newest) == len(sites):
                break
        return {site: self._receipt(site, number) for site, number in newest.items()}

    def _receipt(self, site: str, number: int) -> bytes:
        kept = self._study.history[number]
        return Receipt(
            charter=self._study.charter.digest,
            site=site,
            round=kept.made_for.get(site, number),
            update=kept.updates[site],
            head=kept.heads[site],
        ).signed(self._key)

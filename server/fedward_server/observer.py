"""What a coordinator tells a view of its study."""

from fedward_shared.report import RoundRecord


class Observer:
    """Told what happens, as it happens; does nothing until a view overrides it."""

    def gathered(self, sites: list[str], refused: dict[str, str]) -> None:
        """These sites take part; these participants refused, and why."""

    def round_opened(self, number: int, asked: list[str]) -> None:
        """The request to train in round `number` was sent to these sites."""

    def answered(self, number: int, site: str) -> None:
        """`site` has answered in round `number`, or will not any more."""

    def round_closed(self, record: RoundRecord) -> None:
        """The round is in the checkpoint."""

"""What the rounds of a study are run with, be they plain (`plain.py`) or masked (`attempts.py`)."""

from dataclasses import dataclass

from fedward_server.asking import Sender
from fedward_server.gathering import Gathering
from fedward_server.observer import Observer
from fedward_server.requests import Requests
from fedward_server.studies import Study
from fedward_shared.charter import Charter


@dataclass(frozen=True)
class Conduct:
    """The study, who is there for it, and the ways to ask them and to tell of it."""

    study: Study
    sender: Sender
    gathering: Gathering
    requests: Requests
    observer: Observer

    @property
    def charter(self) -> Charter:
        """The study's."""
        return self.study.charter

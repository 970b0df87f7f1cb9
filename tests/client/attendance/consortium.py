"""Three sites with the real relay between them: daemons' listeners, workers in threads, real files."""

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import tomli_w
import torch
from client.exchange.running import RunningRelay
from conftest import key_of
from patience import PATIENCE

from fedward_client import consent, sessions
from fedward_client import settings as site_settings
from fedward_client.boundary.caller import Caller
from fedward_client.boundary.listener import Listener
from fedward_client.core import Attending, Outcome
from fedward_client.exchange.journal import FOLDER, JOURNAL, Journal, place
from fedward_client.site import Site
from fedward_client.trusted import Trusted
from fedward_client.vertical import party
from fedward_client.vertical.fitting import trained
from fedward_client.vertical.records import PartyRecords
from fedward_server.exchange.sessions import Session
from fedward_shared import agreement, records, tensors
from fedward_shared import sessions as charters
from fedward_shared.assurances import Purpose, SessionRequest
from fedward_shared.charter_terms import WITHOUT_DP
from fedward_shared.exchange.charter import SessionCharter
from fedward_shared.exchange.program import Program, together
from fedward_shared.messages import SessionDone
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.vertical import planning
from fedward_shared.vertical.charter import VerticalCharter

PEOPLE, SESSION = 300, "5e" * 32
SITES = ("bank", "bureau", "telecom")
COORDINATOR = key_of("university")
ONCE = planning.once(8.0, 1e-5).model_dump(mode="json")
EVERY_BATCH = planning.every_batch(8.0, 1e-5, 4).model_dump(mode="json")
MODES = {"without DP": None, "once": ONCE, "every batch": EVERY_BATCH}
Data = Callable[[str], dict[str, list[str]]]
TABLE = {"columns": [{"kind": "number", "name": "x", "most": 1}]}


def drafted(**changes: Any) -> VerticalCharter:
    """A charter among the three; `changes` are to its vertical terms."""
    vertical = {
        "active": "bank",
        "table": TABLE,
        "label": "y",
        "passive": [{"name": name, "table": TABLE} for name in SITES[1:]],
        "alignment": {"rules": ["exact"], "most": 1000, "least": 10},
        "model": {"members": 2, "width": 4, "dropout": 0.1},
        "fitting": {"epochs": 4, "batch": 64, "learning_rate": 0.05},
        **changes,
    }
    content = {
        "study": "default",
        "purpose": "Who pays back",
        "legal_basis": "Contract",
        "expires": "2099-01-01",
        "coordinator": {"name": "university", "key": COORDINATOR.public.text},
        "dataset": "customers",
        "participants": [
            {"name": name, "key": key_of(name).public.text, "records": PEOPLE} for name in SITES
        ],
        "vertical": vertical,
        "exchange": {"patience_seconds": PATIENCE},
        "without_dp": "" if vertical.get("privacy") else WITHOUT_DP,
    }
    return agreement.parse(content, VerticalCharter, "test")


def data_of(name: str) -> dict[str, list[str]]:
    """The file of a site: overlapping people, each site in an order of its own."""
    number_PN = np.random.default_rng(0).random((len(SITES), PEOPLE))
    own = SITES.index(name)
    order = [int(n) for n in np.roll(np.arange(PEOPLE), 7 * own)]
    found = {
        "id": [f"person-{n:05d}" for n in order],
        "x": [repr(float(number_PN[own, n])) for n in order],
    }
    if name == "bank":
        label_N = number_PN.mean(axis=0) > 0.5
        found["y"] = [str(int(label_N[n])) for n in order]
    return found


class Deployed:
    """A site that has approved the charter in `source`: a daemon's listener, and workers as threads."""

    def __init__(
        self,
        home: Path,
        name: str,
        source: Path,
        relay: RunningRelay,
        data: Data = data_of,
        **changes: Any,
    ):
        self.name, self.home, self.relay = name, home, relay
        home.mkdir(exist_ok=True)
        records.write_jsonl(home / "customers.jsonl", data(name))
        key_of(name).save(home / "site.key")
        self.settings = {
            "name": name,
            "coordinators": {"university": COORDINATOR.public.text},
            "base_models": [],
            "without_dp": WITHOUT_DP,
            "datasets": {
                "customers": {
                    "path": "customers.jsonl",
                    "account": "customers",
                    "epsilon": 20.0,
                    "alignment": {"identifier": ["id"], "most": 1000},
                }
            },
            **changes,
        }
        self.path = home / "site.toml"
        self.path.write_text(tomli_w.dumps(self.settings), "utf-8")
        with self.site() as site:
            consent.approve(site, source)
        self.start()

    def site(self) -> Any:
        return closing(Site.open(self.path))

    def start(self) -> None:
        """The daemon."""
        address = f"127.0.0.1:{self.relay.port}"
        self.core = Trusted(
            lambda: site_settings.load(self.path),
            dial=lambda: grpc.aio.insecure_channel(address),
        )
        self.socket = self.home / "worker.sock"
        user = self.home.stat().st_uid
        self.listener = Listener(self.socket, self.core, lambda _: None, frozenset({user}))
        self.listener.start()

    def stop(self) -> None:
        self.listener.close()

    def attend(
        self,
        charter: SessionCharter,
        session_id: str = SESSION,
        wrapped: Any = lambda a: a,
        done: bytes = b"",
        model: str | None = None,
        purpose: Purpose = "fit",
    ) -> "Worker":
        """A worker that the session's message has started; `wrapped` makes another seat of its own. With
        the id of the session that fitted a `model`, it is a prediction."""
        purpose = purpose if model is None else "predict"
        asked = SessionRequest(
            charter=charter.digest, session=session_id, purpose=purpose, model=model
        ).signed(COORDINATOR)
        return Worker(partial(self._work, charter, asked, done, wrapped))

    def _work(
        self, charter: SessionCharter, asked: bytes, done: bytes, wrapped: Any
    ) -> SessionDone:
        with Caller(self.socket) as core:
            found = core.attend(charter.digest, asked, done)
            return found if isinstance(found, SessionDone) else sessions.attend(wrapped(found))

    def secret(self) -> bytes:
        """Of the session, from the journal of a site that is at it or was interrupted."""
        with self.site() as site:
            key = site.secrets.derive(JOURNAL)
        folder = self.home / "state" / FOLDER
        with closing(Journal(folder, SESSION, key)) as journal:
            [terms] = journal._db.execute("SELECT terms FROM beginning").fetchone()
            return journal.begin(terms)

    def journal(self) -> Path:
        return place(self.home / "state" / FOLDER, SESSION)

    def model(self, charter: VerticalCharter) -> bytes:
        return (self.kept(charter) / "model.safetensors").read_bytes()

    def kept(self, charter: VerticalCharter) -> Path:
        return self.home / "state" / "vertical" / charter.digest.partition(":")[2] / SESSION

    def logged(self, event: str) -> list[dict[str, Any]]:
        with self.site() as site:
            return [entry.details for entry in site.audit.entries if entry.event == event]


class Worker:
    """Work in a thread."""

    def __init__(self, work: Callable[[], SessionDone]) -> None:
        self._work = work
        self._done: SessionDone | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._done = self._work()
        except BaseException as error:
            self.error = error

    def done(self, seconds: float = PATIENCE) -> SessionDone:
        self.ended(seconds)
        if self.error is not None:
            raise self.error
        assert self._done is not None
        return self._done

    def ended(self, seconds: float = PATIENCE) -> None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the worker has not ended"


class Killed(Exception):
    """The worker's process has ended, whatever it was doing."""


class Mortal:
    """A seat whose worker dies after so many messages have come."""

    def __init__(self, seat: Attending, messages: int) -> None:
        self._seat, self._left = seat, messages
        self.offer, self.send, self.book = seat.offer, seat.send, seat.book
        self.checkpoint, self.restored = seat.checkpoint, seat.restored
        self.close = seat.close

    def finish(self, _: Outcome) -> SessionDone:
        raise Killed

    def receive(self, peer: str, timeout: float) -> bytes:
        if not self._left:
            raise Killed
        self._left -= 1
        return self._seat.receive(peer, timeout)


World = Callable[..., tuple[VerticalCharter, dict[str, Deployed]]]
"""Makes the three sites with a charter of such terms, whose training session is open."""


def opened(relay: RunningRelay, charter: SessionCharter, session_id: str = SESSION) -> None:
    deadline = datetime.now(UTC) + timedelta(hours=1)
    relay.sessions.open(
        Session.of(charter, session_id, deadline, charter.exchange.patience_seconds)
    )


def signed(folder: Path, charter: VerticalCharter) -> Path:
    charters.save(folder, charter, COORDINATOR)
    return folder


def undisturbed(
    charter: VerticalCharter,
    session_id: str,
    secrets: dict[str, bytes],
    files: dict[str, Path],
    folders: Sequence[Path] = (),
) -> dict[str, bytes]:
    """The models that the parties' programs come to with these secrets in one process."""
    terms = charter.vertical

    programs: dict[str, Program] = {}
    for name, secret in secrets.items():
        streams = partial(Randomness.derived, secret)
        own = PartyRecords.read(files[name], terms, name, ["id"], folders=folders)
        if name == terms.active:
            programs[name] = party.active(terms, own, session_id, streams)
        else:
            programs[name] = party.passive(terms, name, own, session_id, streams)
    torch.set_num_threads(1)  # as at the sites, for the same sums
    found = together(programs, lambda *_: None)
    modules = {n: one.model if n == terms.active else one.bottom for n, one in found.items()}
    return {
        name: tensors.encode({k: v.detach() for k, v in trained(module).items()})
        for name, module in modules.items()
    }

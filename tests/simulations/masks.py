"""Four hospitals in a masked study, and whatever may come between them and their coordinator."""

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from flwr.app import Message

from fedward_client.site import Site
from fedward_server.observer import Observer
from fedward_shared.errors import RefusalCode
from fedward_shared.messages import HELLO, MASKS, TRAIN, Answer, MaskRequest, Refusal
from fedward_simulations.agreement import Agreement
from fedward_simulations.consortium import Consortium, Outcome, Recipe, World

FOUR = ("east", "north", "south", "west")
MINIMUM = 3
STAGES = ("keys", "shares", "training", "survivors", "reveal")

Seen = list[Answer]
Reply = Callable[[Message], Message]
"""What the site itself answers."""

Meddling = Callable[[str, str, int, Message, Reply], Message]
"""Site, stage, how often the site was in that stage before, message, the site: what is answered."""

Meddle = Callable[[Meddling], None]


def run(world: World, recipe: Recipe, sites: int | None = None) -> Outcome:
    """The study, among the first `sites` of the world."""
    chosen = dict(list(world.sites.items())[:sites])
    return Consortium(world, Observer()).run("study", recipe, 8.0, chosen)


def stage_of(message: Message) -> str:
    """The stage of a masked round that a message belongs to."""
    kind = message.metadata.message_type
    if kind == MASKS:
        return MaskRequest.from_record(message.content).stage
    return {TRAIN: "training", HELLO: "hello"}.get(kind, "receipt")


def undisturbed(_site: str, _stage: str, _count: int, message: Message, reply: Reply) -> Message:
    """Nothing comes between."""
    return reply(message)


def refuses(sites: Iterable[str], stage: str, times: int) -> Meddling:
    """Something goes wrong at these sites in this stage, so often."""

    def meddling(site: str, now: str, count: int, message: Message, reply: Reply) -> Message:
        if site in sites and now == stage and count < times:
            return Message(Refusal(site, RefusalCode.STATE).to_record(), reply_to=message)
        return reply(message)

    return meddling


def bookings(sites: Iterable[Path]) -> list[int]:
    """How many there are in the ledger of each of these `site.toml` files."""
    found = []
    for path in sites:
        with closing(Site.open(path)) as site:
            found.append(site.ledger.spending("records").bookings)
    return found


def closeness(outcome: Outcome, plain: Outcome) -> float:
    """How many steps of the quantiser lie between the adapters, at most."""
    return Agreement.of(outcome, plain).steps

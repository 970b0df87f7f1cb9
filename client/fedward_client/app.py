"""The ClientApp: ask → reserve → train → clear → reply. Flower starts it for every message.

`app` is what a deployed SuperNode runs. A simulation makes its own with `create_app`, which is how,
and the only way in which, seeded randomness gets in.
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import structlog
import torch
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedward_client import egress
from fedward_client import settings as site_settings
from fedward_client.interruption import finished_first
from fedward_client.reconciliation import RESERVED
from fedward_client.settings import SiteSettings
from fedward_client.site import RandomnessSource, Site, from_os
from fedward_client.training.trainer import train
from fedward_shared import canonical, tasks, tensors
from fedward_shared.charter import Charter
from fedward_shared.errors import CharterError, DataError, FedwardError, RefusalCode
from fedward_shared.messages import HELLO, TRAIN, Hello, Refusal, TrainRequest, Update, Welcome
from fedward_shared.tasks.examples import Examples
from fedward_shared.tasks.prepared import prepared

SITE_KEY = "site"
"""The SuperNode's node configuration names the path of `site.toml` under this key."""

log = structlog.get_logger()

Answer = Welcome | Update | Refusal


def create_app(
    settings_of: Callable[[Context], SiteSettings], randomness: RandomnessSource = from_os
) -> ClientApp:
    """The ClientApp of the site whose settings `settings_of` reads for a message."""
    client = ClientApp()

    @client.query(HELLO.partition(".")[2])
    def hello(message: Message, context: Context) -> Message:
        return _reply(message, context, settings_of, randomness, answer_hello)

    @client.train(TRAIN.partition(".")[2])
    def train_round(message: Message, context: Context) -> Message:
        return _reply(message, context, settings_of, randomness, answer_train)

    return client


def _reply(
    message: Message,
    context: Context,
    settings_of: Callable[[Context], SiteSettings],
    randomness: RandomnessSource,
    answer: Callable[[Site, RecordDict], Answer],
) -> Message:
    """What is said of a failure is a fixed code; its text stays in the site's log."""
    name = ""
    try:
        settings = settings_of(context)
        name = settings.name  # from here on a refusal has it, that of a corrupt ledger too
        with closing(Site(settings, randomness)) as site:
            try:
                result = answer(site, message.content)
            except FedwardError as error:
                site.log("refused", code=error.refusal.value, to=message.metadata.message_type)
                raise
    except FedwardError as error:
        log.error("refused", site=name, code=error.refusal.value, reason=str(error))
        result = Refusal(name, error.refusal)
    except Exception:
        log.exception("failed", site=name)
        result = Refusal(name, RefusalCode.INTERNAL)
    return Message(result.to_record(), reply_to=message)


def answer_hello(site: Site, record: RecordDict) -> Welcome:
    """The site's name, if it has approved the charter and its policy permits it."""
    charter, _ = site.charters.load(Hello.from_record(record).charter)
    site.permit(charter)
    return Welcome(site.name)


@finished_first()
def answer_train(site: Site, record: RecordDict) -> Update:
    """One round of local training. Raises FedwardError; nothing has left by then."""
    request = TrainRequest.from_record(record)
    charter, initial = site.charters.load(request.charter)
    permission = site.permit(charter)
    _check_round(request.round, charter)

    torch.set_num_threads(site.settings.threads)
    model = tasks.build(permission.base_model, charter.task, charter.adapter)
    model.load(initial, "initial tensors")
    schema = tensors.schema_of(model.exchanged())
    received = tensors.decode(request.adapter, "global adapter")
    tensors.check(received, schema, "global adapter")
    model.load(received, "global adapter")
    model.enter_round(request.round, charter.training)

    digest = canonical.digest(request.adapter)
    kept = site.ledger.answer(charter.digest, request.round, digest)
    if kept is not None:
        site.log("sent again", charter=charter.digest, round=request.round)
        return _update(site, charter, request.round, kept)

    booking = site.ledger.reserve(
        permission.account,
        permission.study,
        request.round,
        digest,
        permission.plan.event,
        lambda made: site.log(RESERVED, study=charter.study, booking=made.as_json()),
    )
    log.info("reserved", site=site.name, study=charter.study, round=request.round)
    dataset = permission.dataset
    examples = prepared(model, charter.base_model.digest, dataset.path, dataset.columns, site.cache)
    _check_classes(examples, charter, dataset.path)
    train(
        model,
        examples,
        permission.plan,
        charter.training,
        # A simulation seeds by this label: its studies draw alike, so that they compare in pairs.
        lambda purpose: site.randomness(f"{site.name} {request.round} {purpose}"),
        _no_progress,
    )
    trained = model.exchanged()
    update = {name: trained[name] - received[name] for name in schema}
    cleared = egress.clear(update, schema, charter.aggregation.maximum_update_norm, site.name)
    site.log(
        "cleared",
        study=charter.study,
        charter=charter.digest,
        round=request.round,
        booking=booking,
        update=canonical.digest(cleared),
        bytes=len(cleared),
        to=charter.coordinator.name,
    )
    site.ledger.complete(booking, cleared)
    return _update(site, charter, request.round, cleared)


def _check_round(number: int, charter: Charter) -> None:
    if not 1 <= number <= charter.training.rounds:
        raise CharterError(
            f"charter {charter.study}: training.rounds is {charter.training.rounds}, the request is "
            f"for round {number}"
        )


def _check_classes(examples: Examples, charter: Charter, path: Path) -> None:
    if charter.task.kind == "text-classification" and examples.single_class:
        raise DataError(f"{path}: all records have the same label")


def _update(site: Site, charter: Charter, round_number: int, cleared: bytes) -> Update:
    spending = site.ledger.spending(site.settings.datasets[charter.dataset].account)
    epsilon = -1.0 if spending.epsilon == float("inf") else spending.epsilon
    return Update(site.name, round_number, epsilon, spending.delta, cleared)


def _no_progress(_done: int, _of: int) -> None:
    """A deployed site's progress is in its log."""


def _deployed_settings(context: Context) -> SiteSettings:
    return site_settings.load(Path(str(context.node_config[SITE_KEY])))


app = create_app(_deployed_settings)

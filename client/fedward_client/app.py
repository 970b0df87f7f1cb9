"""The ClientApp: ask → reserve → train → clear → reply. Flower starts it for every message.

`app` is what a deployed SuperNode runs. A simulation makes its own with `create_app`, which is how,
and the only way in which, seeded randomness gets in.
"""

from collections.abc import Callable
from pathlib import Path

import structlog
import torch
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedward_client import egress, policy
from fedward_client.site import Site
from fedward_client.training.trainer import train
from fedward_shared import canonical, tasks, tensors
from fedward_shared.charter import Charter
from fedward_shared.errors import DataError, FedwardError, RefusalCode
from fedward_shared.messages import HELLO, TRAIN, Hello, Refusal, TrainRequest, Update, Welcome
from fedward_shared.tasks.examples import Examples
from fedward_shared.tasks.prepared import prepared

SITE_KEY = "site"
"""The SuperNode's node configuration names the path of `site.toml` under this key."""

log = structlog.get_logger()

Answer = Welcome | Update | Refusal


def create_app(open_site: Callable[[Context], Site]) -> ClientApp:
    """The ClientApp of the site that `open_site` opens for a message."""
    client = ClientApp()

    @client.query(HELLO.partition(".")[2])
    def hello(message: Message, context: Context) -> Message:
        return _reply(message, context, open_site, answer_hello)

    @client.train(TRAIN.partition(".")[2])
    def train_round(message: Message, context: Context) -> Message:
        return _reply(message, context, open_site, answer_train)

    return client


def _reply(
    message: Message,
    context: Context,
    open_site: Callable[[Context], Site],
    answer: Callable[[Site, RecordDict], Answer],
) -> Message:
    """What is said of a failure is a fixed code; its text stays in the site's log."""
    name = ""
    try:
        site = open_site(context)
        name = site.name
        try:
            result = answer(site, message.content)
        finally:
            site.close()
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
    policy.permit(charter, site.settings)
    return Welcome(site.name)


def answer_train(site: Site, record: RecordDict) -> Update:
    """One round of local training. Raises FedwardError; nothing has left by then."""
    request = TrainRequest.from_record(record)
    charter, initial = site.charters.load(request.charter)
    permission = policy.permit(charter, site.settings)

    torch.set_num_threads(site.settings.threads)
    model = tasks.build(permission.base_model, charter.task, charter.adapter)
    model.load(initial, "initial tensors")
    schema = tensors.schema_of(model.exchanged())
    received = tensors.decode(request.adapter, "global adapter")
    tensors.check(received, schema, "global adapter")
    model.load(received, "global adapter")

    digest = canonical.digest(request.adapter)
    kept = site.ledger.answer(charter.digest, request.round, digest)
    if kept is not None:
        return _update(site, charter, request.round, kept)

    booking = site.ledger.reserve(
        permission.account, permission.study, request.round, digest, permission.plan.event
    )
    log.info("reserved", site=site.name, study=charter.study, round=request.round)
    dataset = permission.dataset
    examples = prepared(model, charter.base_model.digest, dataset.path, dataset.columns, site.cache)
    _check_classes(examples, charter, dataset.path)
    label = f"{site.name} {charter.digest} {request.round} {digest}"
    train(
        model,
        examples,
        permission.plan,
        charter.training,
        request.round,
        site.randomness(label),
        _no_progress,
    )
    trained = model.exchanged()
    update = {name: trained[name] - received[name] for name in schema}
    cleared = egress.clear(update, schema, charter.aggregation.maximum_update_norm, site.name)
    site.ledger.complete(booking, cleared)
    return _update(site, charter, request.round, cleared)


def _check_classes(examples: Examples, charter: Charter, path: Path) -> None:
    if charter.task.kind == "text-classification" and examples.single_class:
        raise DataError(f"{path}: all records have the same label")


def _update(site: Site, charter: Charter, round_number: int, cleared: bytes) -> Update:
    spending = site.ledger.spending(site.settings.datasets[charter.dataset].account)
    epsilon = -1.0 if spending.epsilon == float("inf") else spending.epsilon
    return Update(site.name, round_number, epsilon, spending.delta, cleared)


def _no_progress(_done: int, _of: int) -> None:
    """A deployed site's progress is in its log."""


def _open_deployed(context: Context) -> Site:
    return Site.open(Path(str(context.node_config[SITE_KEY])))


app = create_app(_open_deployed)

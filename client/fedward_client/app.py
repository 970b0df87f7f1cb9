"""The ClientApp: ask → reserve → train → clear → reply. Flower starts it for every message.

`app` is what a deployed SuperNode runs. A simulation makes its own with `create_app`, which is how,
and the only way in which, seeded randomness gets in.
"""

import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import structlog
import torch
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from pydantic import ValidationError

from fedward_client import egress
from fedward_client import settings as site_settings
from fedward_client.interruption import finished_first
from fedward_client.reconciliation import RESERVED
from fedward_client.settings import SiteSettings
from fedward_client.site import RandomnessSource, Site, from_os
from fedward_client.training.trainer import train
from fedward_shared import canonical, tasks, tensors
from fedward_shared.assurances import (
    Delivery,
    Objection,
    Presence,
    Receipt,
    RoundRequest,
    epsilon_text,
)
from fedward_shared.canonical import DIGEST_PREFIX
from fedward_shared.charter import Charter
from fedward_shared.errors import CharterError, DataError, FedwardError, RefusalCode
from fedward_shared.identity import SigningKey
from fedward_shared.messages import (
    HELLO,
    RECEIPT,
    TRAIN,
    Hello,
    MessageError,
    Noted,
    ReceiptNote,
    Refusal,
    TrainRequest,
    Update,
    Welcome,
)
from fedward_shared.tasks.examples import Examples
from fedward_shared.tasks.prepared import prepared

SITE_KEY = "site"
"""The SuperNode's node configuration names the path of `site.toml` under this key."""

log = structlog.get_logger()

Answer = Welcome | Update | Refusal | Noted


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

    @client.query(RECEIPT.partition(".")[2])
    def receipt(message: Message, context: Context) -> Message:
        return _reply(message, context, settings_of, randomness, answer_receipt)

    return client


def _reply(
    message: Message,
    context: Context,
    settings_of: Callable[[Context], SiteSettings],
    randomness: RandomnessSource,
    answer: Callable[[Site, RecordDict], Answer],
) -> Message:
    """What is said of a failure is a fixed code; its text stays in the site's log."""
    settings = None
    try:
        settings = settings_of(context)
        with closing(Site(settings, randomness)) as site:
            result = _answered(site, message.content, answer)
    except Exception as error:  # there is no site, or it cannot be opened
        result = _refusal(settings, message.content, _code_of(error))
    return Message(result.to_record(), reply_to=message)


def _answered(
    site: Site, record: RecordDict, answer: Callable[[Site, RecordDict], Answer]
) -> Answer:
    try:
        return answer(site, record)
    except Exception as error:
        code = _code_of(error)
        site.log("refused", code=code.value)
        return _refusal(site.settings, record, code)


def _code_of(error: Exception) -> RefusalCode:
    if isinstance(error, FedwardError):
        log.error("refused", code=error.refusal.value, reason=str(error))
        return error.refusal
    log.error("failed", exc_info=error)
    return RefusalCode.INTERNAL


def _refusal(settings: SiteSettings | None, record: RecordDict, code: RefusalCode) -> Refusal:
    """A refusal, signed where it is known who refuses what."""
    if settings is None:
        return Refusal("", code)
    try:
        key = SigningKey.load(settings.key)
        charter, answers = _question(record)
        objection = Objection(charter=charter, site=settings.name, answers=answers, code=code)
    except (FedwardError, ValidationError):
        return Refusal(settings.name, code)
    return Refusal(settings.name, code, objection.signed(key))


def _question(record: RecordDict) -> tuple[str, str]:
    """The charter that a message is about, and the digits that an objection to it repeats."""
    try:
        hello = Hello.from_record(record)
    except MessageError:
        request = TrainRequest.from_record(record)
        return request.charter, canonical.digest(request.adapter).removeprefix(DIGEST_PREFIX)
    return hello.charter, hello.challenge


def answer_hello(site: Site, record: RecordDict) -> Welcome:
    """The site's decision, if it has approved the charter and its policy permits it."""
    hello = Hello.from_record(record)
    charter, _ = site.charters.load(hello.charter)
    site.permit(charter)
    decision = site.charters.decision_bytes(charter.digest)
    assert decision is not None
    presence = Presence(charter=charter.digest, site=site.name, challenge=_challenge(hello))
    return Welcome(site.name, decision, presence.signed(site.key))


@finished_first()
def answer_train(site: Site, record: RecordDict) -> Update:
    """One round of local training. Raises FedwardError; nothing has left by then."""
    request = TrainRequest.from_record(record)
    charter, initial = site.charters.load(request.charter)
    asked = _asked(charter, request)
    if request.receipt:
        _note(site, charter, request.receipt)
    permission = site.permit(charter)

    torch.set_num_threads(site.settings.threads)
    model = tasks.build(permission.base_model, charter.task, charter.adapter)
    model.load(initial, "initial tensors")
    schema = tensors.schema_of(model.exchanged())
    received = tensors.decode(request.adapter, "global adapter")
    tensors.check(received, schema, "global adapter")
    model.load(received, "global adapter")
    model.enter_round(asked.round, charter.training)

    kept = site.ledger.answer(charter.digest, asked.round, asked.adapter)
    if kept is not None:
        site.log("sent again", charter=charter.digest, round=asked.round)
        return Update(site.name, *kept)

    booking = site.ledger.reserve(
        permission.account,
        permission.study,
        asked.round,
        asked.adapter,
        permission.plan.event,
        lambda made: site.log(RESERVED, study=charter.study, booking=made.as_json()),
    )
    log.info("reserved", site=site.name, study=charter.study, round=asked.round)
    dataset = permission.dataset
    examples = prepared(model, charter.base_model.digest, dataset.path, dataset.columns, site.cache)
    _check_classes(examples, charter, dataset.path)
    train(
        model,
        examples,
        permission.plan,
        charter.training,
        # A simulation seeds by this label: its studies draw alike, so that they compare in pairs.
        lambda purpose: site.randomness(f"{site.name} {asked.round} {purpose}"),
        _no_progress,
    )
    trained = model.exchanged()
    update = {name: trained[name] - received[name] for name in schema}
    cleared = egress.clear(update, schema, charter.aggregation.maximum_update_norm, site.name)
    site.log(
        "cleared",
        study=charter.study,
        charter=charter.digest,
        round=asked.round,
        booking=booking,
        update=canonical.digest(cleared),
        bytes=len(cleared),
        to=charter.coordinator.name,
    )
    delivery = _delivery(site, charter, asked, cleared)
    site.ledger.complete(booking, delivery, cleared)
    return Update(site.name, delivery, cleared)


def answer_receipt(site: Site, record: RecordDict) -> Noted:
    """Notes what the coordinator has received. Raises StateError if that is not in this site's log."""
    note = ReceiptNote.from_record(record)
    charter, _ = site.charters.read(note.charter)
    _note(site, charter, note.receipt)
    return Noted(site.name)


def _note(site: Site, charter: Charter, data: bytes) -> None:
    """Keeps a receipt. Raises StatementError, or StateError for a head that was never shown."""
    coordinator = charter.coordinator
    receipt = Receipt.read(
        data, charter.digest, coordinator.public_key, coordinator.name, "receipt"
    ).by(site.name, "receipt")
    site.check_shown(receipt.head)
    site.log(
        "received",
        charter=charter.digest,
        round=receipt.round,
        update=receipt.update,
        receipt=data.decode(),
    )


def _challenge(hello: Hello) -> str:
    if not re.fullmatch("[0-9a-f]{64}", hello.challenge):
        raise MessageError("the challenge is not 64 hexadecimal digits")
    return hello.challenge


def _asked(charter: Charter, request: TrainRequest) -> RoundRequest:
    """What the coordinator has signed. Raises StatementError, CharterError or MessageError."""
    coordinator = charter.coordinator
    asked = RoundRequest.read(
        request.request, charter.digest, coordinator.public_key, coordinator.name, "round request"
    )
    _check_round(asked.round, charter)
    if asked.adapter != canonical.digest(request.adapter):
        raise MessageError("the adapter is not the one that the round request names")
    return asked


def _delivery(site: Site, charter: Charter, asked: RoundRequest, cleared: bytes) -> bytes:
    spending = site.ledger.spending(site.settings.datasets[charter.dataset].account)
    return Delivery(
        charter=charter.digest,
        site=site.name,
        round=asked.round,
        adapter=asked.adapter,
        update=canonical.digest(cleared),
        epsilon=epsilon_text(spending.epsilon),
        delta=repr(spending.delta),
        head=site.shown_head,
    ).signed(site.key)


def _check_round(number: int, charter: Charter) -> None:
    if not 1 <= number <= charter.training.rounds:
        raise CharterError(
            f"charter {charter.study}: training.rounds is {charter.training.rounds}, the request is "
            f"for round {number}"
        )


def _check_classes(examples: Examples, charter: Charter, path: Path) -> None:
    if charter.task.kind == "text-classification" and examples.single_class:
        raise DataError(f"{path}: all records have the same label")


def _no_progress(_done: int, _of: int) -> None:
    """A deployed site's progress is in its log."""


def _deployed_settings(context: Context) -> SiteSettings:
    return site_settings.load(Path(str(context.node_config[SITE_KEY])))


app = create_app(_deployed_settings)

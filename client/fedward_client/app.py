"""The ClientApp: ask → train → clear → reply. Flower starts it for every message.

It is an unprivileged worker. Whether a round is trained, what it costs, what may leave and under whose
signature is for the trusted side to say (`core.py`). `app` is what a deployed SuperNode runs. A
simulation makes its own with `create_app`, which is how, and the only way in which, seeded randomness
gets in.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedward_client.boundary.caller import Caller
from fedward_client.core import Core
from fedward_client.interruption import finished_first
from fedward_shared import canonical
from fedward_shared.errors import FedwardError, RefusalCode
from fedward_shared.messages import (
    HELLO,
    MASKS,
    RECEIPT,
    SESSION,
    STATISTICS,
    TRAIN,
    Counted,
    Hello,
    MaskAnswer,
    MaskRequest,
    Noted,
    ReceiptNote,
    Refusal,
    SessionCall,
    SessionDone,
    StatisticsCall,
    TrainRequest,
    Update,
    Welcome,
    question,
)

if TYPE_CHECKING:
    from fedward_shared.privacy.randomness import Randomness

SOCKET_KEY = "socket"
"""The SuperNode's node configuration names the trusted side's socket under this key."""

RandomnessSource = Callable[[str], "Randomness"]
"""A fresh stream for the training that is named by its label."""

log = structlog.get_logger()

Answer = Welcome | Update | MaskAnswer | Refusal | Noted | SessionDone | Counted


def from_os(_label: str) -> "Randomness":
    """The source of every deployed site. No file, option or message can name another."""
    from fedward_shared.privacy.randomness import Randomness

    return Randomness.from_os()


def create_app(
    core_of: Callable[[Context], AbstractContextManager[Core]],
    randomness: RandomnessSource = from_os,
) -> ClientApp:
    """The ClientApp that asks the core which `core_of` gives for a message."""
    client = ClientApp()

    @client.query(HELLO.partition(".")[2])
    def hello(message: Message, context: Context) -> Message:
        return _reply(message, core_of(context), answer_hello)

    @client.train(TRAIN.partition(".")[2])
    def train_round(message: Message, context: Context) -> Message:
        return _reply(
            message,
            core_of(context),
            lambda core, record: answer_train(core, record, randomness),
        )

    @client.query(MASKS.partition(".")[2])
    def masks(message: Message, context: Context) -> Message:
        return _reply(message, core_of(context), answer_masks)

    @client.query(RECEIPT.partition(".")[2])
    def receipt(message: Message, context: Context) -> Message:
        return _reply(message, core_of(context), answer_receipt)

    @client.query(SESSION.partition(".")[2])
    def session(message: Message, context: Context) -> Message:
        return _reply(message, core_of(context), answer_session)

    @client.query(STATISTICS.partition(".")[2])
    def statistics(message: Message, context: Context) -> Message:
        return _reply(
            message,
            core_of(context),
            lambda core, record: answer_statistics(core, record, randomness),
        )

    return client


def _reply(
    message: Message,
    opening: AbstractContextManager[Core],
    answer: Callable[[Core, RecordDict], Answer],
) -> Message:
    """What is said of a failure is a fixed code; its text stays in the site's log."""
    result: Answer
    try:
        with opening as core:
            result = _answered(core, message.content, answer)
    except Exception as error:  # nobody trusted can be reached to say more
        result = Refusal("", _code_of(error))
    return Message(result.to_record(), reply_to=message)


def _answered(
    core: Core, record: RecordDict, answer: Callable[[Core, RecordDict], Answer]
) -> Answer:
    try:
        return answer(core, record)
    except Exception as error:
        return core.refuse(*question(record), _code_of(error))


def _code_of(error: Exception) -> RefusalCode:
    if isinstance(error, FedwardError):
        log.error("refused", code=error.refusal.value, reason=str(error))
        return error.refusal
    log.error("failed", exc_info=error)
    return RefusalCode.INTERNAL


def answer_hello(core: Core, record: RecordDict) -> Welcome:
    """The site's decision, if it has approved the charter and its policy permits it."""
    return core.greet(Hello.from_record(record))


@finished_first()
def answer_train(core: Core, record: RecordDict, randomness: RandomnessSource = from_os) -> Update:
    """One round of local training. Raises FedwardError; nothing has left by then."""
    from fedward_client.training.round import Training  # torch and all the rest, for a round alone

    request = TrainRequest.from_record(record)
    training = Training(core.offer(request.charter, request.receipt), request.adapter)
    adapter, sharing = canonical.digest(request.adapter), request.sharing
    granted = core.reserve(request.charter, request.request, adapter, sharing)
    if isinstance(granted, Update):
        return granted
    cleared, norms = training.run(granted, randomness)
    return core.clear(granted.booking, cleared, norms, sharing)


def answer_masks(core: Core, record: RecordDict) -> MaskAnswer:
    """A stage of a masked round in which nothing is trained."""
    return core.mask(MaskRequest.from_record(record))


def answer_session(core: Core, record: RecordDict) -> SessionDone:
    """This site's part in a session, to its end."""
    from fedward_client.sessions import attend

    call = SessionCall.from_record(record)
    found = core.attend(call.charter, call.request, call.done)
    return found if isinstance(found, SessionDone) else attend(found)


@finished_first()
def answer_statistics(
    core: Core, record: RecordDict, randomness: RandomnessSource = from_os
) -> Counted:
    """This site's statistics, once. Raises FedwardError; nothing has left by then."""
    from fedward_client.statistics.counting import counted

    call = StatisticsCall.from_record(record)
    asked = core.count(call.charter, call.request)
    if isinstance(asked, Counted):
        return asked
    found, counts = counted(asked, randomness)
    return core.tell(asked.booking, found, counts.astype("<i8").tobytes())


def answer_receipt(core: Core, record: RecordDict) -> Noted:
    """Notes what the coordinator has received. Raises StateError if that is not in this site's log."""
    return core.note(ReceiptNote.from_record(record))


def _deployed(context: Context) -> AbstractContextManager[Core]:
    return Caller(Path(str(context.node_config[SOCKET_KEY])))


app = create_app(_deployed)

"""What Ctrl-C does to a site that has booked a round."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

WAITING = b"\nfedward: the site finishes its round first, which is booked; again stops at once\n"


@contextmanager
def finished_first() -> Iterator[None]:
    """Holds the first Ctrl-C back to the end: a round cut off once booked would be booked again."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.getsignal(signal.SIGINT)
    held = False

    def hold(_number: int, _frame: FrameType | None) -> None:
        nonlocal held
        held = True
        signal.signal(signal.SIGINT, before)
        os.write(2, WAITING)

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)

"""A packet capture: a port that passes on to another one what it is sent, and keeps a copy."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Recorder:
    """Listens on `port`, in front of `target`. `seen` has all bytes of both directions."""

    def __init__(self, target: int) -> None:
        self.seen = bytearray()
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                own, _ = self._listening.accept()
                other = socket.create_connection(("127.0.0.1", self._target))
                self._open += [own, other]
                for source, sink in ((own, other), (other, own)):
                    thread = threading.Thread(target=self._pass_on, args=(source, sink))
                    self._threads.append(thread)
                    thread.start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self.seen += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Ends all connections."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join()


@contextmanager
def recording(target: int) -> Iterator[Recorder]:
    """A recorder in front of that port."""
    made = Recorder(target)
    try:
        yield made
    finally:
        made.close()

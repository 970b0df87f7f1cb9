"""What sites may ask of the coordinator itself, over HTTP: to be admitted, and to be renewed.

    POST /fedward/enrol    an enrolment; anybody who reaches the proxy may send one
    POST /fedward/renew    nothing in it: the certificate that the proxy has checked says who asks

A thin shell: the rules are in `admissions.py`. It listens on a Unix socket that only the coordinator's
own user can open, so that nobody but the proxy can set the headers which say whose certificate it was.
Run by `fedward coordinator run` as `python -m fedward_server.enrolment_service HOME`.
"""

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fedward_server.authority import CA_FILE
from fedward_server.coordinator import Home
from fedward_server.registrar import Registrar
from fedward_server.superlink import SuperLink
from fedward_shared.enrolment import ENROL_PATH, MAX_BYTES, RENEW_PATH, Admission, Enrolment
from fedward_shared.errors import (
    EnrolmentError,
    FedwardError,
    StatementError,
    TransportError,
)

VERIFIED_HEADER = "x-client-verify"
SERIAL_HEADER = "x-client-serial"
VERIFIED = "SUCCESS"
MAX_SERIAL_DIGITS = 40  # 20 bytes (RFC 5280, 4.1.2.2)


class Service:
    """One request at a time is decided about; each answer is a signed admission or a sentence."""

    def __init__(self, registrar: Registrar, superlink: SuperLink) -> None:
        self.registrar = registrar
        self.superlink = superlink
        self._one_at_a_time = threading.Lock()

    @property
    def app(self) -> Starlette:
        """The routes; there are no others."""
        return Starlette(
            routes=[
                Route(ENROL_PATH, self._enrol, methods=["POST"]),
                Route(RENEW_PATH, self._renew, methods=["POST"]),
            ]
        )

    async def _enrol(self, request: Request) -> Response:
        data = b""
        async for part in request.stream():
            data += part
            if len(data) > MAX_BYTES:
                return _told(413, f"an enrolment has at most {MAX_BYTES} bytes")
        return await run_in_threadpool(self._answered, lambda: self._admit(data))

    async def _renew(self, request: Request) -> Response:
        serial = request.headers.get(SERIAL_HEADER, "")
        verified = request.headers.get(VERIFIED_HEADER) == VERIFIED
        if not verified or not 1 <= len(serial) <= MAX_SERIAL_DIGITS:
            return _told(403, "only a site that shows its certificate can have it renewed")
        return await run_in_threadpool(self._answered, lambda: self._renewed(serial))

    def _admit(self, data: bytes) -> Admission:
        admission = self.registrar.admit(Enrolment.read(data, "enrolment"))
        print(f"{admission.site}: admitted", flush=True)
        # A SuperLink that is down learns it when it is up again: `coordinator run` sees to that.
        with suppress(TransportError):
            self.registrar.settle(self.superlink)
        return admission

    def _renewed(self, serial: str) -> Admission:
        try:
            number = int(serial, 16)
        except ValueError as error:
            raise EnrolmentError("no serial number of a certificate") from error
        admission = self.registrar.renew(number)
        print(f"{admission.site}: certificate renewed", flush=True)
        return admission

    def _answered(self, work: Callable[[], Admission]) -> Response:
        with self._one_at_a_time:
            try:
                admission = work()
                return Response(self.registrar.signed(admission), media_type="application/json")
            except (EnrolmentError, StatementError) as error:
                status = 403 if isinstance(error, EnrolmentError) else 400
                print(f"refused: {error}", flush=True)
                return _told(status, str(error))
            except FedwardError as error:
                print(f"failed: {error}", file=sys.stderr, flush=True)
                return _told(500, "the coordinator cannot do this now; its log says why")


def _told(status: int, words: str) -> Response:
    return PlainTextResponse(f"{words}\n", status)


def main(folder: Path) -> None:
    """Serves until SIGTERM. Raises FedwardError for a home that cannot be used."""
    home = Home(folder)
    home.open_authority()  # a wrong passphrase is told now, not to the first site
    registrar = Registrar(home)
    superlink = SuperLink(home.superlink_address, home.authority / CA_FILE)
    socket = home.socket
    socket.parent.mkdir(mode=0o700, exist_ok=True)
    socket.unlink(missing_ok=True)
    config = uvicorn.Config(
        Service(registrar, superlink).app,
        uds=str(socket),
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=64,
        timeout_graceful_shutdown=5,
    )
    try:
        uvicorn.Server(config).run()
    finally:
        registrar.close()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except FedwardError as refused:
        print(f"enrolment service: {refused}", file=sys.stderr)
        sys.exit(refused.exit_code)

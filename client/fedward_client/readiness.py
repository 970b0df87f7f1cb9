"""Tells the service manager that the site is up (`sd_notify(3)`): its worker is started after that."""

import os
import socket

ADDRESS_VARIABLE = "NOTIFY_SOCKET"


def tell() -> None:
    """Says `READY=1`, where systemd asked to be told; does nothing elsewhere.

    Raises OSError if systemd does not listen at the place that it named.
    """
    address = os.environ.pop(ADDRESS_VARIABLE, "")  # not for what is started from here
    if not address:
        return
    name = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_systemd:
        to_systemd.sendto(b"READY=1", name)

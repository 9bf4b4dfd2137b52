"""Where the server listens."""

from __future__ import annotations

import contextlib
import errno
import os
import socket

from webui.schema.errors import AtelierError, BadRequest

TRIES = 50


def open_socket(address: str, port: int) -> socket.socket:
    """A socket bound to this port, or to the next one that is free; port 0: to any.

    Raises:
        BadRequest: the address is not one of this machine, or the port is none.
        AtelierError: no port is free, or this user may not use it.
    """
    if not 0 <= port <= 65535:
        raise BadRequest(f"There is no port {port}.", "Ports go from 1 to 65535.")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for candidate in range(port, min(port + TRIES, 65536)):
        listener = _bind(family, address, candidate)
        if listener is not None:
            return listener
    raise AtelierError(f"The ports from {port} to {port + TRIES - 1} are all taken.", "Choose another with --port.")


def network_address() -> str | None:
    """This machine's address in its network. No packet is sent: the system is only asked for the way out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("10.255.255.255", 1))
        return str(probe.getsockname()[0])
    return None


def _bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket | None:
    """None: the port is taken."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    if os.name != "nt":  # there it would let two programs share a port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            return None
        cause = error.strerror or str(error)
        raise BadRequest(f"The server cannot listen at {address}:{port}: {cause}.", "Choose another one.") from None
    return listener

"""Where the server listens."""

from __future__ import annotations

import socket

import pytest

from webui.schema.errors import AtelierError, BadRequest
from webui.server.ports import open_socket


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def test_a_taken_port_is_replaced_by_the_next_free_one():
    with open_socket("127.0.0.1", 0) as taken, open_socket("127.0.0.1", port_of(taken)) as listener:
        assert port_of(taken) < port_of(listener) < port_of(taken) + 50


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(BadRequest, match=r"cannot listen at 192\.0\.2\.1:0"):
        open_socket("192.0.2.1", 0)


@pytest.mark.parametrize("port", [-1, 65536])
def test_what_is_no_port_is_refused(port: int):
    with pytest.raises(BadRequest, match=f"There is no port {port}"):
        open_socket("127.0.0.1", port)


def test_the_last_port_has_no_next_one():
    with open_socket("127.0.0.1", 65535), pytest.raises(AtelierError, match="all taken"):
        open_socket("127.0.0.1", 65535)

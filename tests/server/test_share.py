"""A public link that cannot be had is told within seconds, and nothing else suffers. T1 of the fault tests."""

from __future__ import annotations

import functools
import hashlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from webui.schema.errors import BadRequest
from webui.server import share as share_module
from webui.server.hosts import Hosts
from webui.server.relay import Deadline, Relay, Sources
from webui.server.share import Share, ShareState, own_relay
from webui.server.tunnel import LEASH

PROGRAM = (f"#!{sys.executable}\n" + (Path(__file__).parent / "fake_tunnel.py").read_text()).encode()
HONEST = hashlib.sha256(PROGRAM).hexdigest()


class House:
    """Opens links and collects what is told of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hosts = Hosts()
        self.told: list[ShareState] = []
        self.news = threading.Condition()
        self.binary = folder / "cache" / "frpc"
        self.binary.parent.mkdir()
        self.binary.write_bytes(PROGRAM)
        self.sources = Sources("http://127.0.0.1:9/v3", self.binary, "http://127.0.0.1:9/frpc", HONEST)
        self.share: Share | None = None

    def open(self, wish: str | None = None, seconds: float = 3.0, **changes: object) -> Share:
        """wish: what the fake program does; None: Gradio is asked for a server first."""
        relay = Relay(wish, 7000, None) if wish else None
        sources = replace(self.sources, **changes)  # type: ignore[arg-type]
        deadline = functools.partial(Deadline, seconds)
        self.share = Share(7860, self.folder / "tunnel", self.hosts, self._tell, sources, relay, deadline)
        self.share.start()
        return self.share

    def wait(self, wanted: Callable[[ShareState], bool], seconds: float = 20.0) -> ShareState:
        with self.news:
            assert self.news.wait_for(lambda: any(map(wanted, self.told)), seconds), self.told
            return next(filter(wanted, self.told))

    def verdict(self) -> ShareState:
        """The first news: a link, or why there is none."""
        return self.wait(lambda state: True)

    def _tell(self, state: ShareState) -> None:
        with self.news:
            self.told.append(state)
            self.news.notify_all()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    one = House(tmp_path)
    yield one
    if one.share is not None:
        one.share.stop()


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v3"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share_module, "PAUSES", (0.05, 0.05, 0.05))


def refused(state: ShareState) -> str:
    """The reason, after the parts that every refusal has."""
    assert state.url is None
    assert state.final
    head, tail = "There is no public link: ", " The page on this machine goes on."
    assert state.problem.startswith(head)
    assert state.problem.endswith(tail)
    return state.problem.removeprefix(head).removesuffix(tail)


def test_a_link_is_opened_and_its_name_is_let_in(house: House):
    share = house.open("works")
    assert house.verdict() == ShareState(url="https://abcdef.gradio.live")
    assert house.hosts.allows("abcdef.gradio.live")
    share.stop()
    assert house.told == [ShareState(url="https://abcdef.gradio.live")]


def test_opening_takes_no_time_of_the_server(house: House, black_hole: str):
    begun = time.monotonic()
    house.open(api=black_hole)
    assert time.monotonic() - begun < 0.5


def test_a_name_that_cannot_be_looked_up_is_told(house: House):
    house.open(api="http://api.gradio.invalid/v3")
    assert refused(house.verdict()).startswith("api.gradio.invalid cannot be reached (")


def test_a_network_that_refuses_is_told(house: House):
    house.open()
    reason = refused(house.verdict())
    assert reason.startswith("127.0.0.1 cannot be reached (")
    assert reason.endswith("Is this machine online? A firewall or a proxy may be in the way.")


def test_a_network_that_swallows_everything_is_told_in_time(house: House, black_hole: str):
    house.open(api=black_hole, seconds=0.5)
    assert refused(house.verdict()).startswith("127.0.0.1 cannot be reached (")


def test_a_name_look_up_that_never_ends_is_told_in_time(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("webui.server.relay.httpx.get", lambda *_, **__: time.sleep(60))
    house.open(seconds=0.3)
    assert refused(house.verdict()).startswith("127.0.0.1 cannot be reached (no answer).")


def test_a_program_that_ends_is_told_with_its_last_words(house: House):
    house.open("exits")
    said = "The tunnel program ended at once (exit code 5: dial tcp: no route to host)."
    assert refused(house.verdict()).startswith(said)


def test_a_program_that_says_nothing_is_told_in_time_and_ended(house: House):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    share = house.open("silent", seconds=1.0)
    assert refused(house.verdict()).startswith("The tunnel program did not get a connection in time.")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 0.5
    assert share._tunnel is not None
    assert share._tunnel._process.wait(timeout=60) != 0


def test_a_server_that_refuses_is_told_at_once(house: House):
    house.open("refuses", seconds=30.0)
    assert refused(house.verdict()).startswith("The tunnel server refused: [W] login to server failed: token in login")


def test_a_program_that_was_tampered_with_never_runs(house: House):
    marker = house.folder / "ran"
    house.binary.write_text(f"#!/bin/sh\ntouch {marker}\n")
    house.binary.chmod(0o755)
    house.open("works")
    reason = refused(house.verdict())
    assert reason.startswith(f"The tunnel program {house.binary} is not the one that Gradio publishes")
    assert not marker.exists()


def test_a_download_that_is_not_the_published_program_never_runs(house: House, monkeypatch: pytest.MonkeyPatch):
    house.binary.unlink()
    monkeypatch.setattr("webui.server.relay._receive", lambda *_: b"#!/bin/sh\nexit 0\n")
    house.open("works")
    assert "its checksum differs" in refused(house.verdict())
    assert not (house.folder / "tunnel" / "frpc").exists()


def test_a_program_that_is_missing_is_downloaded(house: House, monkeypatch: pytest.MonkeyPatch):
    house.binary.unlink()
    monkeypatch.setattr("webui.server.relay._receive", lambda *_: PROGRAM)
    house.open("works")
    assert house.verdict().url == "https://abcdef.gradio.live"
    assert (house.folder / "tunnel" / "frpc").stat().st_mode & 0o777 == 0o700


def test_a_program_that_can_neither_be_found_nor_downloaded_is_told_with_the_way_out(house: House):
    house.binary.unlink()
    house.open("works")
    reason = refused(house.verdict())
    assert reason.startswith("The tunnel program is not on this machine and 127.0.0.1 cannot be reached (")
    assert reason.endswith(f"Or download http://127.0.0.1:9/frpc elsewhere and put it at {house.binary}.")


def test_a_machine_that_nobody_builds_the_program_for_is_told(house: House):
    house.open("works", checksum=None)
    assert refused(house.verdict()).startswith("There is no tunnel program for this kind of machine.")


def test_a_tunnel_that_falls_is_opened_again_three_times(house: House):
    house.open("falls")
    last = house.wait(lambda state: state.final)
    assert [state.url for state in house.told if state.url] == ["https://abcdef.gradio.live"] * 4
    assert last.problem.startswith("The public link broke and stays closed (exit code 137")
    assert not house.hosts.allows("abcdef.gradio.live")


def test_the_fall_of_a_tunnel_is_noticed_at_once(house: House):
    share = house.open("works")
    house.verdict()
    assert share._tunnel is not None
    leash = share._tunnel._process.pid
    begun = time.monotonic()
    os.kill(int(Path(f"/proc/{leash}/task/{leash}/children").read_text()), signal.SIGKILL)
    house.wait(lambda state: "It is being opened again" in state.problem)
    assert time.monotonic() - begun < 5


def test_a_link_that_moves_is_followed(house: House):
    house.open("moves")
    house.wait(lambda state: state.url == "https://ghijkl.gradio.live")
    assert house.hosts.allows("ghijkl.gradio.live")
    assert not house.hosts.allows("abcdef.gradio.live")


def test_a_tunnel_ends_with_the_server_even_when_that_is_killed(tmp_path: Path):
    program = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-I', sys.argv[1], sys.executable, '-c', "
        "'import os, time; print(os.getpid(), flush=True); time.sleep(60)'], stdin=subprocess.PIPE); p.wait()"
    )
    server = subprocess.Popen([sys.executable, "-c", program, str(LEASH)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    tunnel = int(server.stdout.readline())
    server.kill()
    server.wait()
    until = time.monotonic() + 10
    while alive(tunnel) and time.monotonic() < until:
        time.sleep(0.02)
    assert not alive(tunnel)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_server_of_ones_own_is_encrypted_unless_one_says_otherwise(tmp_path: Path):
    with pytest.raises(BadRequest, match="would not be encrypted"):
        own_relay("example.org:7000", None, insecure=False)
    assert own_relay("example.org:7000", None, insecure=True) == Relay("example.org", 7000, None)
    authority = tmp_path / "ca.pem"
    authority.write_text("CERTIFICATE")
    assert own_relay("example.org:7000", authority, insecure=False) == Relay("example.org", 7000, "CERTIFICATE")
    with pytest.raises(BadRequest, match="cannot be read"):
        own_relay("example.org:7000", tmp_path / "none.pem", insecure=False)


@pytest.mark.parametrize("address", ["example.org", "example.org:", ":7000", "example.org:x"])
def test_a_server_of_ones_own_is_written_host_and_port(address: str):
    with pytest.raises(BadRequest, match="host:port"):
        own_relay(address, None, insecure=True)


def test_the_certificate_is_handed_to_the_program(house: House):
    share = Share(
        7860, house.folder / "tunnel", house.hosts, house._tell, house.sources, Relay("works", 7000, "CERTIFICATE")
    )
    house.share = share
    share.start()
    house.verdict()
    assert (house.folder / "tunnel" / "certificate.pem").read_text() == "CERTIFICATE"
    tunnel = share._tunnel
    assert tunnel is not None
    arguments = [str(argument) for argument in tunnel._process.args]  # type: ignore[union-attr]
    certificate = str(house.folder / "tunnel" / "certificate.pem")
    assert arguments[-3:] == ["--tls_enable", "--tls_trusted_ca_file", certificate]

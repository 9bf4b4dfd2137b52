"""The public link, opened and watched in the background: the local page never waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from webui.schema.errors import BadRequest
from webui.server.hosts import Hosts
from webui.server.relay import Deadline, Relay, ShareError, Sources, fetch_program, find_relay
from webui.server.tunnel import Tunnel

# Before each further try, in seconds.
PAUSES = (1.0, 3.0, 8.0)
LOCAL_GOES_ON = "The page on this machine goes on."


@dataclass(frozen=True)
class ShareState:
    """url: of the link while it is there. problem: why it is not. final: nothing more will be tried."""

    url: str | None = None
    problem: str = ""
    final: bool = False


class Share:
    """A thread that opens the tunnel, opens it again when it breaks, and tells each change.

    relay: a server of the user's own; None: one of Gradio's. tell: called from the thread.
    """

    def __init__(
        self, port: int, folder: Path, hosts: Hosts, tell: Callable[[ShareState], None], sources: Sources,
        relay: Relay | None = None, deadline: Callable[[], Deadline] = Deadline,
    ) -> None:  # fmt: skip
        self.state = ShareState(problem="The public link is being opened.")
        self._port = port
        self._folder = folder
        self._hosts = hosts
        self._tell = tell
        self._sources = sources
        self._relay = relay
        self._deadline = deadline
        self._tunnel: Tunnel | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_open, daemon=True, name="share")

    def start(self) -> None:
        """Returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Close the link."""
        self._stopping.set()
        tunnel = self._tunnel
        if tunnel is not None:
            tunnel.close()
        if self._thread.is_alive():
            self._thread.join(timeout=3)

    def _keep_open(self) -> None:
        problem = self._once()
        for pause in PAUSES:
            if self._stopping.is_set() or self.state.final:
                return
            self._set(ShareState(problem=f"The public link broke ({problem}). It is being opened again."))
            if self._stopping.wait(pause):
                return
            problem = self._once(again=True)
        closed = f"The public link broke and stays closed ({problem}). {LOCAL_GOES_ON}"
        self._set(ShareState(problem=closed, final=True))

    def _once(self, again: bool = False) -> str:
        """One tunnel, from its opening to its end; returns why it ended. A first one that fails is the last."""
        try:
            tunnel = self._open()
        except ShareError as error:
            if not again:
                self._set(ShareState(problem=f"There is no public link: {error} {LOCAL_GOES_ON}", final=True))
            return error.message
        url = tunnel.url
        while url:
            self._hosts.set_public(httpx.URL(url).host)
            self._set(ShareState(url=url.replace("http://", "https://", 1)))
            url = tunnel.wait_for_change(url)
        self._hosts.set_public()
        tunnel.close()
        return tunnel.last_words()

    def _open(self) -> Tunnel:
        deadline = self._deadline()
        relay = self._relay or find_relay(self._sources, deadline)
        program = fetch_program(self._sources, self._folder, deadline)
        try:
            tunnel = self._tunnel = Tunnel(program, relay, self._port, self._folder)
        except OSError as error:
            raise ShareError(f"The tunnel program cannot be started: {error.strerror}.") from error
        tunnel.wait_for_url(deadline)
        if self._stopping.is_set():
            tunnel.close()
        return tunnel

    def _set(self, state: ShareState) -> None:
        self.state = state
        if not self._stopping.is_set():
            self._tell(state)


def own_relay(address: str, certificate: Path | None, insecure: bool) -> Relay:
    """The tunnel server that the user names.

    Raises:
        BadRequest: the address is not host:port, or nothing would be encrypted and the user did not ask for that.
    """
    host, _colon, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise BadRequest(f"--share-server is written host:port, not {address!r}.", "For example: example.org:7000")
    if certificate is None:
        if not insecure:
            raise BadRequest(
                "The connection to your tunnel server would not be encrypted.",
                "Give --share-certificate FILE, or --share-insecure to do without.",
            )
        return Relay(host, int(port), None)
    try:
        return Relay(host, int(port), certificate.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"The certificate {certificate} cannot be read: {error}.") from None

"""What the server tells of itself: lines in the terminal, and its part of the status."""

from __future__ import annotations

import sys
import threading
import webbrowser
from typing import Any

import webui
from webui.server.credentials import Credentials, readable_by_others
from webui.server.options import ServeOptions
from webui.server.ports import network_address
from webui.server.share import ShareState

LOOPBACK = "127.0.0.1"
OPEN_TO_ALL = (
    "Warning: there is no login. Anybody who can reach this address can use this machine's processor, see what is "
    "drawn here, and fill its disk."
)


def say(text: str) -> None:
    """Tell the user in the terminal."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Front:
    """One server, as its user sees it. link: how the public link is; None: none was asked for."""

    def __init__(self, options: ServeOptions, credentials: Credentials, port: int) -> None:
        self.link: ShareState | None = None
        self._options = options
        self._credentials = credentials
        self.port = port

    def status(self) -> dict[str, Any]:
        """share: the public link while there is one; share_problem: why there is none, in a sentence."""
        link = self.link or ShareState()
        return {"version": webui.__version__, "share": link.url, "share_problem": link.problem}

    def announce(self) -> None:
        """The server is ready: where it is, and who may come in."""
        options = self._options
        if options.port not in (self.port, 0):
            say(f"Port {options.port} is taken by another program, so this is port {self.port}.")
        everywhere = options.listen in (None, "0.0.0.0", "::")
        url = f"http://{LOOPBACK if everywhere else options.listen}:{self.port}"
        say(f"Atelier is at {url} (Ctrl-C ends it)")
        network = network_address() if options.listen == "0.0.0.0" else None
        if network:
            say(f"In your network it is at http://{network}:{self.port}")
        for line in self._access():
            say(line)
        if options.open_browser:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    def tell_link(self, link: ShareState) -> None:
        """The public link has changed."""
        self.link = link
        if link.url is None:
            say(link.problem)
            return
        say(f"Public link: {link.url}")
        for line in self._made_up():
            say(line)

    def _access(self) -> list[str]:
        options, lines = self._options, self._made_up()
        if options.exposed and not self._credentials.passwords:
            lines.append(OPEN_TO_ALL)
        if options.auth_file is not None and readable_by_others(options.auth_file):
            lines.append(f"Warning: other users of this machine can read {options.auth_file} (chmod 600 ends that).")
        return lines

    def _made_up(self) -> list[str]:
        """The login that nobody but this server knows yet."""
        if not self._credentials.made_up:
            return []
        return [f"Log in as {user} with the password {text}" for user, text in self._credentials.passwords.items()]

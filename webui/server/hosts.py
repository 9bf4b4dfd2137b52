"""Under which names this server may be asked. A page of another site that makes its own name point here (DNS rebinding)
is thereby refused: the browser sends that name along."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::(?P<port>[0-9]{1,5}))?")


def split_host(host: str) -> tuple[str, str]:
    """ "Example.org:80" -> ("example.org", "80"); what is no host name -> ("", "")."""
    found = _HOST.fullmatch(host.strip().lower())
    return (found["name"], found["port"] or "") if found else ("", "")


class Hosts:
    """The names that are allowed.

    names: beside the loopback ones. any_address: IP addresses as well (nobody can rebind those). Public hosts, such as
    the one of a tunnel, come and go while the server runs.
    """

    def __init__(self, names: Iterable[str] = (), any_address: bool = False) -> None:
        self._names = LOOPBACK | {name.strip().lower() for name in names}
        self._any_address = any_address
        self._public: frozenset[str] = frozenset()

    def set_public(self, *names: str) -> None:
        """From now on these, and no other public names, are allowed."""
        self._public = frozenset(name.lower() for name in names)

    def is_public(self, host: str) -> bool:
        """Whether this `Host` is reached through a tunnel, which speaks https to the browser."""
        return split_host(host)[0] in self._public

    def allows(self, host: str) -> bool:
        """Whether a request with this `Host` header is meant for this server."""
        name, _port = split_host(host)
        return name in self._names or name in self._public or (self._any_address and _is_address(name))

    def same_origin(self, origin: str, host: str) -> bool:
        """Whether a page of this origin ("https://example.org") is our own page, as seen under this `Host`.

        A proxy may have changed the host on its way: then the origin must be one of the names given by the user.
        """
        scheme, mark, rest = origin.partition("://")
        if not mark or scheme not in ("http", "https") or not split_host(rest)[0]:
            return False
        if _without_default_port(rest) == _without_default_port(host):
            return True
        return split_host(rest)[0] in self._names - LOOPBACK


def _without_default_port(host: str) -> tuple[str, str]:
    name, port = split_host(host)
    return name, "" if port in ("80", "443") else port


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True

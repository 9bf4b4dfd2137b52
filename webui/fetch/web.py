"""How addresses of other machines are opened: https, no tokens to strangers, and private machines only where allowed.

A token goes to the host that it is for and to no other: it is left out when an answer leads elsewhere. Where private
addresses are not allowed, names are resolved here and the connection is made to the address that was checked, so a
name that changes its mind meanwhile leads nowhere else (DNS rebinding).
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from functools import partial
from typing import IO, Any, Final
from urllib.parse import urlsplit

from webui.fetch.errors import Address, Denied, FetchError, Offline

TIMEOUT: Final = 60.0
AGENT: Final = "atelier"
TOKENS: Final[Mapping[str, tuple[str, ...]]] = {
    "civitai.com": ("CIVITAI_TOKEN", "CIVITAI_API_TOKEN"),
    "huggingface.co": ("HF_TOKEN",),
}
"""Host -> variables of the environment with a token for it."""
_OFFLINE: Final = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

IP = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Web:
    """The network as one user may use it. tokens: host -> what proves who asks.

    private: machines of the user's own network may be asked, also by http; plain: any machine may be asked by http.
    """

    offline: bool = False
    private: bool = False
    plain: bool = False
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = TIMEOUT

    def open(self, url: str, headers: Mapping[str, str] | None = None, what: str = "The file") -> Any:
        """The answer of an address: can be read, has `status`, `headers`, `url`, and `linked`, the sha256 that the
        hub's redirect told of the file ("" without).

        Raises:
            Offline. Address: it may not be asked. Denied: it wants a token. urllib.error.URLError, OSError.
        """
        if self.offline:
            raise Offline(what)
        self.check(url)
        request = urllib.request.Request(url, headers={"User-Agent": AGENT, "Accept-Encoding": "identity"})
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        self._prove(request)
        redirects = _Redirects(self)
        try:
            answer = self._opener(redirects).open(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            raise _told(error, url) from error
        answer.linked = redirects.linked
        return answer

    def check(self, url: str) -> None:
        """Raises Address where an address may not be asked."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in ("https", "http") or not host or parts.username:
            raise Address(f"{shown(url)} is no address to fetch a file from.", "Addresses begin with https://")
        found = _resolved(host, parts.port or 443)
        if not self.private and any(is_private(ip) for ip in found):
            raise Address(f"{host} is a machine of a private network, which is not asked from here.")
        near = self.private and bool(found) and all(is_private(ip) for ip in found)
        if parts.scheme == "http" and not (self.plain or near):
            raise Address(f"{shown(url)} is not encrypted.", "Use its https:// address.")

    def _prove(self, request: urllib.request.Request) -> None:
        """Add the token for the host that is asked: unredirected, so that no other host is handed it."""
        token = self.tokens.get(urlsplit(request.full_url).hostname or "")
        if token:
            request.add_unredirected_header("Authorization", f"Bearer {token}")

    def _opener(self, redirects: _Redirects) -> urllib.request.OpenerDirector:
        connect = None if self.private else partial(_connect_public, _proxies())
        return urllib.request.build_opener(redirects, _HTTP(connect), _HTTPS(connect))


def tokens_of_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Host -> token, of those that the environment has; HF_TOKEN also for the host of HF_ENDPOINT."""
    said = os.environ if environment is None else environment
    found = {host: said[name] for host, names in TOKENS.items() for name in names if said.get(name)}
    mirror = urlsplit(said.get("HF_ENDPOINT", "")).hostname
    return {**found, mirror: found["huggingface.co"]} if mirror and "huggingface.co" in found else found


def wants_offline(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the user's environment says that nothing is to be asked, in the hub's words."""
    said = os.environ if environment is None else environment
    return any(said.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in _OFFLINE)


def shown(url: str) -> str:
    """An address as it may be told and kept: without its query, which may hold a token, and without a password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme and host else url.partition("?")[0]


def is_private(ip: IP) -> bool:
    """Whether an address is that of no machine of the open network, however it is written."""
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_private(inner)
    return not ip.is_global or ip.is_multicast


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows an answer that leads elsewhere, where that may be asked."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self.linked = ""

    def redirect_request(
        self, request: urllib.request.Request, fp: IO[bytes], code: int, message: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        told = (headers.get("X-Linked-Etag") or "").strip('"')
        if len(told) == 64 and not self.linked:
            self.linked = told.lower()
        self._web.check(newurl)
        further = super().redirect_request(request, fp, code, message, headers, newurl)  # type: ignore[arg-type]
        if further is not None:
            self._web._prove(further)
        return further


Connect = Callable[..., socket.socket] | None


class _HTTP(urllib.request.HTTPHandler):
    def __init__(self, connect: Connect) -> None:
        super().__init__()
        self._connect = connect

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_connecting(http.client.HTTPConnection, self._connect), request)


class _HTTPS(urllib.request.HTTPSHandler):
    def __init__(self, connect: Connect) -> None:
        super().__init__()
        self._connect = connect

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_connecting(http.client.HTTPSConnection, self._connect), request)


def _connecting(kind: type[http.client.HTTPConnection], connect: Connect) -> Any:
    def make(host: str, **named: Any) -> http.client.HTTPConnection:
        connection = kind(host, **named)
        if connect is not None:
            connection._create_connection = connect  # type: ignore[attr-defined]
        return connection

    return make


def _connect_public(
    proxies: frozenset[str], address: tuple[str, int], timeout: float | None = None, source: Any = None
) -> socket.socket:
    """As `socket.create_connection`, to public addresses and the user's proxies alone. Raises Address, OSError."""
    host, port = address
    if host in proxies:
        return socket.create_connection(address, timeout, source)
    failure: OSError = OSError(f"{host} has no address")
    for ip in _resolved(host, port, strict=True):
        if is_private(ip):
            raise Address(f"{host} is a machine of a private network, which is not asked from here.")
        try:
            return socket.create_connection((str(ip), port), timeout, source)
        except OSError as error:
            failure = error
    raise failure


def _resolved(host: str, port: int, strict: bool = False) -> list[IP]:
    """The addresses of a name; none where it has none, unless `strict`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        if strict:
            raise
        return []
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def _proxies() -> frozenset[str]:
    """Hosts of the proxies that the user's environment names."""
    return frozenset(urlsplit(url).hostname or "" for url in urllib.request.getproxies().values())


def _told(error: urllib.error.HTTPError, url: str) -> FetchError | urllib.error.HTTPError:
    """What a refusal means for the user; itself where nothing more is known."""
    if error.code not in (401, 403):
        return error
    why = error.headers.get("X-Error-Message") or error.reason
    return Denied(
        f"{urlsplit(url).hostname} does not give this file to everybody: {why}.",
        "Log in at its page, accept its terms where it has some, and give a token: HF_TOKEN for the Hugging Face hub, "
        "CIVITAI_TOKEN for Civitai, ATELIER_TOKEN for others.",
    )

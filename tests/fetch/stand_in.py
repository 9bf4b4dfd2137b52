"""A web server on this machine that stands in for others: files with marks, ranges, redirects and wanted tokens."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Served:
    """What an address answers. token: wanted; to: where it leads; cut: bytes after which the connection ends."""

    data: bytes = b""
    etag: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    token: str = ""
    to: str = ""
    cut: int = 0
    ranges: bool = True
    told: bool = True  # False: nobody says how long it is
    honest: bool = True  # False: a range is given whatever If-Range says


@dataclass
class Asked:
    path: str
    headers: dict[str, str]


@dataclass
class StandIn:
    """files: path -> what it answers; asked: every request, in order."""

    files: dict[str, Served] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve_repository(self, name: str, files: dict[str, bytes], revision: str = "main") -> None:
        """A repository of the hub: its list, and its files."""
        import hashlib

        told = [
            {
                "rfilename": path,
                "size": len(data),
                "lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)},
            }
            for path, data in files.items()
        ]
        self.files[f"/api/models/{name}/revision/{revision}"] = Served(json.dumps({"siblings": told}).encode())
        for path, data in files.items():
            self.files[f"/{name}/resolve/{revision}/{path}"] = Served(data, f'"{hash(data)}"')


@contextlib.contextmanager
def stand_in() -> Iterator[StandIn]:
    state = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.asked.append(Asked(self.path, headers))
            served = state.files.get(path)
            if served is None:
                self.send_error(404)
            elif served.token and headers.get("authorization") != f"Bearer {served.token}":
                self.send_error(401)
            elif served.to:
                self.send_response(302)
                self.send_header("Location", served.to)
                self._headers(served)
                self.end_headers()
            else:
                self._answer(served, headers)

        def _answer(self, served: Served, headers: dict[str, str]) -> None:
            start, marked = 0, headers.get("if-range")
            if "range" in headers and served.ranges and not (served.honest and marked and marked != served.etag):
                start = int(headers["range"].removeprefix("bytes=").rstrip("-"))
            if start >= len(served.data) and start:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if served.told:
                self.send_header("Content-Length", str(len(served.data) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(served.data) - 1}/{len(served.data)}")
            if served.etag:
                self.send_header("ETag", served.etag)
            self._headers(served)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(served.data[start : served.cut or len(served.data)])

        def _headers(self, served: Served) -> None:
            for name, value in served.headers.items():
                self.send_header(name, value)

        def log_message(self, *_words: object) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.port = web.server_port
    try:
        yield state
    finally:
        web.shutdown()
        thread.join()
        web.server_close()

"""Model files are fetched once, resumed where they broke off, and checked against what was declared."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from webui.ext.specs import ModelFile, ModelPart
from webui.ext.weights import FOLDER, fetch_model, files_of, is_there
from webui.fetch.errors import FetchError

DATA = bytes(range(256)) * 20_000  # 5 MB
SHA = hashlib.sha256(DATA).hexdigest()


@dataclass
class Server:
    """Serves DATA. breaks_after: bytes after which the connection ends; ranges: what was asked for."""

    url: str = ""
    breaks_after: int = 0
    knows_ranges: bool = True
    ranges: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.knows_ranges else 0
            if self.path == "/missing":
                self.send_error(404)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(DATA) - start))
            self.end_headers()
            self.wfile.write(DATA[start : state.breaks_after or len(DATA)])

        def log_message(self, *_words: object) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{web.server_port}"
    yield state
    web.shutdown()
    thread.join()
    web.server_close()


def model(url: str, **declared: object) -> ModelFile:
    return ModelFile.model_validate({"id": "net", "file": "net/weights.bin", "url": url, **declared})


def test_a_file_comes_to_its_place_and_progress_is_told(server: Server, tmp_path: Path):
    told: list[tuple[str, int, int]] = []
    one = model(server.url, bytes=len(DATA), sha256=SHA)
    assert not is_there(one, tmp_path)
    fetch_model(one, tmp_path, lambda *words: told.append(words))
    assert (tmp_path / FOLDER / "net" / "weights.bin").read_bytes() == DATA
    assert told[-1] == ("weights.bin", len(DATA), len(DATA))
    assert is_there(one, tmp_path)


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path):
    one = model(server.url)
    fetch_model(one, tmp_path)
    fetch_model(one, tmp_path)
    assert len(server.ranges) == 1


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_broken_download_is_taken_up_again(server: Server, tmp_path: Path, knows_ranges: bool):
    one = model(server.url, bytes=len(DATA), sha256=SHA)
    server.breaks_after, server.knows_ranges = 3_000_000, knows_ranges
    with pytest.raises(FetchError, match=r"was not fetched from .*ended after|IncompleteRead"):
        fetch_model(one, tmp_path)
    (declared,) = files_of(one, tmp_path)
    assert not declared.is_there
    there = declared.wanted.part.stat().st_size
    server.breaks_after = 0
    fetch_model(one, tmp_path)
    assert declared.path.read_bytes() == DATA
    assert server.ranges == ["", f"bytes={there}-" if there else ""]
    assert not declared.wanted.part.exists()


def test_another_content_than_declared_is_not_kept(server: Server, tmp_path: Path):
    one = model(server.url, sha256="0" * 64)
    with pytest.raises(FetchError, match=f"not the declared file: its sha256 is {SHA}"):
        fetch_model(one, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_another_length_than_declared_is_refused_before_it_is_fetched(server: Server, tmp_path: Path):
    with pytest.raises(FetchError, match="has 5,120,000 bytes, declared are 12"):
        fetch_model(model(server.url, bytes=12), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_is_fetched_file_by_file(server: Server, tmp_path: Path):
    parts = (ModelPart(file="config.json", url=server.url), ModelPart(file="sub/net.bin", url=server.url))
    fetch_model(ModelFile(id="net", file="folder", parts=parts), tmp_path)
    found = {path.relative_to(tmp_path / FOLDER).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"folder/config.json", "folder/sub/net.bin"}


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "ftp://example.org/x"])
def test_without_an_address_the_user_is_told_where_to_put_the_file(tmp_path: Path, url: str):
    with pytest.raises(FetchError, match=r"no address to fetch it from\. You can also put weights.bin into "):
        fetch_model(model(url), tmp_path)


def test_a_server_that_has_no_such_file_is_an_error_in_words(server: Server, tmp_path: Path):
    with pytest.raises(FetchError, match=r"weights.bin was not fetched from .*: Not Found\."):
        fetch_model(model(f"{server.url}/missing"), tmp_path)


def test_no_connection_is_an_error_in_words(tmp_path: Path):
    with pytest.raises(FetchError, match=r"was not fetched from http://127.0.0.1:9"):
        fetch_model(model("http://127.0.0.1:9/x"), tmp_path)


def test_stopping_keeps_what_has_come(server: Server, tmp_path: Path):
    def stop(*_told: object) -> None:
        raise KeyboardInterrupt

    one = model(server.url)
    with pytest.raises(KeyboardInterrupt):
        fetch_model(one, tmp_path, stop)
    assert files_of(one, tmp_path)[0].wanted.part.stat().st_size > 0
    fetch_model(one, tmp_path)
    assert (tmp_path / FOLDER / "net" / "weights.bin").read_bytes() == DATA


def test_what_two_programs_want_at_once_is_fetched_once(server: Server, tmp_path: Path):
    one = model(server.url, bytes=len(DATA), sha256=SHA)
    first_begun, told = threading.Event(), list[tuple[str, int, int]]()

    def slow(*_told: object) -> None:
        first_begun.set()
        while not told:
            time.sleep(0.01)

    first = threading.Thread(target=fetch_model, args=(one, tmp_path, slow))
    first.start()
    first_begun.wait()
    fetch_model(one, tmp_path, lambda *words: told.append(words))
    first.join()
    assert set(told) == {("weights.bin", 0, 0)}
    assert server.ranges == [""]
    assert sorted(path.name for path in (tmp_path / FOLDER / "net").iterdir()) == ["weights.bin"]
